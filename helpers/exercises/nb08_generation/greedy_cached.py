"""What an answer to `greedy_cached` is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.checks.guard import NotDrawn
from helpers.checks.report import Findings, Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.exercises.nb08_generation import generating
from helpers.generation import CachedTransformer, greedy_cached, new_cache


class CachedModel(nn.Module):
    """A right CachedTransformer, which counts the positions it has worked through."""

    def __init__(self, source: Source):
        super().__init__()
        self.cfg, self.positions = source.cfg, 0
        with torch.device("meta"), NotDrawn():
            self.inner = CachedTransformer(source.cfg)
        self.inner.load_state_dict(source.weights, assign=True)

    @torch.no_grad()
    def forward(self, tokens: Tensor, cache: list) -> Tensor:
        """Logits [batch, position, d_vocab] of the new tokens."""
        self.positions += tokens.shape[1]
        return generating.said_by(self.inner, tokens, cache)


def cases() -> list[Case]:
    """Prompts of both models, of several lengths."""
    small, one_layer, big = stirred(), stirred(n_layers=1), loaded()
    given = [
        (small, generating.TEXTS, 5, ""),
        (small, small.tokens[1:, :1], 6, "from a single token"),
        (small, small.tokens[:, :2], 2, "with two new tokens"),
        (one_layer, torch.tensor([[8, 31]]), 5, "past an end token"),
        (big, big.tokens[:, :5], 5, ""),
    ]
    return [
        generating.case(CachedModel(source), source, *more) for source, *more in given
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of each round, in order."""
    (tokens,), model, steps = case.inputs, case.extra["model"], {}
    cache, new = new_cache(model.cfg, len(tokens)), tokens
    for i in range(case.extra["n_new"]):
        logits = model(new, cache)[:, -1]
        new = logits.argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, new], dim=1)
        steps |= {
            f"the last position's logits in round {i + 1}": logits,
            f"the new token in round {i + 1}": new,
            f"the text after round {i + 1}": tokens,
        }
    return steps


@dataclass(frozen=True)
class EachTokenOnce:
    """The right tokens are not enough: no token may be worked through twice."""

    tensors: Tensors

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
        hint = (
            "one cache before the loop; after the prompt, feed the newest token alone"
        )
        return Findings((Mistake("cache-saves-nothing", told, hint),))

    def prepare(self, candidate):
        """As for greedy."""
        return generating.model_first(candidate)


check = exercise(
    __file__,
    greedy_cached,
    EachTokenOnce(
        Tensors(
            cases,
            axes=("batch", "position"),
            stages=stages,
            prepare=generating.model_first,
            against="transformers' `generate`",
        )
    ),
)
