"""Answers and what their reports tell: those of answers.md, and of reports.md."""

import re
from pathlib import Path

import pytest

from helpers import checks
from helpers.checks.mutant import applied
from helpers.checks.page import Code
from helpers.checks.report import Report
from tests.typed import typed

HERE = Path(__file__).parent


def answers(file: str) -> list:
    """(exercise, what must be told, the answer's text, what else must hold), as pytest
    takes them."""
    found, name = [], ""
    text = (HERE / file).read_text(encoding="utf-8")
    blocks = re.split(r"^(##+ .+)$", text, flags=re.M)[1:]
    for heading, text in zip(blocks[::2], blocks[1::2]):
        level, told = heading.split(" ", 1)
        if level == "##":
            name = told
            continue
        code = re.search(r"```python\n(.*?)```", text, flags=re.S)[1]
        more = re.findall(r"^\* (\w+): (.*)$", text, flags=re.M)
        case = name, told.split(", "), code, dict(more)
        found.append(pytest.param(*case, id=f"{name}: {told}"))
    return found


def examined(name: str, text: str) -> Report:
    """The report on an answer: the whole of it, or methods in the solution's place."""
    check = getattr(checks, name)
    *steps, (title, solution) = check.parts
    answer = applied(solution, title, Code("python", text, name))
    report = check.examine(typed(check, *(step for _, step in steps), answer))
    assert report.status == "failed"
    return report


@pytest.mark.parametrize(("name", "told", "text", "_"), answers("answers.md"))
def test_the_report_tells(name: str, told: list[str], text: str, _):
    report = examined(name, text)
    assert set(told) <= {mistake.name for mistake in report.mistakes}, str(report)


@pytest.mark.parametrize(("name", "told", "text", "more"), answers("reports.md"))
def test_the_report_tells_the_line_and_the_cause(name, told, text, more):
    """These mistakes and no others, with these words and this line."""
    report, shown = examined(name, text), more["line"].replace("none", "")
    assert [m.name for m in report.mistakes] == told, str(report)
    assert more.get("says", "") in str(report)
    assert "not" not in more or more["not"] not in str(report)
    lines = [m.line for m in report.mistakes if m.line]
    assert any(shown in line for line in lines) if shown else not lines, str(report)
