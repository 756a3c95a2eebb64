"""The file itself: header, imports, pieces in order, and how it runs as a program."""

import ast
import contextlib
import io
import itertools
import os
import re
import sys
import types
from pathlib import Path

from helpers.my_code.sources import (
    COURSE,
    DEFS,
    MODULE,
    CannotSave,
    Import,
    Piece,
    assigned,
    parse,
    reads,
)

ROOT = Path(__file__).resolve().parents[2]
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
            for a in node.names:
                module = getattr(node, "module", None)
                one = Import(module, a.name, a.asname or "") if module else None
                one = one or Import(a.name, "", a.asname or "")
                imports[one.bound] = one
        elif source:
            main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            name = node.name if isinstance(node, DEFS) else assigned(node)
            pieces.append(("__main__" if main else name, source))
    if rest := "\n".join(lines[done:]).strip("\n"):
        pieces.append(("", rest))
    return header or HEADER.rstrip(), imports, pieces


def merge(text: str, found: dict[str, Piece], wanted: str) -> str:
    """The file's text with what was found put in; all else stays as it is."""
    header, imports, pieces = split(text)
    if "__main__" not in dict(pieces):
        tail = TAIL.replace("COURSE_ROOT", repr(str(ROOT)))
        pieces.append(("__main__", tail.rstrip()))
    for name, piece in found.items():
        old = imports.get(name) or dict(pieces).get(name)
        if old is not None and name != wanted:
            if _same(old, piece):
                continue
            for user, source in pieces:
                if name in reads(source) and user not in found and user != "__main__":
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
    read = frozenset().union(*(reads(source) for _, source in pieces))
    imports = {
        n: i for n, i in imports.items() if n in read or i.module == "__future__"
    }
    written = header + "\n\n" + _import_lines(imports.values())
    for i, (_, source) in enumerate(pieces):
        constants = i and all(map(_is_constant, (pieces[i - 1][1], source)))
        written += ("\n" if constants else "\n\n\n") + source
    return written + "\n"


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


def read(target: Path) -> str:
    """The file's text; of one that is not Python, what can be read.

    That one is moved aside whole, and a new file holds the pieces that parse.
    """
    if not target.exists():
        return ""
    text, where = "", ""
    try:
        text = target.read_text(encoding="utf-8")
        ast.parse(text)
        return text
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError):
            error, where = error.msg, f"line {error.lineno}: "
        for n in itertools.count(1):
            aside = target.with_name(f"{target.stem}.broken-{n}.py")
            if not aside.exists():
                break
        os.replace(target, aside)
        kept = _what_parses(text)
        write(target, kept)
        print(
            f"{target.name} is not valid Python ({where}{error}). It is now "
            f"{aside.name}; what can be read of it is in a new {target.name}."
        )
        return kept


def _what_parses(text: str) -> str:
    """The top-level pieces, apart by blank lines, that are Python by themselves."""
    kept = []
    for piece in re.split(r"\n{2,}(?=\S)", text):
        with contextlib.suppress(SyntaxError, ValueError):
            ast.parse(piece)
            kept.append(piece.strip("\n"))
    return "\n\n\n".join(kept) + "\n" if kept else ""


def execute(text: str, target: Path, name: str) -> types.ModuleType:
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


def try_out(text: str, target: Path) -> None:
    """Import the new text before it becomes the file, so that the file always runs."""
    trial = f"{MODULE}_trial"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            execute(text, target, trial)
    except NameError as error:
        raise CannotSave(f"it builds on {error.name}, which is still to do.") from error
    finally:
        sys.modules.pop(trial, None)


def write(target: Path, text: str) -> None:
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
