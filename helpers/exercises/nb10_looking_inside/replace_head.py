"""What an answer to `replace_head` is compared with."""

import functools

import torch

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import both


def cases() -> list[Case]:
    """A head's z becomes 0, one vector, a vector for each place."""
    small, big = both()
    z = small.cache["blocks.1.attn.hook_z"]
    batch, position, n_heads, d_head = z.shape
    values = {
        "where the value is 0": torch.tensor(0.0),
        "where the value is a vector": noise(d_head, seed=111),
        "": noise(batch, position, d_head, seed=112),
    }
    made = [
        small.case(z, value, extra={"head": head}, detail=detail)
        for head, (detail, value) in zip((1, 2, 0), values.items(), strict=True)
    ]
    large = big.cache["blocks.0.attn.hook_z"]
    last = {"head": large.shape[2] - 1}
    made.append(big.case(large, torch.zeros(large.shape[-1]), extra=last))
    return made[::-1]


def as_edit(answer):
    """An answer makes an edit; the cases run it."""

    @functools.wraps(answer)
    def edited(z, value, head):
        return answer(head, value)(z)

    return edited


check = exercise(
    __file__,
    "replace_head",
    Tensors(
        cases,
        axes=("batch", "position", "n_heads", "d_head"),
        prepare=as_edit,
        against="the course's: one head is replaced, and all else is as it was,",
    ),
    keep=False,
)
