"""Your code, kept: what passes a check goes into one file, `my_gpt2.py`.

A check calls `save` when an answer passes; later notebooks call `load`. The file holds
the source of the class or function as its cell has it, and what that source refers to:
imports, helper functions and classes, constants. It stands alone: nothing in it imports
`helpers.model`. Where an exercise is still blank the check hands back the course's
class; such a name is left out of the file, `load` fills it in with the course's, and
`python my_gpt2.py` says that it is still to do. A `cfg` that the code reads from the
notebook becomes `cfg = Config(...)`, and running the file sets it anew.
"""

import importlib
import linecache
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers.my_code.file import ROOT, execute, merge, read, split, try_out, write
from helpers.my_code.sources import (
    COURSE,
    MODULE,
    CannotSave,
    Piece,
    collect,
    globals_of,
    home_of,
)

_edition = "complete"


def edition(name: str | None = None) -> str:
    """Set (when given) and return the edition: "complete", which never writes the
    file, or "exercises"."""
    global _edition
    if name is not None:
        if name not in ("complete", "exercises"):
            raise ValueError(f"edition {name!r} is neither 'complete' nor 'exercises'")
        _edition = name
    return _edition


def path() -> Path:
    """The person's file: `COURSE_MY_GPT2`, or beside the exercise notebooks."""
    chosen = os.environ.get("COURSE_MY_GPT2")
    return Path(chosen or ROOT / "notebooks" / "exercises" / "my_gpt2.py").resolve()


def save(name: str, candidate: Any) -> Path | None:
    """Keep an answer that passed, under the name that its exercise gives it.

    Never raises: what cannot be kept is said in one sentence, and the file stays as
    it was. A method put into a class from outside is such a case.

    Returns:
        The file, or None if nothing was kept (always in the complete edition).
    """
    if _edition == "complete" or home_of(candidate) == "helpers.model":
        return None
    try:
        target = path()
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two notebooks may save at the same time: read and write under one lock.
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=10):
            text = read(target)
            in_file = {name for name, _ in split(text)[2]}
            found: dict[str, Piece] = {}
            collect(name, candidate, globals_of(candidate), found, in_file, wanted=name)
            new = merge(text, found, name)
            if new != text:
                try_out(new, target)
                write(target, new)
        return target
    except Exception as error:  # the check has passed; this must not spoil it
        kind = "" if isinstance(error, CannotSave) else f"{type(error).__name__}: "
        print(f"{name} passed, but is not kept in {path().name}: {kind}{error}")
        return None


def load(*names: str, course: Any = None) -> Any:
    """The person's own classes and functions where they exist, else the course's.

    Prints which is which, except in the complete edition, which takes the course's.

    Args:
        names: such as "LayerNorm", "Attention".
        course: where the course's are; `helpers.model` if not given.

    Returns:
        One object for one name, a tuple for several.
    """
    if course is None:
        course = importlib.import_module("helpers.model")
    own: dict[str, Any] = {}
    target = path()
    if _edition == "exercises" and target.exists():
        try:
            linecache.checkcache(str(target))
            text = target.read_text(encoding="utf-8")
            module = execute(text, target, MODULE)
            own = dict(vars(module))
            # What is still blank: the person's classes build on the course's.
            for blank in COURSE:
                if blank not in own and hasattr(course, blank):
                    setattr(module, blank, getattr(course, blank))
        except (Exception, SystemExit) as error:
            own = {}
            print(
                f"{target.name} could not be loaded ({type(error).__name__}: {error}); "
                "what follows uses the course's code."
            )
    if _edition == "exercises":
        yours = f"yours ({target.name})"
        theirs = "the course's"
        whose = [f"{n}: {yours if n in own else theirs}" for n in names]
        print(" \u00b7 ".join(whose))
    found = tuple(own[n] if n in own else getattr(course, n) for n in names)
    return found[0] if len(names) == 1 else found
