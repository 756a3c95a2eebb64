"""The sizes of a GPT-2, in one place."""

from dataclasses import dataclass


@dataclass
class Config:
    """The numbers that fix a GPT-2's shape; the defaults are GPT-2 small's.

    Names follow Neel Nanda's Clean Transformer Template.
    """

    d_model: int = 768  # width of the residual stream
    debug: bool = False  # yours to use: `if self.cfg.debug: print(x.shape)`
    layer_norm_eps: float = 1e-5  # added to the variance in LayerNorm
    d_vocab: int = 50257  # number of tokens in the vocabulary
    init_range: float = 0.02  # standard deviation of freshly drawn weights
    n_ctx: int = 1024  # longest sequence the model can read
    d_head: int = 64  # width of one attention head
    d_mlp: int = 3072  # hidden width of the MLP
    n_heads: int = 12  # attention heads in a layer
    n_layers: int = 12  # transformer blocks
