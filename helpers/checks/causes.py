"""Usual causes of an exception: the table in causes.toml, and its conditions.

A cause is told only where what was said and the person's line both bear it out.
"""

import builtins
import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from helpers.checks import conditions
from helpers.checks.place import Place


@dataclass(frozen=True)
class Cause:
    """What an exception usually comes from.

    Attributes:
        name: a slug.
        errors: the exceptions that it explains.
        said: what they say.
        where: what the line, the statement, and what is called look like.
        when: the conditions that hold there.
        hint: what to do.
    """

    name: str
    errors: tuple[type, ...]
    said: re.Pattern
    where: dict[str, re.Pattern]
    when: tuple[str, ...]
    hint: str

    def told(self, place: Place, said: str) -> str:
        """The hint, with the words that the error and the line fill in, or ""."""
        match = self.said.search(said)
        if not isinstance(place.error, self.errors) or not match:
            return ""
        if not all(p.search(_looks(place, key)) for key, p in self.where.items()):
            return ""
        words = match.groupdict()
        for name in self.when:
            try:
                found = getattr(conditions, name)(place, match)
            except Exception:  # of what is there: then nothing bears it out
                found = False
            if not found:
                return ""
            words |= found if isinstance(found, dict) else {}
        return re.sub(r"\{(\w+)\}", lambda m: str(words.get(m[1], m[0])), self.hint)


@functools.cache
def table() -> tuple[Cause, ...]:
    """All causes; the first that fits is told."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return tuple(
        Cause(
            entry["name"],
            tuple(getattr(builtins, name) for name in entry["error"]),
            re.compile(entry["said"], re.S),
            {k: re.compile(entry[k], re.S) for k in _WHERE if k in entry},
            tuple(entry.get("when", ())),
            entry["try"].strip(),
        )
        for entry in tomllib.loads(text)["cause"]
    )


_WHERE = ("line", "statement", "callee")


def _looks(place: Place, key: str) -> str:
    """What a pattern of the table is searched in."""
    if key == "line":
        return place.code
    if key == "statement":
        return type(place.statement).__name__
    home, name = (getattr(place.callee, n, "") for n in ("__module__", "__name__"))
    return f"{home}.{name}"
