"""Exercises whose answers act: on lists, gradients, a model or an optimizer."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from helpers.checks import crash
from helpers.checks.explain import explain, explained, same_error, told
from helpers.checks.report import Findings, Mistake, mistake
from helpers.checks.run import Seen, attempted, same

# Of the largest value: sums of some hundred float32 terms, in any order, agree to
# about 1e-6; torch's own clip_grad_norm_ adds 1e-6 to the norm. The smallest mistake
# here moves a rate by a hundredth.
TOLERANCE = 2e-5

TRACE = "trace"  # what does not make an answer right or wrong, and tells mistakes apart

# What came of a trial: values and tensors, by what a person would call them.
Outcome = dict[str, object]


@dataclass(eq=False)
class Trial:
    """One call of an answer, on objects made for this call.

    Attributes:
        act: calls the answer it is given, and tells what came of it.
        made: what the course's and wrong answers came to.
    """

    act: Callable[[Callable], Outcome]
    made: dict = field(default_factory=dict, init=False)


def attempt(answer, trial: Trial) -> Seen:
    """One trial; an exception is a result as well."""
    with torch.random.fork_rng(devices=[]):
        return attempted(trial.act, answer)


@dataclass(frozen=True)
class Trials:
    """Answers that are tried out, and judged by what came of it.

    Attributes:
        trials: makes them.
        finish: looks at a right answer once more; a note, a Mistake, or None.
        prepare: makes an accepted variant of an answer the usual one.
        fact: what can be said of an outcome that no mistake explains.
        summary: what a passing answer has done; {} stands for the number of trials.
    """

    trials: Callable[[], list[Trial]]
    finish: Callable[[Callable], str | Mistake | None] | None = None
    prepare: Callable | None = None
    fact: Callable[[Seen, Seen], list[Mistake]] | None = None
    summary: str = "Right in {} trials."

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        trials = check.cases(self.trials)
        seen = [attempt(candidate, trial) for trial in trials]
        if any(crash.left_blank(one.error) for one in seen):
            return check.to_do(candidate)

        def run(answer, trial):  # computed once
            if answer not in trial.made:
                usual = self.prepare(answer) if self.prepare else answer
                trial.made[answer] = attempt(usual, trial)
            return trial.made[answer]

        right = [run(check.own, trial) for trial in trials]
        off = [i for i in range(len(trials)) if not equal(seen[i], right[i])]
        if off:
            found = explained(check, run, trials, seen, equal, run)
            if len(found) > 1:  # what cannot be seen from the result may still tell
                found = explain(found, run, trials, seen, traces_equal) or found
            if found:
                return told(found, check.link)
            return Findings(tuple(self._facts(candidate, seen[off[0]], right[off[0]])))
        note = self.finish(candidate) if self.finish else None
        if isinstance(note, Mistake):
            return Findings((note,))
        notes, summary = (note,) if note else (), self.summary.format(len(trials))
        return Findings(notes=notes, summary=summary)

    def _facts(self, candidate, mine: Seen, good: Seen) -> list[Mistake]:
        """The first thing that is not as it should be."""
        if mine.error is not None:
            return [crash.describe(mine.error, candidate)]
        found = self.fact(mine, good) if self.fact else []
        if found:
            return found
        for name, value in good.output.items():
            got = mine.output.get(name)
            if name != TRACE and not alike(got, value):
                words = {"name": name, "got": shown(got), "want": shown(value)}
                return [mistake("wrong-outcome", "wrong-result", **words)]
        return [mistake("more-than-it-should", "wrong-result")]


def equal(a: Seen, b: Seen, traces: bool = False) -> bool:
    """The same came of two attempts."""
    if a.error is not None or b.error is not None:
        return same_error(a, b)
    return a.output.keys() == b.output.keys() and all(
        alike(a.output[name], b.output[name])
        for name in b.output
        if traces or name != TRACE
    )


def traces_equal(a: Seen, b: Seen) -> bool:
    """The same came of them, in the same way."""
    return equal(a, b, traces=True)


class Unusable(Exception):
    """What was returned cannot be used; its text is for the learner."""


def returned(value, count: int, what: str) -> tuple:
    """The values of a tuple or list of `count`; anything else is Unusable."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        kind = "None" if value is None else type(value).__name__
        raise Unusable(f"your function returns {kind}; it should return {what}")
    return tuple(value)


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


def shown(value) -> str:
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


@dataclass(frozen=True)
class Calls:
    """Functions on plain Python values: what a call returns can be told in full.

    Attributes:
        arguments: makes them, a tuple for each call.
        what: what they are, for the summary: "lists of tokens".
    """

    arguments: Callable[[], list[tuple]]
    what: str

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        cases, seen = self.arguments(), []
        for arguments in cases:
            given = copy.deepcopy(arguments)
            seen.append(attempted(candidate, *given))
            if seen[-1].error is not None:
                where = f" on `{_call(check, arguments)}`"
                return check.stopped(seen[-1].error, candidate, where)
            if given != arguments:
                return Findings((mistake("changes-its-list", "changes-its-input"),))

        def run(answer, arguments):
            return attempted(answer, *copy.deepcopy(arguments))

        right = [run(check.own, arguments) for arguments in cases]
        off = [i for i, one in enumerate(seen) if not _returns_alike(one, right[i])]
        if not off:
            return Findings(summary=f"Right on {len(cases)} {self.what}.")
        found = explained(check, run, cases, seen, _returns_alike)
        if found:
            return told(found, check.link)
        got, want = seen[off[0]].output, right[off[0]].output
        call = _call(check, cases[off[0]])
        hint = "go through this list by hand, as your code does"
        hint = "end with `return ...`" if got is None else hint
        words = {"call": call, "got": f"{got!r:.200}", "want": repr(want), "hint": hint}
        return Findings((mistake("wrong-answer-to-a-call", "wrong-result", **words),))


def _call(check, arguments: tuple) -> str:
    return f"{check.title}({', '.join(map(repr, arguments))})"


def _returns_alike(a: Seen, b: Seen) -> bool:
    if a.error is not None or b.error is not None:
        return False
    return type(a.output) is type(b.output) and a.output == b.output
