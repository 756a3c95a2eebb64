"""What the tests of notebooks share: the list of notebooks, filling in, running."""

import copy
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from helpers import editions
from helpers.blanks import BEGIN

ROOT = editions.ROOT
COMPLETE = ROOT / "notebooks"
EXERCISES = COMPLETE / "exercises"

# Every notebook of the course. Written out, so that an empty or a wrong folder cannot
# pass: a notebook that is added to the course is added here.
NOTEBOOKS = [
    "00_start_here",
    "01_building_blocks",
    "02_layernorm",
    "03_embeddings",
    "04_attention",
    "05_mlp",
    "06_transformer_block",
    "07_full_transformer",
    "08_generation",
]


def complete(name: str) -> NotebookNode:
    """The complete edition, from its file."""
    return editions.read(COMPLETE / f"{name}.ipynb")


def exercises(name: str) -> NotebookNode:
    """The exercise edition, from its file."""
    return editions.read(EXERCISES / f"{name}.ipynb")


def fill_in(blanks: NotebookNode, solved: NotebookNode) -> NotebookNode:
    """The exercise edition as a person leaves it who solves all: blanks replaced."""
    solutions = {cell.id: cell.source for cell in solved.cells if BEGIN in cell.source}
    filled = copy.deepcopy(blanks)
    for cell in filled.cells:
        if cell.id in solutions:
            cell.source = solutions.pop(cell.id)
    assert not solutions, f"no such cells in the exercise edition: {list(solutions)}"
    return filled


def said(cell: NotebookNode) -> str:
    """All that a cell's output says, as text."""
    texts = []
    for output in cell.get("outputs", []):
        texts.append(output.get("text", ""))
        kinds = ("text/plain", "text/html", "text/markdown")
        texts += [output.get("data", {}).get(kind, "") for kind in kinds]
        texts += output.get("traceback", [])
    return "\n".join(texts)


def silent_checks(notebook: NotebookNode, word: str) -> list[str]:
    """One sentence for each `…-check` cell whose output does not contain `word`."""
    return [
        f"cell {cell.id}: its output does not say {word!r}: {said(cell)[:300]!r}"
        for cell in notebook.cells
        if cell.cell_type == "code"
        and cell.id.endswith("-check")
        and word not in said(cell).lower()
    ]


def no_network(log: Path) -> dict[str, str]:
    """Environment of a kernel that reaches nothing but this machine.

    `log` gets a line for each attempt. The course may not need HF_HUB_OFFLINE, which
    these tests set elsewhere: a person without a network has not set it either.
    """
    return {
        "PYTHONPATH": str(Path(__file__).parent / "no_network"),
        "NO_NETWORK_LOG": str(log),
        "HF_HUB_OFFLINE": "0",
    }


def outcomes(
    notebook: NotebookNode, folder: Path, wrong: list[tuple[str, str, str]]
) -> list[str]:
    """Put wrong answers into a filled-in notebook, one at a time, in one kernel.

    Args:
        notebook: all exercises solved.
        folder: the kernel's working directory.
        wrong: (cell id, code in the solution, code to put in its place).

    Returns:
        For each, what the notebook said when it stopped; "" if it did not stop before
        the end of the first check after the exercise.
    """
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    said_at = {}
    cells = list(enumerate(notebook.cells))
    ids = [cell.id for cell in notebook.cells]
    missing = {cell_id for cell_id, _, _ in wrong} - set(ids)
    assert not missing, f"there is no cell {missing}"
    last = max(_check_after(ids, cell_id) for cell_id, _, _ in wrong)
    with client.setup_kernel():
        for index, cell in cells[: last + 1]:
            for number, (cell_id, old, new) in enumerate(wrong):
                if cell_id != cell.id:
                    continue
                assert cell.source.count(old) == 1, f"{cell_id}: not once: {old!r}"
                right, cell.source = cell.source, cell.source.replace(old, new)
                said_at[number] = ""
                for then, step in cells[index : _check_after(ids, cell_id) + 1]:
                    try:
                        client.execute_cell(step, then)
                    except CellExecutionError as error:
                        said_at[number] = f"{error}\n{said(step)}"
                        break
                cell.source = right
            client.execute_cell(cell, index)
    return [said_at[number] for number in range(len(wrong))]


def _check_after(ids: list[str], cell_id: str) -> int:
    """Where the first check after an exercise stands."""
    start = ids.index(cell_id)
    return next(at for at in range(start, len(ids)) if ids[at].endswith("-check"))
