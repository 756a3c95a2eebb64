"""Running an answer, the course's or a wrong one on a case, and comparing."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from helpers.checks.case import Case, noise
from helpers.checks.parameters import Runner, build, built_once

# Of the output's largest value. float32 carries 6e-8 of each number; sums over
# d_model and d_mlp terms, in whatever order an answer adds them, lose about 1e-6 of
# the scale. The smallest catalogued mistake (n - 1 at d_model 768) shifts the output
# by 6.5e-4 of it, so 2e-5 stands well clear of both.
TOLERANCE = 2e-5


@dataclass
class Seen:
    """What came of one run.

    Attributes:
        output: what was returned, whatever it is.
        error: the exception, if one was raised.
        changed: whether an input was changed in place.
        gradients: by name, after a backward pass; None where there is none.
    """

    output: object = None
    error: BaseException | None = None
    changed: bool = False
    gradients: dict[str, Tensor | None] = field(default_factory=dict)


def same(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Equal shapes, and values within a tolerance relative to the largest finite one.

    NaN equals NaN and an infinity its like, so that a mistake that makes NaN is
    recognised by it.
    """
    if a.shape != b.shape or a.device != b.device:
        return False
    if not (a.is_floating_point() or b.is_floating_point()):
        return torch.equal(a, b)
    a, b = a.detach().double(), b.detach().double()
    finite = b[b.isfinite()].abs()
    scale = finite.max().item() if finite.numel() else 1.0
    return torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)


def unchanged(x: Tensor, before: Tensor) -> bool:
    """Equal to the last bit."""
    return x.shape == before.shape and torch.equal(x.nan_to_num(), before.nan_to_num())


def attempted(function: Callable, *args) -> Seen:
    """What a call returns; an exception is a result as well."""
    try:
        return Seen(function(*args))
    except Exception as error:  # Hang is not an Exception: it ends the check
        return Seen(error=error)


def called(runner: Runner, case: Case, inputs: tuple[Tensor, ...]) -> object:
    """What is returned, given these inputs and clones of all else."""
    extra = {
        k: v.clone() if isinstance(v, Tensor) else v for k, v in case.extra.items()
    }
    return runner(*inputs, **extra)


def run(runner: Runner, case: Case) -> Seen:
    """Call with clones of the case's inputs."""
    inputs = tuple(x.clone() for x in case.inputs)
    seen = attempted(called, runner, case, inputs)
    stays = all(map(unchanged, inputs, case.inputs))
    seen.changed = seen.error is None and not stays
    return seen


def run_backward(
    runner: Runner,
    params: dict[str, nn.Parameter],
    case: Case,
    view: Callable[[Tensor], Tensor],
) -> Seen:
    """The same, and gradients of a fixed random projection of the output."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in case.inputs]
    named = {f"input {i}": x for i, x in enumerate(inputs)} | params
    wanted = {name: x for name, x in named.items() if x.requires_grad}
    # The extra 1.0 lets code that works in place do so: no leaf is touched.
    inputs = tuple(x * 1.0 if x.requires_grad else x for x in inputs)
    try:
        output = called(runner, case, inputs)
        seen = view(output)
        if not seen.requires_grad:
            return Seen(output, gradients=dict.fromkeys(wanted))
        finite = torch.where(seen.isfinite(), seen, 0.0)
        total = (finite * noise(1, *seen.shape, seed=11)).sum()
        gradients = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    except Exception as error:
        return Seen(error=error)
    return Seen(output, gradients=dict(zip(wanted, gradients, strict=True)))


def mutant_run(answer, own, case: Case, view: Callable | None = None) -> Seen:
    """The course's own answer, or a wrong one made of it, on a case.

    With a view, of which gradients are to be taken, a backward pass too.
    """
    try:
        runner = _assembled(answer, own, case)
    except Exception as error:
        return Seen(error=error)
    if view is not None:
        params = dict(runner.named_parameters()) if isinstance(answer, type) else {}
        return run_backward(runner, params, case, view)
    with torch.no_grad():
        return run(runner, case)


def _assembled(answer, own, case: Case) -> Runner:
    """A wrong answer, ready to run. Where a class begins as the course's does, it
    shares that one's parameters: to build it anew takes longer than to run it."""
    if not isinstance(answer, type):
        return answer
    base = built_once(own, case)
    if answer is own:
        return base
    if base is not None and _begins_alike(answer, own):
        module = object.__new__(answer)
        module.__dict__ = dict(vars(base))
        return module
    built = build(answer, case)
    if built.module is None:
        raise built.error or TypeError(built.mistakes[0].message)
    return built.module


def _begins_alike(a: type, b: type) -> bool:
    """Whether two `__init__` have the same code, and lean on nothing around it."""
    codes = [getattr(cls.__init__, "__code__", None) for cls in (a, b)]
    free = getattr(codes[0], "co_freevars", ())
    return codes[0] == codes[1] and set(free) <= {"__class__"}
