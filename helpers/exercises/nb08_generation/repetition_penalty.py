"""What an answer to `repetition_penalty` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb08_generation import filtering
from helpers.generation import repetition_penalty


def cases() -> list[Case]:
    """Texts in which tokens occur once and more often; penalties on both sides of 1."""
    small, big = stirred(), loaded()
    logits = filtering.last(small)
    texts = torch.cat([small.tokens, (small.tokens + 5) % small.cfg.d_vocab])
    twice = torch.cat([texts, texts[:, :3], texts[:, :1]], 1)
    given = [
        (small, "", logits, twice),
        (small, "on a batch of one, one token", logits[:1], twice[:1, :1]),
        (small, "with all logits negative", logits - 20, twice),
        (big, "", big.logits[:, -1], big.tokens),
    ]
    penalties = [{"penalty": value} for value in (1.3, 0.8, 1.0)]
    return filtering.cases("RepetitionPenaltyLogitsProcessor", given, *penalties)


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps, in order; some people change all logits, and choose then."""
    logits, tokens = case.inputs
    penalty = case.extra["penalty"]
    seen = logits.gather(-1, tokens)
    lower, all_lower = (
        torch.where(x > 0, x / penalty, x * penalty) for x in (seen, logits)
    )
    return {
        "the logits of the tokens in the text": seen,
        "the lowered logits": (lower, all_lower),
        "the logits with the penalty": case.expected,
    }


kind = filtering.Filtered(cases, stages=stages)
check = exercise(__file__, repetition_penalty, kind)
