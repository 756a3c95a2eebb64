"""What an answer to `Llama` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.parameters import build
from helpers.checks.tensors import Tensors
from helpers.exercises.course import LOGITS, Source
from helpers.exercises.nb12_from_gpt2_to_llama.models import (
    exercise,
    sources,
    stirred,
    with_pieces,
    without_padding,
)
from helpers.llama import Llama, hidden_keys, rotary_angles


def _case(source: Source, **more) -> Case:
    known = {"params": source.weights, "expected": source.logits}
    return source.case(source.tokens, **known | more)


def cases() -> list[Case]:
    """Three families, a window, padding, and texts in pieces with a cache."""
    made = [_case(source) for source in sources() if not source.cfg.n_experts]
    made += [_case(stirred(family), grad=False) for family in ("Llama", "Mistral")]
    tiny, windowed = stirred(), stirred("Mistral")
    for source, cuts, detail in (
        (tiny, (4, 3), "with a cache: four tokens, then three"),
        (tiny, (4, 1, 1, 1), "with a cache: four tokens, then one by one"),
        (windowed, (4, 1, 2), "with a cache and a window"),
    ):
        made.append(_case(source, extra={"cuts": cuts}, detail=detail))
    return [*made, _padded(tiny)]


def _padded(source: Source) -> Case:
    """Two tokens of padding on the left of one row, as transformers reads it."""
    is_padding = torch.arange(7) < torch.tensor([[2], [0]])
    how = {"attention_mask": (~is_padding).long(), "use_cache": False}
    with torch.no_grad():
        logits = source.reference.model(source.tokens, **how).logits
    extra = {"is_padding": is_padding}
    params, detail = source.weights, "with padding on the left"
    expected = without_padding(logits, is_padding)
    more = {"params": params, "expected": expected, "extra": extra, "detail": detail}
    return source.case(source.tokens, **more)


@torch.no_grad()
def stages(case: Case) -> dict[str, Tensor]:
    """The stream on its way; of a text in pieces or with padding, the logits."""
    if case.extra:
        return {"the logits": case.expected}
    model, (tokens,) = build(Llama, case).module, case.inputs
    at = torch.arange(tokens.shape[1])
    angles = rotary_angles(at, case.cfg)
    hidden = hidden_keys(at, at, case.cfg.window)
    residual = model.embed(tokens)
    found = {"the angles": angles, "the output of `embed`": residual}
    for i, block in enumerate(model.blocks):
        residual = block(residual, angles, hidden)
        found[f"the output of `blocks[{i}]`"] = residual
    normalized = model.ln_final(residual)
    found["the output of `ln_final`"] = normalized
    return found | {"the logits": model.unembed(normalized)}


kind = Tensors(
    cases,
    LOGITS,
    stages,
    prepare=with_pieces,
    against="transformers' Qwen3, Llama and Mistral",
)
check = exercise(__file__, Llama, kind)
