"""What an answer to `apply_cached_mask` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.generation import apply_cached_mask
from helpers.model import attention_scores


def cases() -> list[Case]:
    """Scores with a past and without, of one query and of several."""
    small, big = stirred(), loaded()
    # [batch, n_heads, query_pos, key_pos]
    scores, whole = (
        attention_scores(
            source.cache["blocks.0.attn.hook_q"], source.cache["blocks.0.attn.hook_k"]
        )
        for source in (small, big)
    )
    given = [
        (small, scores, "without a past"),
        (small, scores[:, :, -1:], "with one new position"),
        (small, scores[:, :, -3:], "with three new positions"),
        (small, scores[:1, :, -2:, -5:], "on a batch of one"),
        (small, torch.zeros(2, 3, 4, 6), "with scores that are all 0"),
        (big, whole[:, :, -4:], "with four new positions"),
    ]
    return [
        Case(source=s.label, detail=detail, cfg=s.cfg, inputs=(x,), grad=i == 0)
        for i, (s, x, detail) in enumerate(given)
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps, in order."""
    (scores,) = case.inputs
    query_pos, key_pos = scores.shape[-2:]
    future = torch.ones(query_pos, key_pos).triu(key_pos - query_pos + 1)
    masked = scores.masked_fill(future.bool(), float("-inf"))
    return {"the scores": scores, "the mask": future, "the masked scores": masked}


check = exercise(
    __file__,
    apply_cached_mask,
    Tensors(
        cases,
        axes=("batch", "n_heads", "query_pos", "key_pos"),
        stages=stages,
        view=lambda scores: scores.float().softmax(-1),
        in_place=True,
        against="the target",
    ),
)
