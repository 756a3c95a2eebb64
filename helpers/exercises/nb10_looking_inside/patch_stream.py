"""What an answer to `patch_stream` is compared with."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers import inside
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import Inside, both


@dataclass(frozen=True)
class Pair:
    """Two texts of one model: `clean` are the activations of the other one's run."""

    subject: Inside
    clean: dict[str, Tensor]

    @staticmethod
    def metric(logits: Tensor) -> float:
        """One logit less another, at the last position, mean over the batch."""
        return (logits[:, -1, 1] - logits[:, -1, 2]).mean().item()


def cases() -> list[Case]:
    """Texts of which all tokens differ, so that each position counts."""
    made = []
    for subject, width in zip(both(), (5, 3), strict=True):
        tokens = subject.tokens[:, :width]
        shift = 1 + torch.arange(tokens.shape[1])
        other = (tokens + shift) % subject.source.cfg.d_vocab
        with torch.no_grad():
            _, clean = inside.run_with_cache(subject.model, other)
        made.append(subject.case(tokens, extra={"pair": Pair(subject, clean)}))
    return made


def of_pair(answer):
    """An answer `f(model, tokens, clean, metric)` as a function of a pair."""

    @functools.wraps(answer)
    def on_pair(tokens, pair):
        clean = {name: value.clone() for name, value in pair.clean.items()}
        with torch.no_grad():
            return answer(pair.subject.model, tokens, clean, pair.metric)

    return on_pair


check = exercise(
    __file__,
    "patch_stream",
    Tensors(
        cases,
        axes=("layer", "position"),
        prepare=of_pair,
        against="the course's",
    ),
    scope={"run_with_edits": inside.run_with_edits},
    keep=False,
)
