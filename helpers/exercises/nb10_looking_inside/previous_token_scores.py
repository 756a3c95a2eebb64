"""What an answer to `previous_token_scores` is compared with."""

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import both


def patterns() -> list[tuple]:
    """Models' patterns, and steep random ones: (subject, pattern, detail)."""
    small, big = both()
    made = [
        (small, small.cache["blocks.0.attn.hook_pattern"], ""),
        (small, small.cache["blocks.0.attn.hook_pattern"][:1, :, :2, :2], "short"),
        (big, big.cache["blocks.0.attn.hook_pattern"], ""),
    ]
    scores = noise(3, 2, 9, 9, seed=121, scale=3.0)
    future = scores.new_ones(9, 9).triu(1).bool()
    steep = scores.masked_fill(future, float("-inf")).softmax(-1)
    return [(small, steep, "on steep patterns"), *made]


def cases() -> list[Case]:
    """Several batches, widths and numbers of heads."""
    return [
        subject.case(pattern, detail=detail) for subject, pattern, detail in patterns()
    ]


check = exercise(
    __file__,
    "previous_token_scores",
    Tensors(cases, axes=("n_heads",), against="the course's"),
    keep=False,
)
