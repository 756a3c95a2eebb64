"""The folded first cell: where it finds the course, and what it says if it cannot."""

import ast
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from helpers import address, first_cells, my_code, session

SETUP = first_cells.setup("exercises", address.read())
# Runs the cell in a process of its own, as IPython would show what it raises.
RUN = """
import os, sys
cell, told, version = sys.argv[1:]
names = {"__vsc_ipynb_file__": told} if told else {}
if version:
    sys.version_info = (*map(int, version.split(".")), 0)
try:
    exec(cell, names)
    os.chdir(os.sep)
    exec(cell, names)
except Exception as error:
    print(*error._render_traceback_())
else:
    print(names["COURSE"])
"""


def tiny(folder: Path, text: str = "Config = load_reference = None") -> Path:
    """A course that has what the first cell looks at."""
    (folder / "helpers" / "checks").mkdir(parents=True)
    (folder / "helpers" / "checks" / "__init__.py").touch()
    start = f"{text}\ndef start(*given): pass\n"
    (folder / "helpers" / "__init__.py").write_text(start, encoding="utf-8")
    return folder


def said(cwd: Path, told: str = "", version: str = "", **env: str) -> str:
    """What the cell says when it is run twice in `cwd`."""
    cwd.mkdir(exist_ok=True)
    run = subprocess.run(
        [sys.executable, "-c", RUN, SETUP, told, version],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8", **env},
        capture_output=True,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_it_is_python_38_too():
    ast.parse(SETUP, feature_version=(3, 8))


@pytest.mark.parametrize("front_end", ["VS Code", "Jupyter", "above", "beside"])
def test_it_looks_beside_the_notebook_then_above_and_below(tmp_path, front_end):
    """Where git would be needed, it would fail: there is none on this PATH."""
    below = front_end == "beside"
    course = tiny(tmp_path / ("home/clean-transformer" if below else "course"))
    notebook = course / "notebooks" / "exercises" / "00_start_here.ipynb"
    notebook.parent.mkdir(parents=True)
    elsewhere = notebook.parent if front_end == "above" else tmp_path / "home"
    told = str(notebook) if front_end == "VS Code" else ""
    env = {"JPY_SESSION_NAME": str(notebook)} if front_end == "Jupyter" else {}
    assert Path(said(elsewhere, told, PATH="", **env)) == course


def test_without_git_it_says_what_to_do(tmp_path):
    says = said(tmp_path, told="/not/on/this/machine.ipynb", PATH="")
    assert says.startswith(f"CourseError: The course is not in {tmp_path} or above it")
    assert "install git" in says and "\n" not in says


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_without_a_network_or_with_half_a_clone_it_says_what_to_do(tmp_path):
    nowhere = (tmp_path / "nowhere.git").as_uri()
    says = said(tmp_path, COURSE_REPOSITORY=nowhere)
    assert f"Cannot download the course from {nowhere} (fatal" in says
    assert "network" in says and "\n" not in says
    (tmp_path / "clean-transformer" / ".git").mkdir(parents=True)
    says = said(tmp_path, COURSE_REPOSITORY=nowhere)
    assert "clean-transformer is only a part of the course: delete" in says
    assert "\n" not in says


@pytest.mark.parametrize("version", ["3.8", "3.10"])
def test_an_old_python_is_told_before_anything_else(tmp_path, version):
    says = said(tmp_path, version=version, PATH="")
    assert f"needs Python 3.11 or newer, and this is Python {version}:" in says


@pytest.mark.parametrize(
    ("lacks", "words"),
    [("einops_x", "has no einops_x: "), ("helpers.model", "only a part of the course")],
)
def test_what_is_missing_is_named(tmp_path, lacks, words):
    course = tiny(tmp_path / "course", f"import {lacks}")
    says = said(course)
    assert words in says and "\n" not in says
    (course / "helpers" / "__init__.py").unlink()
    assert "only a part of the course" in said(course)


def test_a_module_that_is_there_and_broken_is_not_called_missing(tmp_path):
    tiny(tmp_path / "course", "from os import no_such_name")
    with pytest.raises(AssertionError, match="cannot import name 'no_such_name'"):
        said(tmp_path / "course")


def test_on_colab_the_file_moves_to_the_drive(tmp_path, monkeypatch, my_gpt2, capsys):
    my_gpt2.write_text("# mine", encoding="utf-8")
    drive = types.SimpleNamespace(mount=lambda place: (tmp_path / "MyDrive").mkdir())
    colab = types.SimpleNamespace(drive=drive)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(session, "DRIVE", tmp_path)
    session.start("exercises")
    assert "tick keep_on_drive" in capsys.readouterr().out
    session.start("exercises", keep_on_drive=True)
    assert my_code.path() == (tmp_path / "MyDrive" / "my_gpt2.py").resolve()
    assert my_code.path().read_text(encoding="utf-8") == "# mine"
    my_code.edition("complete")


def test_a_drive_that_is_refused_changes_nothing(monkeypatch, my_gpt2, capsys):
    def mount(place):
        raise ValueError("mount failed")

    colab = types.SimpleNamespace(drive=types.SimpleNamespace(mount=mount))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    session.start("complete", keep_on_drive=True)
    assert "No Drive (mount failed)" in capsys.readouterr().out
    assert my_code.path() == my_gpt2.resolve()


def test_elsewhere_keeping_on_a_drive_is_refused_in_a_sentence(my_gpt2, capsys):
    session.start("complete", keep_on_drive=True)
    assert "keep_on_drive is for Colab" in capsys.readouterr().out
    assert my_code.path() == my_gpt2.resolve()
