"""What an answer to `learning_rate` is tried out on."""

from torch import Tensor

from helpers.checks.trials import Outcome, Trial, Trials, Unusable
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


check = exercise(__file__, learning_rate, Trials(trials), pairs=True, keep=False)
