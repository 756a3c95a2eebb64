"""What an answer to `learning_rate` is tried out on."""

from torch import Tensor

from helpers.checks.report import Mistake
from helpers.checks.trials import Outcome, Trial, Trials, Unusable, attempt, equal
from helpers.exercises.course import exercise
from helpers.training import learning_rate


def _trial(steps: int, peak: float, lowest: float, warmup: int) -> Trial:
    def act(answer) -> Outcome:
        rates = {}
        for step in range(steps):
            rate = answer(step, steps, peak, lowest, warmup)
            rate = rate.item() if isinstance(rate, Tensor) else rate
            if not isinstance(rate, (int, float)):
                kind = "None" if rate is None else type(rate).__name__
                raise Unusable(f"at step {step} your function returns {kind}")
            call = f"learning_rate({step}, {steps}, {peak}, {lowest}, {warmup})"
            rates[call] = float(rate)
        return rates

    return Trial(act)


def trials() -> list[Trial]:
    """All rates of two runs."""
    return [_trial(20, 1.0, 0.1, 5), _trial(37, 2e-3, 1e-4, 10)]


def at_the_ends(answer) -> Mistake | None:
    """A run without a warmup, and one that is all warmup."""
    for steps, warmup in ((9, 0), (6, 6)):
        trial = _trial(steps, 1.0, 0.1, warmup)
        mine, right = attempt(answer, trial), attempt(learning_rate, trial)
        if not equal(mine, right):
            told = (
                f"Right in other runs, but not with steps = {steps}, warmup = {warmup}"
            )
            told += f": {mine.error}." if mine.error else "."
            return Mistake("wrong-at-the-ends", told, "try it with these, step by step")
    return None


kind = Trials(trials, finish=at_the_ends)
check = exercise(__file__, learning_rate, kind, pairs=True, keep=False)
