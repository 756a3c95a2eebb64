"""Your code, kept: what passes a check goes into one file, `my_gpt2.py`; a Llama's
parts into `my_llama.py`, beside it.

A check calls `save` when an answer passes; later notebooks call `load`. The file holds
the source of the class or function as its cell has it, and what that source refers to:
imports, helper functions and classes, constants. It stands alone: nothing in it imports
`helpers.model`. Where an exercise is still blank the check hands back the course's
class; such a name is left out of the file, `load` fills it in with the course's, and
`python my_gpt2.py` says that it is still to do. A `cfg` that the code reads from the
notebook becomes `cfg = Config(...)`; `load`, and running the file, give it the sizes of
the model at hand.
"""

import contextlib
import dataclasses
import errno
import importlib
import linecache
import os
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers.config import Config
from helpers.my_code import file
from helpers.my_code.sources import (
    COURSE,
    FILES,
    CannotSave,
    collect,
    file_of,
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


def path(which: str = "my_gpt2") -> Path:
    """The person's file: `COURSE_MY_GPT2`, or beside the exercise notebooks. Another
    one, "my_llama", lies in the same folder."""
    chosen = os.environ.get("COURSE_MY_GPT2")
    default = file.ROOT / "notebooks" / "exercises" / "my_gpt2.py"
    gpt2 = Path(chosen or default).expanduser().resolve()
    return gpt2 if which == "my_gpt2" else gpt2.with_name(f"{which}.py")


def fit(space: dict[str, Any], cfg: Config) -> Any:
    """A configuration with these sizes, of the kind that code with the globals `space`
    takes; their `cfg`, if there is one, becomes such a one."""
    own, sizes = space.get("cfg"), dataclasses.asdict(cfg)
    kind = space.get("Config", Config)
    if list(getattr(kind, "__dataclass_fields__", ())) == list(sizes):
        space["Config"] = Config  # the same kind, so that `isinstance` says so too
        if own is not None:
            space["cfg"] = cfg
        return cfg
    for name in (n for n in sizes if hasattr(own, n)):
        with contextlib.suppress(AttributeError, TypeError):  # made from the others
            object.__setattr__(own, name, sizes[name])  # a frozen one, too
    return own if all(hasattr(own, n) for n in sizes) else cfg


def _fill(module: types.ModuleType, course: Any) -> None:
    """Give the file's code what it builds on: the course's parts for those that are
    still blank, and the sizes of the notebook's model."""
    for blank in COURSE:
        if not hasattr(module, blank) and hasattr(course, blank):
            setattr(module, blank, getattr(course, blank))
    if hasattr(module, "cfg"):
        family = "llama" if course.__name__ == FILES["my_llama"] else "gpt2"
        current = importlib.import_module("helpers.reference").current_reference(family)
        fit(vars(module), dataclasses.replace(current.cfg))


def save(name: str, candidate: Any, judge: Callable | None = None) -> Path | None:
    """Keep an answer that passed, under the name that its exercise gives it.

    Never raises: what cannot be kept is said in one sentence, and the file stays as
    it was. Returns the file, or None if nothing was kept, as in the complete edition.

    Args:
        judge: whether what the file's text makes passes as well: from a class or
            function to bool. Without it, the text is only run.
    """
    if _edition == "complete" or home_of(candidate) in FILES.values():
        return None
    target = path(file_of(name))

    def passes(module: types.ModuleType) -> bool:
        if judge is None:
            return True
        _fill(module, importlib.import_module(FILES[file_of(name)]))
        return judge(getattr(module, name))

    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            target.parent.mkdir(parents=True, exist_ok=True)
            # Two notebooks may save at the same time: read and write under one lock,
            # where the file system has any.
            with contextlib.suppress(NotImplementedError, OSError):
                lock = target.with_name(f".{target.name}.lock")
                stack.enter_context(FileLock(lock, timeout=5))
            text, wrong = file.read(target)
            in_file = {name for name, _ in file.split(text)[2]}
            found = collect(name, candidate, globals_of(candidate), {}, in_file, name)
            found = {n: file.anywhere(piece) for n, piece in found.items()}
            new = file.merge(text, found, name)
            file.try_out(new, target, passes)
            aside = file.put_aside(target) if wrong else ""
            if wrong or new != text:
                file.write(target, new.encode())
        if wrong:
            into = f"what can be read of it is in the new {target.name}"
            print(f"{target.name} {wrong}. It was copied to {aside}; {into}.")
        return target
    except (Exception, SystemExit) as error:  # the check has passed all the same
        kind = "" if isinstance(error, CannotSave) else f"{type(error).__name__}: "
        print(f"{name} passed, but is not kept in {target.name}: {kind}{error}")
        if getattr(error, "errno", 0) in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(
                "To keep it elsewhere, run `%env COURSE_MY_GPT2=~/my_gpt2.py` in each "
                "notebook, and then the check again."
            )
        return None


def load(*names: str, course: Any = None) -> Any:
    """The person's own classes and functions where they exist, else the course's.

    Prints which is which, except in the complete edition, which takes the course's.
    One object for one name, a tuple for several.

    Args:
        course: where the course's are; `helpers.model` or `helpers.llama` if not given.
    """
    which = file_of(names[0])
    course = course or importlib.import_module(FILES[which])
    own, target = {}, path(which)
    if _edition == "exercises" and target.exists():
        try:
            linecache.checkcache(str(target))
            with warnings.catch_warnings(action="ignore"):
                module = file.execute(file.decode(target)[0], str(target), which)
            own = dict(vars(module))
            _fill(module, course)
        except (Exception, SystemExit) as error:
            own = {}
            print(
                f"{target.name} could not be loaded ({type(error).__name__}: {error}); "
                "what follows uses the course's code."
            )
    if _edition == "exercises":
        whose = {True: f"yours ({target.name})", False: "the course's"}
        print(" \u00b7 ".join(f"{n}: {whose[n in own]}" for n in names))
    found = tuple(own[n] if n in own else getattr(course, n) for n in names)
    return found[0] if len(names) == 1 else found
