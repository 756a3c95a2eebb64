"""What an answer to `MixtureOfExperts` is compared with."""

from dataclasses import replace

import torch

from helpers.checks.case import Case
from helpers.checks.parameters import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, stirred
from helpers.llama import MixtureOfExperts


@torch.no_grad()
def cases() -> list[Case]:
    """A small Qwen3-MoE's block; the same with weights that need not sum to 1."""
    source = stirred("Qwen3Moe")
    made = [source.layer("ln2.hook_normalized", "mlp.", "hook_mlp_out")]
    (x,), block = made[0].inputs, source.reference.model.model.layers[1].mlp
    cfg = replace(source.cfg, normalize_active=False)
    probs = (x @ made[0].params["W_router"]).softmax(-1)
    # The weights of the chosen ones sum to 1 in transformers' block; not here.
    loose = block(x)
    loose = (loose[0] if isinstance(loose, tuple) else loose) * probs.topk(
        cfg.n_active
    ).values.sum(-1, keepdim=True)
    detail = "where weights need not sum to 1"
    more = {"params": made[0].params, "expected": loose, "detail": detail}
    return [*made, replace(source.case(x, grad=True, **more), cfg=cfg)]


@torch.no_grad()
def stages(case: Case) -> dict:
    """The router's steps, and the output."""
    (x,), p, cfg = case.inputs, case.params, case.cfg
    scores = x @ p["W_router"]
    probs = scores.softmax(-1)
    weights = chosen = probs.topk(cfg.n_active).values
    if cfg.normalize_active:
        weights = chosen / chosen.sum(-1, keepdim=True)
    module = build(MixtureOfExperts, case).module
    return {
        "the router's scores": scores,
        "the probabilities of all experts": probs,
        "the largest of them": chosen,
        "the weights of the chosen experts": weights,
        "the output": module(x),
    }


kind = Tensors(cases, STREAM, stages, against="transformers' Qwen3-MoE")
check = exercise(__file__, MixtureOfExperts, kind)
