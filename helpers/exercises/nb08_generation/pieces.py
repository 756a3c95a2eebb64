"""Classes that take a cache, judged by what they return piece by piece.

A text that is cut into several calls must give what one call on all of it gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.exercises.course import Source, sources, stirred


@dataclass(frozen=True)
class Pieces:
    """How a text is cut, and the cache that goes with it.

    Attributes:
        lengths: of the pieces.
        cache: makes an empty cache for a batch.
        other: another text that is read in turn, with a cache of its own.
    """

    lengths: list[int]
    cache: Callable[[int], object]
    other: Tensor | None = None

    def read(self, forward: Callable, x: Tensor):
        """What `forward(piece, cache)` returns, joined; two texts along the batch.

        The first output that is no tensor, if there is one.
        """
        texts = [x] if self.other is None else [x, self.other]
        caches = [self.cache(len(text)) for text in texts]
        outputs, start = [[] for _ in texts], 0
        for length in self.lengths:
            for text, kept, out in zip(texts, caches, outputs, strict=True):
                out.append(forward(text[:, start : start + length], kept))
            start += length
        odd = [o for out in outputs for o in out if not isinstance(o, Tensor)]
        return odd[0] if odd else torch.cat([torch.cat(o, dim=1) for o in outputs])


def in_pieces(candidate):
    """Let a class with `forward(x, cache)` be judged as one with `forward(x)`."""
    if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
        return candidate
    if "forward" not in vars(candidate):
        return candidate

    @wraps(candidate.forward)
    def forward(self, x, pieces):
        with torch.no_grad():
            return pieces.read(partial(candidate.forward, self), x)

    body = {"forward": forward}
    if "__init__" in vars(candidate):
        body["__init__"] = candidate.__init__
    return type(candidate.__name__, (candidate,), body)


def cases(take: Callable[[Source], tuple], cache: Callable) -> list[Case]:
    """One text in several pieces, up to the full context, and two in turn.

    Args:
        take: from a model that has been run, what the class reads, its weights, and
            what it makes.
        cache: makes an empty cache, of a configuration and a batch.
    """
    small, one, _, full, big = sources()
    turns = "two texts in turn, each with its own cache"
    given = [
        (small, "in one piece", 7),
        (small, "a prompt of four, then three", 4, 3),
        (small, "a prompt of four, then one by one", 4, 1, 1, 1),
        (one, "on a batch of one, one by one", 1, 1, 1, 1, 1),
        (stirred(n_layers=2), "with 2 layers, in pieces of several", 2, 3, 2),
        (full, "up to the full context", 8, 1, 1, 1),
        (small, turns, 5, 1, 1),
        (big, "a prompt, then one by one", big.tokens.shape[1] - 3, 1, 1, 1),
    ]
    made = []
    for source, detail, *lengths in given:
        x, params, right = take(source)
        x, other = (x[:1], x[1:]) if detail == turns else (x, None)
        pieces = {"pieces": Pieces(lengths, partial(cache, source.cfg), other)}
        more = {"params": params, "expected": right, "extra": pieces, "grad": False}
        made.append(source.case(x, detail=detail, **more))
    return made
