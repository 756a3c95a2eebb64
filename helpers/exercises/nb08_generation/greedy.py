"""What an answer to `greedy` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb08_generation import generating
from helpers.generation import greedy


def cases() -> list[Case]:
    """Prompts of both models, of several lengths; one meets the end token, 0."""
    small, one_layer, big = stirred(), stirred(n_layers=1), loaded()
    given = [
        (small, generating.TEXTS, 5, ""),
        (small, small.tokens[1:, :1], 4, "from a single token"),
        (small, small.tokens[:, :6], 1, "with one new token"),
        (one_layer, torch.tensor([[8, 31]]), 5, "past an end token"),
        (big, big.tokens[:, :5], 5, ""),
    ]
    return [
        generating.case(generating.Logits(source.reference), source, *more)
        for source, *more in given
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of each round, in order."""
    (tokens,), model, steps = case.inputs, case.extra["model"], {}
    for i in range(case.extra["n_new"]):
        logits = model(tokens)[:, -1]
        new = logits.argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, new], dim=1)
        steps |= {
            f"the last position's logits in round {i + 1}": logits,
            f"the new token in round {i + 1}": new,
            f"the text after round {i + 1}": tokens,
        }
    return steps


check = exercise(
    __file__,
    greedy,
    Tensors(
        cases,
        axes=("batch", "position"),
        stages=stages,
        prepare=generating.model_first,
        against="transformers' `generate`",
    ),
)
