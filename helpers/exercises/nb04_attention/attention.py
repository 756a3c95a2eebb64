"""What an answer to `Attention` is compared with."""

import torch

from helpers import model
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention import (
    attention_output,
    attention_pattern,
    attention_projections,
    attention_scores,
    attention_values,
    causal_mask,
)
from helpers.exercises.nb04_attention.runs import STREAM, runs

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
        run.case(run.seen["x"], params=run.params, expected=run.seen["out"])
        for run in runs()
    ]
    first = runs()[0]
    silent = {name: torch.zeros_like(first.params[name]) for name in ("W_Q", "b_Q")}
    made.append(
        first.case(
            first.seen["x"],
            params=first.params | silent,
            detail="where every score is 0",
            grad=False,
        )
    )
    return made


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
        "the scaled scores": scores,
        "the masked scores": masked,
        "the pattern": pattern,
        "the mixed values z": z,
        "the output": model.attention_output(z, p["W_O"], p["b_O"]),
    }


UNUSED_B_K = (
    "b_K is not used, and no output can show it: it adds the same number to all scores "
    "of a query, and the softmax does not notice. GPT-2 has it all the same"
)

check = exercise(
    __file__,
    model.Attention,
    Tensors(
        cases,
        axes=STREAM,
        stages=stages,
        causal=True,
        may_be_unused={"b_K": UNUSED_B_K},
    ),
    steps=tuple(step.check for step in STEPS),
    pairs=True,
)
