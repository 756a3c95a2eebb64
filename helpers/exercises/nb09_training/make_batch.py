"""What an answer to `make_batch` is tried out on."""

import torch
from torch import Tensor

from helpers.checks.trials import Outcome, Trial, Trials, Unusable, returned
from helpers.exercises.course import exercise
from helpers.training import IGNORED, make_batch


def _trial(rows: list[list[int]], end: int) -> Trial:
    lengths = torch.tensor([[len(row) + 1] for row in rows])

    def act(answer) -> Outcome:
        given = [list(row) for row in rows]
        tokens, targets = returned(answer(given, end), 2, "tokens and targets")
        for name, value in (("tokens", tokens), ("targets", targets)):
            if not isinstance(value, Tensor):
                raise Unusable(f"{name} is {type(value).__name__}, not a tensor")
            if value.ndim != 2:
                shape = f"shape {list(value.shape)}"
                raise Unusable(f"{name} has {shape}; it should be [batch, position]")
        # Padding beyond the longest row is harmless, and so is what stands in padding.
        width = int(lengths.max())
        if targets.shape == tokens.shape and (targets[:, width:] == IGNORED).all():
            tokens, targets = tokens[:, :width], targets[:, :width]
        padded = torch.arange(tokens.shape[1]) >= lengths
        if padded.shape == tokens.shape == targets.shape:
            tokens = tokens.masked_fill(padded, end)
        return {
            "the kind of numbers": f"{tokens.dtype}, {targets.dtype}",
            "targets": targets,
            "tokens": tokens,
            "the rows that you were given, afterwards": given,
        }

    return Trial(act)


def trials() -> list[Trial]:
    """Rows of several lengths, and one alone."""
    return [
        _trial([[5, 3, 8, 2], [7, 9], [4, 6, 1]], 0),
        _trial([[1, 2], [2, 3, 1, 4, 6]], 7),
        _trial([[4, 4, 2]], 9),
    ]


def wide(answer) -> str | None:
    """A remark on padding that no row needs."""
    tokens, _ = answer([[3, 4], [5]], 0)
    if tokens.shape[1] <= 3:
        return None
    return (
        "your rows are longer than the longest story needs; padding is computed like "
        "any token, so it costs time"
    )


check = exercise(__file__, make_batch, Trials(trials, finish=wide), keep=False)
