"""What an answer to `repetition_penalty` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb08_generation import filtering
from helpers.generation import repetition_penalty


def cases() -> list[Case]:
    """Texts in which tokens occur once and more often; penalties on both sides of 1."""
    from transformers import RepetitionPenaltyLogitsProcessor

    small, big = stirred(), loaded()
    logits = filtering.last(small)
    texts = torch.cat([small.tokens, (small.tokens + 5) % small.cfg.d_vocab])
    twice = torch.cat([texts, texts[:, :3], texts[:, :1]], 1)
    given = [
        (small, logits, twice, ""),
        (small, logits[:1], twice[:1, :1], "on a batch of one, one token"),
        (small, logits - 20, twice, "with all logits negative"),
        (big, big.logits[:, -1], big.tokens, ""),
    ]
    return [
        Case(
            source=source.label,
            detail=detail,
            cfg=source.cfg,
            inputs=(logits, tokens),
            extra={"penalty": penalty},
            expected=RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits.clone()),
        )
        for source, logits, tokens, detail in given
        for penalty in (1.3, 0.8)
    ]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps, in order; some people change all logits, and choose then."""
    logits, tokens = case.inputs
    penalty = case.extra["penalty"]
    seen = logits.gather(-1, tokens)
    lower, all_lower = (
        torch.where(x > 0, x / penalty, x * penalty) for x in (seen, logits)
    )
    return {
        "the logits": logits,
        "the logits of the tokens in the text": seen,
        "the lowered logits": (lower, all_lower),
        "the logits with the penalty": case.expected,
    }


check = exercise(
    __file__,
    repetition_penalty,
    Tensors(
        cases,
        axes=("batch", "d_vocab"),
        stages=stages,
        prepare=filtering.positional,
        adapt=filtering.any_low_fill,
        against="transformers' own",
    ),
)
