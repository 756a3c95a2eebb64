"""Solutions to blanks: how a cell of the complete edition becomes an exercise."""

import ast

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BLANK = 'raise NotImplementedError("Fill this in, then delete this line.")'


class EditionError(Exception):
    """A notebook that cannot be built; the message names notebook and cell."""


def blank(source: str, where: str = "cell") -> str:
    """The cell's code with a blank in the place of every solution region.

    Args:
        where: notebook and cell, for the error message.

    Raises:
        EditionError: unbalanced, nested, empty or module-level regions.
    """
    if BEGIN not in source and END not in source:
        return source
    tree = _parsed(source, f"{where}: a cell with a solution must be plain Python")
    written: list[str] = []
    begin = None
    for number, line in enumerate(source.splitlines(), start=1):
        marker = line.strip()
        if marker == BEGIN:
            if begin is not None:
                raise EditionError(f"{where}: {BEGIN} inside another solution.")
            begin = number
        elif marker == END:
            if begin is None:
                raise EditionError(f"{where}: {END} without {BEGIN}.")
            indent, kind = _place(tree, begin, number, where)
            written.append(f"{indent}# YOUR CODE HERE")
            written.append(indent + ("pass" if kind is ast.ClassDef else BLANK))
            begin = None
        elif BEGIN in line or END in line:
            raise EditionError(f"{where}: a marker needs a line of its own: {line!r}.")
        elif begin is None:
            written.append(line)
    if begin is not None:
        raise EditionError(f"{where}: {BEGIN} without {END}.")
    result = "\n".join(written)
    _parsed(result, f"{where}: without its solution the cell is not Python")
    return result


def _parsed(source: str, complaint: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise EditionError(f"{complaint} ({error}).") from None


def _place(tree: ast.Module, begin: int, end: int, where: str) -> tuple[str, type]:
    """Indentation of the region's first statement, and what it stands in."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    inside = [node for node in statements if begin < node.lineno < end]
    if not inside:
        raise EditionError(f"{where}: a solution without a statement in it.")
    first = min(inside, key=lambda node: node.lineno)
    scopes = [  # the innermost last: ast.walk goes level by level
        type(node)
        for node in statements
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.lineno < begin < first.lineno <= node.end_lineno
    ]
    if not scopes:
        raise EditionError(
            f"{where}: a solution must stand inside a function, a method or a class."
        )
    return " " * first.col_offset, scopes[-1]
