"""What an answer to `attention_scores` is compared with."""

import math

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_PAIR, exercise, sources
from helpers.exercises.nb04_attention import runs
from helpers.model import attention_scores


def cases() -> list[Case]:
    """Queries and keys; transformers keeps its scores to itself."""
    return [source.case(*runs.seen(source, "q", "k")) for source in sources()]


def stages(case: Case) -> dict[str, Tensor]:
    """Dot products, then the scale."""
    scores = attention_scores(*case.inputs)
    return {
        "the dot products of queries and keys": scores * math.sqrt(case.cfg.d_head),
        "the division by sqrt(d_head)": scores,
    }


check = exercise(__file__, attention_scores, Tensors(cases, PER_PAIR, stages))
