"""Lines found by running an answer again: where the first NaN comes from, and which
line makes other numbers from one call to the next."""

import re
import sys
from collections.abc import Set

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.case import Case
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
                self.found = (line, _why(func.__name__.strip("_"), before))
        return out


def _numbers(values: list) -> list[Tensor]:
    """Copies, for a function may write into what it is given."""
    numbers = [x for x in flat(values) if isinstance(x, (Tensor, float, int))]
    return [torch.as_tensor(x).detach().clone() for x in numbers]


def _why(name: str, given: list[Tensor]) -> tuple[str, str, str]:
    """Of what a function makes NaN: a slug, a sentence, and what to do."""
    zeros = [(x == 0).any() for x in given]
    infinite = [x.isinf().any() for x in given]
    product = re.search("mul|einsum|bmm|mm$|linear|dot", name)
    if product and any(infinite) and any(zeros):
        return (
            "infinity-times-zero",
            "0 times infinity is NaN, and both meet in this product.",
            "put the infinity in its place without a product: `masked_fill` and "
            "`torch.where` leave all other numbers alone",
        )
    if "div" in name and all(zeros[:2]):
        told = "0 divided by 0 is NaN, and both meet here."
        return "zero-by-zero", told, "what keeps the divisor away from 0?"
    if "softmax" in name and any(x.isneginf().all(-1).any() for x in given if x.ndim):
        told = "A row in which every number is −inf has no softmax: it is NaN."
        hint = "something must be left in every row: where are the rows that lose all?"
        return "softmax-of-nothing", told, hint
    negative = any((x < 0).any() for x in given)
    if re.search("sqrt|log|pow", name) and negative:
        told = f"`{name}` of a negative number is NaN, and there are such numbers here."
        return f"{name}-of-a-negative-number", told, "print the smallest of them"
    if re.search("add|sub|sum|mean|var|std", name) and any(infinite):
        told = "Infinity minus infinity is NaN, and both meet here."
        return "infinity-minus-infinity", told, "where does the infinity come from?"
    return "not-a-number", "The first NaN is made on this line.", "print what it reads"


def first_nan(runner: Runner, case: Case, files: Set[str]) -> Mistake | None:
    """The line on which numbers become NaN, and why; None where that is not found."""
    births = _Births(files)
    with torch.no_grad(), births:
        run(runner, case)
    if not births.found or not births.found[0]:
        return None
    line, (slug, told, hint) = births.found
    return Mistake(slug, f"Your output contains NaN. {told}", hint, line=line)


def random(runner: Runner, case: Case, files: Set[str]) -> Mistake:
    """Of an answer that makes other numbers at every call: the first line that does."""
    first, second = Recorder(files), Recorder(files)
    for recorder in (first, second):
        with torch.no_grad(), recorder:
            run(runner, case)
    pairs = zip(first.steps, second.steps, strict=False)
    line = next((a.line for a, b in pairs if not _equal(a.value, b.value)), "")
    hint = "look for dropout, random numbers, a layer that is made anew at every call, "
    hint += "or something kept from the first call"
    if re.search(r"\bnn\.(?!functional)[A-Z]\w*\(", line):
        hint = "a layer that is made here is a new one at every call, with new random "
        hint += "numbers: use what `__init__` makes"
    elif re.search("(?i)dropout", line):
        hint = "leave the dropout out: it draws anew at every call"
    told = "The same input gives another output the second time."
    return Mistake("random", told, hint, line=line or None)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
