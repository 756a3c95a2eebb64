"""What an answer to `apply_temperature` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import exercise
from helpers.exercises.nb08_generation import filtering
from helpers.generation import apply_temperature


def cases() -> list[Case]:
    """Logits under a low and a high temperature, and under one that changes nothing."""
    settings = [{"temperature": value} for value in (0.6, 1.7, 1.0)]
    return filtering.cases("TemperatureLogitsWarper", filtering.given(), *settings)


def stages(case: Case) -> dict[str, Tensor]:
    """The one step."""
    return {"the division": case.expected}


kind = filtering.Filtered(cases, stages=stages)
check = exercise(__file__, apply_temperature, kind)
