"""Exercises whose answers draw at random: judged by how often each token comes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.checks import crash
from helpers.checks.explain import told
from helpers.checks.report import Findings, Mistake

DRAWS = 20_000
ERROR = 1e-6  # the chance that a right answer is rejected, with honest random numbers
SEEDS = (801, 802)  # for two contests; fixed, so that a report repeats


def bound(d_vocab: int, draws: int = DRAWS, error: float = ERROR) -> float:
    """How far any token's frequency may stray from its probability.

    Hoeffding: a frequency of n draws strays by more than e with a chance of at most
    2 exp(-2 n e²). Over all tokens and contests those chances add up to `error`.
    """
    ways = 2 * d_vocab * len(SEEDS) * 2  # two rows in each contest
    return math.sqrt(math.log(ways / error) / (2 * draws))


@dataclass(frozen=True)
class Draws:
    """Answers that draw a token for each row of logits.

    Attributes:
        contests: makes the logits, [row, d_vocab] each.
    """

    contests: Callable[[], list[Tensor]]

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        contests, seen, notes = self.contests(), [], []
        for logits, seed in zip(contests, SEEDS, strict=True):
            many = _often(logits)
            before = many.clone()
            torch.manual_seed(seed)
            try:
                drawn = candidate(many)
            except Exception as error:
                if crash.left_blank(error):
                    return check.to_do(candidate)
                return Findings((crash.describe(error, candidate),))
            if not torch.equal(many, before):
                return Findings((_CHANGES,))
            odd = _not_tokens(drawn, many)
            if odd:
                return Findings((odd,))
            if drawn.ndim == 1:
                notes.append("[batch, 1] instead of [batch] is ready for `torch.cat`")
            seen.append(_frequencies(drawn, logits))
        targets = [logits.softmax(-1) for logits in contests]
        if not _near(seen, targets, bound(9)):
            return self._explained(check, seen) or Findings((_worst(seen, targets),))
        if torch.equal(candidate(many), drawn):
            return Findings((_SAME_DRAWS,))
        summary = (
            f"{DRAWS} draws for each of four distributions: every token as often as "
            f"its probability says, within {bound(9):.3f}. A right answer would fail "
            "this once in a million times."
        )
        return Findings(notes=tuple(notes), summary=summary)

    def _explained(self, check, seen: list[Tensor]) -> Findings | None:
        """The wrong answers that draw each token as often as this one."""
        found = [
            mutant
            for mutant in check.mutants
            if _near(seen, self._drawn_by(mutant.answer), math.sqrt(2) * bound(9))
        ]
        mistakes, one_of = told(found, check.link)
        return Findings(tuple(mistakes), one_of) if found else None

    def _drawn_by(self, answer) -> list[Tensor]:
        """How often a wrong answer draws each token; from seeds of its own."""
        seen = []
        for logits, seed in zip(self.contests(), SEEDS, strict=True):
            torch.manual_seed(seed + 100)
            seen.append(_frequencies(answer(_often(logits)), logits))
        return seen


def _often(logits: Tensor) -> Tensor:
    """Every row DRAWS times: [row * DRAWS, d_vocab]."""
    return logits[:, None].expand(-1, DRAWS, -1).reshape(-1, logits.shape[-1])


def _frequencies(drawn: Tensor, logits: Tensor) -> Tensor:
    """How often each token came, row by row: [row, d_vocab]."""
    rows = drawn.reshape(len(logits), DRAWS)
    return nn.functional.one_hot(rows, logits.shape[-1]).float().mean(1)


def _near(seen: list[Tensor], targets: list[Tensor], within: float) -> bool:
    return all((a - b).abs().max() <= within for a, b in zip(seen, targets))


def _worst(seen: list[Tensor], targets: list[Tensor]) -> Mistake:
    mine, wanted = seen[0], targets[0]
    at = (mine - wanted).abs().flatten().argmax().item()
    row, token = divmod(at, wanted.shape[-1])
    return Mistake(
        "wrong-distribution",
        f"Over {DRAWS} draws a token came up {100 * mine[row, token]:.1f}% of the "
        f"time; its probability is {100 * wanted[row, token]:.1f}%. Chance alone "
        "strays that far less than once in a million times.",
        "softmax over the last axis, then `torch.multinomial`",
    )


def _not_tokens(drawn, many: Tensor) -> Mistake | None:
    batch, d_vocab = many.shape
    if drawn is None:
        return Mistake(
            "no-return",
            "Your code returns None: the result is computed and dropped.",
            "end with `return ...`",
        )
    if not isinstance(drawn, Tensor):
        kind = type(drawn).__name__
        return Mistake(
            "not-a-tensor",
            f"Your code returns {kind}, not a tensor.",
            "return the tensor of token ids itself",
        )
    if drawn.shape == many.shape and drawn.is_floating_point():
        return Mistake(
            "probabilities-returned",
            "You return a number for every token.",
            "one token a row: `torch.multinomial(probs, num_samples=1)`",
        )
    if drawn.shape not in ((batch, 1), (batch,)):
        return Mistake(
            "wrong-shape",
            f"Your output has shape {list(drawn.shape)} for {batch} rows; "
            f"it should be [{batch}, 1]: one token for each row.",
            "`num_samples=1`, and the whole batch at once",
        )
    if drawn.is_floating_point() or drawn.min() < 0 or drawn.max() >= d_vocab:
        return Mistake(
            "not-token-ids",
            "What you return are no token ids: whole numbers from 0 to "
            f"d_vocab − 1 = {d_vocab - 1}.",
            "`torch.multinomial` returns ids",
        )
    return None


_SAME_DRAWS = Mistake(
    "same-draws-every-time",
    "A second call on the same logits draws the same tokens, all of them.",
    "a fixed seed inside the function does that: leave `manual_seed` to the caller",
)

_CHANGES = Mistake(
    "changes-its-input",
    "Your code writes into the logits it was given.",
    "names that end in an underscore change a tensor in place",
)
