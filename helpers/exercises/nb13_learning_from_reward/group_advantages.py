"""What an answer to `group_advantages` is compared with."""

import torch

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import group_advantages


def cases() -> list[Case]:
    """Rewards of 0 and 1, of any size, and groups in which all are alike."""
    drawn = torch.Generator().manual_seed(13)
    yes_or_no = (torch.rand(3, 5, generator=drawn) < 0.6).double()
    yes_or_no[0] = torch.tensor([1.0, 0, 0, 0, 0])
    alike = yes_or_no.clone()
    alike[1], alike[2] = 1.0, 0.0
    any_size = 2 + 3 * noise(2, 6, seed=3).double()
    small = 0.01 * noise(4, 3, seed=4).double()  # near eps
    return [
        Case(what, STIRRED, (rewards,))
        for what, rewards in (
            ("rewards of 0 and 1", yes_or_no),
            ("rewards of any size", any_size),
            ("groups in which all rewards are alike", alike),
            ("rewards that hardly differ", small),
        )
    ]


def stages(case: Case) -> dict:
    """The steps of the equation."""
    (rewards,) = case.inputs
    mean = rewards.mean(dim=1, keepdim=True)
    std = rewards.std(dim=1, keepdim=True, correction=0)
    return {
        "mean and deviation": {
            "the groups' means": (mean, mean[:, 0]),
            "the groups' deviations": (std, std[:, 0]),
        },
        "the difference from the mean": rewards - mean,
        "the advantages": group_advantages(rewards),
    }


kind = Tensors(
    cases,
    ("group", "sample"),
    stages,
    prepare=constants(0),
    against="the equation of the paper",
)
check = exercise(__file__, group_advantages, kind, pairs=True, keep=False)
