"""What an answer to `logit_pushes` is compared with."""

import functools

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import Inside, both


def answer_to(subject: Inside) -> tuple[Tensor, Tensor]:
    """Two tokens for each row: what the model finds likeliest, and another."""
    count = len(subject.tokens)
    right = subject.source.logits[:, -1].argmax(-1)
    wrong = (right + 3 + torch.arange(count)) % subject.source.cfg.d_vocab
    return right, wrong


def cases() -> list[Case]:
    """Parts that the models' streams are made of, and random ones."""
    made = []
    for subject in both():
        last, more = subject.source.cfg.n_layers - 1, {"model": subject.model}
        cut = [f"blocks.{last}.hook_{n}" for n in ("resid_pre", "attn_out", "mlp_out")]
        parts = torch.stack([subject.cache[name][:, -1] for name in cut])
        made.append(subject.case(parts, *answer_to(subject), extra=more))
    small = both()[0]
    width, more = small.source.cfg.d_model, {"model": small.model}
    parts = noise(5, 3, width, seed=101, scale=1e-2)  # where eps shows
    right, wrong = torch.tensor([1, 20, 36]), torch.tensor([30, 2, 0])
    made.append(
        small.case(parts, right, wrong, extra=more, detail="on a stream near zero")
    )
    return made


def model_first(answer):
    """An answer `f(model, parts, right, wrong)`, its tensors first, for the cases."""

    @functools.wraps(answer)
    def with_model(parts, right, wrong, model):
        with torch.no_grad():
            return answer(model, parts, right, wrong)

    return with_model


check = exercise(
    __file__,
    "logit_pushes",
    Tensors(
        cases,
        axes=("part", "batch"),
        prepare=model_first,
        against="the course's, whose sum is the difference of the logits,",
    ),
    keep=False,
)
