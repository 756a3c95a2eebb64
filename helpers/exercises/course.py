"""What all exercises share: the models that answers are judged on, and the course.

An answer is judged twice: on a tiny GPT-2 in which nothing is left at a value that
would hide a mistake, and on the reference that the notebook has loaded.
"""

import collections
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import einops
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import my_code
from helpers.checks.case import Case
from helpers.checks.check import Check, Course
from helpers.config import Config
from helpers.reference import Reference, as_loaded, current_reference

STREAM = ("batch", "position", "d_model")
PER_HEAD = ("batch", "position", "n_heads", "d_head")
PER_PAIR = ("batch", "n_heads", "query_pos", "key_pos")
LOGITS = ("batch", "position", "d_vocab")


@dataclass(frozen=True)
class Source:
    """A reference with one run through it: where cases take their inputs from."""

    label: str
    reference: Reference
    tokens: Tensor  # [batch, position]
    logits: Tensor  # [batch, position, d_vocab]
    cache: dict[str, Tensor]
    weights: dict[str, Tensor]
    detail: str = ""  # what is special about the tokens: "on a batch of one"

    @property
    def cfg(self) -> Config:
        return self.reference.cfg

    @property
    def block(self) -> str:
        """A block that reads what another one has written, if there are two."""
        return f"blocks.{min(1, self.cfg.n_layers - 1)}."

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights below a prefix: `part("blocks.0.attn.")["W_Q"]`."""
        return {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }

    def on(self, tokens: Tensor, detail: str = "") -> "Source":
        """The same model, run on other tokens."""
        logits, cache = self.reference.run_with_cache(tokens)
        return replace(self, tokens=tokens, logits=logits, cache=cache, detail=detail)

    def case(self, *inputs: Tensor, **more) -> Case:
        """A case with these inputs; gradients are compared on the usual ones."""
        more = {"detail": self.detail} | more
        more = {"grad": not more["detail"]} | more
        return Case(self.label, self.cfg, inputs, **more)

    def layer(self, reads: str, part: str, writes: str, **more) -> Case:
        """The case of a layer of `block`: what it reads and writes, its weights."""
        known = {
            "params": self.part(self.block + part),
            "expected": self.cache[self.block + writes],
        }
        return self.case(self.cache[self.block + reads], **known | more)


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
    stir(model, generator)
    reference = Reference(model, name="a small GPT-2 with random weights")
    tokens = torch.randint(c.d_vocab, (2, 7), generator=generator)
    return run("a small GPT-2 with random weights", reference, tokens)


def stir(model: nn.Module, generator: torch.Generator) -> None:
    """Random numbers for all parameters: around 1 for gains, around 0 for the rest."""
    for name, p in model.named_parameters():
        table = any(part in name for part in ("wte", "wpe", "embed_tokens"))
        gain = p.ndim == 1 and name.endswith("weight")
        with torch.no_grad():
            drawn = torch.randn(p.shape, generator=generator)
            p.copy_(float(gain) + (1.0 if table else 0.4) * drawn)


@cache
def _shapes(tiny: Callable[[], Source]) -> tuple[Source, ...]:
    """A tiny model on texts of other shapes."""
    cfg = tiny().cfg
    shapes = {
        "on a batch of one": (1, 5),
        "on a single position": (2, 1),
        "on the full context": (2, cfg.n_ctx),
    }
    return tuple(
        tiny().on((torch.arange(a * b) * 5 % cfg.d_vocab).view(a, b), detail)
        for detail, (a, b) in shapes.items()
    )


@cache
def _loaded(reference: Reference) -> Source:
    text = "Once upon a time there was a little dog. The dog was happy."
    tokens = reference.to_tokens(text)[:, : min(12, reference.cfg.n_ctx)]
    return run(f"the {reference.name} model", reference, tokens)


def loaded(family: str = "gpt2") -> Source:
    """The reference that the notebook has loaded, on a short text, batch 1."""
    return _loaded(current_reference(family))


def sources(tiny: Callable[[], Source] = stirred, family: str = "gpt2") -> list[Source]:
    """A tiny model, the usual text first, and the one of its family that is loaded.

    The usual text rules out most wrong explanations.
    """
    return [tiny(), *_shapes(tiny), loaded(family)]


def run(label: str, reference: Reference, tokens: Tensor) -> Source:
    """A reference, run once on tokens [batch, position]."""
    logits, activations = reference.run_with_cache(tokens)
    weights = reference.state_dict()
    return Source(label, reference, tokens, logits, activations, weights)


def _link(page: Path, slug: str) -> str:
    """An entry of a page, seen from the notebook that is running."""
    root = Path(__file__).resolve().parents[2]
    anchor = slug.lower().replace(".", "")  # as GitHub makes it of a heading
    up = "../.." if my_code.edition() == "exercises" else ".."
    return f"{up}/{page.resolve().relative_to(root).as_posix()}#{anchor}"


COURSE = Course(
    models=lambda: [stirred().reference.model, current_reference().model],
    reference=current_reference,
    around=as_loaded,
    keep=my_code.save,
    link=_link,
    scope={
        "torch": torch,
        "nn": nn,
        "F": F,
        "Tensor": Tensor,
        "math": math,
        "np": np,
        "einops": einops,
        **{n: getattr(einops, n) for n in ("einsum", "rearrange", "reduce", "repeat")},
        "Counter": collections.Counter,
        "pairwise": itertools.pairwise,
        "Config": Config,
    },
)

exercise = partial(Check, course=COURSE)
