"""The checks of notebook 05: every mistake as a learner would type it."""

import itertools

import pytest

from helpers import checks, model
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define

GELU_RIGHT = {
    "formula": """
        def gelu_new(x):
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            return 0.5 * x * (1 + torch.tanh(inner))
        """,
    "torch": "def gelu_new(x): return F.gelu(x, approximate='tanh')",
    "module": "def gelu_new(x): return nn.GELU(approximate='tanh')(x)",
    "template's": """
        def gelu_new(input):
            return 0.5 * input * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi)
                * (input + 0.044715 * torch.pow(input, 3.0))))
        """,
    "sigmoid of twice": """
        def gelu_new(x):
            u = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x * x * x)
            return x * torch.sigmoid(2 * u)
        """,
    "numbers": """
        def gelu_new(x: torch.Tensor, c=0.044715) -> torch.Tensor:
            print(x.shape)
            return x * (1 + (0.7978845608028654 * (x + c * x.pow(3))).tanh()) / 2
        """,
    "row by row": """
        def gelu_new(x):
            out = torch.empty_like(x)
            for i in range(x.shape[0]):
                cubed = x[i] + 0.044715 * x[i] ** 3
                out[i] = 0.5 * x[i] * (1 + torch.tanh(math.sqrt(2 / math.pi) * cubed))
            return out
        """,
    "class instance in a lambda": "gelu_new = lambda x: nn.GELU('tanh')(x)",
}

GELU_WRONG = {
    "exact-gelu": [
        "def gelu_new(x): return F.gelu(x)",
        "def gelu_new(x): return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))",
    ],
    "erf-without-root-two": [
        "def gelu_new(x): return x * 0.5 * (1 + torch.erf(x))",
    ],
    "relu": [
        "def gelu_new(x): return F.relu(x)",
        "def gelu_new(x): return x.clamp(min=0)",
    ],
    "sigmoid-approximation": [
        "def gelu_new(x): return x * torch.sigmoid(1.702 * x)",
    ],
    "silu": ["def gelu_new(x): return x / (1 + torch.exp(-x))"],
    "input-unchanged": ["def gelu_new(x): return x"],
}

FORMULA = """
def gelu_new(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))
"""
for _slug, _old, _new in [
    ("no-half", "0.5 * x", "x"),
    ("no-x-factor", "0.5 * x", "0.5"),
    ("square-instead-of-cube", "x**3", "x**2"),
    ("no-cube", "x**3", "x"),
    ("fourth-power", "x**3", "x**4"),
    ("power-around-the-sum", "(x + 0.044715 * x**3)", "(x + 0.044715 * x) ** 3"),
    ("no-linear-term", "(x + 0.044715", "(0.044715"),
    ("cube-subtracted", "x + 0.044715", "x - 0.044715"),
    ("factor-on-x-only", "(x + 0.044715 * x**3)", "x + 0.044715 * x**3"),
    ("factor-missing", "math.sqrt(2 / math.pi) * ", ""),
    ("factor-inverted", "2 / math.pi", "math.pi / 2"),
    ("factor-unrooted", "math.sqrt(2 / math.pi)", "(2 / math.pi)"),
    ("root-of-two-only", "math.sqrt(2 / math.pi)", "math.sqrt(2) / math.pi"),
    ("root-of-pi-only", "math.sqrt(2 / math.pi)", "2 / math.sqrt(math.pi)"),
    ("factor-times-pi", "2 / math.pi", "2 * math.pi"),
    ("no-tanh", "torch.tanh(inner)", "inner"),
    ("sigmoid-for-tanh", "torch.tanh", "torch.sigmoid"),
    ("no-one", "(1 + torch.tanh(inner))", "torch.tanh(inner)"),
    ("minus-tanh", "1 + ", "1 - "),
    *[
        (f"constant-{c}", "0.044715", str(c))
        for c in (0.44715, 0.04715, 0.4715, 0.0044715, 0.044175, 0.047715)
    ],
]:
    assert _old in FORMULA
    GELU_WRONG[_slug] = [FORMULA.replace(_old, _new)]

MLP = """
class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.W_in = nn.Parameter(torch.empty((cfg.d_model, cfg.d_mlp)))
        nn.init.normal_(self.W_in, std=self.cfg.init_range)
        self.b_in = nn.Parameter(torch.zeros((cfg.d_mlp)))
        self.W_out = nn.Parameter(torch.empty((cfg.d_mlp, cfg.d_model)))
        nn.init.normal_(self.W_out, std=self.cfg.init_range)
        self.b_out = nn.Parameter(torch.zeros((cfg.d_model)))

    def forward(self, normalized_resid_mid):
        x = normalized_resid_mid
        {body}
"""


def mlp(*lines: str) -> type:
    """An MLP whose forward has these lines; x is its input."""
    source = MLP.replace("{body}", "\n        ".join(lines))
    return define(source, gelu_new=model.gelu_new)["MLP"]


PRE, POST, OUT = (
    "pre = x @ self.W_in + self.b_in",
    "post = gelu_new(pre)",
    "return post @ self.W_out + self.b_out",
)

MLP_RIGHT = {
    "matmul": (PRE, POST, OUT),
    "torch's gelu": (PRE, "post = F.gelu(pre, approximate='tanh')", OUT),
    "einops": (
        "pre = einsum(x, self.W_in,"
        " 'batch position d_model, d_model d_mlp -> batch position d_mlp')",
        "post = gelu_new(pre + self.b_in)",
        "return einsum(post, self.W_out, 'b p m, m d -> b p d') + self.b_out",
    ),
    "fancy_einsum": (
        "pre = fancy_einsum.einsum('batch position d_model, d_model d_mlp "
        "-> batch position d_mlp', x, self.W_in) + self.b_in",
        POST,
        "return fancy_einsum.einsum('batch position d_mlp, d_mlp d_model "
        "-> batch position d_model', post, self.W_out) + self.b_out",
    ),
    "torch.einsum, prints": (
        "pre = torch.einsum('bpd,dm->bpm', x, self.W_in) + self.b_in",
        "if self.cfg.debug: print(pre.shape)",
        "print('pre', pre.shape)",
        POST,
        "return torch.einsum('bpm,md->bpd', post, self.W_out) + self.b_out",
    ),
    "F.linear": (
        "post = gelu_new(F.linear(x, self.W_in.T, self.b_in))",
        "return F.linear(post, self.W_out.T, self.b_out)",
    ),
    "loop over positions": (
        "outs = []",
        "for i in range(x.shape[1]):",
        "    h = gelu_new(x[:, i] @ self.W_in + self.b_in)",
        "    outs.append(h @ self.W_out + self.b_out)",
        "return torch.stack(outs, dim=1)",
    ),
    "neuron by neuron": (
        "out = self.b_out",
        "for i in range(self.cfg.d_mlp):",
        "    h = gelu_new(x @ self.W_in[:, i] + self.b_in[i])",
        "    out = out + h[..., None] * self.W_out[i]",
        "return out",
    ),
    "addmm": (
        "flat = einops.rearrange(x, 'b p d -> (b p) d')",
        "h = gelu_new(torch.addmm(self.b_in, flat, self.W_in))",
        "return torch.addmm(self.b_out, h, self.W_out).view_as(x)",
    ),
}

MLP_WRONG = {
    "no-activation": [
        (PRE, "return pre @ self.W_out + self.b_out"),
        (PRE, POST, "return pre @ self.W_out + self.b_out"),
    ],
    "activation-at-the-end": [
        (PRE, "return gelu_new(pre @ self.W_out + self.b_out)"),
    ],
    "activation-before-b-out": [
        (PRE, "return gelu_new(pre @ self.W_out) + self.b_out"),
    ],
    "activation-on-the-output-too": [
        (PRE, POST, "return gelu_new(post @ self.W_out + self.b_out)"),
    ],
    "activation-before-w-in": [
        ("pre = gelu_new(x) @ self.W_in + self.b_in",)
        + ("return pre @ self.W_out + self.b_out",),
    ],
    "activation-twice": [(PRE, POST, "post = gelu_new(post)", OUT)],
    "exact-gelu": [(PRE, "post = F.gelu(pre)", OUT)],
    "relu": [(PRE, "post = F.relu(pre)", OUT), (PRE, "post = pre.clamp(min=0)", OUT)],
    "silu": [(PRE, "post = F.silu(pre)", OUT)],
    "sigmoid-approximation": [(PRE, "post = pre * torch.sigmoid(1.702 * pre)", OUT)],
    "tanh": [(PRE, "post = pre.tanh()", OUT)],
    "b-in-unused": [("pre = x @ self.W_in", POST, OUT)],
    "b-out-unused": [(PRE, POST, "return post @ self.W_out")],
    "b-in-after-the-activation": [
        ("post = gelu_new(x @ self.W_in) + self.b_in", OUT),
    ],
    "residual-inside": [(PRE, POST, "return x + post @ self.W_out + self.b_out")],
    "weights-swapped": [
        ("pre = x @ self.W_out.T + self.b_in", POST)
        + ("return post @ self.W_in.T + self.b_out",),
    ],
    "d-model-not-tied": [
        ("pre = torch.einsum('bpd,em->bpm', x, self.W_in) + self.b_in", POST, OUT),
    ],
    "d-mlp-not-tied": [
        (PRE, POST)
        + ("return torch.einsum('bpm,nd->bpd', post, self.W_out) + self.b_out",),
    ],
}

# mistakes that show in another way than by an equal output
MLP_OTHER = {
    "matmul-shapes": (PRE.replace("W_in", "W_in.T"), POST, OUT),
    "shapes-do-not-broadcast": (PRE.replace("b_in", "b_out"), POST, OUT),
    "no-return": (PRE, POST, "post @ self.W_out + self.b_out"),
    "not-differentiable": (PRE, POST, OUT + ".detach()", "return out"),
    "departs-at-post-(after-the-activation)": (PRE, "post = F.elu(pre)", OUT),
    "undefined-name": (PRE.replace("self.b_in", "b_in"), POST, OUT),
    "changes-its-input": ("x += 0 * x + 1e-9", PRE, POST, OUT),
    "without-a-gradient": (PRE.replace("self.b_in", "self.b_in.data"), POST, OUT),
}
MLP_OTHER["not-differentiable"] = (
    PRE,
    POST,
    "out = post @ self.W_out + self.b_out",
    "return out.detach()",
)


def answers():
    """Every answer above, with what its check should say of it."""
    for source in GELU_RIGHT.values():
        yield Answer("gelu", None, define(source)["gelu_new"])
    for slug, sources in GELU_WRONG.items():
        for source in sources:
            yield Answer("gelu", (slug,), define(source)["gelu_new"])
    for lines in MLP_RIGHT.values():
        yield Answer("mlp", None, mlp(*lines))
    for slug, many in (MLP_WRONG | {s: [x] for s, x in MLP_OTHER.items()}).items():
        for lines in many:
            yield Answer("mlp", (slug,), mlp(*lines))


@pytest.mark.parametrize("name", GELU_RIGHT)
def test_right_gelu(name):
    report = checks.gelu.examine(define(GELU_RIGHT[name])["gelu_new"])
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("slug", "source"),
    [(slug, source) for slug, sources in GELU_WRONG.items() for source in sources],
)
def test_wrong_gelu_is_named(slug, source):
    report = checks.gelu.examine(define(source)["gelu_new"])
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug], report
    assert report.mistakes[0].exact


def test_gelu_narrowed():
    """A curve that nobody has catalogued is still not told to be another's."""
    report = checks.gelu.examine(define("def gelu_new(x): return F.elu(x)")["gelu_new"])
    assert report.status == "failed" and not any(m.exact for m in report.mistakes)
    report = checks.gelu.examine(
        define(FORMULA.replace("0.044715", "0.0447"))["gelu_new"]
    )
    assert report.mistakes[0].name == "another-constant"
    assert "0.0447;" in report.mistakes[0].message
    nan = """
        def gelu_new(x):
            u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            tanh = (torch.exp(2 * u) - 1) / (torch.exp(2 * u) + 1)
            return 0.5 * x * (1 + tanh)
        """
    report = checks.gelu.examine(define(nan)["gelu_new"])
    assert "NaN" in str(report)


@pytest.mark.parametrize("name", MLP_RIGHT)
def test_right_mlp(name):
    report = checks.mlp.examine(mlp(*MLP_RIGHT[name]))
    assert report.status == "passed", report


def test_right_mlp_with_a_gelu_of_ones_own():
    source = FORMULA + MLP.replace("{body}", "\n        ".join((PRE, POST, OUT)))
    assert checks.mlp.examine(define(source)["MLP"]).status == "passed"
    sequential = """
        net = nn.Sequential(nn.Linear(*self.W_in.shape), nn.GELU("tanh"),
                            nn.Linear(*self.W_out.shape)).requires_grad_(False)
        weights = {"0.weight": self.W_in.T, "0.bias": self.b_in,
                   "2.weight": self.W_out.T, "2.bias": self.b_out}
        return torch.func.functional_call(net, weights, (x,))
        """.strip()
    source = MLP.replace("{body}", sequential)
    report = checks.mlp.examine(define(source)["MLP"])
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("slug", "lines"),
    [(slug, lines) for slug, answers in MLP_WRONG.items() for lines in answers],
)
def test_wrong_mlp_is_named(slug, lines):
    report = checks.mlp.examine(mlp(*lines))
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug], report
    assert report.mistakes[0].exact


def test_two_mistakes_at_once():
    both = mlp("post = F.relu(x @ self.W_in + self.b_in)", "return post @ self.W_out")
    names = {m.name for m in checks.mlp.examine(both).mistakes}
    assert names == {"relu", "b-out-unused"}


@pytest.mark.parametrize("slug", MLP_OTHER)
def test_wrong_mlp_is_told(slug):
    report = checks.mlp.examine(mlp(*MLP_OTHER[slug]))
    assert report.status == "failed"
    assert slug in [m.name for m in report.mistakes], report


def test_misshapen_weights():
    source = MLP.replace("(cfg.d_model, cfg.d_mlp)", "(cfg.d_mlp, cfg.d_model)")
    source = source.replace("{body}", "return x @ self.W_in.T")
    report = checks.mlp.examine(define(source)["MLP"])
    assert [m.name for m in report.mistakes] == ["misshapen-parameter"]
    assert "opposite order" in str(report)


@pytest.mark.parametrize("check", [checks.gelu, checks.mlp], ids=lambda c: c.name)
def test_each_two_mistakes_can_be_told_apart(check):
    cases = check.make_cases()
    equal = outputs_equal(check.view, check.tolerance)
    runs = {
        k.name: [check.reference_run(c, k.switches) for c in cases] for k in check.known
    }
    assert len(runs) == len(check.known)
    for a, b in itertools.combinations(runs, 2):
        alike = all(equal(x, y) for x, y in zip(runs[a], runs[b], strict=True))
        assert not alike, (a, b)


def test_every_mistake_is_tried():
    assert {k.name for k in checks.gelu.known} == set(GELU_WRONG)
    assert {k.name for k in checks.mlp.known} == set(MLP_WRONG)
