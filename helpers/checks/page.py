"""An exercise's page: hints, right answers, and mistakes with their wrong code.

The page is Markdown, and reads well as such. Of all that Markdown allows, this reader
takes headings, paragraphs, numbered lists and fenced code; what it does not understand
is an error that names file and line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ALSO = "<details><summary>Also typed</summary>"  # until </details>
SECTIONS = ("Solution", "Hints", "Right answers", "Mistakes")
SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class PageError(Exception):
    """A page that cannot be read, or code on it that does not fit the solution."""


@dataclass(frozen=True)
class Code:
    """A fenced block: an edit of the solution ("diff"), or an answer ("python")."""

    language: str
    text: str
    place: str  # "layer_norm.md, line 42"


@dataclass(frozen=True)
class Way:
    """One wrong code that comes out as a mistake does, and how that one is told."""

    code: Code
    does: str


@dataclass
class Entry:
    """A mistake of the page.

    Attributes:
        slug: its name.
        does: what the code does now.
        should: what it should do, and why; may be empty.
        hint: where to look; may be empty.
        ways: wrong code; each is run, and an equal output is the diagnosis.
        also: other typings of it, for the tests.
        gradient: the output is right, and only the gradient tells.
        alone: not tried in pairs.
        only_here: no mistake of the exercises that this one is a step of.
        not_with: slugs with which it is not tried.
        looks_like: slugs that have the same output, each with the reason.
    """

    slug: str
    does: str = ""
    should: str = ""
    hint: str = ""
    ways: list[Way] = field(default_factory=list)
    also: list[Code] = field(default_factory=list)
    gradient: bool = False
    alone: bool = False
    only_here: bool = False
    not_with: set[str] = field(default_factory=set)
    looks_like: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """What stands on a page."""

    path: Path
    solution: str = ""
    hints: list[str] = field(default_factory=list)
    right: list[tuple[str, Code]] = field(default_factory=list)
    mistakes: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class _Block:
    kind: str  # "#", "##", "###", "paragraph", "item", or a language
    text: str
    line: int


def entries(path: Path) -> dict[str, Entry]:
    """The mistakes of a page that has nothing else on it."""
    return _read(path).mistakes


def read(path: Path) -> Page:
    """Read an exercise's page.

    Raises:
        PageError: with file and line.
    """
    page = _read(path)
    _complete(page)
    return page


def _read(path: Path) -> Page:
    page, section, entry = Page(path), "", None
    title, told, also = "", "", False
    for block in _blocks(path):
        where = f"{path.name}, line {block.line}"
        if block.kind == "##":
            section, entry = block.text, None
            if section not in SECTIONS:
                raise PageError(f"{where}: a section is one of {', '.join(SECTIONS)}")
        elif block.kind == "###" and section == "Mistakes":
            if not re.fullmatch(SLUG, block.text):
                raise PageError(f"{where}: a slug has letters, digits, '-', '_', '.'")
            if block.text in page.mistakes:
                raise PageError(f"{where}: there is a mistake {block.text} already")
            entry, also, told = Entry(block.text), False, ""
            page.mistakes[entry.slug] = entry
        elif block.kind == "###" and section == "Right answers":
            title = block.text
        elif block.kind in ("diff", "python"):
            code = Code(block.kind, block.text, where)
            if section == "Solution":
                page.solution = block.text
            elif section == "Right answers" and title:
                page.right.append((title, code))
            elif entry is None:
                raise PageError(f"{where}: code that belongs to no answer or mistake")
            elif also:
                entry.also.append(code)
            else:
                entry.ways.append(Way(code, told or entry.does))
        elif block.kind == "item" and section == "Hints":
            page.hints.append(block.text)
        elif block.kind == "also" and entry:
            also = True
        elif block.kind == "paragraph" and block.text.startswith("Or: ") and entry:
            told = block.text.removeprefix("Or: ")  # of the ways that follow
        elif block.kind == "paragraph" and entry:
            _note(entry, block.text, where)
        elif block.kind in ("#", "paragraph"):
            continue  # the title, and words for a teacher
        else:
            raise PageError(f"{where}: {block.kind!r} does not belong here")
    return page


_FLAGS = {
    r"Only the gradient tells\.": lambda e: setattr(e, "gradient", True),
    r"Not tried in pairs\.": lambda e: setattr(e, "alone", True),
    r"Only in this exercise\.": lambda e: setattr(e, "only_here", True),
    rf"Not tried with `({SLUG})`\.": lambda e, slug: e.not_with.add(slug),
    rf"Looks like `({SLUG})`: (.+)": lambda e, *why: e.looks_like.update([why]),
}


def _note(entry: Entry, text: str, where: str) -> None:
    """Put a paragraph of an entry into its place."""
    if re.fullmatch(r"\*[^*].*\*", text):
        for pattern, note in _FLAGS.items():
            found = re.fullmatch(pattern, text[1:-1])
            if found:
                note(entry, *found.groups())
                return
        raise PageError(f"{where}: no such flag: {text}")
    if text.startswith("Try: "):
        entry.hint = text.removeprefix("Try: ")
    elif not entry.does:
        entry.does = text
    elif not entry.should:
        entry.should = text
    else:
        raise PageError(f"{where}: a third paragraph; two say what is and should be")


def _complete(page: Page) -> None:
    name = page.path.name
    if not page.solution:
        raise PageError(f"{name}: no solution; `python -m helpers.editions` writes it")
    if len(page.hints) != 3:
        raise PageError(f"{name}: {len(page.hints)} hints; an exercise has three")
    for entry in page.mistakes.values():
        if not entry.does or not entry.ways:
            raise PageError(f"{name}: {entry.slug} needs a sentence and its wrong code")


def _blocks(path: Path) -> Iterator[_Block]:
    """The page's headings, paragraphs, items and code, one after the other."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        line, start = lines[number], number + 1
        number += 1
        if line == ALSO:
            yield _Block("also", line, start)
            continue
        if not line.strip() or line.startswith(("<!--", "<details>", "</details>")):
            continue
        fence = re.fullmatch(r"(`{3,})(\w*)", line)
        heading = re.fullmatch(r"(#{1,3}) (.+)", line)
        if fence:
            end = next(
                (i for i in range(number, len(lines)) if lines[i] == fence[1]), 0
            )
            if not end:
                raise PageError(f"{path.name}, line {start}: the code has no end")
            yield _Block(fence[2], "\n".join(lines[number:end]) + "\n", start)
            number = end + 1
        elif heading:
            yield _Block(heading[1], heading[2].strip(), start)
        else:
            item = re.match(r"\d+\. +", line)
            parts = [line[item.end() :] if item else line]
            while number < len(lines) and _goes_on(lines[number]):
                parts.append(lines[number].strip())
                number += 1
            yield _Block("item" if item else "paragraph", " ".join(parts), start)


def _goes_on(line: str) -> bool:
    """Whether a line belongs to the paragraph or item above it."""
    return bool(line.strip()) and not re.match(r"```|#{1,3} |\d+\. |<", line)
