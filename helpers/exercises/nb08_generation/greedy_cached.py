"""What an answer to `greedy_cached` is compared with."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from helpers.checks.guard import NotDrawn
from helpers.checks.report import Findings, Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, stirred
from helpers.exercises.nb08_generation import generating, greedy
from helpers.generation import CachedTransformer, greedy_cached


class CachedModel(nn.Module):
    """A right CachedTransformer, which counts the positions it has worked through."""

    def __init__(self, source: Source):
        super().__init__()
        self.cfg, self.positions = source.cfg, 0
        self.whole = generating.Logits(source)
        with torch.device("meta"), NotDrawn():
            self.inner = CachedTransformer(source.cfg)
        self.inner.load_state_dict(source.weights, assign=True)

    @torch.no_grad()
    def forward(self, tokens: Tensor, cache: list) -> Tensor:
        """Logits [batch, position, d_vocab] of the new tokens."""
        self.positions += tokens.shape[1]
        return generating.said_by(self.inner, tokens, cache)


@dataclass(frozen=True)
class EachTokenOnce:
    """The right tokens are not enough: no token may be worked through twice."""

    tensors: Tensors
    prepare = staticmethod(generating.by_position)

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        found = self.tensors.judge(check, candidate)
        if found.mistakes or found.todo:
            return found
        prompt, n_new, model = stirred().tokens[:, :4], 6, CachedModel(stirred())
        candidate(prompt, model=model, n_new=n_new)
        if model.positions <= prompt.shape[1] + n_new:
            return found
        told = f"The tokens are right, but the model read {model.positions} positions "
        told += f"to add {n_new} tokens to {prompt.shape[1]}: old ones go through it "
        told += "again and again."
        hint = "one cache before the loop; then, feed the newest token alone"
        return Findings((Mistake("cache-saves-nothing", told, hint),))


kind = EachTokenOnce(replace(greedy.kind, cases=partial(generating.cases, CachedModel)))
check = exercise(__file__, greedy_cached, kind)
