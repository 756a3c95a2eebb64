"""What an answer to `logit_lens` is compared with."""

from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import cache_cases, of_model_and_cache

check = exercise(
    __file__,
    "logit_lens",
    Tensors(
        cache_cases,
        axes=("layer", "batch", "position", "d_vocab"),
        prepare=of_model_and_cache,
        against="the course's, whose last layer is the model's own logits,",
    ),
    keep=False,
)
