"""How good the checks are, in figures: `python -m tests.checks_table`.

Every answer of the test modules (`answers()`, the data of their tests) is put before
its check. A wrong answer is

* named: the report tells its mistakes and no others, or lists them among some that
  look alike ("one of these");
* narrowed: the report gives the line, stage, part or property, and no mistake as exact;
* wrongly named: the report gives as exact a mistake that it has not;
* missed: it passed.

"The values are wrong" is true and names nothing, so what is in SAYS_LITTLE does not
count as a name. It takes some minutes.
"""

import importlib
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from helpers import checks, plots  # noqa: F401 (plots: imported before the clock)
from helpers.checks.report import Report
from tests.candidates import Answer

# Facts that hold of almost every wrong answer.
SAYS_LITTLE = {"wrong-values", "wrong-result", "wrong-shape", "crash"}
WRONG = ("named", "narrowed", "wrongly named", "missed")
RIGHT = ("accepted", "rejected")


def answers() -> Iterator[Answer]:
    """Every answer of every suite."""
    for path in sorted(Path(__file__).parent.glob("test_checks_*.py")):
        module = importlib.import_module(f"tests.{path.stem}")
        if hasattr(module, "answers"):
            yield from module.answers()


def catalogue(check: str) -> set[str]:
    """The names of the mistakes that a check knows."""
    return {known.name for known in getattr(checks, check).known}


def verdict(report: Report, mistakes: tuple[str, ...] | None) -> str:
    """One of WRONG, or of RIGHT where there is no mistake."""
    if mistakes is None:
        return "accepted" if report.status == "passed" else "rejected"
    if report.status != "failed":
        return "missed"
    expected = set(mistakes)
    told = {mistake.name for mistake in report.mistakes}
    named = expected <= told and (report.one_of or told - expected <= SAYS_LITTLE)
    if named and not expected & SAYS_LITTLE:
        return "named"
    exact = {mistake.name for mistake in report.mistakes if mistake.exact}
    return "wrongly named" if exact - expected else "narrowed"


@dataclass
class Row:
    """What became of one exercise's answers; seconds of one core."""

    counts: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    odd: list[str] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        start = time.process_time()
        report = getattr(checks, answer.check).examine(answer.candidate)
        spent = time.process_time() - start
        if spent > self.slowest:
            start = time.process_time()
            report._repr_html_()  # with its picture, as a notebook shows it
            self.slowest = spent + time.process_time() - start
        what = verdict(report, answer.mistakes)
        self.counts[what] += 1
        if what in ("wrongly named", "missed", "rejected"):
            self.odd.append(f"{answer.check}, {answer.mistakes}: {what}\n{report}")


def judge(some: Iterable[Answer]) -> dict[str, Row]:
    """A row for each exercise, in the order of `checks.__all__`."""
    rows: dict[str, Row] = defaultdict(Row)
    for answer in some:
        if answer.check not in rows:  # what is made once is no one's time
            check = getattr(checks, answer.check)
            check.examine(check.course)
        rows[answer.check].add(answer)
    return {name: rows[name] for name in checks.__all__ if name in rows}


def table(rows: dict[str, Row]) -> str:
    """Plain text, one line for each exercise and one for all."""
    heads = ("in catalogue", *WRONG, *RIGHT, "slowest, s")
    lines = ["exercise".ljust(22) + "".join(h.rjust(14) for h in heads)]
    total, known = Row(), 0
    for name, row in rows.items():
        lines.append(_line(name, len(catalogue(name)), row))
        known += len(catalogue(name))
        total.counts += row.counts
        total.slowest = max(total.slowest, row.slowest)
    return "\n".join([*lines, _line("all", known, total)])


def _line(name: str, known: int, row: Row) -> str:
    figures = [known, *(row.counts[what] for what in (*WRONG, *RIGHT))]
    told = "".join(str(figure).rjust(14) for figure in figures)
    return f"{name:22}{told}{row.slowest:14.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = judge(answers())
    print(table(rows))
    for row in rows.values():
        print(*row.odd, sep="\n\n", file=sys.stderr)
