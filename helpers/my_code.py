"""Your code, kept: what passes a check goes into one file, `my_gpt2.py`.

A check calls `save` when an answer passes; later notebooks call `load`. The file holds
the source of the class or function as its cell has it, and what that source refers to:
imports, helper functions and classes, constants. It stands alone: nothing in it imports
`helpers.model`. Where an exercise is still blank the check hands back the course's
class; such a name is left out of the file, `load` fills it in with the course's, and
`python my_gpt2.py` says that it is still to do. A `cfg` that the code reads from the
notebook becomes `cfg = Config(...)`, and running the file sets it anew.
"""

import __future__

import ast
import contextlib
import dataclasses
import functools
import importlib
import io
import itertools
import linecache
import os
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from symtable import symtable
from typing import Any, NamedTuple

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
MODULE = "my_gpt2"  # the name under which the file is imported
COURSE = (  # what the notebooks build, in the order of the file
    "Config LayerNorm Embed PosEmbed attention_projections attention_scores "
    "apply_causal_mask attention_pattern attention_values attention_output Attention "
    "gelu_new MLP TransformerBlock Unembed DemoTransformer cross_entropy"
).split()
HEADER = """\
# My GPT-2, in my own code.
# A class comes here when its check passes; a newer one that passes replaces it.
# All else may be edited by hand. To run it: python my_gpt2.py "Once upon a time"
"""
TAIL = """\
if __name__ == "__main__":
    import argparse
    import sys
    from pathlib import Path

    import torch

    parser = argparse.ArgumentParser(description="Continue a text with my GPT-2.")
    parser.add_argument("prompt", nargs="?", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=100, help="at most this many")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="the same seed, the same text")
    parser.add_argument("--reference", default="stories", help="whose weights")
    args = parser.parse_args()
    if args.seed is not None:
        torch.manual_seed(args.seed)
    folders = [*Path(__file__).resolve().parents, Path(COURSE_ROOT)]
    sys.path += [str(at) for at in folders if (at / "helpers/reference.py").exists()]
    try:
        build = DemoTransformer  # a NameError, here or below: still to do
        from helpers.reference import load_reference

        reference = load_reference(args.reference)
        cfg = reference.cfg
        tokens, shown = reference.to_tokens(args.prompt), ""
        model = build(cfg).eval()
        # Not strict: a mask kept as a buffer is not among the weights.
        model.load_state_dict(reference.state_dict(), strict=False)
        for _ in range(args.tokens + 1):
            text = reference.tokenizer.decode(tokens[0, 1:])
            if not text.endswith("\\ufffd"):  # half a character: wait for the rest
                print(text[len(shown) :], end="", flush=True)
                shown = text
            with torch.no_grad():
                logits = model(tokens[:, -cfg.n_ctx :])[0, -1]
            probs = (logits / max(args.temperature, 1e-6)).softmax(dim=-1)
            next_token = torch.multinomial(probs, 1)
            if next_token == reference.tokenizer.eos_token_id:
                break
            tokens = torch.cat([tokens, next_token[None]], dim=1)
        print()
    except NameError as error:
        parts = "LayerNorm Embed PosEmbed Attention MLP TransformerBlock Unembed"
        todo = {p for p in parts.split() if p not in globals()} | {error.name}
        sys.exit(f"Still to do before this runs: {', '.join(sorted(todo))}.")
"""

_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MARKER = re.compile(r"\s*(### (BEGIN|END) SOLUTION|# YOUR CODE HERE)\s*$")
_edition = "complete"


class CannotSave(Exception):
    """Why an answer that passed stays out of the file; the message says it."""


class Import(NamedTuple):
    """`import module`, or `from module import name`, perhaps `as alias`."""

    module: str
    name: str = ""
    alias: str = ""

    @property
    def bound(self) -> str:
        return self.alias or self.name or self.module.split(".")[0]

    def value(self) -> Any:
        module = importlib.import_module(self.module)
        if self.name:
            return getattr(module, self.name)
        return module if self.alias else sys.modules[self.bound]

    def __str__(self) -> str:
        alias = f" as {self.alias}" if self.alias else ""
        if self.name:
            return f"from {self.module} import {self.name}{alias}"
        return f"import {self.module}{alias}"


Piece = Import | str  # what one name in the file is: an import, or source text


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
    if _edition == "complete" or _from(candidate) == "helpers.model":
        return None
    try:
        target = path()
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two notebooks may save at the same time: read and write under one lock.
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=10):
            text = _read(target)
            in_file = {name for name, _ in _split(text)[2]}
            found: dict[str, Piece] = {}
            _collect(name, candidate, _space(candidate), found, in_file, wanted=name)
            new = _merge(text, found, name)
            if new != text:
                _try_out(new, target)
                _write(target, new)
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
            module = _execute(text, target, MODULE)
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


# --- Finding the source of an object, and of what it refers to


def _from(value: Any) -> str:
    """The module in which a class or function was made; "" for other objects."""
    return (value.__module__ or "") if hasattr(value, "__qualname__") else ""


def _space(value: Any) -> dict[str, Any]:
    """The globals that the code of `value` sees."""
    members = vars(value).values() if isinstance(value, type) else [value]
    for function in (f for m in members for f in _functions(m)):
        if function.__module__ == _from(value):
            return function.__globals__
    return vars(sys.modules.get(_from(value)) or sys.modules["__main__"])


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """The plain functions in `value`: through decorators, staticmethod, property."""
    todo, seen = [value], set()
    while todo:
        value = todo.pop(0)
        if id(value) in seen or not (callable(value) or hasattr(value, "__get__")):
            continue
        seen.add(id(value))
        if isinstance(value, types.FunctionType):
            yield value
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # an empty cell
                    todo.append(cell.cell_contents)
        for inner in ("__wrapped__", "__func__", "fget", "func"):
            todo.append(getattr(value, inner, None))


@functools.lru_cache(maxsize=1000)
def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # a cell that never ran
        return ast.Module([], [])


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements outside of functions and classes, at any depth."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, _DEFS):
            yield from _statements(child)


def _start(node: ast.stmt) -> int:
    """The first line, decorators included."""
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _source(text: str, node: ast.stmt) -> str:
    """The statement's lines with the comments above it, without solution markers."""
    lines, first = text.split("\n"), _start(node)
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    lines = [x for x in lines[first - 1 : node.end_lineno] if not _MARKER.match(x)]
    return textwrap.dedent("\n".join(lines)).strip("\n")


@functools.lru_cache(maxsize=1000)
def _reads(text: str) -> frozenset[str]:
    """The global names that a piece of source refers to."""
    names, tables = set(), [symtable(text, "my_gpt2.py", "exec")]
    for table in tables:  # grows as it goes
        tables += table.get_children()
        symbols = table.get_symbols()
        names |= {s.get_name() for s in symbols if s.is_referenced() and s.is_global()}
    # Python 3.14 evaluates annotations later, in tables of their own.
    for node in ast.walk(_parse(text)):
        for field in ("annotation", "returns"):
            if isinstance(hint := getattr(node, field, None), ast.AST):
                names |= {n.id for n in ast.walk(hint) if isinstance(n, ast.Name)}
    return frozenset(names)


def _definition(name: str, value: Any) -> tuple[str, str, dict] | None:
    """Name, text and globals of a class or function, from the cell (or file) in which
    its code was compiled: that of the object which passed, whatever ran since."""
    is_class = isinstance(value, type)
    members = vars(value).values() if is_class else [value]
    for function in (f for m in members for f in _functions(m)):
        real = value.__name__ if is_class else function.__name__
        full = f"{value.__qualname__}.{function.__name__}" if is_class else real
        if function.__qualname__ != full or real == "<lambda>":
            continue
        file, line = function.__code__.co_filename, function.__code__.co_firstlineno
        text = "".join(linecache.getlines(file))
        for node in reversed(list(_statements(_parse(text)))):
            if not (isinstance(node, _DEFS) and node.name == real):
                continue
            if _start(node) <= line <= node.end_lineno:
                if is_class:
                    _refuse_patched(value, node, file)
                return real, _source(text, node), function.__globals__
    return None


def _refuse_patched(cls: type, node: ast.ClassDef, file: str) -> None:
    """Stop at a method that was put into the class after its cell ran."""
    assigned = {
        name.id
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for name in ast.walk(statement)
        if isinstance(name, ast.Name)
    }
    for attr, value in vars(cls).items():
        functions = list(_functions(value))
        codes = [
            f.__code__
            for f in functions
            if f.__globals__.get("__name__") == cls.__module__
            and linecache.getlines(f.__code__.co_filename)
        ]
        inside = (
            c.co_filename == file
            and _start(node) <= c.co_firstlineno <= node.end_lineno
            for c in codes
        )
        if codes and attr not in assigned and not any(inside):
            raise CannotSave(
                f"{attr} was put into the class from outside. "
                "Write it in the class, and run the check again."
            )


def _binding(name: str, value: Any, space: dict[str, Any]) -> Piece | None:
    """What last gave a name its value, in the notebook's cells or the file's text."""
    # IPython keeps the cells that ran in `_ih`; a module has its file.
    cells = space.get("_ih") or ["".join(linecache.getlines(space.get("__file__", "")))]
    for text in reversed(cells):
        tree = _parse(text)
        for node in reversed(list(_statements(tree))):
            if isinstance(node, ast.Import):
                imports = [Import(a.name, "", a.asname or "") for a in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imports = [
                    Import(node.module, a.name, a.asname or "") for a in node.names
                ]
            else:
                imports = []
            for imported in imports:
                with contextlib.suppress(ImportError, AttributeError):
                    if imported.bound == name and imported.value() is value:
                        return imported
            if isinstance(node, _DEFS):
                if node.name == name:
                    return _source(text, node)
                continue
            if not any(
                isinstance(n, ast.Name)
                and n.id == name
                and isinstance(n.ctx, ast.Store)
                for n in ast.walk(node)
            ):
                continue
            target = _assigned(node)
            if node not in tree.body or target != name:
                return None  # a loop, a tuple, `+=`: the text alone does not tell
            if name not in _reads(ast.unparse(node.value)):
                return _source(text, node)
            if not callable(value):
                return None
            # `X = checks.x(X)`: an earlier cell made it
    return None


def _assigned(node: ast.stmt) -> str:
    """The name in `name = ...` and `name: hint = ...`; "" for other statements."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return getattr(node.targets[0], "id", "")
    if isinstance(node, ast.AnnAssign) and node.value:
        return getattr(node.target, "id", "")
    return ""


def _import(name: str, value: Any) -> Import | None:
    """An import of a value, worked out from the value itself."""
    if isinstance(value, types.ModuleType):
        package, _, last = value.__name__.rpartition(".")
        if package and last == name:
            return Import(package, name)
        return Import(value.__name__, "", "" if value.__name__ == name else name)
    inner = getattr(value, "__name__", name)
    modules = itertools.accumulate(_from(value).split("."), "{}.{}".format)
    for module in modules:  # the shortest that has it: `torch.nn`, then deeper
        if getattr(sys.modules.get(module), inner, None) is value:
            return Import(module, inner, "" if inner == name else name)
    return None


def _literal(name: str, value: Any) -> str | None:
    """`name = value` for plain values and for dataclasses such as `cfg`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        lines = [f"    {f.name}={getattr(value, f.name)!r},\n" for f in fields]
        return f"{name} = {type(value).__name__}(\n{''.join(lines)})"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f'{name} = float("{value}")'
    with contextlib.suppress(ValueError, SyntaxError, RecursionError):
        if len(repr(value)) < 500 and ast.literal_eval(repr(value)) == value:
            return f"{name} = {value!r}"
    return None


def _collect(
    name: str,
    value: Any,
    space: dict[str, Any],
    found: dict[str, Piece],
    in_file: set[str],
    wanted: str,
) -> None:
    """Put into `found` what `name` stands for, and all that this refers to.

    A part of the course that is in the file has passed its own check and stays.
    """
    home = _from(value)
    if name in found or home == "helpers.model":
        return
    if name in in_file and (
        home == MODULE or name == "cfg" or (name in COURSE and name != wanted)
    ):
        return
    own = home in (space.get("__name__"), "__main__", MODULE, "helpers.config")
    definition = _definition(name, value) if own else None
    plain = _literal(name, value)
    if definition:
        real, piece, space = definition
        if real != name:  # `LayerNorm = MyLayerNorm`
            piece, space = f"{name} = {real}", {**space, real: value}
    elif dataclasses.is_dataclass(value) and plain:
        piece, space = plain, {**space, type(value).__name__: type(value)}
    else:
        if own and home != space.get("__name__"):
            space = vars(sys.modules[home])
        piece = _binding(name, value, space) or (None if own else _import(name, value))
    if isinstance(piece, Import) and piece.module.split(".")[0] == "helpers":
        piece = None
    tried = {**found, name: piece}
    try:
        if piece is None:
            raise CannotSave(
                f"it uses `{name}` of this notebook, which cannot be written to a "
                "file. Make it inside your code, and run the check again."
            )
        if isinstance(piece, str):
            for other in sorted(_reads(piece) - {name}):
                if other in space:
                    _collect(other, space[other], space, tried, in_file, wanted)
        if definition and _future_annotations(value):
            tried["annotations"] = Import("__future__", "annotations")
    except CannotSave:
        if plain is None:
            raise
        tried = {**found, name: plain}
    found.update(tried)


def _future_annotations(value: Any) -> bool:
    members = vars(value).values() if isinstance(value, type) else [value]
    flag = __future__.annotations.compiler_flag
    return any(
        f.__code__.co_flags & flag and f.__module__ == _from(value)
        for m in members
        for f in _functions(m)
    )


# --- The file: header, imports, pieces in order, tail


def _split(text: str) -> tuple[str, dict[str, Import], list[tuple[str, str]]]:
    """Header, imports by name, and (name, source with the comments above it)."""
    lines, header = text.split("\n"), ""
    if text.startswith("#"):
        header = text.split("\n\n")[0]
    done, imports, pieces = len(header.split("\n")) if header else 0, {}, []
    for node in ast.parse(text).body:
        source = "\n".join(lines[done : node.end_lineno]).strip("\n")
        done = max(done, node.end_lineno)
        if isinstance(node, ast.Import | ast.ImportFrom):
            for a in node.names:
                module = getattr(node, "module", None)
                one = Import(module, a.name, a.asname or "") if module else None
                one = one or Import(a.name, "", a.asname or "")
                imports[one.bound] = one
        elif source:
            main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            name = node.name if isinstance(node, _DEFS) else _assigned(node)
            pieces.append(("__main__" if main else name, source))
    if rest := "\n".join(lines[done:]).strip("\n"):
        pieces.append(("", rest))
    return header or HEADER.rstrip(), imports, pieces


def _merge(text: str, found: dict[str, Piece], wanted: str) -> str:
    """The file's text with what was found put in; all else stays as it is."""
    header, imports, pieces = _split(text)
    if "__main__" not in dict(pieces):
        tail = TAIL.replace("COURSE_ROOT", repr(str(ROOT)))
        pieces.append(("__main__", tail.rstrip()))
    for name, piece in found.items():
        old = imports.get(name) or dict(pieces).get(name)
        if old is not None and name != wanted:
            if _same(old, piece):
                continue
            for user, source in pieces:
                if name in _reads(source) and user not in found and user != "__main__":
                    raise CannotSave(
                        f"{user or 'a line'} in the file uses another `{name}`. "
                        "Give yours a new name, and run the check again."
                    )
        if isinstance(piece, Import):
            imports[name] = piece
            pieces = [p for p in pieces if p[0] != name]
        else:
            imports.pop(name, None)
            _place(pieces, name, piece)
    read = frozenset().union(*(_reads(source) for _, source in pieces))
    imports = {
        n: i for n, i in imports.items() if n in read or i.module == "__future__"
    }
    written = header + "\n\n" + _import_lines(imports.values())
    for i, (_, source) in enumerate(pieces):
        constants = i and all(map(_is_constant, (pieces[i - 1][1], source)))
        written += ("\n" if constants else "\n\n\n") + source
    return written + "\n"


def _is_constant(source: str) -> bool:
    return any(map(_assigned, ast.parse(source).body))


def _same(old: Piece, new: Piece) -> bool:
    if isinstance(old, Import) and isinstance(new, Import):
        with contextlib.suppress(ImportError, AttributeError):
            return old == new or old.value() is new.value()
    if isinstance(old, str) and isinstance(new, str):
        return ast.dump(_parse(old)) == ast.dump(_parse(new))
    return False


def _place(pieces: list[tuple[str, str]], name: str, source: str) -> None:
    """Replace the piece of that name, or put it where the order of the course and
    what needs what ask for it."""
    names = [n for n, _ in pieces]
    if name in names:
        pieces[names.index(name)] = (name, source)
        return
    needs = _reads(source)
    rank = COURSE.index(name) if name in COURSE else len(COURSE)
    after = max((i + 1 for i, n in enumerate(names) if n in needs), default=0)
    at = next(
        i
        for i, (n, text) in enumerate(pieces)
        if n == "__main__"
        or name in _reads(text)
        or (n in COURSE and COURSE.index(n) > rank)
    )
    # Stay clear of the helpers that stand above the piece they belong to.
    while at > 0 and names[at - 1] not in COURSE and name not in _reads(pieces[at][1]):
        if names[at - 1] not in _reads(pieces[at][1]):
            break
        at -= 1
    pieces.insert(max(after, at), (name, source))


def _import_lines(imports) -> str:
    """Sorted and merged: `__future__`, the standard library, then the others."""

    def group(module: str) -> int:
        top = module.split(".")[0]
        return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2

    plain = [(group(i.module), 0, i.module, str(i)) for i in imports if not i.name]
    modules = {i.module for i in imports if i.name}
    for module in modules:
        names = sorted(
            f"{i.name} as {i.alias}" if i.alias else i.name
            for i in imports
            if i.name and i.module == module
        )
        line = f"from {module} import {', '.join(names)}"
        if len(line) > 88:
            line = f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"
        plain.append((group(module), 1, module, line))
    groups = itertools.groupby(sorted(plain), key=lambda entry: entry[0])
    return "\n\n".join("\n".join(e[-1] for e in entries) for _, entries in groups)


def _read(target: Path) -> str:
    """The file's text; a file that is not Python is moved aside first."""
    if not target.exists():
        return ""
    try:
        text = target.read_text(encoding="utf-8")
        ast.parse(text)
        return text
    except (SyntaxError, ValueError) as error:
        for n in itertools.count(1):
            aside = target.with_name(f"{target.stem}.broken-{n}.py")
            if not aside.exists():
                break
        os.replace(target, aside)
        print(
            f"{target.name} is not valid Python ({error}); "
            f"it is now {aside.name}, and a new one is begun."
        )
        return ""


def _execute(text: str, target: Path, name: str) -> types.ModuleType:
    """Run the file's text as a fresh module."""
    module = types.ModuleType(name)
    module.__file__ = str(target)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        exec(compile(text, str(target), "exec"), vars(module))
    except BaseException:
        sys.modules.pop(name)
        if before:
            sys.modules[name] = before
        raise
    return module


def _try_out(text: str, target: Path) -> None:
    """Import the new text before it becomes the file, so that the file always runs."""
    trial = f"{MODULE}_trial"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _execute(text, target, trial)
    except NameError as error:
        raise CannotSave(f"it builds on {error.name}, which is still to do.") from error
    finally:
        sys.modules.pop(trial, None)


def _write(target: Path, text: str) -> None:
    """All or nothing: write beside the file, then rename."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
