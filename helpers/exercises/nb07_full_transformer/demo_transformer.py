"""What an answer to `DemoTransformer` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.observe import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, Source, exercise, loaded, stirred
from helpers.model import DemoTransformer


def _case(source: Source, tokens: Tensor, detail: str = "", grad=False) -> Case:
    """What a whole model makes of tokens."""
    logits = source.logits
    if tokens is not source.tokens:
        logits, _ = source.reference.run_with_cache(tokens)
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens,),
        params=source.weights,
        expected=logits,
        grad=grad,
    )


def cases() -> list[Case]:
    """Tokens for both models, and for one with another number of layers."""
    small, other, big = stirred(), stirred(n_layers=2), loaded()
    n_ctx, d_vocab = small.cfg.n_ctx, small.cfg.d_vocab
    full = (torch.arange(2 * n_ctx) * 5 % d_vocab).view(2, n_ctx)
    return [
        _case(small, small.tokens, grad=True),
        _case(small, full[:1, :5], "on a batch of one"),
        _case(small, full[:, :1], "on a single position"),
        _case(small, full, "on the full context"),
        _case(other, full[:, :6], "with 2 layers"),
        _case(big, big.tokens),
    ]


@torch.no_grad()
def stages(case: Case) -> dict[str, Tensor]:
    """The residual stream on its way, by the names that the notebook uses."""
    model = build(DemoTransformer, case).module
    (tokens,) = case.inputs
    embed, pos_embed = model.embed(tokens), model.pos_embed(tokens)
    residual = embed + pos_embed
    found = {
        "the output of `embed`": embed,
        "the output of `pos_embed`": pos_embed,
        "`embed + pos_embed`": residual,
    }
    for i, block in enumerate(model.blocks):
        residual = found[f"the output of `blocks[{i}]`"] = block(residual)
    normalized = model.ln_final(residual)
    found["the output of `ln_final`"] = normalized
    return found | {"the logits": model.unembed(normalized)}


B_K = "`b_K` is not used, and no output can show that"

check = exercise(
    __file__,
    DemoTransformer,
    Tensors(
        cases,
        axes=("batch", "position", "d_vocab"),
        stages=stages,
        made_of_parts=True,
        causal=True,
        may_be_unused={f"blocks.{i}.attn.b_K": B_K for i in range(STIRRED.n_layers)},
    ),
)
