"""Made-up texts, in float64: what the exercises of notebook 13 are judged on."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from helpers.checks.case import noise
from helpers.training import IGNORED

D_VOCAB = 131  # over 100, so that -100 could be an index
LENGTHS = {  # of texts; no two counts in a case are alike
    "four texts with padding": [7, 3, 5, 2],
    "a short text beside two long ones": [2, 9, 6],
    "two texts without padding": [6, 6],
}


def targets_of(lengths: list[int]) -> Tensor:
    """Random targets [batch, position], -100 behind each text."""
    shape = len(lengths), max(lengths)
    drawn = torch.Generator().manual_seed(sum(lengths))
    targets = torch.randint(D_VOCAB, shape, generator=drawn)
    beyond = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    return targets.masked_fill(beyond, IGNORED)


def logits_of(lengths: list[int], seed: int, scale: float = 1.5) -> Tensor:
    """Random logits [batch, position, d_vocab], also where there is padding."""
    shape = len(lengths), max(lengths), D_VOCAB
    return noise(*shape, seed=seed, scale=scale).double()


def per_token(lengths: list[int], seed: int, scale: float = 0.5) -> Tensor:
    """Log-probabilities of tokens [batch, position], also where there is padding."""
    return -1.5 - scale * noise(len(lengths), max(lengths), seed=seed).double().abs()


def constants(*places: int) -> Callable:
    """A way to prepare answers: no gradient is asked for of these arguments."""

    def prepare(answer):
        if not callable(answer):
            return answer

        @wraps(answer)
        def prepared(*inputs, **extra):
            fixed = [x.detach() if i in places else x for i, x in enumerate(inputs)]
            return answer(*fixed, **extra)

        return prepared

    return prepare
