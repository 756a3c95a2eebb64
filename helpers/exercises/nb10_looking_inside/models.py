"""Models with hook points, run once: what the cases of notebook 10 are made of."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers import inside
from helpers.checks.case import Case
from helpers.exercises.course import Source, loaded, stirred
from helpers.model import DemoTransformer


@dataclass(frozen=True, eq=False)
class Inside:
    """A model with hook points, and one run through it.

    Attributes:
        source: the reference that it has its weights from.
        model: a DemoTransformer with hook points.
        tokens: [batch, position].
        cache: the run's activations, by name.
    """

    source: Source
    model: nn.Module
    tokens: Tensor
    cache: dict[str, Tensor]

    def case(self, *inputs: Tensor, **more) -> Case:
        """A case on this model; `more` are Case's own arguments."""
        return Case(self.source.label, self.source.cfg, inputs, **more)


_opened: dict[int, Inside] = {}  # by the source's id, which it keeps alive


def opened(source: Source) -> Inside:
    """A source's model with hook points, and its run on the source's tokens."""
    if id(source) not in _opened:
        _opened[id(source)] = _open(source)
    return _opened[id(source)]


def _open(source: Source) -> Inside:
    model = inside.hooked(DemoTransformer(source.cfg)).eval()
    model.load_state_dict(source.weights)
    with torch.no_grad():
        _, cache = inside.run_with_cache(model, source.tokens)
    return Inside(source, model, source.tokens, cache)


def both() -> list[Inside]:
    """The tiny model, all of it random, and the reference that is loaded."""
    return [opened(stirred()), opened(loaded())]


def of_model_and_cache(answer):
    """An answer `f(model, cache)` as a function of tokens, for the cases.

    The cache is made for each call: an answer may write into it, and spoils no other.
    """

    @functools.wraps(answer)
    def on_tokens(tokens, model):
        with torch.no_grad():
            _, cache = inside.run_with_cache(model, tokens)
            return answer(model, cache)

    return on_tokens


def cache_cases() -> list[Case]:
    """For such an answer: both models; a batch of one, a single position."""
    small, big = both()
    made = [
        small.case(small.tokens, extra={"model": small.model}),
        small.case(
            small.tokens[:1, :1],
            extra={"model": small.model},
            detail="on a single position",
        ),
        big.case(big.tokens, extra={"model": big.model}),
    ]
    return made
