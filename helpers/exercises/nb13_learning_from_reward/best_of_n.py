"""What an answer to `best_of_n` is tried out on."""

from torch import Tensor

from helpers.checks.trials import Outcome, Trial, Trials, Unusable
from helpers.exercises.course import exercise
from helpers.reward import best_of_n


def _trial(calls: list[tuple[float, int]]) -> Trial:
    def act(answer) -> Outcome:
        chances = {}
        for p, n in calls:
            chance = answer(p, n)
            if not isinstance(chance, (int, float, Tensor)):
                kind = "None" if chance is None else type(chance).__name__
                raise Unusable(f"best_of_n({p}, {n}) returns {kind}")
            chances[f"best_of_n({p}, {n})"] = float(chance)
        return chances

    return Trial(act)


def trials() -> list[Trial]:
    """Some chances, and the ends of their range."""
    return [
        _trial([(0.3, 1), (0.3, 2), (0.3, 4), (0.05, 8), (0.9, 3), (0.5, 20)]),
        _trial([(0.0, 5), (1.0, 5), (0.02, 200)]),
    ]


check = exercise(__file__, best_of_n, Trials(trials), keep=False)
