"""Recording what somebody's code computes, in any idiom, with each step's line."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.crash import line_of
from helpers.checks.observe import TOLERANCE

_MOST = 4000  # operations kept: a loop over heads and positions stays below that


@dataclass(frozen=True)
class Step:
    """One tensor that the person's code made, and the line that made it."""

    value: Tensor
    line: str


class Recorder(TorchFunctionMode):
    """Keeps every tensor that torch makes under it, in order."""

    def __init__(self, files: set[str]):
        super().__init__()
        self.files = files
        self.steps: list[Step] = []
        self.in_place: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if len(self.steps) < _MOST:
            for value in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(value, Tensor):
                    self.steps.append(Step(value.detach().clone(), self._line()))
        return out

    def _line(self) -> str:
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename in self.files:
                return line_of(frame, frame.f_lineno)
            frame = frame.f_back
        return ""


@dataclass(frozen=True)
class Departure:
    """How far an answer is right.

    Attributes:
        last: the last stage that the person's code makes, or None.
        first: the first stage after it, which the code never makes; None where the
            last stage of all was made, and something more was done after it.
        line: the person's line where the two part, or "".
    """

    last: str | None
    first: str | None
    line: str


Values = Tensor | tuple[Tensor, ...]  # several: each is as good as the others


def first_departure(
    stages: dict[str, Values | dict[str, Values]], steps: list[Step]
) -> Departure | None:
    """Compare the stages of the right computation with what was recorded.

    A stage counts as made when some recorded tensor holds the same numbers, in
    whatever order of axes. Stages that a right answer may well skip (one fused call
    makes none of them) do no harm: only what follows the *last* stage that was made
    is called a departure. Stages in a dictionary of their own are made side by side
    (q, k and v): where one of them is the last, all of them should be there.
    """
    groups = [
        value if isinstance(value, dict) else {name: value}
        for name, value in stages.items()
    ]
    values = {name: value for group in groups for name, value in group.items()}
    found = {}
    for name, value in values.items():
        fingerprints = _fingerprints(value)
        for i, step in enumerate(steps):
            if any(_alike(fingerprint, step.value) for fingerprint in fingerprints):
                found[name] = i
                break
    names = list(values)
    made = [name for name in names if name in found]
    if made and made[-1] == names[-1]:
        line = _next_numbers(steps[found[names[-1]] + 1 :], values[names[-1]])
        return Departure(names[-1], None, line) if line else None
    last = told = made[-1] if made else None
    first = names[names.index(last) + 1] if last else names[0]
    group = next((g for g in groups if last in g), {})
    missing = [name for name in group if name not in found]
    if missing:
        first, told = missing[0], " and ".join(n for n in group if n in found)
        before = [n for n in made if names.index(n) < names.index(first)]
        last = before[-1] if before else None
    after = steps[found[last] + 1 :] if last else steps
    line = _next_numbers(after, values[last] if last else ())
    return Departure(told, first, line)


def _next_numbers(steps: list[Step], good: Values) -> str:
    """The first line that makes new numbers: views of good ones are good as well."""
    fingerprints = _fingerprints(good)
    for step in steps:
        if step.line and not any(_alike(g, step.value) for g in fingerprints):
            if step.value.is_floating_point() and not _only_two_values(step.value):
                return step.line
    return ""


def _only_two_values(value: Tensor) -> bool:
    """A mask, zeros or ones: made on the way, and no part of the numbers."""
    return value.numel() > 1 and value.unique().numel() <= 2


def _fingerprints(value: Values) -> list[Tensor]:
    return [_sorted(v) for v in (value if isinstance(value, tuple) else (value,))]


def _sorted(value: Tensor) -> Tensor:
    return value.detach().flatten().double().sort().values


def _alike(fingerprint: Tensor, value: Tensor) -> bool:
    if value.numel() != fingerprint.numel() or not value.is_floating_point():
        return False
    value = torch.nan_to_num(_sorted(value), neginf=-1e30, posinf=1e30)
    fingerprint = torch.nan_to_num(fingerprint, neginf=-1e30, posinf=1e30)
    finite = fingerprint.abs() < 1e4  # masked scores may hold -1e5 as well as -inf
    if not torch.equal(finite, value.abs() < 1e4):
        return False
    kept, mine = fingerprint[finite], value[finite]
    scale = kept.abs().max().item() if kept.numel() else 1.0
    return torch.allclose(kept, mine, rtol=0, atol=10 * TOLERANCE * scale)
