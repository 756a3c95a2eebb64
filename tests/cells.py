"""A notebook's code cells, run in the tests' own process: no kernel to start."""

import linecache
from collections.abc import Callable

import torch
from IPython.display import display
from nbformat import NotebookNode


def run(
    notebook: NotebookNode,
    name: str,
    change: Callable[[NotebookNode], str] = lambda cell: cell.source,
    **names,
) -> dict:
    """Run the cells in order; returns the namespace that they leave.

    Args:
        notebook: either edition.
        name: what tracebacks call it.
        change: the source to run for a cell.
        names: what is there before the first cell.

    Raises:
        AssertionError: names the cell that stopped.
    """
    with torch.enable_grad():  # a notebook may switch gradients off, for itself
        return _run(notebook, name, change, names)


def _run(notebook, name: str, change, names: dict) -> dict:
    namespace = {"__name__": "__main__", "display": display, **names}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        source, file = change(cell), f"<{name} {cell.id}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[file] = (len(source), None, lines, file)
        try:
            exec(compile(source, file, "exec"), namespace)
        except Exception as error:
            told = f"{name}, cell {cell.id}: {type(error).__name__}: {error}"
            raise AssertionError(told) from error
    return namespace
