"""Answers whose report names no mistake of a page alone: those of answers.md."""

import re
from pathlib import Path

import pytest

from helpers import checks
from helpers.checks.mutant import applied
from helpers.checks.page import Code
from tests.typed import typed

FILE = Path(__file__).with_name("answers.md")


def answers() -> list:
    """(exercise, what must be told, the answer's text), as pytest takes them."""
    found, name = [], ""
    blocks = re.split(r"^(##+ .+)$", FILE.read_text(encoding="utf-8"), flags=re.M)[1:]
    for heading, text in zip(blocks[::2], blocks[1::2]):
        level, told = heading.split(" ", 1)
        if level == "##":
            name = told
            continue
        code = re.search(r"```python\n(.*?)```", text, flags=re.S)[1]
        found.append(pytest.param(name, told.split(", "), code, id=f"{name}: {told}"))
    return found


@pytest.mark.parametrize(("name", "told", "text"), answers())
def test_the_report_tells(name: str, told: list[str], text: str):
    check = getattr(checks, name)
    code = Code("python", text, f"{FILE.name}, {name}")
    *steps, (title, solution) = check.parts
    answer = applied(solution, title, code)
    report = check.examine(typed(check, *(step for _, step in steps), answer))
    assert report.status == "failed"
    assert set(told) <= {mistake.name for mistake in report.mistakes}, str(report)
