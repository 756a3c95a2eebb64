"""Right answers stand in the notebooks; this writes them where code needs them.

`python -m helpers.editions` calls it: each exercise's page gets the solution that its
wrong code is an edit of, and helpers/generation.py, helpers/training.py,
helpers/inside.py, helpers/llama.py and helpers/reward.py get the answers to exercises
of notebooks 08 to 13.
"""

import ast
import re
from pathlib import Path

import nbformat

from helpers.blanks import BEGIN, END, EditionError

MODULES = {
    "generation": "08_generation",
    "training": "09_training",
    "inside": "10_looking_inside",
    "llama": "12_from_gpt2_to_llama",
    "reward": "13_learning_from_reward",
}
SUFFIX = "-exercise"  # of the ids of cells that hold an exercise


def current(root: Path) -> dict[Path, str]:
    """The text that every derived file should have.

    Raises:
        EditionError: an exercise without a page, or a page without an exercise.
    """
    if not (root / "helpers" / "exercises").is_dir():
        return {}
    texts = {}
    pages = {path.stem: path for path in root.glob("helpers/exercises/*/*.md")}
    for notebook in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = nbformat.read(notebook, as_version=nbformat.NO_CONVERT).cells
        for cell in cells:
            if cell.cell_type != "code" or BEGIN not in cell.source:
                continue
            name = cell.id.removesuffix(SUFFIX)
            if name not in pages:
                raise EditionError(f"{notebook.stem}: {cell.id} has no page {name}.md.")
            texts[pages.pop(name)] = (without_markers(cell.source), notebook.stem)
    if pages:
        raise EditionError(
            f"There is no cell {min(pages)}{SUFFIX} for {min(pages)}.md."
        )
    texts = {path: with_solution(path, *found) for path, found in texts.items()}
    for module, notebook in MODULES.items():
        path = root / "helpers" / f"{module}.py"
        cells = nbformat.read(
            root / "notebooks" / f"{notebook}.ipynb", as_version=nbformat.NO_CONVERT
        ).cells
        sources = [c.source for c in cells if c.cell_type == "code"]
        texts[path] = with_definitions(path.read_text(encoding="utf-8"), sources)
    return texts


def without_markers(source: str) -> str:
    """A cell's code without the lines that mark its solution."""
    lines = source.splitlines()
    return "\n".join(line for line in lines if line.strip() not in (BEGIN, END)) + "\n"


def with_solution(page: Path, solution: str, notebook: str) -> str:
    """A page with the solution in its place."""
    text = page.read_text(encoding="utf-8")
    note = f"written by python -m helpers.editions from notebooks/{notebook}.ipynb"
    section = f"## Solution\n\n<!-- {note} -->\n\n```python\n{solution}```\n"
    pattern = r"## Solution\n.*?(?=\n## |\Z)"
    new, found = re.subn(pattern, lambda _: section, text, count=1, flags=re.S)
    if not found:
        raise EditionError(f"{page.name}: it needs the heading '## Solution'.")
    return new


def with_definitions(module: str, cells: list[str]) -> str:
    """A module's text with a notebook's right answers in the place of its own."""
    theirs = {}
    for source in cells:
        if BEGIN in source:
            theirs |= _definitions(without_markers(source))
    lines = module.splitlines()
    ours = _places(module)
    for name, (first, last) in sorted(ours.items(), key=lambda item: -item[1][0]):
        if name in theirs:
            lines[first - 1 : last] = theirs[name].splitlines()
    return "\n".join(lines) + "\n"


def _places(source: str) -> dict[str, tuple[int, int]]:
    """First and last line of each top-level function and class, decorators too."""
    return {
        node.name: (
            min([node.lineno, *(d.lineno for d in node.decorator_list)]),
            node.end_lineno,
        )
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }


def _definitions(source: str) -> dict[str, str]:
    lines = source.splitlines()
    return {
        name: "\n".join(lines[first - 1 : last])
        for name, (first, last) in _places(source).items()
    }
