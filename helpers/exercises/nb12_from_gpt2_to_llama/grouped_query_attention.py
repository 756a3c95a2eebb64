"""What an answer to `GroupedQueryAttention` is compared with."""

import math
from functools import partial

import torch
from torch import Tensor

from helpers import llama
from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM
from helpers.exercises.nb12_from_gpt2_to_llama.models import (
    attention_cases,
    exercise,
    with_cuts,
)
from helpers.llama import GroupedQueryAttention, RMSNorm

cases = partial(attention_cases, "ln1.hook_normalized", "attn.", "hook_attn_out")


@torch.no_grad()
def stages(case: Case) -> dict:
    """Every step of a text in one piece; of one that is cut, the output."""
    if "cuts" in case.extra:
        return {"the output": case.expected}
    (x,), p, cfg = case.inputs, case.params, case.cfg
    q, k, v = (llama.project(x, p[f"W_{letter}"]) for letter in "QKV")
    steps: dict = {
        "side by side": {"the queries q": q, "the keys k": k, "the values v": v}
    }
    if cfg.qk_norm:
        q, k = (_normed(cfg, p[f"{n}_norm.w"], t) for n, t in (("q", q), ("k", k)))
    q, k = (llama.rotate(t, case.extra["angles"]) for t in (q, k))
    k, v = (llama.repeat_kv(t, cfg.n_heads) for t in (k, v))
    scores = torch.einsum("bqnh,bknh->bnqk", q, k)
    scaled = scores / math.sqrt(cfg.d_head)
    masked = scaled.masked_fill(case.extra["hidden"], -torch.inf)
    z = torch.einsum("bnqk,bknh->bqnh", masked.softmax(-1), v)
    return steps | {
        "the scores": (scaled, scores),
        "the masked scores": masked,
        "the pattern": masked.softmax(-1),
        "the mixed values z": z,
        "the output": torch.einsum("bqnh,nhm->bqm", z, p["W_O"]),
    }


def _normed(cfg, w: Tensor, x: Tensor) -> Tensor:
    norm = RMSNorm(cfg, cfg.d_head)
    norm.w.data = w
    return norm(x)


kind = Tensors(
    cases,
    STREAM,
    stages,
    prepare=with_cuts,
    causal=False,
    against="transformers' Qwen3 and Llama",
)
check = exercise(__file__, GroupedQueryAttention, kind, pairs=True)
