"""What of a person's notebook is kept in `my_gpt2.py`, in real IPython cells."""

import inspect
import sys

import pytest
import torch

from helpers import load_reference, model, my_code
from tests.my_cells import NORM, RIGHT, run_alone


def test_class_with_comments_and_imports(cells, file):
    cells(
        "# My layer norm\n"
        + NORM.format("x * self.w")
        .lstrip()
        .replace("    def f", "    # a remark\n    ### BEGIN SOLUTION\n    def f")
        + "        ### END SOLUTION\n",
        "LayerNorm = (lambda c: (my_code.save('LayerNorm', c), c)[1])(LayerNorm)",
    )
    text = file.read_text(encoding="utf-8")
    assert "# My layer norm\nclass LayerNorm" in text and "# a remark" in text
    assert "SOLUTION" not in text
    assert "import torch\nfrom torch import nn\n" in text
    assert list(run_alone(file)["LayerNorm"].__mro__)[1] is torch.nn.Module


def test_aliases_helpers_constants_and_decorators(cells, file):
    cells(
        "import torch as t\nimport torch.nn.functional as F\nimport math, functools\n"
        "from fancy_einsum import einsum\nfrom jaxtyping import Float, jaxtyped\n"
        "from torch import Tensor\nfrom helpers import Config",
        "SCALE = math.sqrt(2 / math.pi)\nnever_used = 3\n"
        "Resid = Float[Tensor, 'batch position d_model']\n"
        "square = lambda x: x ** 2",
        "def loud(f):\n    def wrapper(*a):\n        return f(*a)\n    return wrapper",
        "def cube(x):\n    return x * square(x)\n\n\n"
        "class Base(nn.Module):\n    @staticmethod\n    def one():\n        return 1\n",
        "class MLP(Base):\n"
        "    def __init__(self, cfg: Config):\n"
        "        super().__init__()\n"
        "        self.W = t.nn.Parameter(t.ones(cfg.d_model, 2))\n\n"
        "    @loud\n"
        "    def forward(self, x: Resid) -> Float[Tensor, '...']:\n"
        "        y = einsum('b p d, d m -> b p m', x, self.W)\n"
        "        return F.relu(SCALE * cube(y))\n",
        "y = 5\nassert my_code.save('MLP', MLP)",
    )
    text = file.read_text(encoding="utf-8")
    for part in ("from fancy_einsum import einsum", "import torch as t", "lambda"):
        assert part in text
    assert "SCALE = math.sqrt(2 / math.pi)" in text
    assert "import torch.nn.functional as F" in text
    assert "never_used" not in text and "\ny = 5" not in text
    space = run_alone(file)
    out = space["MLP"](space["Config"](d_model=3))(torch.ones(1, 2, 3))
    assert out.shape == (1, 2, 2)


def test_annotated_by_jaxtyping(cells, file):
    cells(
        "from jaxtyping import Float, jaxtyped",
        "@jaxtyped(typechecker=None)\n"
        "def gelu_new(x: Float[torch.Tensor, '...']):\n    return x",
        "assert my_code.save('gelu_new', gelu_new)",
    )
    assert run_alone(file)["gelu_new"](2) == 2


def test_two_classes_in_a_cell_and_the_object_that_passed(cells, file):
    cells(
        NORM.format("'first'") + NORM.format("'second'") + "\nclass Embed:\n"
        "    def forward(self):\n        return 'embed'\n",
        "passed = LayerNorm",
        NORM.format("'a later one, not checked'"),
        "my_code.save('LayerNorm', passed)",
        "my_code.save('Embed', Embed)",
    )
    text = file.read_text(encoding="utf-8")
    assert "'second'" in text and "'first'" not in text and "later" not in text
    assert text.index("class LayerNorm") < text.index("class Embed")


def test_newer_version_replaces(cells, file):
    cells(NORM.format("1"), "my_code.save('LayerNorm', LayerNorm)")
    cells(NORM.format("2"), "my_code.save('LayerNorm', LayerNorm)")
    text = file.read_text(encoding="utf-8")
    assert text.count("class LayerNorm") == 1 and "return 2" in text


def test_a_dependency_that_passed_is_not_overwritten(cells, file):
    cells(NORM.format("'passed'"), "my_code.save('LayerNorm', LayerNorm)")
    cells(
        NORM.format("'unchecked'"),
        "class TransformerBlock:\n    def __init__(self, cfg):\n"
        "        self.ln1 = LayerNorm(cfg)\n",
        "my_code.save('TransformerBlock', TransformerBlock)",
    )
    text = file.read_text(encoding="utf-8")
    assert "'passed'" in text and "'unchecked'" not in text


def test_method_from_outside_is_refused(cells, file, capsys):
    cells(
        NORM.format("0"),
        "def forward(self, x):\n    return x\nLayerNorm.forward = forward",
        "assert my_code.save('LayerNorm', LayerNorm) is None",
    )
    assert "forward was put into the class from outside" in capsys.readouterr().out
    assert not file.exists()


def test_helper_name_used_twice_is_refused(cells, file, capsys):
    cells(
        "def scale(x):\n    return 2 * x",
        NORM.format("scale(x)"),
        "my_code.save('LayerNorm', LayerNorm)",
        "def scale(x):\n    return 3 * x",
        "def gelu_new(x):\n    return scale(x)",
        "assert my_code.save('gelu_new', gelu_new) is None",
    )
    assert "LayerNorm in the file uses another `scale`" in capsys.readouterr().out
    cells(NORM.format("scale(x) + 1"), "assert my_code.save('LayerNorm', LayerNorm)")
    assert "3 * x" in file.read_text(encoding="utf-8")


def test_two_libraries_einsum(cells, file):
    cells(
        "from fancy_einsum import einsum\n"
        "def attention_scores(q):\n    return einsum('a b -> b', q)",
        "my_code.save('attention_scores', attention_scores)",
        "from einops import einsum\n"
        "def attention_values(q):\n"
        "    flip = einsum\n    return flip(q, 'a b -> b') + einsum(q, 'a b -> b')",
        "assert my_code.save('attention_values', attention_values)",
    )
    text = file.read_text(encoding="utf-8")
    assert "from einops import einsum as einops_einsum" in text
    cells("assert my_code.save('attention_values', attention_values)")
    assert file.read_text(encoding="utf-8") == text
    space, q = run_alone(file), torch.ones(2, 3)
    assert space["attention_scores"](q)[0] == 2
    assert space["attention_values"](q)[0] == 4


def test_other_name_partial_and_lambda(cells, file):
    cells(
        NORM.replace("LayerNorm", "Mine").format("x"),
        "my_code.save('LayerNorm', Mine)",
        "from functools import partial\nimport torch.nn.functional as F",
        "gelu_new = partial(F.gelu, approximate='tanh')",
        "gelu_new = (lambda f: (my_code.save('gelu_new', f), f)[1])(gelu_new)",
        "cross_entropy = lambda logits, tokens: 0",
        "my_code.save('cross_entropy', cross_entropy)",
    )
    space = run_alone(file)
    assert space["LayerNorm"] is space["Mine"]
    assert space["gelu_new"](torch.zeros(1)) == 0
    assert space["cross_entropy"](1, 2) == 0


def test_a_config_of_ones_own(cells, file):
    cells(
        "from dataclasses import dataclass",
        "@dataclass\nclass Config:\n    d_model: int = 7  # small\n",
        "Config = (lambda c: (my_code.save('Config', c), c)[1])(Config)",
        NORM.format("x").replace("cfg)", "cfg: Config)"),
        "my_code.save('LayerNorm', LayerNorm)",
    )
    assert "# small" in file.read_text(encoding="utf-8")
    assert run_alone(file)["Config"]().d_model == 7


def test_global_cfg_and_values_of_the_notebook(cells, file, capsys):
    cells(
        "from helpers import Config\ncfg = Config(d_model=6)\nsizes = [cfg.d_model]",
        "eps = 0\nfor eps in [1, 2]:\n    pass",
        NORM.format("cfg.d_model + sizes[0] + eps"),
        "my_code.save('LayerNorm', LayerNorm)",
        "table = torch.ones(3) if cfg else None\nmodel = my_code",
        "def gelu_new(x):\n    return model",
        "assert my_code.save('gelu_new', gelu_new) is None",
    )
    space = run_alone(file)
    assert space["cfg"].d_model == 6 and space["eps"] == 2
    assert "it uses the course's `my_code`" in capsys.readouterr().out


def test_blank_exercises(cells, file):
    cells(
        "from helpers.model import Attention\nassert my_code.save('Attention', "
        "Attention) is None",
        "class TransformerBlock:\n    def __init__(self, cfg):\n"
        "        self.attn = Attention(cfg)\n",
        "assert my_code.save('TransformerBlock', TransformerBlock)",
    )
    assert "class Attention" not in file.read_text(encoding="utf-8")
    block = my_code.load("TransformerBlock")
    assert isinstance(block(model.Config(d_model=4)).attn, model.Attention)


def test_building_on_a_blank_class_is_refused(cells, file, capsys):
    cells(
        "from helpers.model import Attention",
        "class Cached(Attention):\n    def forward(self, x):\n        return x\n",
        "assert my_code.save('Cached', Cached) is None",
    )
    assert "Attention, which is still to do" in capsys.readouterr().out


def test_load_says_which_and_its_classes_are_saved_once(cells, file, capsys):
    cells(NORM.format("x"), "my_code.save('LayerNorm', LayerNorm)")
    capsys.readouterr()
    cells("%reset -f", "from helpers import my_code")
    space = cells("LayerNorm, MLP = my_code.load('LayerNorm', 'MLP')")
    said = "LayerNorm: yours (my_gpt2.py) · MLP: the course's\n"
    assert said in capsys.readouterr().out
    assert space["MLP"] is model.MLP
    assert "return x" in inspect.getsource(space["LayerNorm"])
    before = file.read_text(encoding="utf-8")
    cells("assert my_code.save('LayerNorm', LayerNorm)")
    assert file.read_text(encoding="utf-8") == before
    cells(
        "class TransformerBlock:\n    def __init__(self, cfg):\n"
        "        self.ln1 = LayerNorm(cfg)\n",
        "my_code.save('TransformerBlock', TransformerBlock)",
    )
    assert file.read_text(encoding="utf-8").count("class LayerNorm") == 1


PASSES = "my_code.save('Embed', Embed, lambda made: made().forward() == 'right')"


@pytest.mark.parametrize(
    "before, cell, after",
    [
        (RIGHT.format("", "'wrong'"), "%%time\n" + RIGHT.format("", "'right'"), ""),
        ("", "%%capture out\n%%time\n\n" + RIGHT.format("", "'right'"), ""),
        (
            RIGHT.format("", "'wrong'"),
            "exec(" + repr(RIGHT.format("", "'right'")) + ")",
            "",
        ),
        (
            "class Base:\n    def tell(self):\n        return 'right'",
            RIGHT.format("", "self.tell()").replace("Embed", "Embed(Base)"),
            "class Base:\n    def tell(self):\n        return 'wrong'",
        ),
        (
            "def tell():\n    return 'right'",
            RIGHT.format("", "tell()"),
            "kept = tell\ndef tell():\n    return 'wrong'\ntell = kept",
        ),
        ("table = {}", RIGHT.format("", "table[1]"), "table[1] = 'right'"),
    ],
)
def test_what_is_kept_is_what_passed(cells, file, before, cell, after):
    cells(before, cell, after, "assert " + PASSES)
    assert run_alone(file)["Embed"]().forward() == "right"


@pytest.mark.parametrize(
    "before, cell, after",
    [
        ("WORD = 'right'", RIGHT.format("word=WORD", "word"), "WORD = 'wrong'"),
        (
            "WORD = 'right'",
            RIGHT.format("", "self.word").replace(":", ":\n    word = WORD", 1),
            "WORD = 'wrong'",
        ),
        (
            "import sys\nsys.path.insert(0, '.')",
            "from mine_to_edit import Embed",
            "edit",
        ),
    ],
)
def test_what_no_longer_passes_is_not_kept(
    cells, file, capsys, monkeypatch, before, cell, after
):
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    mine = file.with_name("mine_to_edit.py")
    mine.write_text(RIGHT.format("", "'right'"), encoding="utf-8")
    cells("import sys", before, cell)
    if after == "edit":
        sys.modules.pop("mine_to_edit")
        mine.write_text(RIGHT.format("", "'wrong'"), encoding="utf-8")
    else:
        cells(after)
    file.write_text("mine = 1\n", encoding="utf-8")
    cells("assert Embed().forward() == 'right'", f"assert {PASSES} is None")
    assert "does not pass. Run its cell and those" in capsys.readouterr().out
    assert file.read_text(encoding="utf-8") == "mine = 1\n"


def test_code_without_a_text_is_not_kept(cells, file, capsys):
    cells(
        "source = 'class Embed:\\n    def forward(self):\\n        return ' + '1'",
        "exec(compile(source, '<mine>', 'exec'))",
        "assert my_code.save('Embed', Embed) is None",
    )
    assert "its text cannot be found. Run the cell" in capsys.readouterr().out


def test_a_check_judges_what_it_keeps(cells, file, capsys):
    right = (
        "class LayerNorm(nn.Module):\n"
        "    def __init__(self, cfg):\n"
        "        super().__init__()\n"
        "        self.eps = cfg.layer_norm_eps\n"
        "        self.w = nn.Parameter(torch.ones(cfg.d_model))\n"
        "        self.b = nn.Parameter(torch.zeros(cfg.d_model))\n\n"
        "    def forward(self, x, n=N):\n"
        "        x = x - x.mean(-1, keepdim=True)\n"
        "        scale = x.var(-1, keepdim=True, correction=n).add(self.eps).sqrt()\n"
        "        return x / scale * self.w + self.b\n"
    )
    cells("from helpers import checks\nN = 0", right, "N = 1")
    cells("checks.layer_norm(LayerNorm);")
    said = capsys.readouterr().out
    assert "is not kept" in said and "✓ passed" in said and "Saved" not in said
    assert not file.exists()
    cells("N = 0", "checks.layer_norm(LayerNorm);")
    assert "Saved in my_gpt2.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    "cell, value",
    [
        ("import torch as t\nx, y = t.device('cpu'), t.float32", torch.device("cpu")),
        ("y, (x, z) = 1, (torch.float32, 2)", torch.float32),
        ("if torch.ones(1):\n    x = 1\nelse:\n    x = 2", 1),
        ("try:\n    x = 1 / 0\nexcept ZeroDivisionError:\n    x = 3", 3),
        ("x = 1\nif x:\n    x = torch.float16", torch.float16),
        ("print(x := float('inf'))", float("inf")),
        ("for i in range(3):\n    x = i", 2),
        ("import fractions\nx, y = fractions.Fraction(1, 3), 1", 1 / 3),
        ("from helpers import Config\nx, y = Config(d_head=3).d_head, 1", 3),
        ("x = []\nx += [1]", [1]),
    ],
)
def test_constants_however_they_are_made(cells, file, cell, value):
    cells(cell, "def gelu_new(y=x):\n    return [x][0]")
    cells("assert my_code.save('gelu_new', gelu_new)")
    assert run_alone(file)["gelu_new"]() == pytest.approx(value, abs=0)
    cells("assert my_code.save('gelu_new', gelu_new)")
    run_alone(file)


def test_helpers_of_every_kind(cells, file):
    cells(
        "import functools, dataclasses\nimport numpy as np",
        "def one(x):\n    return x\ndef two(x):\n    return one(x)",
        "def by(k):\n    def times(x):\n        return two(k * x)\n    return times",
        "double = by(2)\nhalf = functools.partial(lambda k, x: x / k, 2)",
        "@dataclasses.dataclass\nclass Pair:\n    x: float\n"
        "    def first(self):\n        return self.x",
        "@functools.lru_cache\ndef slow(n):\n    return np.ones(1).item() * n",
        "def both(f, g):\n    return lambda x: f(g(x))\nsame = both(double, half)",
        "def gelu_new(x):\n    return same(Pair(slow(x)).first())",
        "assert my_code.save('gelu_new', gelu_new)",
    )
    assert run_alone(file)["gelu_new"](3) == 3


@pytest.mark.parametrize(
    "made",
    [
        "torch.tensor(-1e5, dtype=torch.float32, device='cuda')",
        'torch.tensor(-1e5).to("cuda:0")',
        "torch.tensor(-1e5).cuda()",
        "torch.tensor(-1e5, device=torch.device('mps'))",
        "torch.tensor(-1e5, device=device)",
        "torch.tensor(-1e5, device=DEVICES['mine'])",
    ],
)
def test_a_gpu_by_name_is_built_everywhere(cells, file, made):
    cells("device = 'cuda'\nDEVICES = {'mine': 'cuda'}")
    cells(
        NORM.format("x if x.device.type == 'cuda' else -x").replace(
            "cfg.d_model))\n",
            f"cfg.d_model))\n        self.register_buffer('IGNORE', {made})\n",
        ),
        "assert my_code.save('LayerNorm', LayerNorm)",
    )
    norm = my_code.load("LayerNorm")(model.Config(d_model=3))
    assert norm.IGNORE.device.type == "cpu" and norm(torch.ones(1)) == -1
    assert '`.to("cuda")` moves it' in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("more", ["", "    dropout: float = 0.5\n"])
def test_a_global_cfg_has_the_sizes_of_the_model(cells, file, capsys, more):
    """Of the person's own kind, and without the debugging that it may ask for."""
    cells(
        "from dataclasses import dataclass",
        inspect.getsource(model.Config).replace("bool = False", "bool = True") + more,
        "cfg = Config()",
        NORM.format("(cfg.d_head, cfg.debug, isinstance(cfg, Config))"),
        "assert my_code.save('LayerNorm', LayerNorm)",
    )
    norm = my_code.load("LayerNorm")(model.Config(d_model=3))
    sizes = load_reference("stories").cfg
    assert norm(0) == (sizes.d_head, False, True)
    space = run_alone(file)
    cfg = my_code.fit(space, model.Config(d_head=5))
    assert space["LayerNorm"](cfg)(0) == (5, False, True)
