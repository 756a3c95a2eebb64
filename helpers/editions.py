"""The two editions of the course, from one source.

`notebooks/NN_name.ipynb` is the complete edition and the source of truth. This command

* writes the generated cells (`links` and `setup`) into it,
* runs it when the code behind its outputs has changed, and keeps the outputs clean,
* writes `notebooks/exercises/NN_name.ipynb`: the same cells, blanks for solutions,
* writes the table of notebooks in README.md.

    python -m helpers.editions                  # whatever is out of date
    python -m helpers.editions 02_layernorm     # this one, run again in any case
    python -m helpers.editions --check          # change nothing; exit 1 on drift

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
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from helpers.blanks import EditionError, blank

# The one place where the public address stands. Change it, run this command, and
# every link, every first cell and README's table follow. RELEASE is a branch or a tag.
REPOSITORY = "https://github.com/OWNER/clean-transformer"
RELEASE = "main"

ROOT = Path(__file__).resolve().parent.parent

SETUP = """\
# Finds the course's helpers, or downloads them. Safe to run twice.
import os, subprocess, sys
from pathlib import Path

EDITION, REPOSITORY = "{edition}", "{repository}"
places = [Path.cwd(), *Path.cwd().parents, Path.cwd() / "clean-transformer"]
if not any((place / "helpers" / "checks").is_dir() for place in places):
    url = os.environ.get("COURSE_REPOSITORY", REPOSITORY)
    clone = "git clone --quiet --depth 1 --branch {release}".split()
    git = subprocess.run([*clone, url, places[-1]], capture_output=True, text=True)
    if git.returncode:
        raise RuntimeError(f"Cannot download the course from {{url}}: {{git.stderr}}")
course = next(place for place in places if (place / "helpers" / "checks").is_dir())
sys.path.insert(0, str(course))

try:
    from helpers import Config, checks, load_reference, start
except ModuleNotFoundError as missing:
    raise ImportError(f"Run, then restart: %pip install {{missing.name}}") from None

reference = load_reference("stories")  # this one line: "gpt2" is the real GPT-2
start(EDITION, reference)
"""

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "(An interactive widget. Run this notebook to use it.)"
COMPLETE_ONLY = "complete-only"
TABLE = (
    "<!-- notebooks: written by python -m helpers.editions -->",
    "<!-- /notebooks -->",
)


# ---------------------------------------------------------------- generated cells


def names(root: Path = ROOT) -> list[str]:
    """The notebooks' names without `.ipynb`, in the order of their numbers."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [path.stem for path in found]


def title(notebook: NotebookNode, name: str) -> str:
    """The notebook's first heading, or its name where it has none."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = re.search(r"^# +(.+)$", cell.source, flags=re.MULTILINE)
            if heading:
                return heading[1].strip()
    return name


def colab(path: str) -> str:
    """The address that opens a file of the repository in Colab."""
    repository = REPOSITORY.removeprefix("https://github.com/")
    return (
        f"https://colab.research.google.com/github/{repository}/blob/{RELEASE}/{path}"
    )


def setup_source(edition: str) -> str:
    """The code of every notebook's first cell; `edition`: exercises or complete."""
    return SETUP.format(
        edition=edition, repository=REPOSITORY, release=RELEASE
    ).rstrip()


def links_source(name: str, edition: str, all_names: list[str]) -> str:
    """The line of links under a notebook's title."""
    file = f"{name}.ipynb"
    if edition == "complete":
        both = [f"[exercises](exercises/{file})", "**complete**"]
        where = f"notebooks/{file}"
    else:
        both = ["**exercises**", f"[complete](../{file})"]
        where = f"notebooks/exercises/{file}"
    parts = [*both, f"[open in Colab]({colab(where)})"]
    here = all_names.index(name)
    if here > 0:
        parts.append(f"[← {all_names[here - 1]}]({all_names[here - 1]}.ipynb)")
    if here + 1 < len(all_names):
        parts.append(f"[{all_names[here + 1]} →]({all_names[here + 1]}.ipynb)")
    return " · ".join(parts)


def _generated_cells(
    notebook: NotebookNode, name: str, edition: str, all_names: list[str]
) -> None:
    """Put the current `links` and `setup` cells in, in their old places if any."""
    links = nbformat.v4.new_markdown_cell(
        links_source(name, edition, all_names), id="links"
    )
    setup = nbformat.v4.new_code_cell(setup_source(edition), id="setup")
    cells = notebook.cells
    ids = [cell.id for cell in cells]
    if "links" in ids:
        cells[ids.index("links")].source = links.source
    else:
        titled = bool(cells) and cells[0].cell_type == "markdown"
        cells.insert(1 if titled else 0, links)
    if "setup" in ids:
        next(cell for cell in cells if cell.id == "setup").source = setup.source
    else:
        kinds = [cell.cell_type for cell in cells]
        first_code = kinds.index("code") if "code" in kinds else len(cells)
        cells.insert(first_code, setup)


# ---------------------------------------------------------------- running, cleaning


def code_hash(notebook: NotebookNode, root: Path = ROOT) -> str:
    """Hash of all that decides the outputs: code, model.py, the shipped reference.

    The setup cell is left out, so that a new address does not make outputs stale.
    """
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id != "setup":
            digest.update(cell.source.encode("utf-8") + b"\0")
    assets = root / "helpers" / "assets" / "stories"
    for path in [root / "helpers" / "model.py", *sorted(assets.glob("*"))]:
        if path.is_file():
            content = path.read_bytes()
            if path.suffix != ".safetensors":  # a checkout may have changed line ends
                content = content.replace(b"\r\n", b"\n")
            digest.update(path.name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


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
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key == "tags"}
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


# ---------------------------------------------------------------- the two editions


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


def exercise_edition(
    complete: NotebookNode, name: str, all_names: list[str]
) -> NotebookNode:
    """The same notebook with blanks and without outputs."""
    notebook = copy.deepcopy(complete)
    notebook.metadata.pop("course", None)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if COMPLETE_ONLY not in cell.metadata.get("tags", [])
    ]
    _generated_cells(notebook, name, "exercises", all_names)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = blank(cell.source, f"{name}, cell {cell.id}")
        elif cell.id != "links":
            cell.source = _one_folder_deeper(cell.source)
    return notebook


def _one_folder_deeper(markdown: str) -> str:
    """Local links, as seen from notebooks/exercises; other notebooks lie beside."""

    def move(match: re.Match) -> str:
        target = match[1]
        if re.match(r"[a-z]+:|#|\d\d_\w+\.ipynb", target):
            return match[0]
        return f"](../{target})"

    return re.sub(r"\]\(([^)\s]+)\)", move, markdown)


def build(
    path: Path, root: Path = ROOT, run: str = "stale", env: dict | None = None
) -> tuple[str, str]:
    """Build both editions of one notebook.

    Args:
        path: the complete edition's file.
        root: the course's folder.
        run: "never", "stale" (when the code has changed) or "always".
        env: environment variables for the kernel.

    Returns:
        The text of the complete edition and of the exercise edition.

    Raises:
        EditionError: bad markers, or the notebook does not run to its end.
    """
    name = path.stem
    all_names = names(root)
    notebook = read(path)
    _generated_cells(notebook, name, "complete", all_names)
    clean(notebook)
    current = code_hash(notebook, root)
    exercises = exercise_edition(notebook, name, all_names)
    stale = notebook.metadata.course.get("hash") != current
    if run == "always" or (run == "stale" and stale):
        try:
            execute(notebook, path.parent, env)
        except (CellExecutionError, EditionError) as error:
            raise EditionError(f"{name} does not run: {error}") from None
        clean(notebook)
        notebook.metadata.course = nbformat.from_dict({"hash": current})
    return to_text(notebook), to_text(exercises)


def readme_table(root: Path = ROOT) -> str:
    """README's table of notebooks, in Markdown."""
    rows = ["| Notebook | Read | Do | Colab |", "|---|---|---|---|"]
    for name in names(root):
        heading = title(read(root / "notebooks" / f"{name}.ipynb"), name)
        file, blanks = f"notebooks/{name}.ipynb", f"notebooks/exercises/{name}.ipynb"
        rows.append(
            f"| {heading} | [complete]({file}) | [exercises]({blanks}) "
            f"| [open]({colab(blanks)}) |"
        )
    return "\n".join(rows)


def readme_text(root: Path = ROOT) -> str:
    """README.md with the current table between its two comments."""
    text = (root / "README.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition(TABLE[0])
    _, end, after = rest.partition(TABLE[1])
    if not begin or not end:
        raise EditionError(f"README.md needs the comments {TABLE[0]} and {TABLE[1]}.")
    return f"{before}{TABLE[0]}\n{readme_table(root)}\n{TABLE[1]}{after}"


def drift(root: Path = ROOT) -> list[str]:
    """What is out of date, one sentence each; empty when all is well. Runs nothing."""
    found = []
    for name in names(root):
        path = root / "notebooks" / f"{name}.ipynb"
        blanks = path.parent / "exercises" / path.name
        complete, exercises = build(path, root, run="never")
        notebook = read(path)
        if notebook.metadata.get("course", {}).get("hash") != code_hash(notebook, root):
            found.append(f"{name}: its outputs are older than its code.")
        if _text(path) != complete:
            found.append(
                f"{name}: its generated cells or its metadata are not current."
            )
        if _text(blanks) != exercises:
            found.append(f"{name}: its exercise edition is not current.")
    beside = root / "notebooks" / "exercises"
    for path in sorted(beside.glob("*.ipynb")):
        if path.stem not in names(root):
            found.append(f"exercises/{path.name}: there is no complete edition of it.")
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
    parser.add_argument(
        "notebooks", nargs="*", help="such as 02_layernorm; all if none"
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing, run nothing"
    )
    parser.add_argument("--no-run", action="store_true", help="keep the old outputs")
    parser.add_argument("--force", action="store_true", help="run even what is current")
    options = parser.parse_args(arguments)
    if options.check:
        problems = drift(root)
        print("\n".join(problems) or "Both editions are current.")
        if problems:
            print("Run: python -m helpers.editions")
        return 1 if problems else 0
    wanted = [Path(given).stem for given in options.notebooks] or names(root)
    unknown = sorted(set(wanted) - set(names(root)))
    if unknown:
        print(
            f"There is no notebook {unknown[0]}. There are: {', '.join(names(root))}."
        )
        return 2
    run = "always" if options.notebooks or options.force else "stale"
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        env = {"COURSE_MY_GPT2": str(Path(scratch) / "my_gpt2.py")}
        for name in wanted:
            path = root / "notebooks" / f"{name}.ipynb"
            print(name, end=": ", flush=True)
            try:
                texts = build(path, root, "never" if options.no_run else run, env)
            except EditionError as error:
                failed += 1
                print(error)
                continue
            _write(path, texts[0])
            _write(path.parent / "exercises" / path.name, texts[1])
            print("written")
        _write(root / "README.md", readme_text(root))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
