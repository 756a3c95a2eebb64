"""What an answer to `shares` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, exercise, stirred
from helpers.exercises.nb01_building_blocks.warm_ups import of, sources


def cases() -> list[Case]:
    """Positive numbers, whose sums are far from 0.

    One text is as long as it is wide: there, sums without their axis line up with the
    features, and nothing raises.
    """
    take, square = of("hook_resid_pre"), noise(1, 5, 5).exp()
    made = [source.case(*(x.exp() for x in take(source))) for source in sources()]
    return [*made, stirred().case(square, detail="where a text is square")]


kind = Tensors(cases, STREAM, against="the target")
check = exercise(__file__, "shares", kind, keep=False)
