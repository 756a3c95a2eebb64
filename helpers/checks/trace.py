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
        first: the first stage after it, which the code never makes.
        line: the person's line where the two part, or "".
    """

    last: str | None
    first: str
    line: str


def first_departure(stages: dict[str, Tensor], steps: list[Step]) -> Departure | None:
    """Compare the stages of the right computation with what was recorded.

    A stage counts as made when some recorded tensor holds the same numbers, in
    whatever order of axes. Stages that a right answer may well skip (one fused call
    makes none of them) do no harm: only what follows the *last* stage that was made
    is called a departure.
    """
    names = list(stages)
    found = {}
    for name in names:
        fingerprint = _sorted(stages[name])
        for i, step in enumerate(steps):
            if _alike(fingerprint, step.value):
                found[name] = i
                break
    made = [name for name in names if name in found]
    if made and made[-1] == names[-1]:
        return None
    last = made[-1] if made else None
    first = names[names.index(last) + 1] if last else names[0]
    after = steps[found[last] + 1 :] if last else steps
    # Views of the last good tensor are still right; the line of interest is the
    # first that makes new numbers.
    good = _sorted(stages[last]) if last else None
    for step in after:
        if step.line and (good is None or not _alike(good, step.value)):
            if step.value.is_floating_point():
                return Departure(last, first, step.line)
    return Departure(last, first, "")


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
