"""The sizes of a GPT-2, and of a Llama, each in one place."""

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


@dataclass
class LlamaConfig:
    """The numbers that fix a Llama's shape; the defaults are SmolLM2-135M's.

    Llama, Qwen3 and Mistral differ in these numbers alone. Names follow Config.
    """

    d_model: int = 576  # width of the residual stream
    rms_norm_eps: float = 1e-5  # added to the mean square in RMSNorm
    d_vocab: int = 49152  # number of tokens in the vocabulary
    init_range: float = 0.02  # standard deviation of freshly drawn weights
    n_ctx: int = 8192  # longest sequence the model was made for
    d_head: int = 64  # width of one attention head
    d_mlp: int = 1536  # hidden width of the MLP, or of one expert
    n_heads: int = 9  # query heads in a layer
    n_kv_heads: int = 3  # key and value heads; each serves n_heads / n_kv_heads
    n_layers: int = 30  # blocks
    rope_theta: float = 100_000.0  # base of the rotary frequencies
    qk_norm: bool = False  # Qwen3: normalize queries and keys, head by head
    window: int | None = None  # Mistral: see so many positions, itself included
    n_experts: int = 0  # Qwen3-MoE: MLPs to choose from; 0: a single one
    n_active: int = 0  # of them, how many a position uses
    normalize_active: bool = True  # the weights of those sum to 1
