"""What an answer to `DemoTransformer` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.observe import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import LOGITS, STIRRED, exercise, sources, stirred
from helpers.model import DemoTransformer


def cases() -> list[Case]:
    """Tokens for both models, and for one with another number of layers."""
    few = stirred(n_layers=2)
    return [
        source.case(
            source.tokens,
            params=source.weights,
            expected=source.logits,
            grad=source is stirred(),
        )
        for source in (*sources(), few.on(few.tokens, "with 2 layers"))
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
kind = Tensors(
    cases,
    LOGITS,
    stages,
    made_of_parts=True,
    causal=True,
    may_be_unused={f"blocks.{i}.attn.b_K": B_K for i in range(STIRRED.n_layers)},
)
check = exercise(__file__, DemoTransformer, kind)
