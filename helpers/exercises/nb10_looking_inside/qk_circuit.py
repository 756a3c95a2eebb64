"""What an answer to `qk_circuit` is compared with."""

from functools import partial

from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.circuits import circuit_cases

check = exercise(
    __file__,
    "qk_circuit",
    Tensors(
        partial(circuit_cases, "W_Q", "W_K", vectors=(6, 9)),
        axes=("query", "key"),
        stages=lambda case: {
            "the queries": case.inputs[0] @ case.inputs[2],
            "the keys": case.inputs[1] @ case.inputs[3],
        },
        against="the course's",
    ),
    keep=False,
)
