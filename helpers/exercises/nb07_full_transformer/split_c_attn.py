"""What an answer to `split_c_attn` is compared with."""

from functools import wraps

import torch

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred


def cases() -> list[Case]:
    """The fused matrix of the first block of both models."""
    made = []
    for source in (stirred(), loaded()):
        c_attn = source.reference.model.transformer.h[0].attn.c_attn.weight.detach()
        parts = [source.weights[f"blocks.0.attn.W_{letter}"] for letter in "QKV"]
        more = {"n_heads": source.cfg.n_heads}
        more = {"extra": more, "grad": source is stirred()}
        made.append(source.case(c_attn, expected=torch.stack(parts), **more))
    return made


def three_as_one(answer):
    """A tuple (W_Q, W_K, W_V) is as good as one tensor."""
    if isinstance(answer, type) or not callable(answer):
        return answer

    @wraps(answer)
    def split(*args, **kwargs):
        found = answer(*args, **kwargs)
        if isinstance(found, (tuple, list)) and len(found) == 3:
            return torch.stack(list(found))
        return found

    return split


axes = ("q k v", "n_heads", "d_model", "d_head")
kind = Tensors(cases, axes, prepare=three_as_one)
check = exercise(__file__, "split_c_attn", kind, keep=False)
