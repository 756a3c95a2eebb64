"""What an answer to `clipped_loss` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward import texts
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import clipped_loss


def cases() -> list[Case]:
    """Ratios inside and outside of the clip; then the first step, where all are 1."""
    made = []
    for seed, (what, lengths) in enumerate(texts.LENGTHS.items(), 151):
        old = texts.per_token(lengths, seed)
        moved = old + 0.3 * noise(*old.shape, seed=seed + 10).double()
        advantages = noise(len(lengths), seed=seed + 20).double()
        inputs = moved, old, texts.targets_of(lengths), advantages
        made.append(Case(what, STIRRED, inputs, grad=True))
    more = {"extra": {"clip": 0.05}, "grad": True}
    made.append(Case("a narrow clip", STIRRED, made[0].inputs, **more))
    first = made[0].inputs[1], *made[0].inputs[1:]
    made.append(Case("a first step", STIRRED, first, grad=True))
    return made


kind = Tensors(
    cases,
    axes=(),
    prepare=constants(3),
    against="the paper's equation written out",
)
check = exercise(__file__, clipped_loss, kind, pairs=True, keep=False)
