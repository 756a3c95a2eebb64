"""What an answer to `clip_gradients` is tried out on."""

import math

from torch import nn

from helpers.checks.case import noise
from helpers.checks.report import Mistake
from helpers.checks.trials import Outcome, Trial, Trials, attempt, equal
from helpers.exercises.course import exercise
from helpers.training import clip_gradients

SHAPES = ((4, 3), (5,), (2, 3, 2), (3,))


def _parameters(scale: float) -> list[nn.Parameter]:
    """Parameters with gradients of several lengths; the last has none."""
    made = [nn.Parameter(noise(*shape, seed=60 + i)) for i, shape in enumerate(SHAPES)]
    for i, p in enumerate(made[:-1]):
        p.grad = scale * (i + 1) * noise(*p.shape, seed=70 + i)
    return made


def _trial(scale: float, max_norm: float, once: bool = False) -> Trial:
    """Gradients of some length; `once`: handed over as a generator."""
    parts = [p.grad.norm().item() for p in _parameters(scale)[:-1]]
    length = f"the joint length of all gradients {math.hypot(*parts):.3g}"
    situation = f"with {length} and max_norm {max_norm:g}"

    def act(answer) -> Outcome:
        parameters = _parameters(scale)
        norm = answer(iter(parameters) if once else parameters, max_norm)
        outcome = {
            f"{situation}, gradient {i} afterwards": p.grad
            for i, p in enumerate(parameters)
        }
        outcome[f"{situation}, the length that you return"] = norm
        return outcome | {
            f"parameter {i} itself": p.data for i, p in enumerate(parameters)
        }

    return Trial(act)


def trials() -> list[Trial]:
    """Limits below and above the length, and below and above 1."""
    given = [(1.0, 2.0), (0.01, 2.0), (0.7, 0.5), (0.02, 0.5), (0.15, 1.0)]
    return [_trial(scale, max_norm) for scale, max_norm in given]


def takes_a_generator(answer) -> Mistake | None:
    """`model.parameters()` can be gone through once only."""
    trial = _trial(1.0, 2.0, once=True)
    if equal(attempt(answer, trial), attempt(clip_gradients, trial)):
        return None
    return Mistake(
        "generator-used-up",
        "It works on a list and not on `model.parameters()`, which is a generator: "
        "after your first loop it is used up, and the second sees nothing.",
        "make a list first: `gradients = [p.grad for p in parameters if ...]`",
    )


kind = Trials(trials, finish=takes_a_generator)
check = exercise(__file__, clip_gradients, kind, pairs=True, keep=False)
