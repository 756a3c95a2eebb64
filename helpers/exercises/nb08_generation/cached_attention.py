"""What an answer to `CachedAttention` is compared with."""

from functools import partial

from torch import Tensor

from helpers import model
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.exercises.nb08_generation.pieces import Pieces, in_pieces
from helpers.generation import CachedAttention, LayerCache, apply_cached_mask, project


def cases() -> list[Case]:
    """One text in several pieces, and two in turn."""
    small, big = stirred(), loaded()
    x = small.cache["blocks.1.ln1.hook_normalized"]
    first = big.cache["blocks.0.ln1.hook_normalized"]
    return [
        _case(small, 1, x, "in one piece", 7),
        _case(small, 1, x, "a prompt of four, then three", 4, 3),
        _case(small, 1, x, "a prompt of four, then one by one", 4, 1, 1, 1),
        _case(small, 1, x, "one by one", *[1] * 7),
        _case(small, 1, x, "in pieces of several", 2, 3, 2),
        _case(
            small, 1, x, "two texts in turn, each with its own cache", 5, 1, 1, two=True
        ),
        _case(big, 0, first[:, :8], "a prompt, then one by one", 5, 1, 1, 1),
    ]


def _case(source: Source, layer: int, x: Tensor, detail: str, *lengths, two=False):
    """One layer's attention on a text, or on two in turn."""
    cache = partial(LayerCache, source.cfg)
    other = x[1:] if two else None
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(x[:1] if two else x,),
        params=source.part(f"blocks.{layer}.attn."),
        expected=source.cache[f"blocks.{layer}.hook_attn_out"][:, : x.shape[1]],
        extra={"pieces": Pieces(lengths, cache, other)},
    )


def stages(case: Case) -> dict[str, Tensor | tuple | dict]:
    """The steps of the last piece, in order."""
    (x,), p = case.inputs, case.params
    new = case.extra["pieces"].lengths[-1]
    q = project(x[:, -new:], p["W_Q"], p["b_Q"])
    k, v = (project(x, p[f"W_{n}"], p[f"b_{n}"]) for n in "KV")
    scores = model.attention_scores(q, k)
    masked = apply_cached_mask(scores)
    pattern = masked.softmax(-1)
    z = model.attention_values(pattern, v)
    return {
        "the input": x[:, -new:],
        "q, k and v": {"q": q, "k": k[:, -new:], "v": v[:, -new:]},
        "the cache": {"the cached keys": k, "the cached values": v},
        "the scores": (scores, scores * q.shape[-1] ** 0.5),
        "the masked scores": masked,
        "the pattern": pattern,
        "z": z,
        "the output": model.attention_output(z, p["W_O"], p["b_O"]),
    }


check = exercise(
    __file__,
    CachedAttention,
    Tensors(
        cases,
        axes=("batch", "position", "d_model"),
        stages=stages,
        prepare=in_pieces,
    ),
    scope={
        "apply_causal_mask": model.apply_causal_mask,
        "attention_projections": model.attention_projections,
    },
)
