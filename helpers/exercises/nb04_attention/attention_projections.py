"""What an answer to `attention_projections` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_HEAD, exercise, sources
from helpers.exercises.nb04_attention import runs
from helpers.model import attention_projections


def cases() -> list[Case]:
    """Queries, keys and values, one of them at a time."""
    made = []
    for source, letter in zip(sources(), "QKVQK", strict=True):
        weights = runs.weights(source, f"W_{letter}", f"b_{letter}")
        (projected,) = runs.seen(source, letter.lower())
        x, _ = runs.stream(source)
        made.append(source.case(x, *weights, expected=projected))
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """x · W, then the bias."""
    x, W, b = case.inputs
    return {
        "the product of x and W": attention_projections(x, W, torch.zeros_like(b)),
        "the product with the bias added": attention_projections(x, W, b),
    }


check = exercise(__file__, attention_projections, Tensors(cases, PER_HEAD, stages))
