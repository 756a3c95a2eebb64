"""How good the checks are, in figures: `python -m tests.checks_table [name ...]`.

Every answer of the exercises' pages is put before its check. A wrong answer is

* named: the report tells its mistake and no other, or lists it among some that look
  alike ("one of these");
* narrowed: the report gives the line, stage, part or property, and no mistake as exact;
* wrongly named: the report gives as exact a mistake that it has not;
* missed: it passed.

Then right answers are made wrong in one statement each: what it computes is multiplied
by 1.1. Such a report is good when it names a mistake or shows the changed line; it is
bad when the line that it shows makes a right value. It takes some minutes.
"""

import ast
import sys
import time
from collections import Counter
from collections.abc import Iterator

import torch

from helpers import checks
from helpers.checks.report import Report
from tests.typed import text_of, typed

WRONG = ("named", "narrowed", "wrongly named", "missed")
RIGHT = ("accepted", "rejected")
LINES = ("line named", "right line", "no line", "another line")
# Facts that hold of almost every wrong answer.
SAYS_LITTLE = {"wrong-values", "wrong-result", "wrong-shape", "crash"}


def verdict(report: Report, slug: str | None) -> str:
    """One of WRONG, or of RIGHT where there is no mistake."""
    if slug is None:
        return "accepted" if report.status == "passed" else "rejected"
    if report.status != "failed":
        return "missed"
    told = {mistake.name for mistake in report.mistakes}
    if slug in told and (report.one_of or told - {slug} <= SAYS_LITTLE):
        return "named"
    exact = {mistake.name for mistake in report.mistakes if mistake.exact}
    return "wrongly named" if exact - {slug} else "narrowed"


def spoiled(source: str) -> Iterator[tuple[str, str]]:
    """An answer with one statement of its computation changed: (line, whole text)."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        inside = isinstance(node, (ast.FunctionDef, ast.For))
        if not inside or getattr(node, "name", "") == "__init__":
            continue
        for statement in node.body:
            kept = getattr(statement, "value", None)
            simple = (ast.Name, ast.Constant, ast.Tuple, type(None))
            if not isinstance(statement, (ast.Assign, ast.Return)):
                continue
            if isinstance(kept, simple) or "shape" in ast.unparse(statement):
                continue
            statement.value = ast.parse(f"1.1 * ({ast.unparse(kept)})").body[0].value
            yield ast.unparse(statement), ast.unparse(tree)
            statement.value = kept


def line_verdict(report: Report, line: str) -> str | None:
    """One of LINES; None for an answer that 1.1 has not made wrong."""
    if report.status == "passed":
        return None
    shown = [m.line for m in report.mistakes if m.line]
    if any(m.exact for m in report.mistakes):
        return "line named"
    if not shown:
        return "no line"
    return "right line" if shown[0] in line or line in shown[0] else "another line"


def counted(name: str) -> tuple[Counter, list[str], float]:
    """How often what; the odd cases in full; the slowest examination in seconds."""
    check, counts, odd, slowest = getattr(checks, name), Counter(), [], 0.0
    answers = [(None, code) for _, code in check.page.right]
    for entry in check.page.mistakes.values():
        codes = [*(way.code for way in entry.ways), *entry.also]
        answers += [(entry.slug, code) for code in codes]
    for slug, code in answers:
        answer, start = typed(check, *text_of(check, code)), time.process_time()
        report = check.examine(answer)
        slowest = max(slowest, time.process_time() - start)
        what = verdict(report, slug)
        counts[what] += 1
        if what in ("wrongly named", "missed", "rejected"):
            odd.append(f"{code.place}, {slug}: {what}\n{report}")
    if getattr(check.kind, "stages", None) is None:
        return counts, odd, slowest
    for code in [None, *(code for _, code in check.page.right)]:
        *steps, text = text_of(check, code)
        for line, wrong in spoiled(text):
            report = check.examine(typed(check, *steps, wrong))
            what = line_verdict(report, line)
            counts[what] += 1
            if what == "another line":
                odd.append(f"{name}, {line!r}: another line\n{report}")
    return counts, odd, slowest


if __name__ == "__main__":
    torch.set_num_threads(1)
    heads = (*WRONG, *RIGHT, *LINES, "slowest, s")
    print("exercise".ljust(22) + "".join(head.rjust(14) for head in heads))
    total, remarks = Counter(), []
    for name in sys.argv[1:] or checks.names():
        counts, odd, slowest = counted(name)
        total, remarks = total + counts, remarks + odd
        figures = "".join(str(counts[head]).rjust(14) for head in heads[:-1])
        print(f"{name:22}{figures}{slowest:14.2f}", flush=True)
    print("all".ljust(22) + "".join(str(total[h]).rjust(14) for h in heads[:-1]))
    print(*remarks, sep="\n\n", file=sys.stderr)
