"""What an answer to `attention_values` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_HEAD, exercise, sources
from helpers.exercises.nb04_attention import runs
from helpers.model import attention_values


def cases() -> list[Case]:
    """Patterns and values of transformers, and the z that it makes of them."""
    made = []
    for source in sources():
        pattern, v, z = runs.seen(source, "pattern", "v", "z")
        made.append(source.case(pattern, v, expected=z))
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """One step."""
    return {"the weighted sum of the values": attention_values(*case.inputs)}


check = exercise(__file__, attention_values, Tensors(cases, PER_HEAD, stages))
