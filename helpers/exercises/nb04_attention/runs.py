"""Attention layers of transformers at work: what the cases of notebook 04 are made of.

The steps of attention share them, so that an answer to one step meets what the step
before it has made.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.config import Config
from helpers.exercises.course import Source, loaded, stirred
from helpers.model import attention_scores

PER_HEAD = ("batch", "position", "n_heads", "d_head")
PER_PAIR = ("batch", "n_heads", "query_pos", "key_pos")
STREAM = ("batch", "position", "d_model")


@dataclass(frozen=True)
class Run:
    """One attention layer on one input.

    Attributes:
        source: the model that it belongs to.
        detail: what is special about the input; empty for the usual one.
        cfg: the model's configuration.
        params: the layer's weights, by name.
        seen: x [batch, position, d_model], q, k, v, z [batch, position, n_heads,
            d_head], pattern [batch, n_heads, query_pos, key_pos], out like x.
    """

    source: str
    detail: str
    cfg: Config
    params: dict[str, Tensor]
    seen: dict[str, Tensor]

    def case(self, *inputs: Tensor, **more) -> Case:
        """A case with these inputs; gradients are compared on the usual ones."""
        known = {"detail": self.detail, "grad": self.detail == ""}
        return Case(self.source, self.cfg, inputs, **known | more)

    @property
    def scores(self) -> Tensor:
        """[batch, n_heads, query_pos, key_pos], scaled and not masked."""
        return attention_scores(self.seen["q"], self.seen["k"])


def _run(source: Source, layer: int, cache: dict[str, Tensor], detail: str) -> Run:
    block = f"blocks.{layer}."
    seen = {n: cache[f"{block}attn.hook_{n}"] for n in ("q", "k", "v", "pattern", "z")}
    seen["x"] = cache[f"{block}ln1.hook_normalized"]
    seen["out"] = cache[f"{block}hook_attn_out"]
    params = source.part(f"{block}attn.")
    return Run(source.label, detail, source.cfg, params, seen)


@functools.cache
def _small_runs() -> tuple[Run, ...]:
    """The tiny model's, the usual one first: it rules out most wrong explanations."""
    small = stirred()
    runs = [_run(small, 1, small.cache, "")]
    shapes = {
        "on a batch of one": (1, 5),
        "on a single position": (2, 1),
        "on the full context": (2, small.cfg.n_ctx),
    }
    for detail, shape in shapes.items():
        tokens = torch.arange(shape[0] * shape[1]) * 5 % small.cfg.d_vocab
        _, cache = small.reference.run_with_cache(tokens.view(shape))
        runs.append(_run(small, 1, cache, detail))
    return tuple(runs)


def runs() -> list[Run]:
    """Four of the tiny model, and one of the reference that is loaded."""
    big = loaded()
    return [*_small_runs(), _run(big, 0, big.cache, "")]
