"""What the layers of notebook 03 share: tables, into the model and out of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import STIRRED, Source, loaded, stirred

# Comparing gradients of a table as large as GPT-2's, 39 million numbers, takes longer
# than a check may; the small model's gradients have the same story to tell.
LARGE = 20_000  # tokens


def ids(batch: int, position: int, high: int, seed: int) -> Tensor:
    """Ids from 1 to high - 1: [batch, position]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, high, (batch, position), generator=generator)


def cases(part: str, low: dict[str, Tensor], high: dict[str, Tensor]) -> list[Case]:
    """The table "embed." or "pos_embed." on ids, by what is special about them.

    Args:
        part: where its weights are found.
        low: ids that serve to recognise mistakes; beyond them, wrong code stops in many
            ways, and for many reasons.
        high: other ids; their gradients count, too.
    """

    def case(source: Source, **more) -> Case:
        seen = source.cache["hook_" + part.rstrip(".")]
        params = source.part(part)
        return source.case(source.tokens, params=params, expected=seen, **more)

    small, big = stirred(), loaded()
    return [
        *(case(small.on(tokens, detail)) for detail, tokens in low.items()),
        *(
            case(small.on(tokens, detail), grad=True, explains=False)
            for detail, tokens in high.items()
        ),
        case(big, grad=big.cfg.d_vocab < LARGE, explains=False),
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
