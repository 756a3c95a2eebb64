"""What an answer to `MixtureOfExperts` is compared with."""

from dataclasses import replace

import torch

from helpers.checks.case import Case
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


kind = Tensors(cases, STREAM, against="transformers' Qwen3-MoE")
check = exercise(__file__, MixtureOfExperts, kind)
