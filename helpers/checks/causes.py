"""Usual causes of an exception: the table in causes.toml."""

import builtins
import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cause:
    """What an exception usually comes from.

    Attributes:
        name: a slug.
        errors: the exceptions that it explains.
        said: what they say.
        hint: what to do.
    """

    name: str
    errors: tuple[type, ...]
    said: re.Pattern
    hint: str

    def fits(self, error: BaseException, said: str) -> bool:
        """Whether an exception is of this kind, by its class and its words."""
        return isinstance(error, self.errors) and bool(self.said.search(said))


@functools.cache
def table() -> tuple[Cause, ...]:
    """All causes; the first that fits is told."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return tuple(
        Cause(
            entry["name"],
            tuple(getattr(builtins, name) for name in entry["error"]),
            re.compile(entry["said"], re.S),
            entry["try"],
        )
        for entry in tomllib.loads(text)["cause"]
    )
