"""The inputs on which answers are judged: where a mistake would show."""

from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor

from helpers.config import Config
from helpers.reference import Reference, current_reference


@dataclass
class Case:
    """One set of inputs, and what must come out.

    Attributes:
        source: the model that the inputs come from, as a person would say it.
        cfg: the configuration the answer is built with.
        inputs: the tensors handed to the answer (a clone each time).
        params: the weights of a class, by name; empty for a function.
        buffers: tensors that a class must keep without learning them, by name.
        expected: transformers' own output; None where transformers has no such
            step by itself, and the reference computation's output is the target.
        grad: also compare the gradients with respect to inputs and parameters.
        explains: known mistakes are recognised on it; False where wrong code stops
            for reasons of its own, such as an index beyond the table.
        extra: keyword arguments that both sides get.
        detail: what is special about the inputs: "on a batch of one".
        known: what the reference computation gave on it, right and with mistakes.
    """

    source: str
    cfg: Config
    inputs: tuple[Tensor, ...]
    params: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    expected: Tensor | None = None
    grad: bool = False
    explains: bool = True
    extra: dict = field(default_factory=dict)
    detail: str = ""
    known: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Source and detail, for a sentence: "on {label}"."""
        return f"{self.source}, {self.detail}" if self.detail else self.source


@dataclass(frozen=True)
class Source:
    """A reference with one run through it: where cases take their inputs from."""

    label: str
    reference: Reference
    tokens: Tensor  # [batch, position]
    logits: Tensor  # [batch, position, d_vocab]
    cache: dict[str, Tensor]
    weights: dict[str, Tensor]

    @property
    def cfg(self) -> Config:
        return self.reference.cfg

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights below a prefix: `part("blocks.0.attn.")["W_Q"]`."""
        return {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }


# Pairwise distinct, so that no two axes can be taken for one another. transformers
# fixes n_heads * d_head = d_model; batch is 2 and the sequences have 7 positions.
STIRRED = Config(
    d_model=24, d_vocab=37, n_ctx=11, d_head=8, d_mlp=40, n_heads=3, n_layers=4
)


@cache
def stirred(n_layers: int = STIRRED.n_layers) -> Source:
    """A tiny GPT-2 of transformers in which every parameter is random.

    In a fresh GPT-2 the biases are 0 and the LayerNorm gains 1, so that forgetting
    one of them would not show. Here nothing is left at such a value.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    c = replace(STIRRED, n_layers=n_layers)
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng(devices=[]):
        model = GPT2LMHeadModel._from_config(
            GPT2Config(
                vocab_size=c.d_vocab,
                n_embd=c.d_model,
                n_head=c.n_heads,
                n_inner=c.d_mlp,
                n_positions=c.n_ctx,
                n_layer=c.n_layers,
                tie_word_embeddings=False,
                bos_token_id=0,
                eos_token_id=0,
            ),
            attn_implementation="eager",
        )
    # transformers' head has no bias; ours has one, so it is stirred as well
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(c.d_vocab))
    for name, p in model.named_parameters():
        spread = 1.0 if "wte" in name or "wpe" in name else 0.4
        centre = 1.0 if "ln_" in name and "weight" in name else 0.0
        with torch.no_grad():
            p.copy_(centre + spread * torch.randn(p.shape, generator=generator))
    reference = Reference(model, name="a small GPT-2 with random weights")
    tokens = torch.randint(c.d_vocab, (2, 7), generator=generator)
    return _run("a small GPT-2 with random weights", reference, tokens)


@cache
def _loaded(reference: Reference, positions: int) -> Source:
    text = "Once upon a time there was a little dog. The dog was happy."
    tokens = reference.to_tokens(text)[:, :positions]
    return _run(f"the {reference.name} model", reference, tokens)


def loaded(positions: int = 12) -> Source:
    """The reference that the notebook has loaded, on a short text, batch 1."""
    return _loaded(current_reference(), positions)


def _run(label: str, reference: Reference, tokens: Tensor) -> Source:
    logits, activations = reference.run_with_cache(tokens)
    weights = reference.state_dict()
    return Source(label, reference, tokens, logits, activations, weights)


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Standard normal numbers, the same every time, whatever the global seed."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator)
