"""Lines found by running an answer again: where the first NaN comes from, what makes
other numbers from one call to the next, and what writes into an input."""

import contextlib
import re
import sys
from collections.abc import Set

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.case import Case
from helpers.checks.own_code import line_of, running
from helpers.checks.place import flat
from helpers.checks.report import Mistake, mistake
from helpers.checks.run import Runner, called, run, unchanged
from helpers.checks.trace import Recorder


class _Births(TorchFunctionMode):
    """Finds the first NaN that is made of numbers which are none."""

    def __init__(self, files: Set[str]):
        super().__init__()
        self.files, self.found = files, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        before = [] if self.found else _numbers([*args, *kwargs.values()])
        out = func(*args, **kwargs)
        if not self.found and _nan(_numbers([out])) and not _nan(before):
            name = func.__name__.strip("_")
            words = {"line": line_of(running(self.files)), "function": name}
            self.found = mistake(_why(name, before), **words)
        return out


def _nan(numbers: list[Tensor]) -> bool:
    return any(x.isnan().any() for x in numbers)


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
    return births.found if births.found and births.found.line else None


def random(runner: Runner, case: Case, files: Set[str]) -> Mistake:
    """Of an answer that makes other numbers at every call: the first line that does."""
    first, second = Recorder(files), Recorder(files)
    for recorder in (first, second):
        with torch.no_grad(), recorder:
            run(runner, case)
    pairs = zip(first.steps, second.steps, strict=False)
    line = next((a.line for a, b in pairs if not unchanged(a.value, b.value)), "")
    text = "random"
    if re.search(r"\bnn\.(?!functional)[A-Z]\w*\(", line):
        text = "random-new-layer"
    elif re.search("(?i)dropout", line):
        text = "random-dropout"
    return mistake(text, "random", line=line)


def line_that_writes(runner: Runner, case: Case, files: Set[str]) -> tuple:
    """The frame and number of the line that first writes into an input, or ().

    After each line of these files the inputs are looked at: they are changed by
    torch, by numpy or through `.data`, and only their values tell of all three.
    """
    inputs = tuple(x.clone() for x in case.inputs)
    last, found = (), ()

    def look(frame, event, _):
        nonlocal last, found
        if frame.f_code.co_filename not in files:
            return None
        if not found and not all(map(unchanged, inputs, case.inputs)):
            found = last
        last = frame, frame.f_lineno
        return look

    tracing = sys.gettrace()
    sys.settrace(look)
    try:
        with contextlib.suppress(Exception):
            called(runner, case, inputs)
    finally:
        if sys.gettrace() is look:
            sys.settrace(tracing)
    return found
