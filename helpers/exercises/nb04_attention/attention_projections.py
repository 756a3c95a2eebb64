"""What an answer to `attention_projections` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention.runs import PER_HEAD, runs
from helpers.model import attention_projections


def cases() -> list[Case]:
    """Queries, keys and values of each run, one of them at a time."""
    made = []
    for run, letter in zip(runs(), "QKVQK", strict=True):
        W, b = run.params[f"W_{letter}"], run.params[f"b_{letter}"]
        made.append(run.case(run.seen["x"], W, b, expected=run.seen[letter.lower()]))
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """x · W, then the bias."""
    x, W, b = case.inputs
    return {
        "the product of x and W": attention_projections(x, W, torch.zeros_like(b)),
        "the product with the bias added": attention_projections(x, W, b),
    }


check = exercise(
    __file__, attention_projections, Tensors(cases, axes=PER_HEAD, stages=stages)
)
