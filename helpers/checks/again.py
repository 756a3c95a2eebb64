"""Lines found by running an answer again: where the first NaN comes from, and which
line makes other numbers from one call to the next."""

import re
import sys
from collections.abc import Set

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.case import Case
from helpers.checks.general import mistake
from helpers.checks.observe import Runner, run
from helpers.checks.place import flat, line_of
from helpers.checks.report import Mistake
from helpers.checks.trace import Recorder


class _Births(TorchFunctionMode):
    """Finds the first NaN that is made of numbers which are none: its line, and why."""

    def __init__(self, files: Set[str]):
        super().__init__()
        self.files, self.found = files, ()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        before = [] if self.found else _numbers([*args, *kwargs.values()])
        out = func(*args, **kwargs)
        if not self.found and any(x.isnan().any() for x in _numbers([out])):
            if not any(x.isnan().any() for x in before):
                frame = sys._getframe(1)
                while frame is not None and frame.f_code.co_filename not in self.files:
                    frame = frame.f_back
                line = line_of(frame, frame.f_lineno) if frame else ""
                name = func.__name__.strip("_")
                self.found = line, name, _why(name, before)
        return out


def _numbers(values: list) -> list[Tensor]:
    """Copies, for a function may write into what it is given."""
    numbers = [x for x in flat(values) if isinstance(x, (Tensor, float, int))]
    return [torch.as_tensor(x).detach().clone() for x in numbers]


def _why(name: str, given: list[Tensor]) -> str:
    """Of what a function makes NaN: an entry of general.md."""
    zeros = [(x == 0).any() for x in given]
    infinite = [x.isinf().any() for x in given]
    product = re.search("mul|einsum|bmm|mm$|linear|dot", name)
    if product and any(infinite) and any(zeros):
        return "infinity-times-zero"
    if "div" in name and all(zeros[:2]):
        return "zero-by-zero"
    if "softmax" in name and any(x.isneginf().all(-1).any() for x in given if x.ndim):
        return "softmax-of-nothing"
    if re.search("sqrt|log|pow", name) and any((x < 0).any() for x in given):
        return "of-a-negative-number"
    if re.search("add|sub|sum|mean|var|std", name) and any(infinite):
        return "infinity-minus-infinity"
    return "first-nan"


def first_nan(runner: Runner, case: Case, files: Set[str]) -> Mistake | None:
    """The line on which numbers become NaN, and why; None where that is not found."""
    births = _Births(files)
    with torch.no_grad(), births:
        run(runner, case)
    if not births.found or not births.found[0]:
        return None
    line, name, why = births.found
    return mistake(why, line=line, function=name)


def random(runner: Runner, case: Case, files: Set[str]) -> Mistake:
    """Of an answer that makes other numbers at every call: the first line that does."""
    first, second = Recorder(files), Recorder(files)
    for recorder in (first, second):
        with torch.no_grad(), recorder:
            run(runner, case)
    pairs = zip(first.steps, second.steps, strict=False)
    line = next((a.line for a, b in pairs if not _equal(a.value, b.value)), "")
    text = "random"
    if re.search(r"\bnn\.(?!functional)[A-Z]\w*\(", line):
        text = "random-new-layer"
    elif re.search("(?i)dropout", line):
        text = "random-dropout"
    return mistake(text, "random", line=line)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
