"""What an answer to `kl_estimates` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.exercises.nb13_learning_from_reward import texts
from helpers.exercises.nb13_learning_from_reward.texts import constants
from helpers.reward import kl_estimates


def cases() -> list[Case]:
    """Tokens that have become likelier, and less likely."""
    made = []
    for seed, (what, lengths) in enumerate(texts.LENGTHS.items(), 191):
        start = texts.per_token(lengths, seed)
        now = start + 0.8 * noise(*start.shape, seed=seed + 10).double()
        made.append(Case(what, STIRRED, (now, start), grad=True))
    return made


def stages(case: Case) -> dict:
    """The logarithm of the ratio, and each of the three."""
    now, start = case.inputs
    k1, k2, k3 = kl_estimates(now, start)
    return {
        "the difference": (now - start, start - now),
        "the estimates": {"k1": k1, "k2": k2, "k3": k3},
    }


kind = Tensors(
    cases,
    ("estimate", "batch", "position"),
    stages,
    prepare=constants(1),
    against="Schulman's three",
)
check = exercise(__file__, kl_estimates, kind, pairs=True, keep=False)
