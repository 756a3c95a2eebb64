"""Exercises whose answers draw at random: judged by how often each token comes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from helpers.checks import crash
from helpers.checks.explain import told
from helpers.checks.observe import same
from helpers.checks.report import Findings, Mistake
from helpers.checks.trace import Recorder, RightValues, first_departure

DRAWS = 10_000  # an answer that loops over the rows is slow
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
        facts: what frequencies that no mistake explains show for certain, given them
            and the logits.
    """

    contests: Callable[[], list[Tensor]]
    facts: Callable[[list[Tensor], list[Tensor]], list[Mistake]] | None = None
    _made: dict = field(default_factory=dict, init=False, repr=False, compare=False)

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
                told = Findings((crash.describe(error, candidate),))
                return self._explained(check, [*seen, error]) or told
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
            facts = _no_draw(seen)
            facts = facts or (self.facts(seen, contests) if self.facts else [])
            found = self._explained(check, seen)
            if found:
                return found
            line = _line(check, candidate, contests[0])
            facts = facts or [_worst(seen, targets)]
            return Findings(tuple(replace(fact, line=line) for fact in facts))
        few = many[:100]
        if torch.equal(*(_seeded(candidate, few, seed) for seed in SEEDS)):
            return Findings((_SAME_DRAWS,))
        summary = (
            f"{DRAWS} draws for each of four distributions: every token as often as "
            f"its probability says, within {bound(9):.3f}. A right answer would fail "
            "this once in a million times."
        )
        return Findings(notes=tuple(dict.fromkeys(notes)), summary=summary)

    def _explained(self, check, seen: list[Tensor | Exception]) -> Findings | None:
        """The wrong answers that draw each token as often, or stop as this one does."""
        found = [mutant for mutant in check.mutants if self._alike(mutant.answer, seen)]
        mistakes, one_of = told(found, check.link)
        return Findings(tuple(mistakes), one_of) if found else None

    def _alike(self, answer, seen: list[Tensor | Exception]) -> bool:
        """Whether a wrong answer draws so, or stops with the same words."""
        for i, mine in enumerate(seen):
            other = self._drawn_by(answer, i)
            if isinstance(mine, Exception) or isinstance(other, Exception):
                return type(mine) is type(other) and str(mine) == str(other)
            if not _from_one_distribution(mine, other):
                return False
        return True

    def _drawn_by(self, answer, contest: int) -> Tensor | Exception:
        """How often a wrong answer draws each token, from seeds of its own; once."""
        if (answer, contest) not in self._made:
            logits = self.contests()[contest]
            try:
                drawn = _seeded(answer, _often(logits), SEEDS[contest] + 100)
                self._made[answer, contest] = _frequencies(drawn, logits)
            except Exception as error:
                self._made[answer, contest] = error
        return self._made[answer, contest]


def _seeded(answer, logits: Tensor, seed: int):
    torch.manual_seed(seed)
    return answer(logits)


def _line(check, candidate, logits: Tensor) -> str | None:
    """The first line whose numbers no right answer makes.

    What comes out differently in a second call is drawn, and tells nothing.
    """
    logits = logits.repeat(8, 1)
    right = [
        step.value
        for answer in check.right_answers()
        for step in _recorded(answer, logits, SEEDS[0])[0].steps
    ]
    files = crash.files_of(candidate)
    recorder, drawn = _recorded(candidate, logits, SEEDS[0], files)
    again, _ = _recorded(candidate, logits, SEEDS[1], files)
    pairs = zip(recorder.steps, again.steps)
    recorder.steps = [one for one, two in pairs if same(one.value, two.value)]
    stages = {"the probabilities": logits.softmax(-1)}
    return first_departure(stages, recorder, drawn, RightValues(right)).line or None


def _recorded(answer, logits: Tensor, seed: int, files=frozenset()):
    with Recorder(files) as recorder:
        return recorder, _seeded(answer, logits.clone(), seed)


def _no_draw(seen: list[Tensor]) -> list[Mistake]:
    """What is never drawn, or once for all rows."""
    if not all(rows.amax(-1).eq(1).all() for rows in seen):
        return []
    told = "Equal rows all get the same token: nothing is drawn, or one number for the "
    told += "whole batch."
    hint = "`torch.multinomial(probs, num_samples=1)` draws for each row by itself"
    return [Mistake("one-draw-for-the-batch", told, hint)]


def _often(logits: Tensor) -> Tensor:
    """Every row DRAWS times: [row * DRAWS, d_vocab]."""
    return logits[:, None].expand(-1, DRAWS, -1).reshape(-1, logits.shape[-1])


def _frequencies(drawn: Tensor, logits: Tensor) -> Tensor:
    """How often each token came, row by row: [row, d_vocab]."""
    rows = drawn.reshape(len(logits), DRAWS)
    return nn.functional.one_hot(rows, logits.shape[-1]).float().mean(1)


def _near(seen: list[Tensor], targets: list[Tensor], within: float) -> bool:
    return all((a - b).abs().max() <= within for a, b in zip(seen, targets))


def _from_one_distribution(a: Tensor, b: Tensor) -> bool:
    """Whether chance explains how two sets of draws differ; it would be beyond 5.5
    standard deviations at one of 36 tokens about once in a million times."""
    middle = (a + b) / 2
    spread = (middle * (1 - middle) * 2 / DRAWS).sqrt()
    return bool(((a - b).abs() <= 5.5 * spread + 3 / DRAWS).all())


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
    whole = not drawn.is_floating_point()
    if whole and drawn.ndim == 2 and len(drawn) == batch and drawn.shape[1] > 1:
        return Mistake(
            "too-many-samples",
            f"You return {drawn.shape[1]} tokens a row; one is wanted.",
            "`num_samples=1`",
        )
    if drawn.numel() == 1:
        return Mistake(
            "one-draw-for-the-batch",
            f"You draw one token for all {batch} rows; each row gets one of its own.",
            "`torch.multinomial` draws for each row of [batch, d_vocab]",
        )
    if drawn.shape not in ((batch, 1), (batch,)):
        return Mistake(
            "wrong-shape",
            f"Your output has shape {list(drawn.shape)} for {batch} rows; "
            f"it should be [{batch}, 1]: one token for each row.",
            "`num_samples=1`, and the whole batch at once",
        )
    if not whole or drawn.min() < 0 or drawn.max() >= d_vocab:
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
