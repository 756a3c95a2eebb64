"""What an answer to `attention_output` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM, exercise, sources
from helpers.exercises.nb04_attention import runs
from helpers.model import attention_output


def cases() -> list[Case]:
    """z and the output's weights."""
    return [
        source.case(
            *runs.seen(source, "z"),
            *runs.weights(source, "W_O", "b_O"),
            expected=runs.stream(source)[1],
        )
        for source in sources()
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """Every head's part, their sum, the bias."""
    z, W_O, b_O = case.inputs
    return {
        "each head's part": torch.einsum("bpnd,ndm->bpnm", z, W_O),
        "the sum over the heads": attention_output(z, W_O, torch.zeros_like(b_O)),
        "the sum with b_O added": attention_output(z, W_O, b_O),
    }


check = exercise(__file__, attention_output, Tensors(cases, STREAM, stages))
