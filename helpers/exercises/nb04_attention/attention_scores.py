"""What an answer to `attention_scores` is compared with."""

import math

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention.runs import PER_PAIR, runs
from helpers.model import attention_scores


def cases() -> list[Case]:
    """Queries and keys; transformers keeps its scores to itself."""
    return [run.case(run.seen["q"], run.seen["k"]) for run in runs()]


def stages(case: Case) -> dict[str, Tensor]:
    """Dot products, then the scale."""
    scores = attention_scores(*case.inputs)
    return {
        "the dot products of queries and keys": scores * math.sqrt(case.cfg.d_head),
        "the division by sqrt(d_head)": scores,
    }


check = exercise(
    __file__, attention_scores, Tensors(cases, axes=PER_PAIR, stages=stages)
)
