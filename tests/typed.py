"""Answers as a learner would type them, made from an exercise's page."""

from helpers.checks.check import Check
from helpers.checks.mutant import changed
from helpers.checks.page import Code
from tests.candidates import define


def text_of(check: Check, code: Code | None = None, at: str = "") -> list[str]:
    """The texts of the steps and of the answer, one of them changed by a block.

    Args:
        at: which of them; the answer's own, if not given.
    """
    parts = changed(check.parts, at or check.title, code) if code else check.parts
    return [text for _, text in parts]


def typed(check: Check, *texts: str):
    """What the texts make, when they are run as a notebook's cell would be."""
    names = {k: v for k, v in check._names.items() if not k.startswith("__")}
    return define("\n\n".join(texts), **names)[check.title]
