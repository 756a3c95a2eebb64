"""What a person typed: its functions, files and globals, and whether it is blank."""

import contextlib
import copy
import dis
import functools
import linecache
import sys
from collections.abc import Iterator, Set
from types import CodeType, FrameType, FunctionType, ModuleType

from torch import nn


def functions_of(candidate) -> list[FunctionType]:
    """The functions that a class defines itself, or the function itself."""
    members = vars(candidate).values() if isinstance(candidate, type) else [candidate]
    found = []
    for member in members:
        member = getattr(member, "__func__", member)  # static and class methods
        member = getattr(member, "fget", None) or member  # properties
        while hasattr(member, "__wrapped__"):
            member = member.__wrapped__
        if isinstance(member, FunctionType):
            found.append(member)
    return found


def files_of(candidate) -> set[str]:
    """The files or notebook cells of a class or function, and of its neighbours."""
    found = functions_of(candidate)
    for function in functions_of(candidate):
        for value in list(function.__globals__.values()):
            if isinstance(value, (FunctionType, type)):
                if getattr(value, "__module__", None) == function.__module__:
                    found += functions_of(value)
    return {function.__code__.co_filename for function in found}


def running(files: Set[str]) -> FrameType | None:
    """The innermost call of code in these files that is running now."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    return frame


def line_of(frame: FrameType | None, number: int = 0) -> str:
    """A line as the person typed it, the running one if no other is named; or ""."""
    if frame is None:
        return ""
    return linecache.getline(frame.f_code.co_filename, number or frame.f_lineno).strip()


def reads_global(candidate, name: str) -> bool:
    """Whether the code looks up a global of that name."""
    return any(
        instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        and instruction.argval == name
        for function in functions_of(candidate)
        for code in _codes(function.__code__)
        for instruction in dis.get_instructions(code)
    )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.cache
def is_library(home: str) -> bool:
    """Whether a package of that name is no person's own."""
    if home == "__main__":
        return False
    file = str(getattr(sys.modules.get(home), "__file__", ""))
    installed = "site-packages" in file or "dist-packages" in file
    return installed or home == "helpers" or home in sys.stdlib_module_names


def _own(value) -> bool:
    """Whether a class, function or module is no library's, nor the course's."""
    if not isinstance(value, (type, FunctionType, ModuleType)):
        return False
    module = isinstance(value, ModuleType)
    home = value.__name__ if module else str(value.__module__)
    return not is_library(home.split(".")[0])


def spaces_of(candidate) -> list[dict]:
    """The globals that somebody's code sees: its own, its parts' and its helpers'.

    Args:
        candidate: a class, a function, or a module that was made of one.
    """
    made = isinstance(candidate, nn.Module)
    todo = [type(m) for m in candidate.modules()] if made else [candidate]
    seen, spaces = set(), {}
    while todo:
        value = todo.pop()
        if id(value) in seen or not _own(value):
            continue
        seen.add(id(value))
        if isinstance(value, type):
            todo += value.__mro__
        for function in functions_of(value):
            space = function.__globals__
            spaces[id(space)] = space
            names = {n for code in _codes(function.__code__) for n in code.co_names}
            found = [space[name] for name in names if name in space]
            inside = [vars(v) for v in found if isinstance(v, ModuleType) and _own(v)]
            todo += found  # and of `my_gpt2.LayerNorm`, the class
            todo += [there[n] for there in inside for n in names if n in there]
    return list(spaces.values())


@contextlib.contextmanager
def global_cfg(candidate, cfg):
    """Let code that reads a global `cfg` see the case's sizes, for now.

    Wherever the code was written, in a notebook or in a file, and whatever class its
    `cfg` is of. `candidate` is a class, a function, or a module made of one.
    """
    held = [s for s in spaces_of(candidate) if hasattr(s.get("cfg"), "d_model")]
    before = [space["cfg"] for space in held]
    try:
        for space in held:
            space["cfg"] = _of_these_sizes(space["cfg"], cfg)
        yield
    finally:
        for space, old in zip(held, before, strict=True):
            space["cfg"] = old


def _of_these_sizes(own, cfg):
    """A copy of somebody's own configuration, with other numbers in it."""
    if isinstance(own, (type(cfg), type)):
        return cfg
    new = copy.copy(own)
    for name in vars(cfg).keys() - {"debug"}:
        with contextlib.suppress(AttributeError):  # computed from the others
            object.__setattr__(new, name, getattr(cfg, name))
    return new if new.d_model == cfg.d_model else cfg


_TRIVIAL = frozenset(
    "RESUME NOP COPY_FREE_VARS PUSH_NULL PRECALL CALL LOAD_CONST LOAD_GLOBAL POP_TOP "
    "LOAD_COMMON_CONSTANT RAISE_VARARGS RETURN_CONST RETURN_VALUE".split()
)


def is_blank(function: FunctionType) -> bool:
    """A body of docstring, string, `pass`, `...` or `raise NotImplementedError`."""
    before = None
    for instruction in dis.get_instructions(function.__code__):
        operation, value = instruction.opname, instruction.argval
        reads = operation == "LOAD_GLOBAL" and value != "NotImplementedError"
        returned = {"RETURN_CONST": value, "RETURN_VALUE": before}.get(operation)
        if operation not in _TRIVIAL or reads or returned is not None:
            return False
        before = value if operation == "LOAD_CONST" else None
    return True
