"""What an answer to `batch_loss` is compared with."""

import torch
from torch.nn import functional as F

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, exercise
from helpers.training import IGNORED, batch_loss


def _case(what: str, lengths: list[int], seed: int) -> Case:
    d_vocab = 131  # over 100, so that -100 could be an index
    shape = len(lengths), max(lengths)
    drawn = torch.Generator().manual_seed(seed)
    targets = torch.randint(d_vocab, shape, generator=drawn)
    beyond = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    targets = targets.masked_fill(beyond, IGNORED)
    logits = 2 * noise(*shape, d_vocab, seed=seed)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return Case(what, STIRRED, (logits, targets), expected=expected, grad=True)


def cases() -> list[Case]:
    """Stories of several lengths."""
    return [
        _case("three stories with padding", [7, 3, 5], 1),
        _case("one story without padding", [6], 2),
        _case("a short story beside a long one", [2, 11], 3),
    ]


kind = Tensors(cases, axes=(), against="torch's cross_entropy")
check = exercise(__file__, batch_loss, kind, pairs=True, keep=False)
