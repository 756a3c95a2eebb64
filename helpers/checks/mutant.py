"""Wrong answers, made of the right one: the solution's text, edited and run.

An answer is a class or a function; it may call the answers of earlier exercises (its
steps), and then a step's mistakes are mistakes of the whole as well. So the text that
is edited has several parts: the steps', and the answer's own, which comes last.
"""

import ast
import functools
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from helpers.checks.page import Code, Entry, PageError

Parts = tuple[tuple[str, str], ...]  # (name of the class or function, its text)


@dataclass(frozen=True, eq=False)
class Mutant:
    """A wrong answer: one way of one mistake, or of two at once."""

    entries: tuple[Entry, ...]
    does: tuple[str, ...]
    answer: object
    edits: tuple[tuple[str, Code], ...]  # (part, what is done to it)


@dataclass(frozen=True)
class _Hunk:
    old: tuple[str, ...]
    new: tuple[str, ...]


def changed(parts: Parts, at: str, code: Code) -> Parts:
    """The parts with a block of a page applied to one of them.

    Raises:
        PageError: the block does not fit, and where it stands.
    """
    return tuple(
        (name, applied(text, name, code) if name == at else text)
        for name, text in parts
    )


@functools.cache
def applied(solution: str, name: str, code: Code) -> str:
    """What a block makes of a solution: an edit of it, or an answer in its place."""
    if code.language == "diff":
        for hunk in _hunks(code):
            solution = _edited(solution, hunk, code.place)
        return solution
    try:
        tree = ast.parse(code.text)
    except SyntaxError as error:
        raise PageError(f"{code.place}: not Python ({error})") from None
    defined = {getattr(node, "name", "") for node in tree.body}
    if name in defined or not solution.lstrip("@").startswith("class "):
        return code.text
    return _with_methods(solution, code.text, tree)


def _with_methods(solution: str, text: str, tree: ast.Module) -> str:
    """A class with some of its methods replaced by functions of a text."""
    (cls,) = [n for n in ast.parse(solution).body if isinstance(n, ast.ClassDef)]
    have = {n.name: n for n in cls.body if isinstance(n, ast.FunctionDef)}
    lines, new = solution.splitlines(), text.splitlines()
    methods, beside = {}, []
    for node in tree.body:
        of_class = isinstance(node, ast.FunctionDef) and (
            node.name in have or node.args.args[:1] and node.args.args[0].arg == "self"
        )
        if of_class:
            methods[node.name] = new[_lines(node)]
        else:
            beside += new[_lines(node)]
    for name in reversed(have):
        if name in methods:
            del lines[_lines(have[name])]
    for block in methods.values():
        lines += ["", *textwrap.indent("\n".join(block), "    ").splitlines()]
    return "\n".join([*beside, *lines]) + "\n"


def _lines(node: ast.stmt) -> slice:
    """Where a statement stands among the lines, decorators included."""
    decorators = getattr(node, "decorator_list", [])
    return slice(min(n.lineno for n in (node, *decorators)) - 1, node.end_lineno)


@functools.cache
def _hunks(code: Code) -> list[_Hunk]:
    """The hunks of a diff block; a blank line stands between two of them."""
    hunks = []
    for part in re.split(r"\n\s*\n", code.text.rstrip()):
        lines = part.splitlines()
        if any(line[:2].rstrip() not in ("-", "+", "") for line in lines):
            raise PageError(f"{code.place}: a line begins with '- ', '+ ' or '  '")
        old = tuple(line[2:] for line in lines if line[0] != "+")
        new = tuple(line[2:] for line in lines if line[0] != "-")
        if not old:
            raise PageError(f"{code.place}: what is added needs a line before it")
        hunks.append(_Hunk(old, new))
    return hunks


def _edited(source: str, hunk: _Hunk, place: str) -> str:
    lines = source.splitlines()
    at = _places(lines, hunk.old)
    if len(at) == 1:
        (first,) = at
        before = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        own = min((_indent(x) for x in (*hunk.old, *hunk.new) if x.strip()), default=0)
        shift = before[: max(0, len(before) - _indent(hunk.old[0]) + own)]
        new = [shift + line[own:] for line in hunk.new]
        return "\n".join([*lines[:first], *new, *lines[first + len(hunk.old) :]]) + "\n"
    piece = hunk.old[0].strip()
    if len(hunk.old) == 1 and len(hunk.new) < 2 and piece in source and not at:
        return source.replace(piece, hunk.new[0].strip() if hunk.new else "")
    several = "more than once" if at else "not"
    raise PageError(f"{place}: {piece!r} stands {several} in the solution")


def _places(lines: list[str], old: tuple[str, ...]) -> list[int]:
    """Where whole lines stand, whatever their indentation and remarks."""
    have, want = [_code(line) for line in lines], [_code(line) for line in old]
    ends = range(len(have) - len(want) + 1)
    return [i for i in ends if have[i : i + len(want)] == want]


def _code(line: str) -> str:
    return re.sub(r"\s+# .*$", "", line).strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def make(parts: Parts, scope: Mapping[str, object]) -> object:
    """Run the parts one after the other; what the last of them defines."""
    space = dict(scope)
    for name, text in parts:
        exec(_compiled(text, name), space)
    return space[parts[-1][0]]


@functools.cache
def _compiled(text: str, name: str):
    return compile(textwrap.dedent(text), f"<{name}>", "exec", dont_inherit=True)


def mutants(parts: Parts, at: str, entry: Entry, scope: Mapping) -> list[Mutant]:
    """The wrong answers of one mistake, in the part that it belongs to."""
    made = []
    for way in entry.ways:
        edits = ((at, way.code),)
        answer = make(changed(parts, at, way.code), scope)
        made.append(Mutant((entry,), (way.does,), answer, edits))
    return made


def pair(one: Mutant, other: Mutant, parts: Parts, scope: Mapping) -> Mutant | None:
    """Two mistakes at once; None where their edits do not go together."""
    (a,), (b,) = one.entries, other.entries
    if a is b or b.slug in a.not_with or a.slug in b.not_with:
        return None
    for edits in (one.edits + other.edits, other.edits + one.edits):
        try:
            both = parts
            for i, (at, code) in enumerate(edits):
                if i and code.language == "python" and edits[0][0] == at:
                    raise PageError("a whole answer would undo the first edit")
                both = changed(both, at, code)
            return Mutant((a, b), one.does + other.does, make(both, scope), edits)
        except (PageError, SyntaxError, NameError):
            continue  # in this order at least they do not fit
    return None
