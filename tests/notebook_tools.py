"""What the tests of notebooks share: the list of notebooks, filling in, running."""

import contextlib
import copy
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
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
    "09_training",
    "10_looking_inside",
    "12_from_gpt2_to_llama",
    "13_learning_from_reward",
]

# COURSE_STEPS for the exercise edition of 09: every cell is run, and that is enough. In
# the complete edition the loss must fall below the bigram's, which takes longer.
FEW_STEPS = "10"


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


# Run in a kernel after its setup cell: whatever `widgets.panel` makes is kept.
KEEP_PANELS = """
from helpers import widgets as _widgets
_panels, _panel = [], getattr(_widgets.panel, "real", _widgets.panel)
def _kept(draw, **controls):
    _panels.append((_panel(draw, **controls), controls))
    return _panels[-1][0]
_kept.real, _widgets.panel = _panel, _kept
"""

# Run at the end: moves every control to an end, and prints what stays the same.
MOVE_PANELS = """
from ipywidgets import Text as _Text
def _other(control):
    if isinstance(control, _Text):
        return "Tom and Anna"
    if isinstance(control.value, bool):
        return not control.value
    if hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
        if isinstance(control.value, tuple):  # several may be chosen
            return () if control.value else tuple(values[:1])
        return values[-1] if control.value != values[-1] else values[0]
    low, high = (
        (control.base**control.min, control.base**control.max)
        if hasattr(control, "base")
        else (control.min, control.max)
    )
    return high if control.value != high else low
def _views(shown):
    return [view.value for view in shown.children if hasattr(view, "value")]
for _shown, _controls in _panels:
    for _name, _control in _controls.items():
        _before = _views(_shown)
        _control.value = _other(_control)
        _problem, *_after = _views(_shown)
        if _problem:
            print(f"{_name}: {_problem}")
        elif [_problem, *_after] == _before:
            print(f"{_name} = {_control.value!r} changes nothing to be seen")
print(f"moved {len(_panels)} widgets")
"""


@contextlib.contextmanager
def kernel(folder: Path, env: dict[str, str]) -> Iterator[NotebookClient]:
    """A kernel that works in `folder`, for one notebook after another.

    Args:
        folder: its working directory.
        env: environment variables on top of this process's own.
    """
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=600,
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",
    )
    with client.setup_kernel(env={**os.environ, **env}):
        yield client


def run_solved(
    client: NotebookClient, notebook: NotebookNode, wrong: list[tuple[str, str, str]]
) -> tuple[list[str], str]:
    """Run a solved notebook to its end; try wrong answers, move widgets on the way.

    Args:
        client: of a kernel, from which all names of earlier notebooks are deleted.
        notebook: all exercises solved; gets the outputs.
        wrong: (cell id, code in the solution, code to put in its place). Each is tried
            before the solution, up to the first check after the exercise.

    Returns:
        For each wrong answer, what the notebook said when it stopped, "" if it did not
        stop; and a line for each control of a widget that fails or changes nothing,
        with their number in the last.
    """
    said_at = {}
    ids = [cell.id for cell in notebook.cells]
    missing = {cell_id for cell_id, _, _ in wrong} - set(ids)
    assert not missing, f"there is no cell {missing}"
    hand = nbformat.v4.new_code_cell
    cells = list(notebook.cells)  # nbclient puts what it runs into the notebook
    client.nb = notebook
    client.execute_cell(hand("%reset -f"), 0)
    for index, cell in enumerate(cells):
        for number, (cell_id, old, new) in enumerate(wrong):
            if cell_id == cell.id:
                said_at[number] = _said_when_stopped(client, cells, index, old, new)
        client.execute_cell(cell, index)
        if cell.id == "setup":
            client.execute_cell(hand(KEEP_PANELS), index)
    moved = hand(MOVE_PANELS)
    client.execute_cell(moved, index)
    notebook.cells[:] = cells
    heard = [said_at[number] for number in range(len(wrong))]
    return heard, said(moved).strip()


def _said_when_stopped(
    client: NotebookClient, cells: list[NotebookNode], at: int, old: str, new: str
) -> str:
    """Put `new` for `old` into the exercise, and run on to its check."""
    ids = [cell.id for cell in cells]
    check = next(i for i in range(at, len(ids)) if ids[i].endswith("-check"))
    assert cells[at].source.count(old) == 1, f"{ids[at]}: not once: {old!r}"
    for index in range(at, check + 1):
        step = copy.deepcopy(cells[index])
        if index == at:
            step.source = step.source.replace(old, new)
        try:
            client.execute_cell(step, index)
        except CellExecutionError as error:
            return f"{error}\n{said(step)}"
    return ""
