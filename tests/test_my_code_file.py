"""`my_gpt2.py` itself: broken, held, full, written by two at once, run as a program."""

import ast
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from helpers import model, my_code, program
from helpers.my_code import sources
from tests import random_gpt2
from tests.my_cells import NORM, RIGHT, run_alone

ROOT = Path(my_code.__file__).resolve().parents[2]


def test_a_file_that_raises(file, capsys):
    file.write_text("1 / 0\n", encoding="utf-8")
    assert my_code.load("MLP") is model.MLP
    assert "could not be loaded (ZeroDivisionError" in capsys.readouterr().out


def test_a_file_that_is_not_python_is_moved_aside(cells, file, capsys):
    file.write_text("class (", encoding="utf-8")
    cells(NORM.format("x"), "my_code.save('LayerNorm', LayerNorm)")
    aside = file.with_name("my_gpt2.broken-1.py")
    assert aside.read_text(encoding="utf-8") == "class ("
    assert "my_gpt2.broken-1.py" in capsys.readouterr().out
    run_alone(file)


def test_what_can_be_read_of_a_broken_file_is_kept(cells, file, capsys):
    cells(NORM.format("1"), "my_code.save('LayerNorm', LayerNorm)")
    good = file.read_text(encoding="utf-8")
    bracket = "mine = 3\n\n\nclass Embed(nn.Module:\n    x = 1\n\n\nif __name__"
    broken = good.replace("if __name__", bracket)
    file.write_text(broken, encoding="utf-8")
    cells(NORM.format("2"), "my_code.save('LayerNorm', LayerNorm)")
    said = capsys.readouterr().out
    assert "is not valid Python (line " in said
    aside = file.with_name("my_gpt2.broken-1.py")
    assert aside.read_text(encoding="utf-8") == broken
    text = file.read_text(encoding="utf-8")
    assert "mine = 3" in text and "return 2" in text and "Embed(nn" not in text
    run_alone(file)


def test_edits_by_hand_stay(cells, file):
    cells(NORM.format("1"), "my_code.save('LayerNorm', LayerNorm)")
    text = file.read_text(encoding="utf-8")
    edited = text.replace("if __name__", "# mine\nmine = [\n    1,\n]\n\nif __name__")
    file.write_text(edited, encoding="utf-8")
    cells(NORM.format("2"), "my_code.save('LayerNorm', LayerNorm)")
    text = file.read_text(encoding="utf-8")
    assert "# mine\nmine = [\n    1,\n]" in text and "return 2" in text


def test_the_complete_edition_writes_nothing(cells, file, capsys):
    file.write_text("class MLP:\n    pass\n", encoding="utf-8")
    my_code.edition("complete")
    cells(NORM.format("x"), "assert my_code.save('LayerNorm', LayerNorm) is None")
    assert "LayerNorm" not in file.read_text(encoding="utf-8")
    assert my_code.load("MLP") is model.MLP
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError):
        my_code.edition("exercise")


@pytest.mark.parametrize("coding", ["utf-8-sig", "cp1252", "utf-16", "coding line"])
def test_a_file_in_another_encoding(cells, file, capsys, coding):
    cells(NORM.format("'für mich'"), "my_code.save('LayerNorm', LayerNorm)")
    text = file.read_text(encoding="utf-8")
    if coding == "coding line":
        text, coding = f"# -*- coding: latin-1 -*-\n{text}", "latin-1"
    data = text.encode(coding)
    file.write_bytes(data)
    norm = my_code.load("LayerNorm")(model.Config(d_model=3))
    assert norm(0) == "für mich"
    capsys.readouterr()
    cells(RIGHT.format("", "1"), "assert my_code.save('Embed', Embed)")
    space = run_alone(file)
    assert space["LayerNorm"](model.Config())(0) == "für mich" and "Embed" in space
    assert "# My GPT-2, in my own code." in file.read_text(encoding="utf-8")
    aside = file.with_name("my_gpt2.broken-1.py")
    if coding in ("cp1252", "utf-16"):
        assert "is not written in UTF-8" in capsys.readouterr().out
        assert aside.read_bytes() == data
    else:
        assert not aside.exists() and capsys.readouterr().out == ""


@pytest.mark.parametrize("full_after", [0, 1])
def test_a_broken_file_and_a_full_disk(cells, file, monkeypatch, capsys, full_after):
    broken = RIGHT.format("", "1") + "\n\nclass (\n"
    file.write_text(broken, encoding="utf-8")
    done = iter(range(9))
    real = os.fsync

    def fsync(number):
        if next(done) >= full_after:
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    cells(NORM.format("2"), "assert my_code.save('LayerNorm', LayerNorm) is None")
    assert file.read_text(encoding="utf-8") == broken
    said = capsys.readouterr().out
    assert "No space left" in said and "was copied" not in said
    cells("assert my_code.save('LayerNorm', LayerNorm) is None")
    monkeypatch.undo()
    copies = sorted(p.name for p in file.parent.glob("*.broken-*"))
    assert copies == ["my_gpt2.broken-1.py"] * full_after  # one copy, not one each time


def test_a_file_system_without_locks(cells, file, monkeypatch):
    for i, error in enumerate((NotImplementedError, OSError(95, "not supported"))):
        monkeypatch.setattr(my_code.FileLock, "acquire", Mock(side_effect=error))
        cells(NORM.format(f"'{i}'"), "assert my_code.save('LayerNorm', LayerNorm)")
        assert f"'{i}'" in file.read_text(encoding="utf-8")


def test_a_file_that_a_scanner_holds(cells, file, monkeypatch, capsys):
    replace = Mock(side_effect=[PermissionError(13, "held")] * 2 + [None])
    monkeypatch.setattr(os, "replace", replace)
    cells(NORM.format("1"), "assert my_code.save('LayerNorm', LayerNorm)")
    assert replace.call_count == 3


def test_a_folder_that_cannot_be_written(cells, file, monkeypatch, capsys):
    refused = Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(my_code.file, "write", refused)
    cells(NORM.format("1"), "assert my_code.save('LayerNorm', LayerNorm) is None")
    assert "%env COURSE_MY_GPT2=~/my_gpt2.py" in capsys.readouterr().out


def test_a_crash_while_writing(cells, file, monkeypatch, capsys):
    cells(NORM.format("1"), "my_code.save('LayerNorm', LayerNorm)")
    before = file.read_bytes()

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", crash)
    cells(NORM.format("2"), "assert my_code.save('LayerNorm', LayerNorm) is None")
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.tmp*")) + list(file.parent.glob(".*.tmp"))
    assert "disk full" in capsys.readouterr().out


WRITER = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
shell.run_cell("from helpers import my_code; my_code.edition('exercises')")
for i in range(20):
    name = f"{sys.argv[1]}{i}"
    shell.run_cell(f"def {name}():\\n    return {i}", store_history=True)
    shell.run_cell(f"assert my_code.save('{name}', {name})").raise_error()
"""


def test_two_notebooks_at_once(file):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, who], env=env, cwd=file.parent)
        for who in ("left", "right")
    ]
    assert [w.wait(timeout=120) for w in writers] == [0, 0]
    space = run_alone(file)
    assert all(
        space[f"{who}{i}"]() == i for who in ("left", "right") for i in range(20)
    )


def test_the_file_continues_a_text(cells, file, tmp_path):
    sizes = dict(n_embd=8, n_head=2, n_inner=None, n_layer=2)
    sizes |= dict(vocab_size=257, n_positions=16)
    tiny = random_gpt2.save(tmp_path / "tiny", **sizes)
    source = inspect.getsource(model)
    cells(source)  # the course's code, as if the person had written it
    order = [n for n in sources.GPT2 if n != "Config"]
    for name in reversed(order[:-2]):
        cells(f"assert my_code.save('{name}', {name})")

    def run(*args):
        return subprocess.run(
            [sys.executable, str(file), *args],
            env={**os.environ, "COURSE_REFERENCE": str(tiny), "PYTHONUTF8": "1"},
            cwd=file.parent,
            capture_output=True,
            encoding="utf-8",
        )

    for name in order[-2:]:
        cells(f"assert my_code.save('{name}', {name})")
    names = [
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    assert names == sources.GPT2
    # 12 bytes and more tokens than the 16 positions: the window slides
    first = run("Once upon a ", "--seed", "1", "--tokens", "30")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Once upon a ")
    assert len(first.stdout) > len("Once upon a \n")


def test_the_program_ends_in_a_sentence(monkeypatch):
    """A reference that is not there; a console that lacks letters; a closed pipe."""
    own, out = dict(vars(model)), io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["my_gpt2.py"])
    todo = {name: own[name] for name in sources.GPT2 if name != "DemoTransformer"}
    with pytest.raises(SystemExit, match="^Still to do.* runs: DemoTransformer.$"):
        program.run(todo)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["my_gpt2.py", "Ω 🙂", "--tokens", "3"])
    program.run(own)
    assert out.getvalue().startswith(b"? ?")
    monkeypatch.setattr(sys, "argv", ["my_gpt2.py", "--reference", "/nowhere"])
    with pytest.raises(SystemExit, match="/nowhere"):
        program.run(own)
    ended = Mock(side_effect=SystemExit(1))
    monkeypatch.setattr(os, "_exit", ended)
    monkeypatch.setattr(sys, "argv", ["my_gpt2.py"])
    monkeypatch.setattr(program, "print", Mock(side_effect=BrokenPipeError), False)
    with pytest.raises(SystemExit):
        program.run(own)
    ended.assert_called_once()
