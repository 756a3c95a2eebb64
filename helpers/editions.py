"""The two editions of the course, from one source.

`notebooks/NN_name.ipynb` is the complete edition and the source of truth. This command

* writes the generated cells (`links`, `setup` and `reference`) into it,
* runs it when the code behind its outputs has changed, and keeps the outputs clean,
* writes `notebooks/exercises/NN_name.ipynb`: the same cells, blanks for solutions,
* writes the right answers where code needs them, and README's table of notebooks.

    python -m helpers.editions                  # whatever is out of date
    python -m helpers.editions 02_layernorm     # this one, run again in any case
    python -m helpers.editions --check          # change nothing; exit 1 on drift
    python -m helpers.editions --repository URL --release TAG   # where it is published

It knows nothing of torch or of the models: a notebook is cells of text to it.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from helpers import address, first_cells, solutions
from helpers.address import ROOT
from helpers.blanks import EditionError, blank
from helpers.outputs import clean, execute

COMPLETE_ONLY = "complete-only"
TABLE = (
    "<!-- notebooks: written by python -m helpers.editions -->",
    "<!-- /notebooks -->",
)


def names(root: Path = ROOT) -> list[str]:
    """The notebooks' names without `.ipynb`, in the order of their numbers."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [path.stem for path in found]


def title(notebook: NotebookNode, name: str) -> str:
    """The notebook's first heading, or its name where it has none."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    heading = re.search(r"^# +(.+)$", "\n".join(texts), flags=re.MULTILINE)
    return heading[1].strip() if heading else name


def links_source(name: str, edition: str, root: Path = ROOT) -> str:
    """The line of links under a notebook's title."""
    file, all_names = f"{name}.ipynb", names(root)
    if edition == "complete":
        parts = [f"[exercises](exercises/{file})", "**complete**"]
        where = f"notebooks/{file}"
    else:
        parts = ["**exercises**", f"[complete](../{file})"]
        where = f"notebooks/exercises/{file}"
    if link := address.read(root).colab(where):
        parts.append(f"[open in Colab]({link})")
    here = all_names.index(name)
    if here > 0:
        parts.append(f"[← {all_names[here - 1]}]({all_names[here - 1]}.ipynb)")
    if here + 1 < len(all_names):
        parts.append(f"[{all_names[here + 1]} →]({all_names[here + 1]}.ipynb)")
    return " · ".join(parts)


def _generated_cells(
    notebook: NotebookNode, name: str, edition: str, root: Path
) -> None:
    """Put the current generated cells in, in their old places if any."""
    cells = notebook.cells

    def put(made: NotebookNode, place: int) -> None:
        old = [cell for cell in cells if cell.id == made.id]
        if old:
            old[0].source = made.source
        else:
            cells.insert(place, made)

    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    titled = bool(cells) and cells[0].cell_type == "markdown"
    put(text(links_source(name, edition, root), id="links"), int(titled))
    kinds = [cell.cell_type for cell in cells]
    first_code = kinds.index("code") if "code" in kinds else len(cells)
    setup = first_cells.setup(edition, address.read(root))
    put(code(setup, id="setup"), first_code)
    after = [cell.id for cell in cells].index("setup") + 1
    put(code(first_cells.reference(name), id="reference"), after)


def code_hash(notebook: NotebookNode, name: str, root: Path = ROOT) -> str:
    """Hash of all that decides the outputs: code, model.py, the shipped reference; for
    a notebook on Llama, that one's, and what each piece buys.

    The first cells are left out, so that a new address does not make outputs stale.
    """
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id not in ("setup", "reference"):
            digest.update(cell.source.encode("utf-8") + b"\0")
    assets = root / "helpers" / "assets"
    files = [root / "helpers" / "model.py", *sorted((assets / "stories").glob("*"))]
    if first_cells.family(name) == "llama":
        files += [*sorted((assets / "stories-llama").glob("*")), assets / "pieces.json"]
    for path in files:
        if path.is_file():
            content = path.read_bytes()
            if path.suffix != ".safetensors":  # a checkout may have changed line ends
                content = content.replace(b"\r\n", b"\n")
            digest.update(path.name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


def to_text(notebook: NotebookNode) -> str:
    """The file's text: the same for the same notebook on every machine."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode:
    """Read a notebook; every cell must have an id of its own.

    Raises:
        EditionError: older than nbformat 4.5, or not a valid notebook.
    """
    text = path.read_text(encoding="utf-8")
    ids = [cell.get("id") for cell in json.loads(text)["cells"]]
    if None in ids or len(set(ids)) < len(ids):  # nbformat would invent new ones
        raise EditionError(f"{path.stem}: every cell needs an id of its own.")
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise EditionError(f"{path.stem}: not valid: {error.message}") from None
    return notebook


def exercise_edition(complete: NotebookNode, name: str, root: Path) -> NotebookNode:
    """The same notebook with blanks and without outputs."""
    notebook = copy.deepcopy(complete)
    notebook.metadata.pop("course", None)
    for cell in complete.cells:
        if COMPLETE_ONLY in cell.metadata.get("tags", []):
            notebook.cells.remove(cell)
    _generated_cells(notebook, name, "exercises", root)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = blank(cell.source, f"{name}, cell {cell.id}")
        elif cell.id != "links":
            # Local links from one folder deeper; other notebooks lie beside.
            elsewhere = r"\]\((?![a-z]+:|#|\d\d_\w+\.ipynb\))([^)\s]+)\)"
            cell.source = re.sub(elsewhere, r"](../\1)", cell.source)
    return notebook


def build(
    path: Path, root: Path = ROOT, run: str = "stale", env: dict | None = None
) -> tuple[str, str]:
    """The text of a notebook's complete edition, and of its exercise edition.

    Args:
        path: the complete edition's file.
        run: "never", "stale" (when the code has changed) or "always".
        env: environment variables for the kernel.

    Raises:
        EditionError: bad markers, or the notebook does not run to its end.
    """
    name = path.stem
    notebook = read(path)
    _generated_cells(notebook, name, "complete", root)
    clean(notebook)
    current = code_hash(notebook, name, root)
    exercises = exercise_edition(notebook, name, root)
    stale = notebook.metadata.course.get("hash") != current
    if run == "always" or (run == "stale" and stale):
        try:
            execute(notebook, path.parent, env)
        except (CellExecutionError, EditionError) as error:
            raise EditionError(f"{name} does not run: {error}") from None
        clean(notebook)
        notebook.metadata.course = nbformat.from_dict({"hash": current})
    return to_text(notebook), to_text(exercises)


def readme_text(root: Path = ROOT) -> str:
    """README.md with the current table of notebooks between its two comments."""
    rows = [TABLE[0], "| Notebook | Read | Do | Colab |", "|---|---|---|---|"]
    for name in names(root):
        heading = title(read(root / "notebooks" / f"{name}.ipynb"), name)
        file, blanks = f"notebooks/{name}.ipynb", f"notebooks/exercises/{name}.ipynb"
        link = address.read(root).colab(blanks)
        in_colab = f"[open]({link})" if link else "GitHub only"
        rows.append(
            f"| {heading} | [complete]({file}) | [exercises]({blanks}) | {in_colab} |"
        )
    text = (root / "README.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition(TABLE[0])
    _, end, after = rest.partition(TABLE[1])
    if not begin or not end:
        raise EditionError(f"README.md needs the comments {TABLE[0]} and {TABLE[1]}.")
    return before + "\n".join([*rows, TABLE[1]]) + after


def drift(root: Path = ROOT) -> list[str]:
    """What is out of date, one sentence each; empty when all is well. Runs nothing."""
    found = []
    for name in names(root):
        path = root / "notebooks" / f"{name}.ipynb"
        blanks = path.parent / "exercises" / path.name
        complete, exercises = build(path, root, run="never")
        notebook = read(path)
        noted = notebook.metadata.get("course", {}).get("hash")
        if noted != code_hash(notebook, name, root):
            found.append(f"{name}: its outputs are older than its code.")
        if _text(path) != complete:
            found.append(f"{name}: its generated cells or metadata are not current.")
        if _text(blanks) != exercises:
            found.append(f"{name}: its exercise edition is not current.")
    beside = root / "notebooks" / "exercises"
    for path in sorted(beside.glob("*.ipynb")):
        if path.stem not in names(root):
            found.append(f"exercises/{path.name}: there is no complete edition of it.")
    try:
        for path, text in solutions.current(root).items():
            if _text(path) != text:
                found.append(f"{path.name}: its right answer is not the notebook's.")
    except EditionError as error:
        found.append(str(error))
    if _text(root / "README.md") != readme_text(root):
        found.append("README.md: its table of notebooks is not current.")
    return found


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    """Write when different, to the side first: a notebook is never half written."""
    if _text(path) == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(beside, path)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.editions", description=__doc__.split("\n\n")[0]
    )
    add = parser.add_argument
    add("notebooks", nargs="*", help="such as 02_layernorm; all if none")
    add("--check", action="store_true", help="change nothing, run nothing")
    add("--no-run", action="store_true", help="keep the old outputs")
    add("--force", action="store_true", help="run even what is current")
    add("--repository", help="the course's public https address")
    add("--release", help="the tag that Colab and first cells take")
    options = parser.parse_args(arguments)
    if options.check:
        problems = drift(root)
        print("\n".join(problems) or "Both editions are current.")
        if problems:
            print("Run: python -m helpers.editions")
        return 1 if problems else 0
    known = names(root)
    wanted = [Path(given).stem for given in options.notebooks] or known
    if unknown := sorted(set(wanted) - set(known)):
        print(f"There is no notebook {unknown[0]}. There are: {', '.join(known)}.")
        return 2
    try:
        published = address.current(options.repository, options.release, root)
    except ValueError as error:
        print(error)
        return 2
    if published != address.read(root):
        address.write(published, root)
        print(f"The course's address: {published.repository}, tag {published.release}.")
    always = options.force or bool(options.notebooks)
    run = "never" if options.no_run else "always" if always else "stale"
    return 1 if _build_all(wanted, root, run) else 0


def _build_all(wanted: list[str], root: Path, run: str) -> int:
    """Write these notebooks and all that is derived; how many notebooks failed."""
    failed = 0
    try:  # before the notebooks, whose checks read it
        for path, text in solutions.current(root).items():
            _write(path, text)
    except EditionError as error:
        print(error)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        env = {"COURSE_MY_GPT2": str(Path(scratch) / "my_gpt2.py")}
        for name in wanted:
            path = root / "notebooks" / f"{name}.ipynb"
            print(name, end=": ", flush=True)
            try:
                texts = build(path, root, run, env)
            except EditionError as error:
                failed += 1
                print(error)
                continue
            _write(path, texts[0])
            _write(path.parent / "exercises" / path.name, texts[1])
            print("written")
        _write(root / "README.md", readme_text(root))
    return failed


if __name__ == "__main__":
    sys.exit(main())
