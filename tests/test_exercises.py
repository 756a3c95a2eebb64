"""Every page of the exercises: its wrong answers are named, its right ones pass.

The wrong code stands on the page, and here it is run as a learner's would be. So a
mistake costs one entry, and its test comes with it.
"""

import copy

import pytest

from helpers import checks
from tests.typed import text_of, typed

NAMES = checks.names()


def trouble(check, page_of, code, slug: str) -> str | None:
    """What is wrong with the report on a mistake's code, or None."""
    try:
        answer = typed(check, *text_of(check, code, page_of.title))
    except Exception as error:
        return f"{code.place}: {type(error).__name__}: {error}"
    report = check.examine(answer)
    told = [m.name for m in report.mistakes if m.exact]
    told = told or [m.name for m in report.mistakes][:1]  # an error that names it
    mistakes = page_of.page.mistakes
    alike = {slug, *mistakes[slug].looks_like}
    alike |= {e.slug for e in mistakes.values() if slug in e.looks_like}
    fits = set(told) == alike if report.one_of else told == [slug]
    if report.status == "failed" and slug in told and fits:
        return None
    return f"{code.place}: meant {slug}\n{report}"


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_are_named(name: str):
    """Each way and each other typing is told by its own name, alone.

    So is each way of a step's mistake where it stands in the whole.
    """
    check = getattr(checks, name)
    found = [
        trouble(check, page_of, code, entry.slug)
        for page_of in (check, *check.steps)
        for entry in page_of.page.mistakes.values()
        if page_of is check or not entry.only_here
        for code in [way.code for way in entry.ways]
        + (entry.also if page_of is check else [])
    ]
    found = [one for one in found if one]
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass(name: str):
    """The solution as it stands, and the page's other idioms."""
    check = getattr(checks, name)
    found = []
    for title, code in [("the solution", None), *check.page.right]:
        report = check.examine(typed(check, *text_of(check, code)))
        if report.status != "passed":
            found.append(f"{title}: {report}")
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("name", NAMES)
def test_hints_go_from_a_question_to_nearly_the_answer(name: str):
    check = copy.copy(getattr(checks, name))
    check._hints_shown = 0
    shown = [str(check.hint()) for _ in range(4)]
    assert "1 of 3" in shown[0] and shown[2] == shown[3] != shown[1]
    assert check.title in str(check.solution())
