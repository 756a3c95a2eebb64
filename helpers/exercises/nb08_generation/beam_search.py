"""What an answer to `beam_search` is compared with."""

import copy
from dataclasses import replace
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
    model = copy.deepcopy(stirred().reference.model)
    with torch.no_grad():
        model.lm_head.weight *= 0.5
        model.lm_head.bias *= 0.5
    return replace(stirred(), reference=Reference(model, name="an undecided GPT-2"))


def cases() -> list[Case]:
    """Prompts on which, found by trying, every mistake of the page ends elsewhere."""
    small, big = undecided(), loaded()
    given = [
        (small, [[9, 28]], 4, 3),
        (small, [[34, 14]], 5, 3),
        (small, [[21, 23, 5]], 5, 4),
        (small, [[36]], 4, 2),
        (small, [[32, 25]], 7, 3),
        (small, [[9, 28]], 2, 1),
        (big, big.tokens[:, :-5][:, :5].tolist(), 4, 3),
        (small, [[9, 28]], 0, 2),
    ]
    made = []
    for source, prompt, n_new, n_beams in given:
        what = f"with {n_new} new tokens and n_beams = {n_beams}"
        prompt = torch.tensor(prompt, device=source.reference.device)
        more = {"n_beams": n_beams}
        made.append(
            generating.case(generating.Logits, source, prompt, n_new, what, **more)
        )
    return made


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
    return steps or {"the prompt": case.inputs[0]}


def _also(rows: Tensor, n_beams: int) -> tuple[Tensor, ...]:
    """What beams make that begin as copies, or that are read one by one."""
    return rows, rows[:1].expand(n_beams, -1), rows[0]


kind = Tensors(
    cases,
    ("batch", "position"),
    stages,
    prepare=generating.by_position,
    against="transformers' beam search",
)
check = exercise(__file__, beam_search, kind)
