"""What the engine says of any answer: the texts of general.md, filled in."""

import functools
from pathlib import Path

from helpers.checks import page
from helpers.checks.report import Mistake


def mistake(text: str, slug: str = "", line: str | None = None, **words) -> Mistake:
    """A Mistake in the words of an entry of general.md.

    Args:
        text: the entry.
        slug: the mistake's name, where it is not the entry's.
        line: the person's line.
        words: what stands in braces there.
    """
    entry = _entries()[text]
    said, hint = entry.does.format(**words), entry.hint.format(**words)
    return Mistake(slug or text, said, hint, line=line or None)


@functools.cache
def _entries() -> dict[str, page.Entry]:
    return page.entries(Path(__file__).with_suffix(".md"))
