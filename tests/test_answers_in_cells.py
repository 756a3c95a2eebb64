"""What passes a check works in the given cells that use it, in every notebook.

Set i holds the i-th right answer of every exercise that the suites know; its classes
are built of its own parts. The first sets go through all notebooks, later ones through
those that have an exercise of which an answer is new.
"""

import inspect
from collections import defaultdict

import pytest

import cells
from helpers import checks, my_code, plots, widgets
from helpers import model as course
from notebook_tools import COMPLETE, NOTEBOOKS, complete
from tests.candidates import define
from tests.typed import text_of, typed

# Right answers that no suite has: other containers, a guard with an error of its own,
# arguments by name.
MORE = {
    "DemoTransformer": [
        """
        class DemoTransformer(course.DemoTransformer):
            def __init__(self, cfg):
                super().__init__(cfg)
                self.blocks = nn.Sequential(*self.blocks)
            def forward(self, tokens):
                x = self.embed(tokens) + self.pos_embed(tokens)
                return self.unembed(self.ln_final(self.blocks(x)))
        """,
        """
        class DemoTransformer(course.DemoTransformer):
            def __init__(self, cfg):
                super().__init__(cfg)
                blocks = {str(i): block for i, block in enumerate(self.blocks)}
                self.blocks = nn.ModuleDict(blocks)
            def forward(self, tokens):
                x = self.embed(tokens) + self.pos_embed(tokens)
                for block in self.blocks.values():
                    x = block(x)
                return self.unembed(self.ln_final(x))
        """,
    ],
    "PosEmbed": [
        """
        class PosEmbed(course.PosEmbed):
            def forward(self, tokens):
                assert tokens.shape[1] <= len(self.W_pos), "the text is too long"
                return super().forward(tokens)
        """
    ],
    "TransformerBlock": [
        """
        class TransformerBlock(course.TransformerBlock):
            def forward(self, resid_pre):
                attn = self.attn(normalized_resid_pre=self.ln1(resid_pre))
                mid = resid_pre + attn
                return mid + self.mlp(normalized_resid_mid=self.ln2(mid))
        """
    ],
}
SLOW = {
    "speed-figure",
    "explorer-kinds-figure",
    "run-stories",
}  # they use none
WHOLE = 1  # so many sets go through all of them,
SETS = 1  # so many through those that have an exercise of which an answer is new
# What passes and does not work everywhere: on a machine without a GPU; behind a
# LayerNorm whose backward pass needs its input as it was.
NOT_EVERYWHERE = ("cuda", "x += self.attn")


def all_right() -> dict[str, list]:
    """The right answers, by the name that their exercise gives them."""
    found = defaultdict(list)
    for name, sources in MORE.items():
        found[name] += [define(source, course=course)[name] for source in sources]
    for check in (getattr(checks, name) for name in checks.names()):
        for _, code in check.page.right:
            if not any(piece in code.text for piece in NOT_EVERYWHERE):
                found[check.title].append(typed(check, *text_of(check, code)))
    return found


def functions_of(candidate) -> list:
    """The function itself, or a class's own."""
    inside = [candidate, *vars(candidate).values()]
    return [inspect.unwrap(each) for each in inside if inspect.isfunction(each)]


def of_its_own_parts(patch: pytest.MonkeyPatch, chosen: dict) -> None:
    """Where an answer refers to the course's parts, let it refer to the set's."""
    for name, answer in chosen.items():
        for its in [function.__globals__ for function in functions_of(answer)]:
            for part in chosen.keys() & its.keys() - {name}:
                if its[part] is getattr(course, part, None):
                    patch.setitem(its, part, chosen[part])


def put_in(cell) -> str:
    """An answer takes the place of the check; training gets a smaller model."""
    if cell.id in SLOW or cell.id.startswith("stack-"):
        return ""
    if cell.id.endswith("-check"):
        name = cell.source.split(" = ")[0]
        return f"{name} = _chosen.get({name!r}, {name})"
    large, small = "d_model=128, n_heads=8", "d_model=32, n_heads=2"
    smaller = cell.source.replace(large, small).replace("d_mlp=256", "d_mlp=32")
    return smaller.replace("d_mlp=512", "d_mlp=32")


@pytest.fixture
def quick(monkeypatch):
    """No pictures, two steps of training, the notebooks' own folder."""
    monkeypatch.chdir(COMPLETE)
    monkeypatch.setenv("COURSE_STEPS", "2")
    monkeypatch.setattr(plots, "show", lambda figure, alt: None)
    monkeypatch.setattr(plots, "png", lambda figure: b"")
    monkeypatch.setattr(widgets, "panel", lambda draw, **controls: None)
    return monkeypatch


@pytest.mark.slow
def test_right_answers_work_in_the_cells_that_use_them(quick, subtests):
    found = all_right()
    for name in MORE:
        every = (getattr(checks, exercise) for exercise in checks.names())
        check = next(check for check in every if check.title == name)
        for answer in found[name][: len(MORE[name])]:
            assert check.examine(answer).status == "passed"
    notebooks = {name: complete(name) for name in NOTEBOOKS[:8]}  # later ones take long
    for i in range(SETS):
        chosen = {name: them[i % len(them)] for name, them in found.items()}
        new = [f"{name} = checks." for name, them in found.items() if i < len(them)]
        quick.setattr(my_code, "load", loader(chosen))
        with pytest.MonkeyPatch.context() as patch:
            of_its_own_parts(patch, chosen)
            for name, notebook in notebooks.items():
                text = "\n".join(cell.source for cell in notebook.cells)
                if i < WHOLE or any(check in text for check in new):
                    with subtests.test(notebook=name, set=i):
                        cells.run(notebook, name, put_in, _chosen=chosen)


def loader(chosen: dict):
    """`my_code.load`, for a person whose answers are these."""

    def load(*names):
        found = [chosen.get(name) or getattr(course, name) for name in names]
        return found[0] if len(found) == 1 else tuple(found)

    return load
