"""The file itself: header, imports, pieces in order, and how it runs as a program."""

import ast
import codecs
import contextlib
import io
import itertools
import linecache
import os
import re
import sys
import time
import tokenize
import types
from collections.abc import Callable, Iterable
from pathlib import Path

from helpers.my_code.sources import (
    COURSE,
    DEFS,
    CannotSave,
    Import,
    Piece,
    assigned,
    file_of,
    imports_in,
    parse,
    reads,
)

ROOT = Path(__file__).resolve().parents[2]
FRAME = ROOT / "helpers" / "assets" / "my_code.txt"  # what an empty file holds
_GPU = re.compile(  # as an argument, a value, or in a list; not where it is compared
    r"""(?<![=!])([=(,:[]\s*["'])(?:cuda|mps|xpu)(?::\d+)?(?=["']\s*(?:[])},#]|$))""",
    re.M,
)


def split(text: str) -> tuple[str, dict[str, Import], list[tuple[str, str]]]:
    """Header, imports by name, and (name, source with the comments above it)."""
    lines, header = text.split("\n"), ""
    if text.startswith("#"):
        header = text.split("\n\n")[0]
    done, imports, pieces = len(header.split("\n")) if header else 0, {}, []
    for node in ast.parse(text).body:
        source = "\n".join(lines[done : node.end_lineno]).strip("\n")
        done = max(done, node.end_lineno)
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= {one.bound: one for one in imports_in(node)}
        elif source:
            main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            name = node.name if isinstance(node, DEFS) else assigned(node)
            pieces.append(("__main__" if main else name, source))
    if rest := "\n".join(lines[done:]).strip("\n"):
        pieces.append(("", rest))
    return header, imports, pieces


def merge(text: str, found: dict[str, Piece], wanted: str) -> str:
    """The file's text with what was found put in; all else stays as it is."""
    header, imports, pieces = split(text)
    frame = FRAME.read_text(encoding="utf-8").replace("COURSE_ROOT", repr(str(ROOT)))
    which = file_of(wanted)
    frame = frame.replace("MY_FILE", which)
    frame = frame.replace("MY_MODEL", "GPT-2" if which == "my_gpt2" else "Llama")
    usual_header, _, main = split(frame)
    if "__main__" not in dict(pieces):
        pieces += main
    for name in [n for n in found if n != wanted]:
        piece, old = found[name], imports.get(name) or dict(pieces).get(name)
        if old is None:
            continue
        if _same(old, piece):
            del found[name]
            continue
        for user, source in pieces:
            if name in reads(source) and user not in found and user != "__main__":
                found = _renamed(name, user, found)
                break
    for name, piece in found.items():
        if isinstance(piece, Import):
            imports[name] = piece
            pieces = [p for p in pieces if p[0] != name]
        else:
            imports.pop(name, None)
            _place(pieces, name, piece)
    read = frozenset().union(*(reads(source) for _, source in pieces))
    imports = {
        n: i for n, i in imports.items() if n in read or i.module == "__future__"
    }
    written = (header or usual_header) + "\n\n" + _import_lines(imports.values())
    for i, (_, source) in enumerate(pieces):
        constants = i and all(map(_is_constant, (pieces[i - 1][1], source)))
        written += ("\n" if constants else "\n\n\n") + source
    return written + "\n"


def _renamed(name: str, user: str, found: dict[str, Piece]) -> dict[str, Piece]:
    """Two libraries have an `einsum`: the new pieces get theirs as `einops_einsum`."""
    piece = found[name]
    if not isinstance(piece, Import):
        raise CannotSave(
            f"{user or 'a line'} in the file uses another `{name}`. "
            "Give yours a new name, and run the check again."
        )
    other = piece._replace(alias=f"{piece.module.split('.')[0]}_{name}")
    use = re.compile(rf"(?<![\w.]){name}\b(?!\s*=[^=])")
    return {other.bound: other} | {
        n: use.sub(other.bound, source) if isinstance(source, str) else source
        for n, source in found.items()
        if n != name
    }


def anywhere(piece: Piece) -> Piece:
    """What asks for a GPU by name, asking for the CPU: `.to` moves it from there.

    An `if` that chooses between the two may stay.
    """
    if isinstance(piece, Import) or piece.startswith("if "):
        return piece
    text = re.sub(r"(?<!torch)\.cuda\(\d*\)", ".cpu()", _GPU.sub(r"\1cpu", piece))
    remark = '# Made on the CPU, as every machine can; `.to("cuda")` moves it.'
    return piece if text == piece else f"{remark}\n{text}"


def _is_constant(source: str) -> bool:
    return any(map(assigned, ast.parse(source).body))


def _same(old: Piece, new: Piece) -> bool:
    if isinstance(old, Import) and isinstance(new, Import):
        with contextlib.suppress(ImportError, AttributeError):
            return old == new or old.value() is new.value()
    if isinstance(old, str) and isinstance(new, str):
        return ast.dump(parse(old)) == ast.dump(parse(new))
    return False


def _place(pieces: list[tuple[str, str]], name: str, source: str) -> None:
    """Replace the piece of that name, or put it where the order of the course and
    what needs what ask for it."""
    names = [n for n, _ in pieces]
    if name in names:
        pieces[names.index(name)] = (name, source)
        return
    needs = reads(source)
    rank = COURSE.index(name) if name in COURSE else len(COURSE)
    after = max((i + 1 for i, n in enumerate(names) if n in needs), default=0)
    at = next(
        i
        for i, (n, text) in enumerate(pieces)
        if n == "__main__"
        or name in reads(text)
        or (n in COURSE and COURSE.index(n) > rank)
    )
    # Stay clear of the helpers that stand above the piece they belong to.
    while at > 0 and names[at - 1] not in COURSE and name not in reads(pieces[at][1]):
        if names[at - 1] not in reads(pieces[at][1]):
            break
        at -= 1
    pieces.insert(max(after, at), (name, source))


def _import_lines(imports: Iterable[Import]) -> str:
    """One a line: `__future__`, the standard library, then the others."""

    def group(one: Import) -> tuple[bool, bool]:
        top = one.module.split(".")[0]
        return top != "__future__", top not in sys.stdlib_module_names

    ordered = sorted(imports, key=lambda one: (group(one), bool(one.name), one))
    groups = itertools.groupby(ordered, key=group)
    return "\n\n".join("\n".join(map(str, lines)) for _, lines in groups)


def read(target: Path) -> tuple[str, str]:
    """The file's text, or what can be read of it, and then what is wrong with it."""
    if not target.exists():
        return "", ""
    text, wrong = decode(target)
    try:
        ast.parse(text)
        return text, wrong
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError):
            error = f"line {error.lineno}: {error.msg}"
        return _what_parses(text), f"is not valid Python ({error})"


def decode(target: Path) -> tuple[str, str]:
    """The text by Python's own rule: a mark at the start, a coding line, UTF-8. If that
    fails, as Windows writes it, and what is wrong."""
    data, wrong = target.read_bytes(), ""
    try:
        coding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(coding)
    except (SyntaxError, UnicodeError):
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        coding, wrong = "cp1252", "is not written in UTF-8"
        text = data.decode("utf-16" if data.startswith(marks) else coding, "replace")
    lines = text.splitlines()
    for i in range(min(2, len(lines))):  # it is written as UTF-8 from now on
        lines[i] = re.sub(r"^(\s*#.*?coding[:=]\s*)[-\w.]+", r"\1utf-8", lines[i])
    return "\n".join([*lines, ""] if lines else []), wrong


def put_aside(target: Path) -> str:
    """Copy a file that is to be replaced; returns the copy's name."""
    data = target.read_bytes()
    for n in itertools.count(1):
        aside = target.with_name(f"{target.stem}.broken-{n}.py")
        if not aside.exists():
            write(aside, data)
        if aside.read_bytes() == data:
            return aside.name


def _what_parses(text: str) -> str:
    """The top-level pieces, apart by blank lines, that are Python by themselves."""
    kept = []
    for piece in re.split(r"\n{2,}(?=\S)", text):
        with contextlib.suppress(SyntaxError, ValueError):
            ast.parse(piece)
            kept.append(piece.strip("\n"))
    return "\n\n\n".join(kept) + "\n" if kept else ""


def execute(text: str, file: str, name: str) -> types.ModuleType:
    """Run the file's text as a fresh module."""
    module = types.ModuleType(name)
    module.__file__ = file
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        exec(compile(text, file, "exec"), vars(module))
    except BaseException:
        sys.modules.pop(name)
        if before:
            sys.modules[name] = before
        raise
    return module


def try_out(text: str, target: Path, judge: Callable) -> None:
    """Import the new text before it becomes the file, so that the file always runs, and
    `judge` the module, so that what is in it has passed."""
    name, file = "my_code_trial", f"<the new {target.name}>"
    linecache.cache[file] = len(text), None, text.splitlines(True), file
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            passes = judge(execute(text, file, name))
    except NameError as error:
        raise CannotSave(f"it builds on {error.name}, which is still to do.") from error
    finally:
        sys.modules.pop(name, None)
        linecache.cache.pop(file, None)
    if not passes:
        raise CannotSave(
            f"its text, run by itself in {target.name}, does not pass. Run its cell "
            "and those of what it uses once more, and then the check."
        )


def write(target: Path, data: bytes) -> None:
    """All or nothing: write beside the file, then rename."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        for wait in (0.05, 0.1, 0.2, 0.4, None):
            try:
                return os.replace(beside, target)
            except PermissionError:  # Windows, while a scanner reads the file
                if wait is None:
                    raise
                time.sleep(wait)
    finally:
        beside.unlink(missing_ok=True)
