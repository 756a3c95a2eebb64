"""What an answer to `shares` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb01_building_blocks.warm_ups import residual, sources


def cases() -> list[Case]:
    """Positive numbers, whose sums are far from 0.

    One text is as long as it is wide: there, sums without their axis line up with the
    features, and nothing raises.
    """
    made = [
        Case(source.label, source.cfg, (residual(source).exp(),), detail=detail)
        for source, detail in sources()
    ]
    made[0].grad = made[-1].grad = True
    square = noise(1, 5, 5).exp()
    small = made[0]
    return [
        *made,
        Case(small.source, small.cfg, (square,), detail="where a text is square"),
    ]


check = exercise(
    __file__,
    "shares",
    Tensors(cases, axes=("batch", "position", "d_model"), against="the target"),
    keep=False,
)
