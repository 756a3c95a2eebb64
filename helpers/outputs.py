"""Notebooks run and cleaned: what of a run is kept in the file."""

import copy
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from helpers.blanks import EditionError
from helpers.first_cells import FOLDED

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "(An interactive widget. Run this notebook to use it.)"
# All that tools read to make a script of a notebook, and no version of Python: it would
# be another one on each machine.
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
    """Run all cells in place, as a person does in `folder`.

    Args:
        notebook: gets the outputs, `metadata.widgets` included.
        folder: the kernel's working directory.
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
    hidden = hidden_errors(notebook)
    if hidden:
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
    course = notebook.metadata.get("course", {})
    notebook.metadata = nbformat.from_dict(
        {
            "course": course,
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": LANGUAGE,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key == "tags"}
            | (FOLDED if cell.source.startswith("# @title") else {})
        )
        cell.source = cell.source.strip("\n").rstrip()
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        cell.outputs = _clean_outputs(cell.outputs, cell.execution_count)


def _clean_outputs(outputs: list, count: int | None) -> list:
    kept: list = []
    for output in outputs:
        output = copy.deepcopy(output)
        if output.output_type == "stream":
            if kept and kept[-1].get("name") == output.name:
                kept[-1].text += output.text  # how a stream is cut is chance
                continue
        elif output.output_type in ("display_data", "execute_result"):
            if WIDGET in output.data:
                # The saved notebook has no widget state, so the view is of no use
                # and its repr is noise; say what stands here instead.
                del output.data[WIDGET]
                output.data["text/plain"] = WIDGET_TEXT
            if "execution_count" in output:
                output.execution_count = count
        kept.append(output)
    for output in kept:
        if output.output_type == "stream":  # keep a progress bar's last state only
            rows = output.text.split("\n")
            output.text = "\n".join(row.rstrip("\r").split("\r")[-1] for row in rows)
    return kept
