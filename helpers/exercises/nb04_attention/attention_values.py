"""What an answer to `attention_values` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention.runs import PER_HEAD, runs
from helpers.model import attention_values


def cases() -> list[Case]:
    """Patterns and values of transformers, and the z that it makes of them."""
    return [
        run.case(run.seen["pattern"], run.seen["v"], expected=run.seen["z"])
        for run in runs()
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """One step."""
    return {"the weighted sum of the values": attention_values(*case.inputs)}


check = exercise(
    __file__, attention_values, Tensors(cases, axes=PER_HEAD, stages=stages)
)
