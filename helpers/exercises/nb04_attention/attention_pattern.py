"""What an answer to `attention_pattern` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_PAIR, exercise, sources, stirred
from helpers.exercises.nb04_attention import runs
from helpers.model import attention_pattern


def cases() -> list[Case]:
    """Masked scores, filled with -inf and with the Template's -1e5."""
    made = []
    for source in sources():
        masked, pattern = runs.seen(source, "attn_scores", "pattern")
        made.append(source.case(masked, expected=pattern))
    finite, more = made[0].inputs[0].clamp(min=-1e5), {"detail": "masked with −1e5"}
    return [*made, stirred().case(finite, expected=made[0].expected, **more)]


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
    __file__, attention_pattern, Tensors(cases, PER_PAIR, stages, facts=facts)
)
