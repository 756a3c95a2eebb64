"""What is promised of the checks, in figures; the tests of each check say the rest."""

import itertools
from collections import Counter

import pytest

from helpers import checks
from helpers.checks.report import Mistake, Report
from tests.checks_table import RIGHT, WRONG, answers, catalogue, judge, table, verdict

AT_LEAST = {
    "attention": 12,
    "layer_norm": 12,
    "transformer_block": 8,
    "demo_transformer": 8,
    **dict.fromkeys(("embed", "pos_embed", "unembed", "mlp", "causal_mask"), 6),
}
NAMES = [name for name in checks.__all__ if name != "CheckFailed"]
SUITE = list(answers())


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_a_suite_and_a_catalogue(name):
    mine = [answer for answer in SUITE if answer.check == name]
    slugs = {slug for answer in mine for slug in answer.mistakes or ()}
    assert any(answer.mistakes is None for answer in mine)
    known = catalogue(name) or slugs  # what is wrong with a Config is told without one
    assert len(known) >= AT_LEAST.get(name, 4)


def test_a_sample_of_all_answers_meets_the_bars():
    """Every answer has a test of its own; this one is of how they are counted."""
    rows = judge(itertools.islice(SUITE, 0, None, 61))
    total = sum((row.counts for row in rows.values()), start=Counter())
    odd = [told for row in rows.values() for told in row.odd]
    assert not odd, "\n\n".join(odd)
    assert total["named"] >= 0.9 * sum(total[what] for what in WRONG)
    assert sum(total[what] for what in (*WRONG, *RIGHT)) == len(SUITE[::61])
    assert table(rows).splitlines()[-1].startswith("all")


def report(*names: str, exact=True, one_of=False) -> Report:
    mistakes = tuple(Mistake(name, "", exact=exact) for name in names)
    status = "failed" if names else "passed"
    return Report("embed", "Embed", status, mistakes, one_of=one_of)


@pytest.mark.parametrize(
    ("told", "mistakes", "what"),
    [
        (report(), None, "accepted"),
        (report("a"), None, "rejected"),
        (report(), ("a",), "missed"),
        (report("a"), ("a",), "named"),
        (report("a", "b"), ("b", "a"), "named"),
        (report("a", "b"), ("a",), "wrongly named"),
        (report("a", "b", one_of=True), ("a",), "named"),
        (report("b"), ("a",), "wrongly named"),
        (report("b", exact=False), ("a",), "narrowed"),
        (report("a", "wrong-values", exact=False), ("a",), "named"),
        (report("wrong-values", exact=False), ("wrong-values",), "narrowed"),
    ],
)
def test_verdicts(told, mistakes, what):
    assert verdict(told, mistakes) == what
