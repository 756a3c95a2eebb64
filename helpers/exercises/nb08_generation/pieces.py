"""Classes that take a cache, judged by what they return piece by piece.

A text that is cut into several calls must give what one call on all of it gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pieces:
    """How a text is cut, and the cache that goes with it.

    Attributes:
        lengths: of the pieces.
        cache: makes an empty cache for a batch.
        other: another text that is read in turn, with a cache of its own.
    """

    lengths: tuple[int, ...]
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
