"""What an answer to `gelu_new` is compared with."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.model import gelu_new

# Exact GELU and the tanh form are 4.7e-4 apart at most, near |x| = 2.7, and a
# constant of 0.0447 instead of 0.044715 moves the result by 8e-6. float32's own noise
# is near 2e-7 of the scale here: no sums, a handful of roundings.
TOLERANCE = 2e-6


def cases() -> list[Case]:
    """A fine grid where the wrong curves part, large numbers, real activations."""
    small, big = stirred(), loaded()
    act = small.reference.model.transformer.h[1].mlp.act
    grid, real = "a grid of numbers", f"activations of {big.label}"
    grid, real = replace(small, label="a grid of numbers"), "activations of "
    given = [
        # the scale of the output is 3 here, so the tolerance is 6e-6
        (grid, "", torch.linspace(-6, 3, 181).reshape(1, -1)),
        (grid, "on a single number", torch.tensor([1.5])),
        (grid, "on numbers up to 20", 20 * torch.linspace(-1, 1, 80).reshape(2, 5, 8)),
        (grid, "on random activations", small.cache["blocks.1.mlp.hook_pre"]),
        (
            replace(small, label=real + big.label),
            "",
            big.cache["blocks.0.mlp.hook_pre"],
        ),
    ]
    return [
        source.case(x, detail=detail, expected=act(x).detach())
        for source, detail, x in given
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,) = case.inputs
    bracket = x + 0.044715 * x.pow(3)
    inner = math.sqrt(2 / math.pi) * bracket
    return {
        "x³": x.pow(3),
        "the bracket x + 0.044715·x³": bracket,
        "tanh's argument": inner,
        "the tanh": inner.tanh(),
        "the result": gelu_new(x),
    }


def facts(output: Tensor, case: Case) -> list[Mistake]:
    """The constant that an otherwise right curve was drawn with."""
    x = case.inputs[0].double()
    inner = torch.atanh(2 * output.double() / x - 1) / math.sqrt(2 / math.pi)
    found = ((inner - x) / x**3)[(x.abs() > 0.5) & (x.abs() < 1.5)]
    if not found.numel() or not found.isfinite().all():
        return []
    c = found.median().item()
    if (found - c).abs().max() > 1e-4:
        return []
    told = f"Your curve is GELU's with the constant {c:.4g}; GPT-2's is 0.044715."
    return [Mistake("another-constant", told, "0.044715 · x³: look at each digit")]


axes = ("batch", "position", "d_mlp")
kind = Tensors(cases, axes, stages, facts=facts, tolerance=TOLERANCE)
check = exercise(__file__, gelu_new, kind)
