"""What an answer to `hidden_keys` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, stirred
from helpers.llama import hidden_keys


def cases() -> list[Case]:
    """Causal, in a window, with padding on the left, and the last queries alone."""
    at, more = torch.arange(7), {"grad": False}
    padding = torch.arange(7) < torch.tensor([[2], [0]])
    given = [
        (at, {}, "without a window"),
        (at, {"window": 3}, "with a window of 3"),
        (at, {"window": 1}, "with a window of 1"),
        (at, {"is_padding": padding}, "with padding on the left"),
        (at, {"window": 3, "is_padding": padding}, "with a window and padding"),
        (at[-2:], {}, "for the last two queries"),
        (at[-2:], {"window": 3, "is_padding": padding}, "for the last two, with both"),
    ]
    return [
        stirred().case(query_pos, at, extra=extra, detail=detail, **more)
        for query_pos, extra, detail in given
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The distances, the future, and all that is hidden."""
    query_pos, key_pos = case.inputs
    distance = query_pos[:, None] - key_pos
    return {
        "the distances": distance,
        "the future": distance < 0,
        "the hidden keys": hidden_keys(*case.inputs, **case.extra),
    }


kind = Tensors(
    cases, ("query_pos", "key_pos"), stages, against="the rule, on seven cases"
)
check = exercise(__file__, hidden_keys, kind)
