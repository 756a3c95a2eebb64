"""What an answer to `TransformerBlock` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.observe import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, exercise, sources
from helpers.model import TransformerBlock


def cases() -> list[Case]:
    """Blocks of both models; not the first, which reads no other block's writing."""
    return [
        source.layer("hook_resid_pre", "", "hook_resid_post") for source in sources()
    ]


@torch.no_grad()
def stages(case: Case) -> dict[str, Tensor]:
    """What the block makes on its way, by the names that the notebook uses."""
    block = build(TransformerBlock, case).module
    (resid_pre,) = case.inputs
    normalized_pre = block.ln1(resid_pre)
    attn_out = block.attn(normalized_pre)
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
    cases,
    STREAM,
    stages,
    made_of_parts=True,
    causal=True,
    may_be_unused={"attn.b_K": "`b_K` is not used, and no output can show that"},
)
check = exercise(__file__, TransformerBlock, kind, pairs=True)
