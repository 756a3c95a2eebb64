"""What an answer to `Attention` is compared with."""

import math

import torch

from helpers import model
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, exercise, sources, stirred
from helpers.exercises.nb04_attention import (
    attention_output,
    attention_pattern,
    attention_projections,
    attention_scores,
    attention_values,
    causal_mask,
)

STEPS = (
    attention_projections,
    attention_scores,
    causal_mask,
    attention_pattern,
    attention_values,
    attention_output,
)


def cases() -> list[Case]:
    """The attention layers of both models, and one whose scores are all 0."""
    made = [
        source.layer("ln1.hook_normalized", "attn.", "hook_attn_out")
        for source in sources()
    ]
    p = made[0].params
    silent = p | {name: torch.zeros_like(p[name]) for name in ("W_Q", "b_Q")}
    more = {"params": silent, "expected": None, "detail": "where every score is 0"}
    return [*made, stirred().case(*made[0].inputs, **more)]


def stages(case: Case) -> dict:
    """Every step; scores with b_K or without, which is as good."""
    (x,), p = case.inputs, case.params
    q, k, v = (
        model.attention_projections(x, p[f"W_{letter}"], p[f"b_{letter}"])
        for letter in "QKV"
    )
    plain = k - p["b_K"]
    scores = tuple(model.attention_scores(q, keys) for keys in (k, plain))
    masked = tuple(map(model.apply_causal_mask, scores))
    pattern = model.attention_pattern(masked[0])
    z = model.attention_values(pattern, v)
    return {
        "side by side": {"the queries q": q, "the keys k": k, "the values v": v},
        # scaled now, or after the mask
        "the scores": (*scores, *(s * math.sqrt(case.cfg.d_head) for s in scores)),
        "the scaled and masked scores": masked,
        "the pattern": pattern,
        "the mixed values z": z,
        "the output": model.attention_output(z, p["W_O"], p["b_O"]),
    }


UNUSED_B_K = (
    "b_K is not used, and no output can show it: it adds the same number to all scores "
    "of a query, and the softmax does not notice. GPT-2 has it all the same"
)

kind = Tensors(cases, STREAM, stages, causal=True, may_be_unused={"b_K": UNUSED_B_K})
steps = tuple(step.check for step in STEPS)
check = exercise(__file__, model.Attention, kind, steps=steps, pairs=True)
