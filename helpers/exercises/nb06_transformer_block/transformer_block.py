"""What an answer to `TransformerBlock` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.observe import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.model import TransformerBlock


def _case(source: Source, layer: int, tokens: Tensor, detail: str = "") -> Case:
    """What a block of a model reads, and what it leaves."""
    cache = source.cache
    if tokens is not source.tokens:
        _, cache = source.reference.run_with_cache(tokens)
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(cache[f"blocks.{layer}.hook_resid_pre"],),
        params=source.part(f"blocks.{layer}."),
        expected=cache[f"blocks.{layer}.hook_resid_post"],
        grad=not detail,
    )


def cases() -> list[Case]:
    """Blocks of both models; not the first, which reads no other block's writing."""
    small, big = stirred(), loaded()
    n_ctx, d_vocab = small.cfg.n_ctx, small.cfg.d_vocab
    full = (torch.arange(2 * n_ctx) * 5 % d_vocab).view(2, n_ctx)
    return [
        _case(small, 1, small.tokens),
        _case(small, 1, full[:1, :5], "on a batch of one"),
        _case(small, 1, full[:, :1], "on a single position"),
        _case(small, 2, full, "on the full context"),
        _case(big, min(1, big.cfg.n_layers - 1), big.tokens),
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


B_K = "`b_K` is not used, and no output can show that"

check = exercise(
    __file__,
    TransformerBlock,
    Tensors(
        cases,
        axes=("batch", "position", "d_model"),
        stages=stages,
        made_of_parts=True,
        causal=True,
        may_be_unused={"attn.b_K": B_K},
    ),
    pairs=True,
)
