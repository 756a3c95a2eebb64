"""Notebooks run and cleaned: what of a run is kept in the file."""

import itertools
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

from helpers.blanks import EditionError
from helpers.first_cells import FOLDED

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "(An interactive widget. Run this notebook to use it.)"
# For tools that make a script of a notebook; Python's version differs by machine.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


def execute(
    notebook: NotebookNode,
    folder: Path,
    env: dict[str, str] | None = None,
    timeout: int = 1200,
) -> None:
    """Run all cells in place, as a person does in `folder`; `metadata.widgets` as well.

    Args:
        env: environment variables on top of this process's own.
        timeout: seconds for one cell.

    Raises:
        CellExecutionError: a cell raised.
        EditionError: an exception hidden inside a widget (`interact`, `Output`).
    """
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",  # nothing in it is worth a tidy end
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
    )
    client.execute(env={**os.environ, **(env or {})})
    if hidden := hidden_errors(notebook):
        raise EditionError("an exception inside a widget:\n" + "\n".join(hidden))


def hidden_errors(notebook: NotebookNode) -> list[str]:
    """Exceptions that stop no cell: tracebacks in Output widgets and on stderr."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text", "") if output.get("name") == "stderr" else ""
            if "Traceback (most recent call last)" in text:
                found.append(f"cell {cell.id}: {text}")
    saved = notebook.metadata.get("widgets", {})
    widgets = saved.get("application/vnd.jupyter.widget-state+json", {})
    for widget in widgets.get("state", {}).values():
        for output in widget.get("state", {}).get("outputs", []):
            if output.get("output_type") == "error":
                found.append("\n".join(output["traceback"]))
            elif "Traceback (most recent call last)" in str(output.get("text", "")):
                found.append(output["text"])
    return found


def clean(notebook: NotebookNode) -> None:
    """Leave only what a reader needs, and the same bytes for the same content."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook.metadata = nbformat.from_dict(
        {
            "course": notebook.metadata.get("course", {}),
            "kernelspec": {**kernel, "name": "python3"},
            "language_info": LANGUAGE,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    # How a stream is cut is chance; of a progress bar the last state is kept.
    CoalesceStreamsPreprocessor().preprocess(notebook, {})
    count = itertools.count(1)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key == "tags"}
            | (FOLDED if cell.source.lstrip().startswith("# @title ") else {})
        )
        cell.source = cell.source.strip("\n").rstrip()
        if cell.get("execution_count") is not None:
            cell.execution_count = next(count)
        for output in cell.get("outputs", []):
            if output.get("data", {}).pop(WIDGET, None):
                # The saved notebook has no widget state, so the view is of no use
                # and its repr is noise; say what stands here instead.
                output.data["text/plain"] = WIDGET_TEXT
            if "execution_count" in output:
                output.execution_count = cell.execution_count
