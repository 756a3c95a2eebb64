"""What an answer to `ov_circuit` is compared with."""

import torch

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.circuits import circuit_cases
from helpers.exercises.nb10_looking_inside.models import both


def cases() -> list[Case]:
    """A few vectors, one head, and the model's unembedding."""
    made = circuit_cases("W_V", "W_O", vectors=(6,))
    for case in made:
        subject = next(s for s in both() if s.source.cfg is case.cfg)
        case.inputs = (*case.inputs, subject.source.weights["unembed.W_U"])
    return made


def stages(case: Case) -> dict[str, torch.Tensor]:
    """Matrix by matrix."""
    sources, W_V, W_O, _ = case.inputs
    return {"the values": sources @ W_V, "what is written": sources @ W_V @ W_O}


check = exercise(
    __file__,
    "ov_circuit",
    Tensors(cases, axes=("source", "d_vocab"), stages=stages, against="the course's"),
    keep=False,
)
