"""An exception in somebody's code, told with their own line and the shapes there."""

import ast
import dis
import linecache
import re
import traceback
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.checks import causes
from helpers.checks.own_code import functions_of, is_library, line_of
from helpers.checks.place import Place, place_of, shapes, short
from helpers.checks.report import Mistake, mistake
from helpers.checks.settings import ChangesASetting
from helpers.checks.structure import article


def words(error: BaseException) -> str:
    """What an exception says; somebody's own class may fail even at that."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def left_blank(error: BaseException | None) -> bool:
    """A `raise NotImplementedError` of the person's own.

    A module without `forward` raises one as well, and so do torch and einops where
    they have no such operation.
    """
    if not isinstance(error, NotImplementedError):
        return False
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    operation = last.tb_frame.f_code.co_code[last.tb_lasti]
    home = str(last.tb_frame.f_globals.get("__name__")).split(".")[0]
    return operation == dis.opmap["RAISE_VARARGS"] and not is_library(home)


def lines_of(candidate) -> list[str]:
    """The lines of the person's functions."""
    found = []
    for function in functions_of(candidate):
        code = function.__code__
        numbers = sorted({number for *_, number in code.co_lines() if number})
        found += [linecache.getline(code.co_filename, n).strip() for n in numbers]
    return found


def describe(error: BaseException, candidate, where: str = "") -> Mistake:
    """What crashed, on which line, with which shapes, and the usual cause."""
    if isinstance(error, ChangesASetting):
        return mistake("changes-a-setting", setting=words(error))
    place = place_of(error, candidate, _is_part_for(candidate))
    said = _said(error)
    if place.part is not None:
        return _stopped_in_a_part(place, said, where)
    name, hint = _usual_cause(place)
    line = place.line or None
    if name == "own-assert":
        text = words(error)
        message = f"An `assert` of your own {f'({text}) ' if text else ''}does not hold"
        message += where
        seen = _values(place) or shapes(place)
        return Mistake(name, f"{message}{': ' * bool(seen)}{seen}.", hint, line=line)
    message = f"Your code stops{where} with {said}"
    message += "" if message.endswith((".", "?", "!")) else "."
    there = shapes(place)
    if there:
        message += f" There, {there}."
    return Mistake(name, message, hint, line=line)


def _said(error: BaseException) -> str:
    """The class and the words: the last line of einops', which holds the answer."""
    text = words(error).splitlines() or [""]
    told = text[-1] if type(error).__module__.startswith("einops") else text[0]
    told = told.strip().removesuffix(", but expected one of:")
    return f"{type(error).__name__}: {told}".rstrip(": ")[:300]


def _usual_cause(place: Place) -> tuple[str, str]:
    """A slug and the usual cause, by what was said and by the line."""
    said = f"{type(place.error).__name__}: {words(place.error)}"
    for known in causes.table():
        hint = known.told(place, said)
        if hint:
            return known.name, hint
    return "crash", "read the line from right to left, and print shapes before it"


def _is_part_for(candidate):
    """Tells frames of the course's other pieces, which the person's code calls.

    A module of such a class may be the person's own: it has had its own check.
    """
    import helpers.checks as checks  # all of them: this module is a part of each

    titles, own = checks.titles(), getattr(candidate, "__name__", "")

    def is_part(frame) -> bool:
        module, name = frame.f_locals.get("self"), frame.f_code.co_name
        if isinstance(module, nn.Module):
            kind = type(module).__name__
            made = name == "__init__" and not hasattr(_given(frame)[0], "d_model")
            return kind in titles and kind != own and (made or name == "forward")
        home = str(frame.f_globals.get("__name__"))
        return name in titles and home.startswith("helpers.")

    return is_part


def _given(frame) -> list:
    """What a function was called with, beside self."""
    code = frame.f_code
    names = [n for n in code.co_varnames[: code.co_argcount] if n != "self"]
    return [frame.f_locals.get(name) for name in names] or [None]


def _stopped_in_a_part(place: Place, said: str, where: str) -> Mistake:
    """An exception inside a piece that the person's line calls."""
    part, module = place.part.f_code, place.part.f_locals.get("self")
    kind = part.co_name if module is None else type(module).__name__
    call = place.node if isinstance(place.node, ast.Call) else None
    name = short(call.func) if call else kind
    words = {"part": f"`{name}`" if name == kind else f"`{name}`, {article(kind)},"}
    given = _given(place.part)
    tell = partial(mistake, slug="given-to-a-part", line=place.line, **words)
    if part.co_name == "__init__":
        hint = f"`{kind}(cfg)` makes one"
        if place.frame.f_code.co_name != "__init__":
            hint = "call what your `__init__` has made, by `self.` and its name"
        return tell("part-made-of-another-thing", given=_kind(given[0]), hint=hint)
    handed = [f"`{short(a)}`" for a in call.args] if call else []
    cfg, takes = _takes(kind)
    sizes = getattr(place.value("self") if module is None else module, "cfg", None)
    for i, (mine, right) in enumerate(zip(given, takes, strict=False)):
        if not _alike(mine, right, cfg, sizes):
            which = f", as `{part.co_varnames[i]}`," if takes[1:] else ""
            told = handed[i] if i < len(handed) else "what you hand to it"
            words = {"given": f"{which} {_kind(mine)}", "takes": _kind(right, cfg)}
            return tell("part-given-another-thing", told=told, **words)
    given, told = " and ".join(map(_kind, given)), ", ".join(handed)
    return tell("part-stops", given=given, where=where, said=said, told=told)


def _alike(given: object, takes: Tensor, cfg, sizes) -> bool:
    """Whether a part was given such a tensor as it takes, for its own Config."""
    if not isinstance(given, Tensor):
        return False
    named = zip(given.shape, _axes(takes, cfg), strict=False)
    return (given.ndim, given.dtype) == (takes.ndim, takes.dtype) and all(
        getattr(sizes, axis, size) == size for size, axis in named
    )


def _takes(title: str) -> tuple:
    """What a piece of the course takes, as its own check hands it over: a Config
    that names the axes, and the inputs."""
    import helpers.checks as checks

    try:
        case = getattr(checks, checks.titles()[title]).kind.cases()[0]
        return case.cfg, case.inputs
    except Exception:  # an exercise of another kind
        return None, ()


def _axes(x: Tensor, cfg) -> list[str]:
    """The names of a case's axes, as its Config tells them."""
    sizes = {getattr(cfg, field): field for field in _SIZES}
    plain = ["batch", *["position"] * x.ndim]
    return [sizes.get(size, plain[i]) for i, size in enumerate(x.shape)]


def _kind(value: object, cfg=None) -> str:
    """A tensor's shape and kind of numbers; with a Config, its axes' names."""
    if isinstance(value, (int, float, type(None))):
        return f"`{value}`"
    if not isinstance(value, Tensor):
        return f"{article(type(value).__name__)}, no tensor"
    axes = map(str, value.shape) if cfg is None else _axes(value, cfg)
    numbers = "whole numbers"
    if value.dtype.is_floating_point:
        numbers = "floats"
    elif value.dtype == torch.bool:
        numbers = "True and False"
    return f"[{', '.join(axes)}], {numbers}"


_SIZES = ("d_model", "n_heads", "d_head", "d_mlp", "d_vocab")
_PURE = """abs all allclose any bool dim equal float int isclose isfinite isnan item
len list max mean min norm numel round shape size std sum tuple type var""".split()


def _values(place: Place) -> str:
    """Both sides of a comparison that an assert of theirs makes, where none of it
    can do anything but look."""
    test = getattr(place.statement, "test", None)
    if not isinstance(test, ast.Compare):
        return ""
    told = []
    for side in (test.left, *test.comparators):
        calls = [n.func for n in ast.walk(side) if isinstance(n, ast.Call)]
        names = [getattr(f, "attr", getattr(f, "id", "")) for f in calls]
        odd = (ast.NamedExpr, ast.Await, ast.Lambda, ast.comprehension)
        if set(names) - {*_PURE} or any(isinstance(n, odd) for n in ast.walk(side)):
            return ""
        if isinstance(side, ast.Constant):
            continue
        text = ast.unparse(side)
        try:
            frame = place.frame
            value = eval(text, frame.f_globals, dict(frame.f_locals))
        except Exception:
            return ""
        if isinstance(value, Tensor):
            one = value.numel() == 1
            value = f"{value.item():.4g}" if one else f"of shape {list(value.shape)}"
        told.append(f"`{text}` is {str(value)[:80]}")
    return ", ".join(told)


def of_the_check(error: Exception) -> Mistake:
    """A line of the check's own that failed: no fault of the answer's is known."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {words(error)}"[:300].rstrip(": ")
    file = Path(last.filename).name
    return mistake("the-check-stopped", said=said, file=file, number=last.lineno)


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
    for pattern, form, hint in _WRITING:
        if match := re.search(pattern, line):
            words = {"form": form.format(*match.groups())}
            words["hint"] = hint.format(*match.groups())
            return mistake("changes-its-input", line=line, **words)


_NAME = r"([A-Za-z_][\w.]*)"
_WRITING = (  # what a line looks like that writes into a tensor; what makes a new one
    (
        _NAME + r"\[.*\]\s*(?:[-+*/|&@]|//|\*\*)?=(?!=)",
        " (`{0}[...] = ` writes into it)",
        "`torch.where` and `masked_fill` make a new tensor; or write into a copy: "
        "`{0} = {0}.clone()` first",
    ),
    (
        _NAME + r"\s*([-+*/|&@]|//|\*\*)=(?!=)",
        " (`{0} {1}= ...`)",
        "`{0} = {0} {1} ...` makes a new tensor",
    ),
    (
        r"\.([a-z]\w*[a-z0-9])_\(",
        " (`{0}_`, as all names that end in an underscore)",
        "`{0}`, without the underscore, makes a new tensor",
    ),
    (
        "",
        "",
        "begin with a copy, `x = x.clone()`, or make new tensors: `x = x - y` in the "
        "place of `x -= y`, `torch.where` in that of `x[...] = `",
    ),
)
