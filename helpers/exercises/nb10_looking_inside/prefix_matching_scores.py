"""What an answer to `prefix_matching_scores` is compared with."""

import torch

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import both


def causal(*shape: int, seed: int) -> torch.Tensor:
    """Steep random patterns: [batch, n_heads, query_pos, key_pos]."""
    scores = noise(*shape, seed=seed, scale=2.0)
    future = torch.ones(shape[-2:]).triu(1).bool()
    return scores.masked_fill(future, float("-inf")).softmax(-1)


def cases() -> list[Case]:
    """Blocks that repeat, twice and thrice; a token twice in a row; one text."""
    small, _ = both()
    tokens = torch.tensor([[0, 5, 7, 3, 5, 7, 3, 5, 7], [0, 4, 2, 9, 8, 4, 2, 9, 8]])
    doubled = torch.tensor([[1, 6, 6, 2, 6, 1, 3]])
    late = torch.tensor([[0, 1, 2, 3, 4, 5, 1, 9], [0, 8, 7, 8, 5, 4, 3, 2]])
    given = {"": tokens, "with a token twice in a row": doubled, "seldom": late}
    made = [
        small.case(causal(len(t), 3, *2 * t.shape[1:], seed=131 + i), t, detail=detail)
        for i, (detail, t) in enumerate(given.items())
    ]
    big = both()[1]
    pattern = big.cache["blocks.0.attn.hook_pattern"]
    half = pattern.shape[-1] // 2
    again = torch.arange(pattern.shape[-1]) % max(1, half)
    made.append(big.case(pattern, again[None].expand(len(pattern), -1).clone()))
    return made


check = exercise(
    __file__,
    "prefix_matching_scores",
    Tensors(cases, axes=("n_heads",), against="the course's"),
    keep=False,
)
