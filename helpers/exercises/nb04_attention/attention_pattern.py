"""What an answer to `attention_pattern` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention.runs import PER_PAIR, runs
from helpers.model import apply_causal_mask, attention_pattern


def cases() -> list[Case]:
    """Masked scores, filled with -inf and with the Template's -1e5."""
    made = [
        run.case(apply_causal_mask(run.scores), expected=run.seen["pattern"])
        for run in runs()
    ]
    first = runs()[0]
    finite = apply_causal_mask(first.scores).clamp(min=-1e5)
    detail = "masked with −1e5"
    made.append(first.case(finite, expected=first.seen["pattern"], detail=detail))
    return made


def facts(pattern: Tensor, case: Case) -> list[Mistake]:
    """Properties that every pattern has."""
    found = []
    rows = pattern.sum(-1)
    if not torch.allclose(rows, torch.ones_like(rows), atol=1e-4):
        told = f"Your rows sum to between {rows.min():.4g} and {rows.max():.4g}; each "
        told += "query has a weight of exactly 1 to share out."
        hint = "a softmax over the last axis, key_pos"
        found.append(Mistake("rows-do-not-sum-to-1", told, hint))
    if (pattern < 0).any():
        told = "Some of your weights are negative; a softmax has none."
        found.append(Mistake("negative-weights", told))
    return found


def stages(case: Case) -> dict[str, Tensor]:
    """One step."""
    return {"the softmax": attention_pattern(*case.inputs)}


check = exercise(
    __file__,
    attention_pattern,
    Tensors(cases, axes=PER_PAIR, stages=stages, facts=facts),
)
