"""Cases of notebook 03, whose layers are tables: into the model, and out of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import STIRRED, Source

# Comparing gradients of a table as large as GPT-2's, 39 million numbers, takes longer
# than a check may; the small model's gradients have the same story to tell.
_LARGE = 20_000  # tokens


def ids(batch: int, position: int, high: int, seed: int) -> Tensor:
    """Ids from 1 to high - 1: [batch, position]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, high, (batch, position), generator=generator)


def cases(
    source: Source,
    part: str,
    layer: Callable[[Tensor], Tensor],
    inputs: dict[str, Tensor],
    explains: int | None = None,
) -> list[Case]:
    """A table's cases.

    Args:
        source: the model that it belongs to.
        part: where its weights are found: "embed.".
        layer: transformers' own.
        inputs: by what is special about them.
        explains: so many of them serve to recognise mistakes; beyond those, wrong
            code stops in many ways, and for many reasons.
    """
    small = source.cfg.d_vocab < _LARGE
    with torch.no_grad():
        return [
            Case(
                source=source.label,
                detail=detail,
                cfg=source.cfg,
                inputs=(x,),
                params=source.part(part),
                expected=layer(x),
                # of every token, too: a row whose gradient is cut off shows there
                grad=small and (not detail or "every token" in detail),
                explains=explains is None or i < explains,
            )
            for i, (detail, x) in enumerate(inputs.items())
        ]


def starts_small(name: str) -> Callable[[dict[str, Tensor]], str | None]:
    """A remark on starting values that are not GPT-2's, for the weight of a name."""

    def fresh(parameters: dict[str, Tensor]) -> str | None:
        # 24 · 11 numbers give their spread to within a few percent
        spread, wanted = parameters[name].std().item(), STIRRED.init_range
        if 0.7 * wanted < spread < 1.4 * wanted:
            return None
        return (
            f"a new `{name}` should hold small random numbers: "
            f"`nn.init.normal_(self.{name}, std=cfg.init_range)`; `torch.empty` alone "
            "holds whatever was in memory"
        )

    return fresh
