"""What an answer to `policy_gradient_loss` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward import texts
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import policy_gradient_loss


def cases() -> list[Case]:
    """Texts of several lengths, some better than others and some worse."""
    made = []
    for seed, (what, lengths) in enumerate(texts.LENGTHS.items(), 131):
        advantages = noise(len(lengths), seed=seed).double()
        inputs = texts.logits_of(lengths, seed), texts.targets_of(lengths), advantages
        made.append(Case(what, STIRRED, inputs, grad=True))
    return made


kind = Tensors(
    cases,
    axes=(),
    prepare=constants(2),
    against="the sum written out",
)
check = exercise(__file__, policy_gradient_loss, kind, pairs=True, keep=False)
