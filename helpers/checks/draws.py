"""Exercises whose answers draw at random: judged by how often each token comes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from helpers.checks import again, crash
from helpers.checks.case import Case
from helpers.checks.explain import told
from helpers.checks.own_code import files_of
from helpers.checks.report import Findings, Mistake, mistake
from helpers.checks.run import attempted, same
from helpers.checks.trace import Recorder, RightValues, first_departure

DRAWS = 10_000  # for each row; an answer that loops over the rows is slow
ERROR = 1e-6  # the chance that a right answer is rejected, with honest random numbers
SEEDS = (801, 802)  # for two contests; fixed, so that a report repeats


def chance(seen: list[Tensor], probs: list[Tensor]) -> tuple[float, float]:
    """How far frequencies stray, and how often honest draws stray as far.

    Pearson's chi-squared test over all rows of all contests. It adds up what each token
    strays by, so that a small error in all of them shows. Here each token that can come
    at all is expected a hundred times or more.

    Args:
        seen: frequencies of DRAWS draws, [row, d_vocab] each.
        probs: their probabilities.

    Returns:
        The statistic, and its chance, at most 1. What cannot come and did: infinity, 0.
    """
    frequency, p = torch.cat(seen).double(), torch.cat(probs).double()
    if frequency[p == 0].any():
        return math.inf, 0.0
    strays = (frequency - p)[p > 0].pow(2) / p[p > 0]
    statistic, free = DRAWS * strays.sum(), (p > 0).sum() - len(p)
    return statistic.item(), _tail(statistic, free)


@dataclass(frozen=True)
class Draws:
    """Answers that draw a token for each row of logits.

    Attributes:
        contests: makes the logits, [row, d_vocab] each.
        facts: what frequencies show for certain, given them and the logits.
    """

    contests: Callable[[], list[Tensor]]
    facts: Callable[[list[Tensor], list[Tensor]], list[Mistake]]
    _made: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        contests, seen = self.contests(), []
        for logits, seed in zip(contests, SEEDS, strict=True):
            many = _often(logits)
            tried = attempted(_seeded, candidate, many, seed)
            if error := tried.error:
                blank = crash.left_blank(error)
                found = None if blank else self._explained(check, [*seen, error])
                return found or check.stopped(error, candidate)
            drawn = tried.output
            if not torch.equal(many, _often(logits)):
                given = candidate, Case("", None, (logits,)), files_of(candidate)
                return Findings((crash.writes(again.line_that_writes(*given)),))
            if odd := _not_tokens(drawn, many):
                return Findings((odd,))
            seen.append(_frequencies(drawn, logits))
        if chance(seen, [logits.softmax(-1) for logits in contests])[1] < ERROR:
            found, also = self._explained(check, seen), self.facts(seen, contests)
            if found and also:  # so many draws do not tell them apart
                return replace(found, mistakes=(*also, *found.mistakes), one_of=True)
            return found or self._narrowed(check, candidate, seen)
        if torch.equal(*(_seeded(candidate, many[:100], seed) for seed in SEEDS)):
            return Findings((mistake("same-draws-every-time"),))
        note = "[batch, 1] instead of [batch] is ready for `torch.cat`"
        summary = f"{DRAWS} draws for each of three distributions: every token as "
        summary += "often as its probability says, by a chi-squared test. A right "
        summary += "answer would fail this about once in a million times."
        return Findings(notes=(note,) if drawn.ndim == 1 else (), summary=summary)

    def _narrowed(self, check, candidate, seen: list[Tensor]) -> Findings:
        """What frequencies that no mistake explains show for certain, and a line."""
        contests = self.contests()
        facts = self.facts(seen, contests)
        if all(rows.amax(-1).eq(1).all() for rows in seen):
            facts = [mistake("one-draw-for-all", "one-draw-for-the-batch")]
        if not facts:
            both = torch.stack([seen[0], contests[0].softmax(-1)]).flatten(1)
            pair = both[:, both.diff(dim=0).abs().argmax()].tolist()
            got, want = (f"{100 * share:.1f}%" for share in pair)
            facts = [mistake("wrong-distribution", draws=DRAWS, got=got, want=want)]
        line = _line(check, candidate, contests[0])
        return Findings(tuple(replace(fact, line=line) for fact in facts))

    def _explained(self, check, seen: list[Tensor | Exception]) -> Findings | None:
        """The wrong answers that draw each token as often, or stop as this one does."""

        def fits(mutant) -> bool:
            pairs = ((mine, self._drawn_by(mutant, i)) for i, mine in enumerate(seen))
            return all(_alike(mine, other) for mine, other in pairs)

        return told([m for m in check.mutants if fits(m.answer)], check.link)

    def _drawn_by(self, answer, contest: int) -> Tensor | Exception:
        """How often a wrong answer draws each token, from seeds of its own; once."""
        key, logits = (answer, contest), self.contests()[contest]
        if key not in self._made:

            def often() -> Tensor:
                drawn = _seeded(answer, _often(logits), SEEDS[contest] + 100)
                return _frequencies(drawn, logits)

            tried = attempted(often)
            self._made[key] = tried.output if tried.error is None else tried.error
        return self._made[key]


def _seeded(answer, logits: Tensor, seed: int):
    torch.manual_seed(seed)
    return answer(logits)


def _line(check, candidate, logits: Tensor) -> str | None:
    """The first line whose numbers no right answer makes; what is drawn is none."""
    logits = logits.repeat(8, 1)
    made = [_recorded(f, logits, SEEDS[0])[0].steps for f in check.right_answers()]
    right = RightValues(step.value for steps in made for step in steps)
    files = files_of(candidate)
    recorder, drawn = _recorded(candidate, logits, SEEDS[0], files)
    second, _ = _recorded(candidate, logits, SEEDS[1], files)
    pairs = zip(recorder.steps, second.steps)
    recorder.steps = [one for one, two in pairs if same(one.value, two.value)]
    stages = {"the probabilities": logits.softmax(-1)}
    return first_departure(stages, recorder, drawn, right).line or None


def _recorded(answer, logits: Tensor, seed: int, files=frozenset()):
    with Recorder(files) as recorder:
        return recorder, _seeded(answer, logits.clone(), seed)


def _often(logits: Tensor) -> Tensor:
    """Every row DRAWS times: [row * DRAWS, d_vocab]."""
    return logits[:, None].expand(-1, DRAWS, -1).reshape(-1, logits.shape[-1])


def _frequencies(drawn: Tensor, logits: Tensor) -> Tensor:
    """How often each token came, row by row: [row, d_vocab]."""
    rows = drawn.reshape(len(logits), DRAWS)
    return nn.functional.one_hot(rows, logits.shape[-1]).float().mean(1)


def _alike(a: Tensor | Exception, b: Tensor | Exception) -> bool:
    """Two errors of the same words; two sets of draws that differ by chance."""
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b) and str(a) == str(b)
    both = (a + b).double()
    statistic = DRAWS * ((a - b).double().pow(2) / both.clamp_min(1e-12)).sum()
    free = (both > 0).sum() - len(both)
    return _tail(statistic, free) > ERROR or torch.equal(a, b)


def _tail(statistic: Tensor, free: Tensor) -> float:
    """How often a chi-squared number with so many degrees of freedom is as large."""
    return torch.special.gammaincc(free / 2, statistic / 2).item()


def _not_tokens(drawn, many: Tensor) -> Mistake | None:
    """What was returned, if it is no token for each row."""
    batch, d_vocab = many.shape
    if drawn is None:
        return mistake("no-return")
    if not isinstance(drawn, Tensor):
        return mistake("not-a-tensor", what=type(drawn).__name__)
    whole = not drawn.is_floating_point()
    if drawn.shape == many.shape and not whole:
        return mistake("probabilities-returned")
    if whole and drawn.ndim == 2 and len(drawn) == batch and drawn.shape[1] > 1:
        return mistake("too-many-samples", got=drawn.shape[1])
    if drawn.numel() == 1:
        return mistake("one-draw-for-the-batch", batch=batch)
    if drawn.shape not in ((batch, 1), (batch,)):
        got = list(drawn.shape)
        return mistake("not-one-for-each-row", "wrong-shape", got=got, batch=batch)
    if not whole or drawn.min() < 0 or drawn.max() >= d_vocab:
        return mistake("not-token-ids", last=d_vocab - 1)
    return None
