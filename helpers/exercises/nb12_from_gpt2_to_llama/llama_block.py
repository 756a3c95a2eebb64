"""What an answer to `LlamaBlock` is compared with."""

from functools import partial

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.parameters import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM
from helpers.exercises.nb12_from_gpt2_to_llama.models import (
    attention_cases,
    exercise,
    with_cuts,
)
from helpers.llama import LlamaBlock

cases = partial(attention_cases, "hook_resid_pre", "", "hook_resid_post")


@torch.no_grad()
def stages(case: Case) -> dict[str, Tensor]:
    """What the block makes on its way, by the names that the notebook uses."""
    if "cuts" in case.extra:
        return {"the output": case.expected}
    block = build(LlamaBlock, case).module
    (resid_pre,), how = case.inputs, (case.extra["angles"], case.extra["hidden"])
    normalized_pre = block.ln1(resid_pre)
    attn_out = block.attn(normalized_pre, *how)
    resid_mid = resid_pre + attn_out
    normalized_mid = block.ln2(resid_mid)
    mlp_out = block.mlp(normalized_mid)
    return {
        "the output of `ln1`": normalized_pre,
        "the output of `attn`": attn_out,
        "`resid_mid = resid_pre + attn_out`": resid_mid,
        "the output of `ln2`": normalized_mid,
        "the output of `mlp`": mlp_out,
        "`resid_post = resid_mid + mlp_out`": resid_mid + mlp_out,
    }


kind = Tensors(
    cases, STREAM, stages, prepare=with_cuts, against="transformers' Qwen3 and Llama"
)
check = exercise(__file__, LlamaBlock, kind, pairs=True)
