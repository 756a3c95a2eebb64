"""What an answer to `CachedAttention` is compared with."""

from functools import partial

from torch import Tensor

from helpers import model
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, Source, exercise
from helpers.exercises.nb04_attention.runs import stream
from helpers.exercises.nb08_generation.pieces import cases, in_pieces
from helpers.generation import CachedAttention, LayerCache, apply_cached_mask, project


def take(source: Source) -> tuple:
    """A layer's input, its weights, and its output."""
    x, out = stream(source)
    return x, source.part(f"{source.block}attn."), out


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
        "q, k and v": {"q": q, "k": k[:, -new:], "v": v[:, -new:]},
        "the cache": {"the cached keys": k, "the cached values": v},
        "the scores": (scores, scores * q.shape[-1] ** 0.5),
        "the masked scores": masked,
        "the pattern": pattern,
        "z": z,
        "the output": model.attention_output(z, p["W_O"], p["b_O"]),
    }


kind = Tensors(partial(cases, take, LayerCache), STREAM, stages, prepare=in_pieces)
scope = {
    "apply_causal_mask": model.apply_causal_mask,
    "attention_projections": model.attention_projections,
}
check = exercise(__file__, CachedAttention, kind, scope=scope)
