"""The engine of the checks: what holds for every exercise, and how pages are read."""

import ast
import math
from pathlib import Path

import pytest
import torch

import helpers
from helpers import checks, my_code
from helpers.blanks import blank
from helpers.checks import draws, page
from helpers.checks.mutant import applied, changed
from helpers.checks.page import Code, PageError
from helpers.checks.report import CheckFailed, Mistake, Report
from tests.candidates import define
from tests.checks_table import line_verdict, spoiled, verdict
from tests.notebook_tools import NOTEBOOKS, complete
from tests.typed import text_of, typed

NAMES = checks.names()
ENGINE = Path(checks.__file__).parent


def blanks() -> dict[str, str]:
    """The exercises' cells as a person finds them, by the exercise's name."""
    return {
        cell.id.removesuffix("-exercise"): blank(cell.source)
        for name in NOTEBOOKS
        for cell in complete(name).cells
        if cell.id.endswith("-exercise")
    }


BLANKS = blanks()


def test_every_exercise_has_a_cell_and_a_page():
    assert sorted(BLANKS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_is_to_do(name: str, capsys):
    """The check says so, and hands out the course's own; twice, it says that too."""
    check = getattr(checks, name)
    answer = typed(check, *text_of(check)[:-1], BLANKS[name])
    assert check(answer) is check.own
    assert "to do" in capsys.readouterr().out
    check(check.own)
    assert "still the course's own" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_there_are_several_mistakes_each(name: str):
    check = getattr(checks, name)
    assert len({m.entries[0].slug for m in check.mutants}) >= 4


def test_what_fails_raises_and_what_passes_is_kept(my_gpt2, monkeypatch, capsys):
    monkeypatch.setattr(my_code, "_edition", "exercises")
    layer_norm = checks.layer_norm
    right = typed(layer_norm, *text_of(layer_norm))
    assert layer_norm(right) is right
    assert "class LayerNorm" in my_gpt2.read_text("utf-8")
    swap = checks.swap_axes
    swap(typed(swap, *text_of(swap)))  # a warm-up is no part of a GPT-2
    assert "swap_axes" not in my_gpt2.read_text("utf-8")
    with pytest.raises(CheckFailed) as failed:
        swap(lambda x: x)
    assert failed.value.report.status == "failed"
    assert "not yet" in capsys.readouterr().out


def test_the_engine_knows_no_course():
    """It imports nothing of helpers but itself."""
    for path in ENGINE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            ours = [module for module in modules if module.split(".")[0] == "helpers"]
            assert all(m.startswith("helpers.checks") for m in ours), path.name


def test_rooms_are_small():
    """No file of more than 450 lines, no function of more than 60."""
    root = Path(helpers.__file__).parents[1]
    for path in [*root.glob("helpers/**/*.py"), *root.glob("tests/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name}"


# Pages

PAGE = """# Twice

## Solution

```python
def twice(x):
    y = 2 * x
    return y
```

## Hints

1. How much?
2. Two of them.
3. `2 * x`

## Mistakes

### thrice

You multiply by 3.

Twice is two times.

Try: count

```diff
- 2 * x
+ 3 * x
```
"""


def read(tmp_path: Path, text: str) -> page.Page:
    path = tmp_path / "twice.md"
    path.write_text(text, encoding="utf-8")
    return page.read(path)


def test_a_page_is_read(tmp_path):
    found = read(tmp_path, PAGE)
    entry = found.mistakes["thrice"]
    assert entry.does == "You multiply by 3." and entry.hint == "count"
    wrong = applied(found.solution, "twice", entry.ways[0].code)
    assert define(wrong)["twice"](2) == 6 and len(found.hints) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## Mistakes", "## Errors", "line 17: a section is one of"),
        ("### thrice", "### two words", "line 19: a slug has"),
        ("Try: count", "*Sometimes.*", "line 25: no such flag"),
        ("+ 3 * x\n```", "+ 3 * x\n", "line 27: the code has no end"),
        ("3. `2 * x`\n", "", "2 hints; an exercise has three"),
        ("Try: count", "And more.", "line 25: a third paragraph"),
        ("You multiply by 3.\n\nTwice is two times.\n\n", "", "needs a sentence"),
    ],
)
def test_a_page_that_cannot_be_read_says_where(tmp_path, old, new, said):
    assert old in PAGE
    with pytest.raises(PageError, match=said):
        read(tmp_path, PAGE.replace(old, new))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("- 4 * x\n+ 3 * x\n", "'4 \\* x' stands not in the solution"),
        ("+ 3 * x\n", "what is added needs a line before it"),
        ("3 * x\n", "a line begins with"),
    ],
)
def test_an_edit_that_does_not_fit_says_so(edit, said):
    solution = "def twice(x):\n    y = 2 * x\n    return y\n"
    with pytest.raises(PageError, match=f"twice.md, line 9: .*{said}"):
        applied(solution, "twice", Code("diff", edit, "twice.md, line 9"))


def test_lines_are_put_in_with_the_solutions_indentation():
    solution = "def twice(x):\n    y = 2 * x  # -> [batch]\n    return y\n"
    edit = "  y = 2 * x\n+ if y > 3:\n+     y = 3\n"
    text = changed((("twice", solution),), "twice", Code("diff", edit, ""))[0][1]
    assert define(text)["twice"](2) == 3 and define(text)["twice"](1) == 2


# Figures


def report(*names: str, exact=True, one_of=False, line=None) -> Report:
    mistakes = tuple(Mistake(name, "", exact=exact, line=line) for name in names)
    return Report(mistakes, one_of, check="embed", title="Embed")


@pytest.mark.parametrize(
    ("told", "slug", "what"),
    [
        (report(), None, "accepted"),
        (report("a"), None, "rejected"),
        (report(), "a", "missed"),
        (report("a"), "a", "named"),
        (report("a", "b"), "a", "wrongly named"),
        (report("a", "b", one_of=True), "a", "named"),
        (report("b"), "a", "wrongly named"),
        (report("b", exact=False), "a", "narrowed"),
        (report("a", "wrong-values", exact=False), "a", "named"),
    ],
)
def test_verdicts(told, slug, what):
    assert verdict(told, slug) == what


def test_the_line_that_is_wrong_is_shown():
    """Each statement of the solutions made wrong, one at a time."""
    for name in ("layer_norm", "attention", "mlp", "transformer_block"):
        check = getattr(checks, name)
        *steps, text = text_of(check)
        for line, wrong in spoiled(text):
            told = check.examine(typed(check, *steps, wrong))
            assert line_verdict(told, line) in ("line named", "right line"), str(told)


def test_honest_draws_stray_as_often_as_the_test_of_sampling_says():
    """Chances of right frequencies are spread evenly over 0 to 1; wrong ones have 0."""
    probs, generator = torch.tensor([[0.5, 0.0, 0.3, 0.2]]), torch.Generator()
    generator.manual_seed(0)
    chances = []
    for _ in range(400):
        (drawn,) = probs.multinomial(draws.DRAWS, True, generator=generator)
        seen = drawn.bincount(minlength=4)[None] / draws.DRAWS
        chances.append(draws.chance([seen], [probs])[1])
    for share in (0.1, 0.5, 0.9):
        assert abs(sum(c < share for c in chances) / 400 - share) < 0.08
    assert draws.chance([probs**1.2 / (probs**1.2).sum()], [probs])[1] < 1e-3
    assert draws.chance([torch.full((1, 4), 0.25)], [probs]) == (math.inf, 0.0)


def test_the_words_of_a_mistake_are_filled_in():
    """Every text of general.md is used, with all that its braces ask for."""
    source = "".join(path.read_text("utf-8") for path in ENGINE.glob("*.py"))
    for text in page.entries(ENGINE / "general.md"):
        assert f'"{text}"' in source, text
