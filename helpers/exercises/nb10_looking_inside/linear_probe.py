"""What an answer to `linear_probe` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise


def cases() -> list[Case]:
    """Random vectors, in float64, with labels that they half explain."""
    made = []
    for seed, (n, width, classes) in enumerate([(90, 7, 3), (60, 4, 5), (40, 6, 2)]):
        x = noise(n, width, seed=150 + seed).double() + 0.7
        towards = noise(width, classes, seed=160 + seed).double()
        blur = noise(n, classes, seed=170 + seed).double()
        labels = (x @ towards + 2 * blur).argmax(-1)
        labels[:classes] = torch.arange(classes)  # each is there
        made.append(
            Case("random vectors", STIRRED, (x, labels), detail=f"{classes} classes")
        )
    return made


def facts(found: Tensor, case: Case) -> list[Mistake]:
    """The normal equations: what is left over is at right angles to every input."""
    x, labels = case.inputs
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    x = torch.cat([x, ones], dim=1)
    targets = torch.nn.functional.one_hot(labels).to(x.dtype)
    left = (x.T @ (x @ found - targets)).abs().max().item()
    told = "Yours is not the least-squares solution: moving one of its numbers would "
    told += f"make the squares smaller (slope {left:.3g}, where it should be 0)."
    hint = "`torch.linalg.lstsq(inputs, targets).solution`, no step of your own"
    return [Mistake("not-least-squares", told, hint)]


check = exercise(
    __file__,
    "linear_probe",
    Tensors(
        cases,
        axes=("d_model + 1", "n_classes"),
        facts=facts,
        against="the least-squares solution",
    ),
    keep=False,
)
