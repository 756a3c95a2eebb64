"""What an answer to `Config` is compared with: the fields of the course's own.

A dataclass computes nothing, so no output can be equal to a mistake's. But each field
can be looked at. What is found is told in the page's words; there they are said of one
field, and here of the one that is wrong.
"""

import dataclasses
import difflib
import inspect
import re
from typing import ClassVar

from helpers.checks import crash
from helpers.checks.check import wrong_kind
from helpers.checks.report import Findings, Mistake
from helpers.config import Config
from helpers.exercises.course import exercise

# A mistake's name on the page, and the words of its text that depend on the field.
Found = tuple[str, tuple[str, ...]]

WANTED = {field.name: field.default for field in dataclasses.fields(Config)}
SIZES = {"d_model": 24, "n_heads": 3, "layer_norm_eps": 1e-3}  # to make a Config with


class Fields:
    """A dataclass, judged by its fields."""

    def odd(self, check, candidate) -> Mistake | None:
        """One Config, or no class at all."""
        if dataclasses.is_dataclass(candidate) and not isinstance(candidate, type):
            told = "This is one Config, with its numbers; the check wants the class."
            hint = "pass the class, without brackets: `checks.config(Config)`"
            return Mistake("instance-not-class", told, hint)
        return wrong_kind(check, candidate)

    def blank(self, candidate) -> bool:
        """Never: an `__init__` without a line may be @dataclass's own."""
        return False

    def judge(self, check, candidate) -> Findings:
        """What is wrong with the fields; where nothing is, one Config is made."""
        if not _written(candidate) and not _own_init(candidate):
            told = "The class has no fields yet. "
            told += "Until then the notebook goes on with the course's own."
            return Findings(summary=told, todo=True)
        try:
            found = looked_at(candidate)
        except Exception as error:
            told = crash.describe(error, candidate, " while a Config is made")
            return Findings((told,))
        if found:
            return Findings(tuple(_told(check, slug, words) for slug, words in found))
        summary = "Ten fields, with GPT-2 small's sizes as their defaults."
        return Findings(notes=tuple(_notes(candidate)), summary=summary)


def _told(check, slug: str, words: tuple[str, ...]) -> Mistake:
    """A mistake of the page, told of another field than the page's."""
    entry = check.page.mistakes[slug]
    example = next(m.answer for m in check.mutants if m.entries[0] is entry)
    mine = dict(zip(dict(looked_at(example))[slug], words, strict=True))
    longest_first = sorted(map(re.escape, mine), key=len, reverse=True)

    def said(text: str) -> str:
        if not mine:
            return text
        pattern = rf"(?<!\w)({'|'.join(longest_first)})(?!\w)"
        return re.sub(pattern, lambda match: mine[match[0]], text)

    message = said(f"{entry.does} {entry.should}".strip())
    return Mistake(slug, message, said(entry.hint), page=check.link(slug))


def _annotations(candidate: type) -> dict[str, object]:
    """A class's own annotations; none where they cannot be evaluated."""
    try:
        return inspect.get_annotations(candidate)
    except NameError:  # from Python 3.14 they are evaluated when asked for
        return {}


def _written(candidate: type) -> set[str]:
    """The names that stand in the class's body."""
    own = {name for name in vars(candidate) if not name.startswith("_")}
    return own | _annotations(candidate).keys()


def _own_init(candidate: type) -> bool:
    """An `__init__` that somebody has typed: @dataclass leaves it alone."""
    code = getattr(vars(candidate).get("__init__"), "__code__", None)
    return code is not None and code.co_filename != "<string>"


def looked_at(candidate: type) -> list[Found]:
    """What is wrong with a class's fields; where nothing is, with its instances."""
    if _own_init(candidate) and not _written(candidate):
        return [("init-by-hand", ())]
    if "__dataclass_fields__" not in vars(candidate):
        return [("dataclass-forgotten", ())]
    have = {field.name: field for field in dataclasses.fields(candidate)}
    spare = sorted((_written(candidate) | have.keys()) - WANTED.keys())
    found = [_field(candidate, have.get(name), name, spare) for name in WANTED]
    found = [one for one in found if one]
    found += [
        ("extra-field-without-default", (name,))
        for name in spare
        if name in have and have[name].init and not _has_default(have[name])
    ]
    return _swapped(have) or found or _lost(candidate)


def _field(candidate: type, field, name: str, spare: list[str]) -> Found | None:
    want = WANTED[name]
    line = (name, type(want).__name__, str(want))  # as it should be written
    annotations = _annotations(candidate)
    if field is None:
        if name in annotations:
            return "not-a-field", line
        if name in vars(candidate):
            return "no-annotation", line
        spelt = {other.lower(): other for other in spare}
        for close in difflib.get_close_matches(name, spelt, n=1, cutoff=0.8):
            return "renamed-field", (name, spelt[close])
        return "missing-field", line
    if not field.init:
        return "not-an-argument", line
    if not _has_default(field):
        is_value = annotations.get(name) in (want, str(want))
        return "value-as-annotation" if is_value else "no-default", line
    factory = field.default is dataclasses.MISSING
    value = field.default_factory() if factory else field.default
    if type(value) is type(want) and value == want or want is False and not value:
        return None
    words = (*line, repr(value))
    if value == (want,):
        return "trailing-comma", words
    if isinstance(value, str):
        return "default-is-text", words
    if value == want:
        return "default-of-another-type", (*words, type(value).__name__)
    return "wrong-default", words


def _has_default(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _swapped(have: dict) -> list[Found]:
    """Two fields with each other's defaults, and nothing else wrong with them."""
    value = {name: field.default for name, field in have.items()}
    off = [name for name, want in WANTED.items() if value.get(name) != want]
    wanted = [WANTED[name] for name in off]
    if len(off) != 2 or [value.get(name) for name in off] != wanted[::-1]:
        return []
    return [("defaults-swapped", (*off, *map(str, wanted)))]


def _lost(candidate: type) -> list[Found]:
    """The first of the sizes that a Config does not keep."""
    made, _ = candidate(**SIZES), candidate()
    for name, size in SIZES.items():
        got = getattr(made, name, None)
        if got != size:
            return [("argument-ignored", (name, str(size), repr(got)))]
    return []


def _notes(candidate: type) -> list[str]:
    made, notes = candidate(), []
    if candidate.__dataclass_params__.frozen:
        notes.append("frozen: its fields cannot be changed, and it has a hash")
    if made != candidate():
        notes.append("two equal configurations do not compare equal (eq=False)")
    for name, kind in _annotations(candidate).items():
        value = getattr(made, name, None)
        if kind in (int, float, bool, str) and not isinstance(value, kind):
            told = f"`{name}` is annotated {kind.__name__} and holds {value!r}; Python "
            notes.append(told + "does not mind, readers do")
    return notes


scope = {"field": dataclasses.field, "ClassVar": ClassVar}
check = exercise(__file__, Config, Fields(), scope=scope)
