"""Checks of functions that act: on lists, gradients, a model or an optimizer."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from helpers.checks import catalogue, crash
from helpers.checks.check import Check
from helpers.checks.observe import Seen, same
from helpers.checks.report import Mistake, Report

# A trial calls the function it is given, on objects made for this one call, and tells
# what came of it: values and tensors, by what a person would call them.
Outcome = dict[str, object]
Trial = Callable[[Callable], Outcome]

# Of the largest value: sums of some hundred float32 terms, in any order, agree to
# about 1e-6; torch's own clip_grad_norm_ adds 1e-6 to the norm. The smallest mistake
# here moves a rate by a hundredth.
TOLERANCE = 2e-5


@dataclass
class TrialCheck(Check):
    """A check of a function that acts on lists, gradients, a model or an optimizer.

    Attributes:
        finish: looks at a right answer once more; a note, or None.
    """

    finish: Callable[[Callable], str | Mistake | None] | None = field(default=None)

    def _examine(self, candidate) -> Report:
        early = self._not_judged(candidate)
        if early:
            return early
        trials = self.make_cases()
        seen = [attempt(trial, candidate) for trial in trials]
        if any(crash.left_blank(one.error) for one in seen):
            return self._to_do(candidate)
        right = [self._course(trial, {}) for trial in trials]
        off = [i for i in range(len(trials)) if not equal(seen[i], right[i])]
        if off:
            found = catalogue.explain(
                self.known, self._course, trials, seen, self.pairs, equal
            )
            if len(found) > 1:  # what cannot be seen from the result may still tell
                found = self._traced(found, trials, seen) or found
            if found:
                mistakes, one_of = catalogue.names_of(found)
                return self._failed(*mistakes, one_of=one_of)
            return self._failed(self._fact(candidate, seen[off[0]], right[off[0]]))
        note = self.finish(candidate) if self.finish else None
        if isinstance(note, Mistake):
            return self._failed(note)
        return Report(
            self.name,
            self.answer,
            "passed",
            notes=(note,) if note else (),
            summary=f"Right in {len(trials)} trials.",
        )

    def _course(self, trial: Trial, switches: dict) -> Seen:
        return attempt(trial, partial(self.compute, **switches))

    def _traced(self, found, trials, seen) -> list[catalogue.Explanation]:
        """Those explanations that left the same trace as well."""
        exact = []
        for explanation in found:
            switches = {k: v for one in explanation for k, v in one.switches.items()}
            made = [self._course(trial, switches) for trial in trials]
            if all(equal(a, b, traces=True) for a, b in zip(seen, made)):
                exact.append(explanation)
        return exact

    def _fact(self, candidate, mine: Seen, good: Seen) -> Mistake:
        """The first thing that is not as it should be."""
        if mine.error is not None:
            return crash.describe(mine.error, candidate)
        for name, value in good.output.items():
            if name == TRACE:
                continue
            got = mine.output.get(name)
            if not alike(got, value):
                return Mistake(
                    "wrong-result",
                    f"At {name} yours is {told(got)}; it should be {told(value)}.",
                    "go through this one case by hand, as your code does",
                )
        return Mistake("wrong-result", "Your code does more than it should.")


class Unusable(Exception):
    """What was returned cannot be used; its text is for the learner."""


def attempt(trial: Trial, function: Callable) -> Seen:
    """One trial; an exception is a result as well."""
    try:
        with torch.random.fork_rng(devices=[]):
            return Seen(trial(function))
    except Exception as error:
        return Seen(error=error)


TRACE = "trace"  # what does not make an answer right or wrong, and tells mistakes apart


def equal(a: Seen, b: Seen, traces: bool = False) -> bool:
    """The same came of two attempts."""
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error) and str(a.error) == str(b.error)
    return a.output.keys() == b.output.keys() and all(
        alike(a.output[name], b.output[name])
        for name in b.output
        if traces or name != TRACE
    )


def alike(a, b) -> bool:
    """Equal, numbers within the tolerance; a tensor of one number is a number."""
    a, b = _plain(a), _plain(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return same(a, b, TOLERANCE)
    numbers = (int, float)
    if isinstance(a, numbers) and isinstance(b, numbers):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9) or (
            a != a and b != b
        )
    return type(a) is type(b) and bool(a == b)


def _plain(value):
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else value.detach()
    return value


def told(value) -> str:
    """A value in a sentence."""
    value = _plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Tensor):
        if value.numel() <= 24:
            whole = not value.is_floating_point()
            return str(
                value.tolist() if whole else [f"{v:.4g}" for v in value.flatten()]
            )
        return (
            f"a tensor {list(value.shape)} that starts {value.flatten()[:4].tolist()}"
        )
    return str(value)[:300]


def returned(value, count: int, what: str) -> tuple:
    """The values of a tuple or list of `count`; anything else is Unusable."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        kind = "None" if value is None else type(value).__name__
        raise Unusable(f"your function returns {kind}; it should return {what}")
    return tuple(value)
