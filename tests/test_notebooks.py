"""What every notebook of the course must be, read from its file; nothing is run."""

import ast
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode

from helpers import editions
from helpers.blanks import BEGIN, BLANK
from helpers.outputs import WIDGET
from notebook_tools import COMPLETE, EXERCISES, NOTEBOOKS, ROOT, complete, exercises

BOTH = [
    pytest.param(COMPLETE / f"{name}.ipynb", id=f"{name}-complete")
    for name in NOTEBOOKS
] + [
    pytest.param(EXERCISES / f"{name}.ipynb", id=f"{name}-exercises")
    for name in NOTEBOOKS
]
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def outputs(notebook: NotebookNode) -> list[tuple[str, NotebookNode]]:
    return [(cell.id, out) for cell in code_cells(notebook) for out in cell.outputs]


def test_the_course_has_all_its_notebooks_and_no_other():
    assert len(NOTEBOOKS) >= 3
    for folder in (COMPLETE, EXERCISES):
        assert sorted(path.stem for path in folder.glob("*.ipynb")) == NOTEBOOKS


def test_both_editions_are_current():
    drift = editions.drift()
    assert not drift, "\n".join([*drift, "Run: python -m helpers.editions"])


@pytest.mark.parametrize("path", BOTH)
def test_form(path: Path):
    """Valid, with good ids; lengths that a person can take in."""
    notebook = editions.read(path)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert path.stat().st_size < 500_000
    assert len(notebook.cells) < 100
    problems = []
    for cell in notebook.cells:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{1,63}", cell.id):
            problems.append(
                f"{cell.id}: an id is a few words in lower case and hyphens"
            )
        lines = cell.source.splitlines()
        if cell.cell_type == "code" and cell.id != "setup":
            if len(lines) > 40:
                problems.append(f"{cell.id}: {len(lines)} lines of code, 40 at most")
            problems += [
                f"{cell.id}: longer than 88 columns: {line}"
                for line in lines
                if len(line) > 88
            ]
        if cell.cell_type == "markdown" and words(cell.source) >= 120:
            problems.append(f"{cell.id}: {words(cell.source)} words, under 120")
    assert not problems, "\n".join(problems)


def words(markdown: str) -> int:
    """Words of running text: not folded away, no code, formula or table."""
    for hidden in (r"<details.*?</details>", r"```.*?```", r"\$\$.*?\$\$"):
        markdown = re.sub(hidden, " ", markdown, flags=re.DOTALL)
    running = [line for line in markdown.splitlines() if not line.startswith("|")]
    return len(
        re.findall(r"\w[\w’'-]*", re.sub(r"\]\([^)]*\)", "]", "\n".join(running)))
    )


@pytest.mark.parametrize("path", BOTH)
def test_order_of_cells(path: Path):
    """Title, links, set-up first; every exercise has its check after it."""
    notebook = editions.read(path)
    ids = [cell.id for cell in notebook.cells]
    assert ids[:2] == ["title", "links"]
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} ")
    setup, reference, *_ = code_cells(notebook)
    assert (setup.id, reference.id) == ("setup", "reference")
    assert set(setup.metadata) == {"jupyter", "cellView"}, "the first cell is folded"
    assert not reference.metadata, "the learner's own line stands in the open"
    for at, cell in enumerate(notebook.cells):
        if "# YOUR CODE HERE" in cell.source or BEGIN in cell.source:
            assert cell.id.endswith("-exercise"), cell.id
        if cell.id.endswith("-exercise"):
            later = ids[at + 1 :]
            checks = [other for other in later if other.endswith("-check")]
            assert checks, f"{cell.id} has no check after it"
        if cell.id.endswith("-check"):
            assert cell.cell_type == "code", cell.id


@pytest.mark.parametrize("path", BOTH)
def test_links_lead_somewhere(path: Path):
    """Local links resolve; pictures come from code, never from the net."""
    notebook = editions.read(path)
    problems = []
    for cell in prose(notebook):
        for target in re.findall(r"\]\(([^)\s]+)", cell.source):
            if re.match(r"https?:|mailto:|#", target):
                continue
            if not (path.parent / target.split("#")[0]).exists():
                problems.append(f"{cell.id}: no such file: {target}")
        if re.search(r"!\[|<img|<iframe|<script", cell.source):
            problems.append(f"{cell.id}: a picture in prose; draw it in code")
        if re.search(r"(href|src)\s*=", cell.source):
            problems.append(f"{cell.id}: an HTML link; write it in Markdown")
    for cell_id, output in outputs(notebook):
        html = str(output.get("data", {}).get("text/html", ""))
        if re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", html):
            problems.append(f"{cell_id}: its output loads something from the net")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_complete_edition_was_run_to_its_end(name: str):
    notebook = complete(name)
    ran = [cell for cell in code_cells(notebook) if cell.source.strip()]
    assert [cell.execution_count for cell in ran] == [*range(1, len(ran) + 1)]
    problems = []
    for cell_id, output in outputs(notebook):
        if output.output_type == "error":
            problems.append(f"{cell_id}: an error is saved: {output.ename}")
        if output.get("name") == "stderr":
            problems.append(f"{cell_id}: on stderr: {output.text[:300]}")
        if WIDGET in output.get("data", {}):
            problems.append(f"{cell_id}: a widget's view is saved")
        if re.search(r" at 0x[0-9a-f]{6,}", str(output)):
            problems.append(f"{cell_id}: a memory address, another one on each run")
    assert not problems, "\n".join(problems)
    assert set(notebook.metadata) == {"course", "kernelspec", "language_info"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_figure_says_in_words_what_it_shows(name: str):
    problems = []
    figures = 0
    for cell_id, output in outputs(complete(name)):
        for kind in set(PICTURES) & set(output.get("data", {})):
            figures += 1
            alt = alt_text(output, kind)
            if len(alt.split()) < 4:
                problems.append(f"{cell_id}: alt text {alt!r} says too little")
        html = str(output.get("data", {}).get("text/html", ""))
        for image in re.findall(r"<img[^>]*>", html):
            if not re.search(r'alt="[^"]{10,}"', image):
                problems.append(f"{cell_id}: an <img> without alt text")
    assert not problems, (
        "\n".join(problems) + "\nShow figures with plots.show(fig, alt)."
    )
    assert figures, "a notebook has a figure"


def alt_text(output: NotebookNode, kind: str) -> str:
    """What nbconvert and nbviewer put into an image's `alt`."""
    metadata = output.get("metadata", {})
    return metadata.get(kind, {}).get("alt") or metadata.get("alt") or ""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_exercise_edition_gives_nothing_away(name: str):
    solved, blanks = complete(name), exercises(name)
    ids = [cell.id for cell in blanks.cells]
    assert ids == [
        cell.id
        for cell in solved.cells
        if editions.COMPLETE_ONLY not in cell.metadata.get("tags", [])
    ]
    for cell in code_cells(blanks):
        assert cell.outputs == [] and cell.execution_count is None, cell.id
        assert "SOLUTION" not in cell.source, cell.id
        if cell.id.endswith("-exercise"):
            ast.parse(cell.source)
    regions = sum(cell.source.count(BEGIN) for cell in solved.cells)
    left = sum(cell.source.count("# YOUR CODE HERE") for cell in blanks.cells)
    assert regions == left
    errors = sum(cell.source.count(BLANK) for cell in blanks.cells)
    in_classes = left - errors
    assert 0 <= in_classes <= left


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|#", target):
            assert (ROOT / target.split("#")[0]).exists(), target
    for name in NOTEBOOKS:
        for file in (f"notebooks/{name}.ipynb", f"notebooks/exercises/{name}.ipynb"):
            assert file in text
