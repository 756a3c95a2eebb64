"""What an answer to `top_p` is compared with."""

from dataclasses import replace

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import exercise
from helpers.exercises.nb08_generation import filtering
from helpers.generation import top_p


def cases() -> list[Case]:
    """Logits with a p that one token, some or nearly all of them reach."""
    settings = {"p": 0.05}, {"p": 0.6}, {"p": 0.93}
    made = filtering.cases("TopPLogitsWarper", filtering.given(), *settings)
    return [
        replace(case, expected=_canonical(case.expected, case.inputs[0]))
        for case in made
    ]


def _canonical(output: Tensor, logits: Tensor) -> Tensor:
    """Of equal logits of which some stay, let those with the lowest ids stay.

    Which of them stays is a matter of the sort, and all are equally right.
    """
    if output.shape != logits.shape or not output.is_floating_point():
        return output
    stays = output > -filtering.INF
    if not torch.equal(output[stays], logits[stays]):
        return output
    by_id = logits.argsort(dim=-1, stable=True)
    stays_first = (~stays).to(torch.uint8).argsort(dim=-1, stable=True)
    by_stay = logits.gather(-1, stays_first).argsort(dim=-1, stable=True)
    by_stay = stays_first.gather(-1, by_stay)
    return torch.empty_like(output).scatter(-1, by_id, output.gather(-1, by_stay))


def adapt(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    """Accept any low fill, and either of two equal tokens."""
    output, note = filtering.any_low_fill(output, case)
    return _canonical(output, case.inputs[0]), note


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps, in order; some people sort the other way round."""
    (logits,) = case.inputs
    probs = logits.softmax(-1)
    ordered = probs.sort(dim=-1, descending=True).values
    total, rising = ordered.cumsum(-1), ordered.flip(-1).cumsum(-1)
    return {
        "the probabilities": probs,
        "the running sums": (total, total - ordered, rising, 1 - rising),
        "the logits with -inf": case.expected,
    }


kind = filtering.Filtered(cases, stages=stages, facts=filtering.facts, adapt=adapt)
check = exercise(__file__, top_p, kind)
