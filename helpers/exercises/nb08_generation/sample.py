"""What an answer to `sample` is compared with: the probabilities of its draws."""

import math

import torch
from torch import Tensor

from helpers.checks.draws import ERROR, Draws, chance
from helpers.checks.report import Mistake
from helpers.exercises.course import exercise
from helpers.generation import sample


def contests() -> list[Tensor]:
    """Logits [2, 9] whose probabilities are far from uniform, and from each other.

    Then one row of them, further down: an answer that loops over the rows is slow.
    """
    probs = torch.tensor(
        [
            [0.36, 0.02, 0.24, 0.00, 0.12, 0.08, 0.10, 0.03, 0.05],
            [0.05, 0.30, 0.01, 0.20, 0.04, 0.06, 0.00, 0.24, 0.10],
        ]
    )
    logits = probs.log()  # a probability of 0 is a logit of -inf
    return [logits + 1.5, logits[1:] - 4.0]


def facts(seen: list[Tensor], contests: list[Tensor]) -> list[Mistake]:
    """The temperature of draws from a softmax of the logits times a number."""
    tried = {
        power: chance(seen, [(power * logits).softmax(-1) for logits in contests])
        for power in torch.arange(0.05, 6, 0.05).tolist()
    }
    power = min(tried, key=lambda power: tried[power][0])
    if tried[power][1] < ERROR or math.isclose(power, 2, abs_tol=0.06):
        return []  # of the squared probabilities the page knows more
    told = f"Your frequencies are those of logits multiplied by about {power:.2f}."
    hint = "draw from the softmax as it is, with no temperature and no power"
    return [Mistake("logits-scaled", told, hint)]


check = exercise(__file__, sample, Draws(contests, facts))
