"""What an answer's source is: its text, and all that it refers to.

The text is that of the cell in which the code was compiled, found by its syntax tree;
`inspect.getsource` does not find classes of a notebook.
"""

import __future__

import ast
import contextlib
import dataclasses
import functools
import importlib
import itertools
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from symtable import symtable
from typing import Any, NamedTuple

MODULE = "my_gpt2"  # the name under which the file is imported
COURSE = (  # what the notebooks build, in the order of the file
    "Config LayerNorm Embed PosEmbed attention_projections attention_scores "
    "apply_causal_mask attention_pattern attention_values attention_output Attention "
    "gelu_new MLP TransformerBlock Unembed DemoTransformer cross_entropy"
).split()
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MARKER = re.compile(r"\s*(### (BEGIN|END) SOLUTION|# YOUR CODE HERE)\s*$")


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


def home_of(value: Any) -> str:
    """The module in which a class or function was made; "" for other objects."""
    return (value.__module__ or "") if hasattr(value, "__qualname__") else ""


def globals_of(value: Any) -> dict[str, Any]:
    """The globals that the code of `value` sees."""
    members = vars(value).values() if isinstance(value, type) else [value]
    for function in (f for m in members for f in _functions(m)):
        if function.__module__ == home_of(value):
            return function.__globals__
    return vars(sys.modules.get(home_of(value)) or sys.modules["__main__"])


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
def parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # a cell that never ran
        return ast.Module([], [])


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements outside of functions and classes, at any depth."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, DEFS):
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
def reads(text: str) -> frozenset[str]:
    """The global names that a piece of source refers to."""
    names, tables = set(), [symtable(text, "my_gpt2.py", "exec")]
    for table in tables:  # grows as it goes
        tables += table.get_children()
        symbols = table.get_symbols()
        names |= {s.get_name() for s in symbols if s.is_referenced() and s.is_global()}
    # Python 3.14 evaluates annotations later, in tables of their own.
    for node in ast.walk(parse(text)):
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
        for node in reversed(list(_statements(parse(text)))):
            if not (isinstance(node, DEFS) and node.name == real):
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
        tree = parse(text)
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
            if isinstance(node, DEFS):
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
            target = assigned(node)
            if node not in tree.body or target != name:
                return None  # a loop, a tuple, `+=`: the text alone does not tell
            if name not in reads(ast.unparse(node.value)):
                return _source(text, node)
            if not callable(value):
                return None
            # `X = checks.x(X)`: an earlier cell made it
    return None


def assigned(node: ast.stmt) -> str:
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
    modules = itertools.accumulate(home_of(value).split("."), "{}.{}".format)
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


def collect(
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
    home = home_of(value)
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
            for other in sorted(reads(piece) - {name}):
                if other in space:
                    collect(other, space[other], space, tried, in_file, wanted)
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
        f.__code__.co_flags & flag and f.__module__ == home_of(value)
        for m in members
        for f in _functions(m)
    )
