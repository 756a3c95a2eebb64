"""The grammar of the stories: one derivation a text, exact probabilities, a clear parser."""

import random

import pytest

from helpers import stories
from helpers.stories import START

SAMPLES = [stories.sample(random.Random(f"test/{i}")) for i in range(1500)]


# ------------------------------------------------------------- one derivation a text


def first_words(stack, bound):
    """Follow `stack` to every first literal: (literal, rest of the stack, bound)."""
    if not stack:
        yield None, (), bound
    elif isinstance(stack[0], str):
        yield stack[0], stack[1:], bound
    else:
        for _, items, now in stories._options(stack[0], bound):
            yield from first_words(items + stack[1:], now)


def clash(ours, theirs):
    """A text that both (text, stack, bound) begin with, up to the end of one; or None."""
    (text_a, stack_a, bound_a), (text_b, stack_b, bound_b) = ours, theirs
    if len(text_a) > len(text_b):
        return clash(theirs, ours)
    if not text_b.startswith(text_a):
        return None
    for literal, rest, now in first_words(stack_a, bound_a):
        if literal is None:
            return text_a
        found = clash((text_a + literal, rest, now), theirs)
        if found is not None:
            return found
    return None


def contexts_of(bound):
    """All choice points that the grammar can reach, with the slots bound there.

    Two persons of each gender and three values of the other kinds stand for all: the
    values of a kind differ in nothing but their words, which `test_values_...` compares.
    """
    seen = {}

    def walk(items, bounds):
        for item in items:
            after = {}
            for bound in bounds.values():
                if isinstance(item, str):
                    after[key(bound)] = bound
                    continue
                options = stories._options(item, bound)
                seen[item, key(bound)] = (options, bound)
                for _, line, now in options:
                    ends = walk(line, {key(now): now})
                    after |= ends
            bounds = after
        return bounds

    def key(bound):
        return tuple(sorted(bound.items()))

    walk((START,), {key(bound): bound})
    return seen


@pytest.fixture
def few_values(monkeypatch):
    """The same grammar over shorter lists."""
    people = stories.VALUES["A B"]
    for kind, values in stories.VALUES.items():
        monkeypatch.setitem(stories.VALUES, kind, values[:3])
    monkeypatch.setitem(stories.VALUES, "A B", people[:1] + people[-2:])


def test_no_line_begins_with_another(few_values):
    # Then a reader from left to right has one way at every choice, hence one derivation:
    # lines of which none begins with another make a prefix code, and so do their products.
    choices = contexts_of({})
    assert len(choices) > 500
    for (item, _), (options, _) in choices.items():
        for i, (_, ours, bound_a) in enumerate(options):
            for _, theirs, bound_b in options[:i]:
                found = clash(("", ours, bound_a), ("", theirs, bound_b))
                assert found is None, f"{item}: two lines can begin {found!r}"
