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
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from symtable import symtable
from typing import Any, NamedTuple

GPT2 = (  # what the notebooks build, in the order of the file
    "Config LayerNorm Embed PosEmbed attention_projections attention_scores "
    "apply_causal_mask attention_pattern attention_values attention_output Attention "
    "gelu_new MLP TransformerBlock Unembed DemoTransformer cross_entropy"
).split()
LLAMA = (  # and notebook 12, in a file of its own
    "RMSNorm rotary_angles rotate SwiGLU repeat_kv hidden_keys GroupedQueryAttention "
    "MixtureOfExperts LlamaBlock Llama"
).split()
COURSE = [*GPT2, *LLAMA]
# Names under which a file is imported, and where the course's own parts are
FILES = {"my_gpt2": "helpers.model", "my_llama": "helpers.llama"}
_ANNOTATIONS = __future__.annotations.compiler_flag
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


def imports_in(node: ast.stmt) -> list[Import]:
    if isinstance(node, ast.Import):
        return [Import(a.name, "", a.asname or "") for a in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [Import(node.module, a.name, a.asname or "") for a in node.names]
    return []


Piece = Import | str  # what one name in the file is: an import, or source text


def file_of(name: str) -> str:
    """The file that a part of the course is kept in: "my_gpt2" or "my_llama"."""
    return "my_llama" if name in LLAMA else "my_gpt2"


def home_of(value: Any) -> str:
    """The module in which a class or function was made; "" for other objects."""
    return (value.__module__ or "") if hasattr(value, "__qualname__") else ""


def globals_of(value: Any) -> dict[str, Any]:
    """The globals that the code of `value` sees."""
    for function in _own(value):
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


def _is_own(function: types.FunctionType, value: Any) -> bool:
    """Whether it was made where `value` was."""
    return function.__globals__.get("__name__") == home_of(value)


def _own(value: Any) -> Iterator[types.FunctionType]:
    """Those functions of a class, or in the value, that were made where it was."""
    members = vars(value).values() if isinstance(value, type) else [value]
    return (f for m in members for f in _functions(m) if _is_own(f, value))


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


@functools.lru_cache(maxsize=1000)
def _codes(text: str, flags: int) -> frozenset[types.CodeType]:
    """All that a text compiles to; nothing for text that is no code."""
    try:
        found = [compile(text, "", "exec", flags, dont_inherit=True)]
    except (SyntaxError, ValueError):
        return frozenset()
    for code in found:  # grows as it goes
        found += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(found)


def _within(cell: str) -> Iterator[str]:
    """A cell, and the code in its strings: `%%time` and `exec` run that."""
    yield cell
    for node in ast.walk(parse(cell)):
        text = getattr(node, "value", None)
        if isinstance(node, ast.Constant) and re.search(r"\b(class|def) ", str(text)):
            yield from _within(text)
            with contextlib.suppress(Exception):
                from IPython.core.inputtransformer2 import TransformerManager

                if (ran := TransformerManager().transform_cell(text)) != text:
                    yield from _within(ran)


def _text(function: types.FunctionType, value: Any) -> tuple[str, frozenset]:
    """The text that compiles to the very code of `value`, and all its codes; if there
    is none, that of the function's file as it is now."""
    own, best = {f.__code__ for f in _own(value)}, frozenset()
    found = file = "".join(linecache.getlines(function.__code__.co_filename))
    flags = function.__code__.co_flags & _ANNOTATIONS | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    cells = reversed(function.__globals__.get("_ih", ()))
    for text in itertools.chain([file], *map(_within, cells)):
        codes = _codes(text, flags)
        if function.__code__ in codes and len(own & codes) > len(own & best):
            found, best = text, codes
    return found, best


def _definition(name: str, value: Any) -> tuple[str, str, dict] | None:
    """Name, text and globals of a class or function, from the cell (or file) in which
    its code was compiled: that of the object which passed, whatever ran since."""
    is_class = isinstance(value, type)
    for function in _own(value):
        real = value.__name__ if is_class else function.__name__
        full = f"{value.__qualname__}.{function.__name__}" if is_class else real
        inner = function is not value and not is_class  # as in `f = partial(g, 2)`
        if function.__qualname__ != full or (inner and real != name):
            continue
        line, (text, codes) = function.__code__.co_firstlineno, _text(function, value)
        for node in reversed(list(_statements(parse(text)))):
            if not (isinstance(node, DEFS) and node.name == real):
                continue
            if _start(node) <= line <= node.end_lineno:
                if is_class and codes:
                    _refuse_patched(value, node, codes)
                return real, _source(text, node), function.__globals__
    return None


def _refuse_patched(cls: type, node: ast.ClassDef, codes: frozenset) -> None:
    """Stop at a method that was put into the class after its cell ran."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    for attr, member in vars(cls).items():
        own = {f.__code__ for f in _functions(member) if _is_own(f, cls)}
        own = {code for code in own if code.co_filename != "<string>"}  # @dataclass
        if own and attr not in names and not own & codes:
            raise CannotSave(
                f"{attr} was put into the class from outside. "
                "Write it in the class, and run the check again."
            )


def _binding(name: str, value: Any, space: dict[str, Any]) -> Piece | None:
    """What last gave a name its value, in the notebook's cells or the file's text."""
    written = any(f.__code__.co_filename != "<string>" for f in _own(value))
    # IPython keeps the cells that ran in `_ih`; a module has its file.
    cells = space.get("_ih") or ["".join(linecache.getlines(space.get("__file__", "")))]
    for text in reversed(cells):
        tree = parse(text)
        for node in reversed(list(_statements(tree))):
            for imported in imports_in(node):
                with contextlib.suppress(ImportError, AttributeError):
                    if imported.bound == name and imported.value() is value:
                        return imported
            if isinstance(node, DEFS):
                if node.name == name and not written:  # generated by `@dataclass`
                    return _source(text, node)
                continue
            names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
            if node not in tree.body or name not in stored:
                continue
            if assigned(node) != name:
                return None  # a loop, a tuple, `+=`: the text alone does not tell
            if name not in reads(ast.unparse(node)):
                with contextlib.suppress(ValueError, SyntaxError, TypeError):
                    if ast.literal_eval(getattr(node, "value", "")) != value:
                        return None  # changed since
                return _source(text, node)
            if not callable(value):
                return None
            # `X = checks.x(X)`: an earlier cell made it
    return None


def assigned(node: ast.stmt) -> str:
    """The one name that `name = ...`, `name: hint = ...`, or an `if` with `else` gives
    a value, and nothing else; "" for other statements."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return getattr(node.targets[0], "id", "")
    if isinstance(node, ast.AnnAssign) and node.value:
        return getattr(node.target, "id", "")
    if isinstance(node, ast.Try) or (isinstance(node, ast.If) and node.orelse):
        names = {assigned(inner) for inner in _statements(node)}
        return names.pop() if len(names) == 1 else ""
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
    """`name = value` for dataclasses such as `cfg`, and for what its own repr makes
    anew: numbers, lists, `torch.float32`, `torch.device(type='cpu')`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        lines = [f"    {f.name}={getattr(value, f.name)!r},\n" for f in fields]
        return f"{name} = {type(value).__name__}(\n{''.join(lines)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'{name} = float("{value}")'
    for prefix in ("", type(value).__module__.split(".")[0] + "."):
        with contextlib.suppress(Exception):
            if len(text := prefix + repr(value)) < 500:
                modules = {n: sys.modules[n] for n in reads(text) if n in sys.modules}
                made = eval(text, modules)
                if type(made) is type(value) and bool(made == value):
                    return f"{name} = {text}"
    return None


def _options(name: str, value: Any, space: dict[str, Any], wanted: bool) -> Iterator:
    """Pieces that give `name` its value, best first, and what the names in each are."""
    home = home_of(value)
    own = home in (space.get("__name__"), "__main__", "helpers.config", *FILES)
    definition = _definition(name, value) if own or wanted else None
    plain = _literal(name, value)
    if definition:
        real, piece, sees = definition
        if real == name:  # the bases of a class are those that it was made with
            bases = {b.__name__: b for b in getattr(value, "__bases__", ())}
            yield piece, {**sees, **bases}
        else:  # `LayerNorm = MyLayerNorm`
            yield f"{name} = {real}", {**sees, real: value}
    elif not (plain and dataclasses.is_dataclass(value)):
        if own and home != space.get("__name__"):
            space = vars(sys.modules[home])
        piece = _binding(name, value, space) or (None if own else _import(name, value))
        if isinstance(piece, Import) and piece.module.split(".")[0] == "helpers":
            raise CannotSave(
                f"it uses the course's `{name}`. Write your own, and run the check "
                "again."
            )
        if piece:
            yield piece, space
    if plain:
        yield plain, {**space, type(value).__name__: type(value)}


def collect(
    name: str,
    value: Any,
    space: dict[str, Any],
    found: dict[str, Piece],
    in_file: set[str],
    wanted: str,
) -> dict[str, Piece]:
    """What was `found`, and what `name` stands for, and all that this refers to.

    A part of the course that is in the file has passed its own check and stays.
    """
    home = home_of(value)
    passed = home in FILES or name == "cfg" or (name in COURSE and name != wanted)
    blank = home in FILES.values() and name == value.__name__
    if name in found or blank or (passed and name in in_file):
        return found
    problem = CannotSave(
        "its text cannot be found. Run the cell that defines it once more, without a "
        "line such as %%time above it, and then the check."
        if name == wanted
        else f"it uses `{name}` of this notebook, which cannot be written to a file. "
        "Make it inside your code, and run the check again."
    )
    for piece, sees in _options(name, value, space, name == wanted):
        tried = {**found, name: piece}
        try:
            names = reads(piece) - {name} if isinstance(piece, str) else ()
            for other in sorted(names):
                # A value's repr may need a module that the notebook calls otherwise.
                if other in sees or other in sys.modules:
                    needed = sees.get(other, sys.modules.get(other))
                    tried = collect(other, needed, sees, tried, in_file, wanted)
            flags = {f.__code__.co_flags & _ANNOTATIONS for f in _own(value)}
            if isinstance(piece, str) and any(flags):
                tried["annotations"] = Import("__future__", "annotations")
            return tried
        except CannotSave as error:
            problem = error
    raise problem
