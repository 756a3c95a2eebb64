"""helpers/editions.py on tiny courses: no PyTorch, a few seconds."""

import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell as code
from nbformat.v4 import new_markdown_cell as text

from helpers import address, editions
from helpers.address import ROOT, Address
from helpers.blanks import BEGIN, BLANK, END, EditionError, blank
from helpers.outputs import WIDGET_TEXT

SQUARE = f'''\
def square(x):
    """Square x."""
    {BEGIN}
    return x * x
    {END}
'''


def course(root: Path, *cells, name: str = "00_tiny") -> Path:
    """A course of one notebook, with helpers that know only what a first cell needs."""
    (root / "helpers" / "checks").mkdir(parents=True, exist_ok=True)
    (root / "helpers" / "checks" / "__init__.py").touch()
    (root / "helpers" / "model.py").write_text("# the model\n", encoding="utf-8")
    (root / "helpers" / "__init__.py").write_text(
        "Config = None\n"
        "def load_reference(name): return name\n"
        "def start(edition, keep_on_drive): print(edition, keep_on_drive)\n",
        encoding="utf-8",
    )
    address.write(Address("https://github.com/OWNER/clean-transformer", "v1"), root)
    readme = f"# Tiny\n\n{editions.TABLE[0]}\n{editions.TABLE[1]}\n\nThe end.\n"
    (root / "README.md").write_text(readme, encoding="utf-8")
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    nbformat.write(notebook, path)
    return path


def cells_of(path: Path) -> dict[str, dict]:
    """A notebook's cells by their ids."""
    return {c["id"]: c for c in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def blanks_of(path: Path) -> Path:
    return path.parent / "exercises" / path.name


# ---------------------------------------------------------------- blanks


def test_a_function_gets_an_error_in_the_place_of_its_solution():
    assert blank(SQUARE) == (
        'def square(x):\n    """Square x."""\n    # YOUR CODE HERE\n    ' + BLANK
    )


def test_a_method_keeps_what_is_given_around_its_solution():
    source = f"""\
class A:
    def given(self):
        return 1

    def yours(self):
        y = 2
        {BEGIN}
        if y:
            y = 3
        {END}
        return y
"""
    result = blank(source)
    assert "y = 2" in result and "return y" in result and "return 1" in result
    assert f"        # YOUR CODE HERE\n        {BLANK}\n        return y" in result
    assert "y = 3" not in result


def test_a_class_body_gets_pass():
    source = f"@d\nclass A:\n    '''An A.'''\n\n    {BEGIN}\n    x: int = 1\n    {END}"
    assert blank(source) == (
        "@d\nclass A:\n    '''An A.'''\n\n    # YOUR CODE HERE\n    pass"
    )
    methods = f"class A:\n    {BEGIN}\n    def f(self):\n        pass\n    {END}"
    assert blank(methods).endswith("# YOUR CODE HERE\n    pass")


def test_several_solutions_in_one_cell():
    assert blank(SQUARE + "\n\n" + SQUARE.replace("square", "cube")).count(BLANK) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"def f():\n    {BEGIN}\n    return 1", "without ### END"),
        (f"def f():\n    return 1\n    {END}", "without ### BEGIN"),
        (f"def f():\n    {BEGIN}\n    {BEGIN}\n    x = 1\n    {END}", "inside another"),
        (f"{BEGIN}\nx = 1\n{END}", "inside a function"),
        (f"for i in x:\n    {BEGIN}\n    print(i)\n    {END}", "inside a function"),
        (f"def f():\n    x = 1\n    {BEGIN}\n    {END}", "without a statement"),
        (f"def f():\n    x = 1  {BEGIN}\n    return x", "a line of its own"),
        (f"%time\ndef f():\n    {BEGIN}\n    return 1\n    {END}", "plain Python"),
        (
            f"def f(x):\n    {BEGIN}\n    if x:\n        {END}\n        return 1",
            "is not Python",
        ),
    ],
)
def test_bad_markers_are_named_with_their_cell(source, words):
    with pytest.raises(EditionError, match=words) as caught:
        blank(source, "02_layernorm, cell layer_norm-exercise")
    assert str(caught.value).startswith("02_layernorm, cell layer_norm-exercise: ")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the two editions


def test_both_editions_of_a_tiny_course(tmp_path):
    path = course(
        tmp_path,
        text("# 00 · Tiny\n\n[a](../README.md), [b](01_more.ipynb)", id="title"),
        code(SQUARE, id="square-exercise"),
        code("square(3)", id="look"),
        code("print('secret')", id="secret", metadata={"tags": ["complete-only"]}),
    )
    assert editions.main([], tmp_path) == 0
    done, blanks = cells_of(path), cells_of(blanks_of(path))
    assert list(done) == [
        "title", "links", "setup", "reference", "square-exercise", "look", "secret",
    ]  # fmt: skip
    assert list(blanks) == [*done][:-1]
    assert done["look"]["outputs"][0]["data"]["text/plain"] == ["9"]
    assert done["setup"]["outputs"][0]["text"] == ["complete False\n"]
    assert done["reference"]["outputs"][0]["data"]["text/plain"] == ["'stories'"]
    assert [done[i]["execution_count"] for i in [*done][2:]] == [1, 2, 3, 4, 5]
    for cell in blanks.values():
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert BLANK.replace('"', '\\"') in blanks_of(path).read_text(encoding="utf-8")
    assert "return x * x" not in blanks_of(path).read_text(encoding="utf-8")
    assert any('"exercises"' in line for line in blanks["setup"]["source"])
    links = "".join(blanks["title"]["source"])
    assert "[a](../../README.md)" in links and "[b](01_more.ipynb)" in links
    assert "| 00 · Tiny |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert editions.drift(tmp_path) == []


def test_the_same_notebook_gives_the_same_bytes(tmp_path):
    noisy = "for i in range(9):\n    print(i, flush=True)\nprint('a\\rb')\n{}"
    path = course(tmp_path, code(noisy, id="noisy"))
    editions.main([], tmp_path)
    first = path.read_bytes()
    (output,) = cells_of(path)["noisy"]["outputs"][:-1]
    assert output["text"][-1] == "b\n" and "a" not in "".join(output["text"])
    editions.main(["--force"], tmp_path)
    assert path.read_bytes() == first
    assert b"\r" not in first and first.endswith(b"}\n")


def test_only_what_changed_is_run(tmp_path, monkeypatch):
    path = course(tmp_path, code("1 + 1", id="sum"))
    ran = []
    run = editions.execute
    monkeypatch.setattr(
        editions, "execute", lambda *args: (ran.append(args[1]), run(*args))
    )
    editions.main([], tmp_path)
    editions.main([], tmp_path)
    assert len(ran) == 1
    (tmp_path / "helpers" / "model.py").write_text("# another\n", encoding="utf-8")
    assert editions.main(["--check"], tmp_path) == 1
    editions.main(["--no-run"], tmp_path)
    assert len(ran) == 1 and editions.main(["--check"], tmp_path) == 1
    editions.main([], tmp_path)
    assert len(ran) == 2 and editions.main(["--check"], tmp_path) == 0
    editions.main([path.stem], tmp_path)
    assert len(ran) == 3


def test_a_new_address_reaches_links_and_first_cells_without_a_run(
    tmp_path, monkeypatch
):
    path = course(tmp_path, code("1 + 1", id="sum"))
    editions.main([], tmp_path)
    monkeypatch.setattr(editions, "execute", None)  # calling it would fail
    ssh = ["--repository", "git@github.com:me/mine.git", "--release", "v9"]
    assert editions.main(ssh, tmp_path) == 0
    for file in (path, blanks_of(path), tmp_path / "README.md"):
        content = file.read_text(encoding="utf-8")
        assert "OWNER" not in content
        assert "github/me/mine/blob/v9/notebooks" in content
    setup = "".join(cells_of(path)["setup"]["source"])
    assert '"https://github.com/me/mine"' in setup and '"v9"' in setup
    assert editions.drift(tmp_path) == []
    assert editions.main(["--release", "v10"], tmp_path) == 0  # the rest stays
    assert address.read(tmp_path) == Address("https://github.com/me/mine", "v10")
    gitlab = ["--repository", "https://gitlab.com/a/b/mine"]
    assert editions.main(gitlab, tmp_path) == 0  # Colab opens GitHub's files only
    assert "colab.research" not in path.read_text(encoding="utf-8")
    for bad in (["--repository", "/home/me/mine"], ["--release", "-x y"]):
        assert editions.main(bad, tmp_path) == 2


@pytest.mark.parametrize(
    ("remote", "found"),
    [
        ("https://github.com/me/mine.git", "https://github.com/me/mine"),
        ("https://me:secret@github.com/me/mine", "https://github.com/me/mine"),
        ("git@gitlab.com:group/sub/mine.git", "https://gitlab.com/group/sub/mine"),
        ("ssh://git@github.com:22/me/mine.git/", "https://github.com/me/mine"),
        ("git@git.example.org:me/mine.git", None),
        ("https://github.com.example.org/me/mine", None),
        ("/srv/github.com/me/mine.git", None),
        ("file:///srv/mine.git", None),
        ("", None),
    ],
)
def test_a_public_remote_gives_the_address(remote, found):
    assert address.public(remote) == found


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_until_there_is_an_address_it_comes_from_git(tmp_path):
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True)

    course(tmp_path)
    git("init", "-q")
    placeholder = address.current(root=tmp_path)
    assert not placeholder.known
    git("remote", "add", "origin", "https://git.example.org/me/mine")
    assert address.current(root=tmp_path) == placeholder
    git("remote", "set-url", "origin", "git@github.com:me/mine.git")
    assert address.current(root=tmp_path) == Address("https://github.com/me/mine", "v1")
    git("commit", "-q", "--allow-empty", "-m", "first")
    git("tag", "v2")
    found = Address("https://github.com/me/mine", "v2")
    assert address.current(root=tmp_path) == found
    assert editions.main([], tmp_path) == 0 and address.read(tmp_path) == found
    git("remote", "set-url", "origin", "git@github.com:a/fork.git")
    assert address.current(root=tmp_path) == found  # a fork keeps the course's


def test_the_address_stands_in_one_place():
    """In the notebooks and in README it is written by the command."""
    where = [
        path.relative_to(ROOT).as_posix()
        for pattern in (
            "helpers/**/*.py",
            "helpers/*.json",
            ".ci/*",
            ".github/**/*.yml",
        )
        for path in ROOT.glob(pattern)
        if address.read().repository in path.read_text(encoding="utf-8")
    ]
    assert where == ["helpers/address.json"]


def test_drift_is_named(tmp_path):
    path = course(tmp_path, code(SQUARE, id="square-exercise"))
    editions.main([], tmp_path)
    good, good_blanks = path.read_text("utf-8"), blanks_of(path).read_text("utf-8")

    path.write_text(good.replace("x * x", "x ** 2"), encoding="utf-8")
    assert any("older than its code" in line for line in editions.drift(tmp_path))
    path.write_text(good.replace('"complete\\"', '"exercises\\"'), encoding="utf-8")
    assert any("generated cells" in line for line in editions.drift(tmp_path))
    path.write_text(good, encoding="utf-8")
    blanks_of(path).write_text(good_blanks.replace("YOUR", "MY"), encoding="utf-8")
    assert editions.drift(tmp_path) == ["00_tiny: its exercise edition is not current."]
    blanks_of(path).write_text(good_blanks, encoding="utf-8")
    assert editions.drift(tmp_path) == []
    (path.parent / "exercises" / "99_old.ipynb").write_text("{}", encoding="utf-8")
    assert "no complete edition" in editions.drift(tmp_path)[0]


def test_no_widget_state_is_saved(tmp_path):
    source = "import ipywidgets\nipywidgets.IntSlider(description='secret')"
    path = course(tmp_path, code(source, id="play"))
    editions.main([], tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) == {"course", "kernelspec", "language_info"}
    (output,) = cells_of(path)["play"]["outputs"]
    assert output["data"] == {"text/plain": [WIDGET_TEXT]}


INTERACT = """\
import ipywidgets
from IPython.display import display
out = ipywidgets.Output()
display(out)
with out:
    1 / 0
"""
CAUGHT = """\
import traceback
try:
    1 / 0
except Exception:
    traceback.print_exc()
"""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import ipywidgets\n@ipywidgets.interact(x=3)\ndef f(x): 1 / 0", "widget"),
        (INTERACT, "widget"),
        (CAUGHT, "ZeroDivisionError"),
    ],
)
def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys, source, words):
    path = course(tmp_path, code(source, id="bad"))
    before = path.read_bytes()
    assert editions.main([], tmp_path) == 1
    said = capsys.readouterr().out
    assert "00_tiny does not run" in said and words in said
    assert path.read_bytes() == before
    assert not blanks_of(path).exists()


def test_an_unknown_notebook_is_named(tmp_path, capsys):
    course(tmp_path)
    assert editions.main(["07_nothing"], tmp_path) == 2
    assert "There is no notebook 07_nothing" in capsys.readouterr().out


def test_two_cells_with_one_id_are_refused(tmp_path):
    path = course(tmp_path, code("1", id="a"), code("2", id="b"))
    path.write_text(
        path.read_text(encoding="utf-8").replace('"id": "b"', '"id": "a"'),
        encoding="utf-8",
    )
    with pytest.raises(EditionError):
        editions.build(path, tmp_path)
