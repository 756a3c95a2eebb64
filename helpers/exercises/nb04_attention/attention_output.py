"""What an answer to `attention_output` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb04_attention.runs import STREAM, runs
from helpers.model import attention_output


def cases() -> list[Case]:
    """z and the output's weights."""
    return [
        run.case(
            run.seen["z"],
            run.params["W_O"],
            run.params["b_O"],
            expected=run.seen["out"],
        )
        for run in runs()
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """Every head's part, their sum, the bias."""
    z, W_O, b_O = case.inputs
    return {
        "each head's part": torch.einsum("bpnd,ndm->bpnm", z, W_O),
        "the sum over the heads": attention_output(z, W_O, torch.zeros_like(b_O)),
        "the sum with b_O added": attention_output(z, W_O, b_O),
    }


check = exercise(__file__, attention_output, Tensors(cases, axes=STREAM, stages=stages))
