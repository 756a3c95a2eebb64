"""What an answer to `apply_cached_mask` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_PAIR, exercise, sources
from helpers.exercises.nb04_attention.runs import seen
from helpers.generation import apply_cached_mask
from helpers.model import attention_scores


def cases() -> list[Case]:
    """Scores with a past and without, of one query and of several."""
    small, one, *_, big = sources()
    # [batch, n_heads, query_pos, key_pos]
    few, single, many = (
        attention_scores(*seen(s, "q", "k")) for s in (small, one, big)
    )
    given = [
        (small, "", few),
        (small, "with one new position", few[:, :, -1:]),
        (small, "with three new positions", few[:, :, -3:]),
        (one, "on a batch of one", single[:, :, -2:]),
        (small, "with scores that are all 0", torch.zeros(2, 3, 4, 6)),
        (big, "with four new positions", many[:, :, -4:]),
    ]
    return [source.case(x, detail=detail) for source, detail, x in given]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps, in order."""
    masked = apply_cached_mask(*case.inputs)
    return {"the mask": masked.isneginf(), "the masked scores": masked}


kind = Tensors(
    cases,
    PER_PAIR,
    stages,
    view=lambda scores: scores.float().softmax(-1),
    in_place=True,
    against="the target",
)
check = exercise(__file__, apply_cached_mask, kind)
