"""What an answer to `ScaleAndShift` is compared with."""

from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, exercise
from helpers.exercises.nb01_building_blocks.warm_ups import of, sources


def cases() -> list[Case]:
    """The residual stream, with weights and a centre that hide nothing."""
    made = []
    for source in sources():
        w, b, centre = (noise(source.cfg.d_model, seed=seed) for seed in (1, 2, 3))
        more = {"params": {"w": w, "b": b}, "buffers": {"centre": centre}}
        made.append(source.case(*of("hook_resid_pre")(source), **more))
    return made


def fresh(parameters: dict[str, Tensor]) -> Mistake | None:
    """Where a new ScaleAndShift should start: w at 1, b at 0."""
    for name, value in {"w": 1, "b": 0}.items():
        if not parameters[name].eq(value).all():
            told = "The computation is right, and the starting values are not: "
            told += f"`{name}` starts at {value}, so that a new ScaleAndShift changes "
            told += "nothing."
            hint = "`nn.Parameter(torch.ones(...))` for w, "
            hint += "`nn.Parameter(torch.zeros(...))` for b"
            return Mistake("wrong-starting-values", told, hint)
    return None


kind = Tensors(cases, STREAM, fresh=fresh, against="the target")
check = exercise(__file__, "ScaleAndShift", kind, keep=False)
