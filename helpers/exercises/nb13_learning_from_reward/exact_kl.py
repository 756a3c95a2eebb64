"""What an answer to `exact_kl` is compared with."""

import torch
from torch.distributions import Categorical, kl_divergence

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward import texts
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import exact_kl


def cases() -> list[Case]:
    """Distributions that differ much and little, and one and the same."""
    made = []
    for seed, (what, lengths) in enumerate(texts.LENGTHS.items(), 171):
        start, targets = texts.logits_of(lengths, seed), texts.targets_of(lengths)
        logits = start + texts.logits_of(lengths, seed + 10, 0.7)
        kl = kl_divergence(Categorical(logits=logits), Categorical(logits=start))
        expected = torch.where(targets != -100, kl, 0.0).sum() / len(targets)
        inputs = logits, start, targets
        made.append(Case(what, STIRRED, inputs, expected=expected, grad=True))
    return made


kind = Tensors(
    cases,
    axes=(),
    prepare=constants(1),
    against="torch.distributions' kl_divergence",
)
check = exercise(__file__, exact_kl, kind, pairs=True, keep=False)
