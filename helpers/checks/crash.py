"""An exception in somebody's code, told with their own line and the shapes there."""

import ast
import contextlib
import dis
import linecache
import re
import traceback
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.checks import causes
from helpers.checks.guard import ChangesASetting, files_of
from helpers.checks.observe import own_frame
from helpers.checks.report import Mistake


def line_of(frame, number: int) -> str:
    """The text of a line, as the person typed it."""
    return linecache.getline(frame.f_code.co_filename, number).strip()


def words(error: BaseException) -> str:
    """What an exception says; somebody's own class may fail even at that."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def left_blank(error: BaseException | None) -> bool:
    """A `raise NotImplementedError` of the person's own.

    A module without `forward` raises one as well, and so does torch where it has no
    such operation for a dtype.
    """
    if not isinstance(error, NotImplementedError):
        return False
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    operation = last.tb_frame.f_code.co_code[last.tb_lasti]
    raised = operation == dis.opmap["RAISE_VARARGS"]
    return raised and '"forward"' not in words(error)


def own_line(error: BaseException, candidate) -> str | None:
    """The person's own line at which an exception was raised."""
    found = own_frame(error, files_of(candidate))
    return line_of(*found) if found else None


def describe(error: BaseException, candidate, where: str = "") -> Mistake:
    """What crashed, on which line, with which shapes, and the usual cause."""
    if isinstance(error, ChangesASetting):
        return Mistake(
            "changes-a-setting",
            f"Your code changes torch's {words(error)}, for all code that runs after "
            "it. The check has put it back.",
            "say it where it is needed: `dtype=`, `device=`, `with torch.no_grad():`",
        )
    found = own_frame(error, files_of(candidate))
    text = words(error).splitlines()
    said = f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
    name, cause = _usual_cause(error, found)
    line, shapes = None, ""
    if found:
        frame, number = found
        line = line_of(frame, number)
        shapes = _axes(frame, number) or _shapes(frame, line)
    if name == "init-argument" and isinstance(candidate, type):
        own = candidate.__init__ is not nn.Module.__init__
        name, cause = (name, cause) if own else ("no-init", _NO_INIT)
    message = f"Your code stops{where} with {said[:300]}"
    message += "" if message.endswith(".") else "."
    if shapes:
        message += f" There, {shapes}."
    return Mistake(name, message, cause, line=line)


def of_the_check(error: Exception) -> Mistake:
    """A line of the check's own that failed: no fault of the answer's is known."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {words(error)}"[:300].rstrip(": ")
    return Mistake(
        "the-check-stopped",
        f"The check itself stopped with {said} ({Path(last.filename).name}, line "
        f"{last.lineno}), so it cannot tell whether your code is right.",
        "restart the kernel and run the cells above (Run > Run All Above Selected "
        "Cell); if it stops again, that is a fault of the course",
    )


def asks_for_a_gpu(line: str) -> str:
    """The note on an `__init__` that names a GPU; it was made on the CPU."""
    line = f", `{line.strip()}`" if line.strip() else ""
    return (
        f"it asks for a GPU by name in `__init__`{line}. The check made it on the CPU, "
        "and on a machine without that GPU your class is made there too; leave the "
        'device out, for `.to("cuda")` moves a whole model'
    )


def writes(found: tuple) -> Mistake:
    """Of code that changes its input: the line, its form, and what to write instead."""
    line = line_of(*found) if found else ""
    form, hint = _writing_form(line)
    return Mistake(
        "changes-its-input",
        f"Your code writes into the tensor it was given{form}, and whoever called it "
        "goes on using that tensor.",
        hint,
        line=line or None,
    )


def _writing_form(line: str) -> tuple[str, str]:
    """In which way a line writes into a tensor, and what makes a new one."""
    name = r"([A-Za-z_][\w.]*)"
    if match := re.search(name + r"\[.*\]\s*(?:[-+*/|&@]|//|\*\*)?=(?!=)", line):
        return (
            f" (`{match[1]}[...] = ` writes into it)",
            "`torch.where` and `masked_fill` make a new tensor; or write into a copy: "
            f"`{match[1]} = {match[1]}.clone()` first",
        )
    if match := re.search(name + r"\s*([-+*/|&@]|//|\*\*)=(?!=)", line):
        x, sign = match[1], match[2]
        return f" (`{x} {sign}= ...`)", f"`{x} = {x} {sign} ...` makes a new tensor"
    if match := re.search(r"\.([a-z]\w*[a-z0-9])_\(", line):
        return (
            f" (`{match[1]}_`, as all names that end in an underscore)",
            f"`{match[1]}`, without the underscore, makes a new tensor",
        )
    return (
        "",
        "begin with a copy, `x = x.clone()`, or make new tensors: `x = x - y` in the "
        "place of `x -= y`, `torch.where` in that of `x[...] = `",
    )


def _shapes(frame, line: str) -> str:
    """The shapes of the tensors that a line names: `x` is [2, 7, 24], ..."""
    told = [f"`{name}` has shape {list(x.shape)}" for name, x in _named(frame, line)]
    return ", ".join(dict.fromkeys(told))


def _named(frame, line: str) -> list[tuple[str, Tensor]]:
    """The tensors that a line names, in order, each with the part that names it."""
    names = re.findall(r"[A-Za-z_][\w.]*", line)
    found = [_tensor(frame, name) for name in names]
    return [(shown, tensor) for shown, tensor in found if tensor is not None]


def _tensor(frame, dotted: str) -> tuple[str, Tensor | None]:
    """The tensor that a dotted name leads to, and the part that names it.

    `self.W.T` leads to `self.W`: what comes after a tensor is left aside.
    """
    head, *rest = dotted.split(".")
    value, shown = frame.f_locals.get(head, frame.f_globals.get(head)), head
    for attribute in rest:
        if isinstance(value, Tensor):
            break
        try:
            value = getattr(value, attribute, None)
        except Exception:  # a property of the person's that fails
            return shown, None
        shown += f".{attribute}"
    return shown, value if isinstance(value, Tensor) else None


def _axes(frame, number: int) -> str:
    """For a line with an einsum or einops pattern: its axis names with their sizes."""
    call = _pattern_call(frame, number)
    if call is None:
        return ""
    pattern = next(a.value for a in call.args if _is_pattern(a))
    sides = pattern.split("->")[0].split(",")
    operands = [a for a in call.args if not _is_pattern(a)][: len(sides)]
    if len(operands) != len(sides):
        return ""
    letters = ast.unparse(call.func) == "torch.einsum"
    told, sizes = [], {}
    for side, operand in zip(sides, operands, strict=True):
        dotted = ast.unparse(operand)
        shown, tensor = _tensor(frame, dotted)
        if tensor is None or shown != dotted or set(side) & set("(.)"):
            continue
        names, shape = list(side.replace(" ", "")) if letters else side.split(), []
        if len(names) != tensor.ndim:
            axes = f"names {len(names)} axes of `{shown}`, which has {tensor.ndim}"
            told.append(f"the pattern {axes}: {list(tensor.shape)}")
            continue
        for name, size in zip(names, tensor.shape, strict=True):
            shape.append(f"{name} {size}")
            sizes.setdefault(name, {})[size] = shown
        told.append(f"`{shown}` is [{', '.join(shape)}]")
    for name, found in sizes.items():
        if len(found) > 1 and name != "1":
            both = " and ".join(f"{size} in `{of}`" for size, of in found.items())
            told.append(f"so `{name}` is {both}")
    return ", ".join(told)


def _is_pattern(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Constant) and isinstance(value, str) and "->" in value


def _pattern_call(frame, number: int) -> ast.Call | None:
    """The call with a pattern in the statement that begins on a line."""
    text = ""
    for following in range(number, number + 12):
        text += line_of(frame, following) + "\n"
        with contextlib.suppress(SyntaxError):
            nodes = ast.walk(ast.parse(text))
            calls = [n for n in nodes if isinstance(n, ast.Call)]
            return next((c for c in calls if any(map(_is_pattern, c.args))), None)
    return None


def _usual_cause(error: BaseException, found) -> tuple[str, str]:
    """A slug and the usual cause, by what Python, torch or einops said."""
    said = f"{type(error).__name__}: {words(error)}"
    for known in causes.table():
        name, cause = known.name, known.hint
        if known.fits(error, said):
            if name == "reduced-axis-dropped" and not (found and _reduces(*found)):
                continue
            if name == "matmul-shapes" and found and _names_integers(*found):
                continue
            if name == "undefined-name":
                cause = _made_before(getattr(error, "name", None)) or cause
            if name == "index-beyond-the-table" and found and _first_axis(said, *found):
                return "index-along-the-first-axis", _FIRST_AXIS
            return name, cause
    return "crash", "read the line from right to left, and print shapes before it"


_IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "from torch.nn import functional as F",
    "Tensor": "from torch import Tensor",
    "math": "import math",
    "np": "import numpy as np",
    "einops": "import einops",
    "einsum": "from einops import einsum",
    "rearrange": "from einops import rearrange",
    "repeat": "from einops import repeat",
    "reduce": "from einops import reduce",
    "dataclass": "from dataclasses import dataclass",
    "Config": "from helpers import Config",
}
_FIRST_AXIS = (
    "`x[ids]` takes whole rows, along the first axis; where ids count the last axis, "
    "as token ids do in logits, `x.scatter(-1, ids, ...)` writes at them and "
    "`x.gather(-1, ids)` reads"
)


def _made_before(name: str | None) -> str:
    """What to do about a name that an earlier cell makes, as after a restart."""
    import helpers.checks as checks  # all of them: this module is a part of each

    above = "run the cells above (Run > Run All Above Selected Cell)"
    if name in _IMPORTS:
        return f"after a restart all imports are gone: {above}, or `{_IMPORTS[name]}`"
    if name in {"reference", *checks.titles()}:
        told = f"`{name}` is made by an earlier cell of this notebook"
        return f"{told}. After a restart all names are gone: {above}"
    return ""


_NO_INIT = (
    "the class has no `__init__` of its own; a class that is defined again forgets "
    "the earlier one, so keep `__init__` and `forward` in one cell"
)


def _first_axis(said: str, frame, number: int) -> bool:
    """Whether a line writes at ids of the last axis as if they were of the first."""
    line = line_of(frame, number)
    match = re.search(
        r"index (\d+) is out of bounds for dimension 0 with size (\d+)", said
    )
    if not match or not re.search(r"\]\s*=(?!=)", line):
        return False
    index, size = map(int, match.groups())
    shapes = [tensor.shape for _, tensor in _named(frame, line)]
    return any(len(s) > 1 and s[0] == size and index < s[-1] for s in shapes)


_REDUCTION = re.compile(r"\b(mean|var|std|var_mean|sum|norm|reduce|amax|max)\(")


def _names_integers(frame, number: int) -> bool:
    """Whether a line names a tensor of whole numbers, such as token ids."""
    named = _named(frame, line_of(frame, number))
    return any(tensor.dtype == torch.long for _, tensor in named)


def _reduces(frame, number: int) -> bool:
    """Whether a line takes a mean or its like, or uses what has one axis less.

    An axis was dropped only if there is something that could have dropped it.
    """
    line = line_of(frame, number)
    if _REDUCTION.search(line) and "keepdim" not in line:
        return True
    shapes = {tuple(tensor.shape) for _, tensor in _named(frame, line)}
    return any(len(s) > 2 and s[:-1] in shapes for s in shapes)
