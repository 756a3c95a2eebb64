"""What an answer to `beam_search` is compared with."""

import copy
from functools import cache

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.exercises.nb08_generation import generating
from helpers.generation import beam_search
from helpers.reference import Reference


@cache
def undecided() -> Source:
    """A small random GPT-2 that is never sure, so that greedy is seldom the best."""
    source = stirred()
    model = copy.deepcopy(source.reference.model)
    with torch.no_grad():
        model.lm_head.weight *= 0.5
        model.lm_head.bias *= 0.5
    reference = Reference(model, name="an undecided GPT-2")
    return Source(source.label, reference, source.tokens, source.logits * 0.5, {}, {})


def cases() -> list[Case]:
    """Prompts on which, found by trying, every mistake of the page ends elsewhere."""
    small, big = undecided(), loaded()
    given = [
        (small, torch.tensor([[9, 28]]), 4, 3, "with 3 beams"),
        (small, torch.tensor([[34, 14]]), 5, 3, "with 3 beams, five steps"),
        (small, torch.tensor([[21, 23, 5]]), 5, 4, "with 4 beams"),
        (small, torch.tensor([[36]]), 4, 2, "with 2 beams"),
        (small, torch.tensor([[32, 25]]), 7, 3, "with 3 beams, seven steps"),
        (small, torch.tensor([[9, 28]]), 2, 1, "with 1 beam"),
        (big, big.tokens[:, :5], 4, 3, "with 3 beams"),
    ]
    return [
        generating.case(
            generating.Logits(source.reference),
            source,
            tokens,
            n_new,
            detail,
            n_beams=n_beams,
        )
        for source, tokens, n_new, n_beams, detail in given
    ]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps of each round, in order."""
    steps, model = {}, case.extra["model"]
    n_beams, beams, scores = case.extra["n_beams"], case.inputs[0], torch.zeros(1)
    for i in range(case.extra["n_new"]):
        logits = model(beams)[:, -1]
        log_probs = logits.log_softmax(-1)
        totals = scores[:, None] + log_probs
        scores, best = totals.flatten().topk(n_beams)
        beam, token = best // totals.shape[-1], best % totals.shape[-1]
        beams = torch.cat([beams[beam], token[:, None]], dim=1)
        steps |= {
            f"the last position's logits in step {i + 1}": _also(logits, n_beams),
            f"the log probabilities in step {i + 1}": _also(log_probs, n_beams),
            f"the totals in step {i + 1}": totals,
            f"the scores of the best in step {i + 1}": scores,
        }
    return steps


def _also(rows: Tensor, n_beams: int) -> tuple[Tensor, ...]:
    """What beams make that begin as copies, or that are read one by one."""
    return rows, rows[:1].expand(n_beams, -1), rows[0]


check = exercise(
    __file__,
    beam_search,
    Tensors(
        cases,
        axes=("batch", "position"),
        stages=stages,
        prepare=generating.model_first,
        against="transformers' beam search",
    ),
)
