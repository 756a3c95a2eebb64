"""What an answer to `dpo_loss` is compared with."""

import math

import torch

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward import texts
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import dpo_loss


def cases() -> list[Case]:
    """Pairs of texts of other lengths; then the start, where the loss is ln 2."""
    made = []
    lengths = {"three pairs": ([7, 3, 5], [4, 6, 2]), "two pairs": ([2, 8], [8, 5])}
    for seed, (what, both) in enumerate(lengths.items(), 211):
        targets = torch.stack([texts.targets_of([*one, 9])[:-1] for one in both])
        start = -1.5 + 0.5 * noise(*targets.shape, seed=seed).double()
        now = start + 0.4 * noise(*targets.shape, seed=seed + 10).double()
        for beta in (0.1, 0.7):
            case = Case(what, STIRRED, (now, start, targets), grad=True)
            case.extra, case.detail = {"beta": beta}, f"with beta {beta}"
            made.append(case)
    same = (start, start, targets)
    more = {"extra": {"beta": 0.3}, "expected": torch.tensor(math.log(2)).double()}
    at_start = Case("the start itself", STIRRED, same, **more)
    return [*made, at_start]


kind = Tensors(
    cases,
    axes=(),
    prepare=constants(1),
    against="the paper's equation written out",
)
check = exercise(__file__, dpo_loss, kind, pairs=True, keep=False)
