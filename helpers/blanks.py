"""Solutions to blanks: how a cell of the complete edition becomes an exercise."""

import ast

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BLANK = 'raise NotImplementedError("Fill this in, then delete this line.")'


class EditionError(Exception):
    """A notebook that cannot be built; the message names notebook and cell."""


def blank(source: str, where: str = "cell") -> str:
    """Replace every solution region of a cell by a blank.

    Args:
        source: the cell's code; regions stand between `### BEGIN SOLUTION` and
            `### END SOLUTION`, inside a function, a method or a class body.
        where: notebook and cell, for the error message.

    Returns:
        The code with `# YOUR CODE HERE` and `raise NotImplementedError(...)` (or
        `pass`, in a class body) in each region's place.

    Raises:
        EditionError: unbalanced, nested, empty or module-level regions.
    """
    if BEGIN not in source and END not in source:
        return source
    lines = source.splitlines()
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise EditionError(
            f"{where}: a cell with a solution must be plain Python ({error})."
        ) from None
    written: list[str] = []
    begin = None
    for number, line in enumerate(lines, start=1):
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
    try:
        ast.parse(result)
    except SyntaxError as error:
        raise EditionError(
            f"{where}: without its solution the cell is not Python ({error})."
        ) from None
    return result


def _place(tree: ast.Module, begin: int, end: int, where: str) -> tuple[str, type]:
    """Indentation of the region's first statement, and what it stands in."""
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

    def visit(node: ast.AST, scope: type | None):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and begin < child.lineno < end:
                yield child.lineno, child.col_offset, scope
            yield from visit(child, type(child) if isinstance(child, scopes) else scope)

    inside = min(visit(tree, None), default=None, key=lambda found: found[0])
    if inside is None:
        raise EditionError(f"{where}: a solution without a statement in it.")
    _, column, scope = inside
    if scope is None:
        raise EditionError(
            f"{where}: a solution must stand inside a function, a method or a class."
        )
    return " " * column, scope
