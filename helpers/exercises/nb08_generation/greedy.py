"""What an answer to `greedy` is compared with."""

from functools import partial

from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb08_generation import generating
from helpers.generation import greedy

kind = Tensors(
    partial(generating.cases, generating.Logits),
    ("batch", "position"),
    generating.stages,
    prepare=generating.by_position,
    against="transformers' `generate`",
)
check = exercise(__file__, greedy, kind)
