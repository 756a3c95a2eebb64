"""How often a narrowed report shows the line that is wrong: `python -m tests.lines`.

Right answers, in the idioms of the pages, are made wrong in one statement each: what it
computes is multiplied by 1.1. A report is good when it names a mistake or shows the
changed line; it is false when the line that it shows makes a right value.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator

from helpers import checks
from helpers.checks.mutant import changed
from tests.candidates import define

FACTOR = "1.1"


def spoiled(source: str, name: str) -> Iterator[tuple[str, str]]:
    """An answer with one statement of its computation changed: (line, whole text)."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            continue
        for statement in getattr(node, "body", []):
            inside = isinstance(node, (ast.FunctionDef, ast.For))
            kinds = (ast.Assign, ast.Return)
            if not inside or not isinstance(statement, kinds) or not statement.value:
                continue
            if isinstance(statement.value, (ast.Name, ast.Constant, ast.Tuple)):
                continue
            kept = statement.value
            statement.value = (
                ast.parse(f"{FACTOR} * ({ast.unparse(kept)})").body[0].value
            )
            text = ast.unparse(tree)
            yield ast.unparse(statement), text
            statement.value = kept


def judged(name: str) -> Iterator[tuple[str, str, object]]:
    """What became of each: "named", "right line", "no line", "another line"."""
    check = getattr(checks, name)
    around = {k: v for k, v in check._names.items() if not k.startswith("__")}
    for title, code in [("solution", None), *check.page.right]:
        parts = changed(check.parts, check.title, code) if code else check.parts
        around["__file__"] = title
        for line, text in spoiled(parts[-1][1], check.title):
            if "def __init__" in text and "forward" in text and "shape" in line:
                continue  # a size times 1.1 is no number of axes
            try:
                before = "\n\n".join(text for _, text in parts[:-1])
                answer = define(f"{before}\n\n{text}", **around)[check.title]
                report = check.examine(answer)
            except Exception as error:
                print(f"{name}, {title}: {line}: {error}", file=sys.stderr)
                continue
            yield (*verdict(report, line), (title, line, report))


def verdict(report, line: str) -> tuple[str, str]:
    """One word for a report on an answer that is wrong on one line."""
    if report.status == "passed":
        return ("passed", "")
    if any(m.exact for m in report.mistakes) or report.mistakes[0].name == "crash":
        return ("named", "")
    shown = [m.line for m in report.mistakes if m.line]
    if not shown:
        return ("no line", "")
    return (
        ("right line", "")
        if shown[0] in line or line in shown[0]
        else ("another line", shown[0])
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ["layer_norm", "attention", "mlp", "transformer_block"]:
        counts = Counter()
        for what, shown, (title, line, report) in judged(name):
            counts[what] += 1
            if what not in ("named", "right line"):
                print(
                    f"{name}, {title}: {line!r}: {what} {shown!r} {[m.name for m in report.mistakes]}"
                )
        print(name, dict(counts))
