"""What an answer to `apply_temperature` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb08_generation import filtering
from helpers.generation import apply_temperature


def cases() -> list[Case]:
    """Logits under a low and a high temperature."""
    process = filtering.theirs("TemperatureLogitsWarper")
    return filtering.cases(process, {"temperature": 0.6}, {"temperature": 1.7})


def stages(case: Case) -> dict[str, Tensor]:
    """The one step."""
    return {"the logits": case.inputs[0], "the division": case.expected}


check = exercise(
    __file__,
    apply_temperature,
    Tensors(
        cases,
        axes=("batch", "d_vocab"),
        stages=stages,
        prepare=filtering.positional,
        adapt=filtering.any_low_fill,
        against="transformers' own",
    ),
)
