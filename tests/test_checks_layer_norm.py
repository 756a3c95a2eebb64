"""The check of notebook 02: every mistake as a learner would type it."""

import itertools
import time

import pytest

from helpers import Config, checks
from helpers.checks.catalogue import gradients_equal, outputs_equal
from tests.candidates import Answer, define

LAYER_NORM = """
class LayerNorm(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(cfg.d_model))
        self.b = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, residual):
        x = residual
        {body}
"""


def layer_norm(*lines: str, **names) -> type:
    """A LayerNorm whose forward has these lines; x is its input."""
    source = LAYER_NORM.replace("{body}", "\n        ".join(lines))
    return define(source, **names)["LayerNorm"]


MEAN = "mean = x.mean(-1, keepdim=True)"
CENTRE = "x = x - mean"
VARIANCE = "variance = x.pow(2).mean(-1, keepdim=True)"
EPS = "variance = variance + self.cfg.layer_norm_eps"
SCALE = "scale = variance.sqrt()"
DIVIDE = "x = x / scale"
OUT = "return x * self.w + self.b"
PLAIN = (MEAN, CENTRE, VARIANCE, EPS, SCALE, DIVIDE, OUT)
NORM = "eps = self.cfg.layer_norm_eps"


def but(old: str, *new: str) -> tuple[str, ...]:
    """The plain answer with one line replaced."""
    assert old in PLAIN
    at = PLAIN.index(old)
    return (*PLAIN[:at], *new, *PLAIN[at + 1 :])


def over(dims: str) -> tuple[str, ...]:
    """The plain answer with every average over other axes."""
    return tuple(line.replace("(-1,", f"({dims},") for line in PLAIN)


F_LAYER_NORM = ("y = F.layer_norm(x, x.shape[-1:], self.w, self.b)",)
RIGHT = {
    "plain": PLAIN,
    "einops": (
        "x = x - einops.reduce(x, 'batch position d_model -> batch position 1',"
        " 'mean')",
        "scale = (einops.reduce(x.pow(2), 'b p d -> b p 1', 'mean')"
        " + self.cfg.layer_norm_eps).sqrt()",
        DIVIDE,
        OUT,
    ),
    "torch.einsum": (
        "ones = torch.ones_like(x) / x.shape[-1]",
        "x = x - torch.einsum('bpd,bpd->bp', x, ones)[..., None]",
        "var = torch.einsum('bpd,bpd,bpd->bp', x, x, ones)[..., None]",
        "x = x / (var + self.cfg.layer_norm_eps) ** 0.5",
        "return torch.einsum('bpd,d->bpd', x, self.w) + self.b",
    ),
    "einops.einsum": (
        "mean = einsum(x, 'b p d -> b p') / self.cfg.d_model",
        "x = x - mean.unsqueeze(-1)",
        "var = einsum(x, x, 'b p d, b p d -> b p') / self.cfg.d_model",
        "x = x / torch.sqrt(var.unsqueeze(-1) + self.cfg.layer_norm_eps)",
        "return einsum(x, self.w, 'b p d, d -> b p d') + self.b",
    ),
    "F.layer_norm": (
        "return F.layer_norm(x, (x.shape[-1],), self.w, self.b,"
        " self.cfg.layer_norm_eps)",
    ),
    "F.layer_norm by keyword": (
        "return F.layer_norm(x, [self.cfg.d_model], weight=self.w, bias=self.b,"
        " eps=1e-5)",
    ),
    "var unbiased": (
        "var = x.var(dim=-1, keepdim=True, unbiased=False)",
        "x = (x - x.mean(-1, keepdim=True)) / (var + 1e-5).sqrt()",
        OUT,
    ),
    "correction": (
        "var = torch.var(x, dim=-1, keepdim=True, correction=0)",
        "y = (x - x.mean(-1, keepdim=True)) * torch.rsqrt(var + 1e-5)",
        "return y * self.w + self.b",
    ),
    "var_mean": (
        "var, mean = torch.var_mean(x, dim=2, keepdim=True, correction=0)",
        "return (x - mean) / (var + self.cfg.layer_norm_eps).sqrt() * self.w + self.b",
    ),
    "std squared": (
        MEAN,
        "std = x.std(dim=-1, keepdim=True, unbiased=False)",
        "x = (x - mean) / torch.sqrt(std**2 + self.cfg.layer_norm_eps)",
        OUT,
    ),
    "n - 1 undone": (
        MEAN,
        "n = x.shape[-1]",
        "var = x.var(-1, keepdim=True) * (n - 1) / n",
        "x = (x - mean) / torch.sqrt(var + self.cfg.layer_norm_eps)",
        OUT,
    ),
    "loop over positions": (
        "out = torch.zeros_like(x)",
        "for b in range(x.shape[0]):",
        "    for p in range(x.shape[1]):",
        "        v = x[b, p] - x[b, p].mean()",
        "        scale = ((v * v).sum() / len(v) + self.cfg.layer_norm_eps) ** 0.5",
        "        out[b, p] = v / scale * self.w + self.b",
        "return out",
    ),
    "stacked": (
        "rows = []",
        "for row in x.reshape(-1, x.shape[-1]):",
        "    v = row - row.mean()",
        "    rows.append(v / (v.pow(2).mean() + self.cfg.layer_norm_eps).sqrt())",
        "return torch.stack(rows).view_as(x) * self.w + self.b",
    ),
    "mean of squares less square of mean": (
        MEAN,
        "var = (x**2).mean(-1, keepdim=True) - mean**2",
        "x = (x - mean) / (var + self.cfg.layer_norm_eps).sqrt()",
        OUT,
    ),
    "rsqrt": but(DIVIDE, "x = x * variance.rsqrt()"),
    "numpy's names": but(MEAN, "mean = x.mean(axis=-1, keepdims=True)"),
    "prints": (*PLAIN[:2], "print('centred', x)", *PLAIN[2:]),
    "debug": (*PLAIN[:2], "if self.cfg.debug: print(x.shape)", *PLAIN[2:]),
    "addcmul": (*PLAIN[:-1], "return torch.addcmul(self.b, x, self.w)"),
    "broadcast by hand": (
        "m = x.mean(dim=2)",
        "x = x - m[:, :, None]",
        "s = x.pow(2).mean(dim=2).add(self.cfg.layer_norm_eps).sqrt()",
        "return x / s[:, :, None] * self.w[None, None, :] + self.b[None, None, :]",
    ),
    "d_model first": (
        "x = x.transpose(0, 2)",
        "x = x - x.mean(0)",
        "x = x / (x * x).mean(0).add(self.cfg.layer_norm_eps).sqrt()",
        "return x.transpose(0, 2) * self.w + self.b",
    ),
    "centred by a matrix": (
        "n = x.size(-1)",
        "x = x @ (torch.eye(n) - 1 / n)",
        "scale = x.square().mean(-1, True) + self.cfg.layer_norm_eps",
        "return x * scale.rsqrt() * self.w + self.b",
    ),
    "length of the vector": (
        "x = x - x.mean(-1, keepdim=True)",
        "variance = x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1]",
        "return x / (variance + 1e-5).sqrt() * self.w + self.b",
    ),
    "nn.LayerNorm with these weights": (
        "layer = nn.LayerNorm(self.cfg.d_model, eps=self.cfg.layer_norm_eps)",
        "layer.weight, layer.bias = self.w, self.b",
        "return layer(x)",
    ),
    "in double": (
        "x = x.double()",
        "x = x - x.mean(-1, keepdim=True)",
        "x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()",
        "return x.float() * self.w + self.b",
    ),
    "in place on a tensor of its own": (
        "x = x - x.mean(-1, keepdim=True)",
        "s = x.pow(2).mean(-1, keepdim=True)",
        "s += self.cfg.layer_norm_eps",
        "y = x / s.sqrt()",
        "y = y * self.w",
        "y += self.b",
        "return y",
    ),
}

# one list of sources per name: each line of the catalogue, typed in several ways
WRONG = {
    "divides-by-n-minus-1": [
        but(VARIANCE, "variance = x.var(-1, keepdim=True)"),
        but(VARIANCE, "variance = x.std(-1, keepdim=True) ** 2"),
        ("variance, mean = torch.var_mean(x, dim=-1, keepdim=True)", CENTRE, EPS)
        + (SCALE, DIVIDE, OUT),
    ],
    "variance-not-averaged": [
        but(VARIANCE, "variance = x.pow(2).sum(-1, keepdim=True)"),
        but(VARIANCE, "variance = einops.reduce(x**2, 'b p d -> b p 1', 'sum')"),
    ],
    "absolute-deviation": [
        but(VARIANCE, "variance = x.abs().mean(-1, keepdim=True)"),
        (*but(VARIANCE, "scale = x.abs().mean(-1, keepdim=True)")[:3],)
        + ("x = x / (scale + self.cfg.layer_norm_eps)", OUT),
    ],
    "no-centring-before-squaring": [
        but(CENTRE, "squares = x**2", CENTRE)[:3]
        + ("variance = squares.mean(-1, keepdim=True)", EPS, SCALE, DIVIDE, OUT),
        ("variance = (x * x).mean(-1, keepdim=True)", MEAN, CENTRE, EPS, SCALE)
        + (DIVIDE, OUT),
    ],
    "mean-not-subtracted": [
        ("var = x.var(-1, keepdim=True, unbiased=False)",)
        + ("return x / (var + self.cfg.layer_norm_eps).sqrt() * self.w + self.b",),
        but(DIVIDE, "x = residual / scale"),
    ],
    "mean-never-subtracted": [
        but(CENTRE),
        (
            "rms = (x.pow(2).mean(-1, keepdim=True) + self.cfg.layer_norm_eps).sqrt()",
            "return x / rms * self.w + self.b",
        ),
    ],
    "no-eps": [
        but(EPS),
        but(EPS, "variance = variance + self.cfg.layer_norm_eps ** 2"),
        (MEAN, "std = x.std(-1, keepdim=True, unbiased=False)")
        + ("return (x - mean) / std * self.w + self.b",),
    ],
    "input-added": [
        but(OUT, "return residual + x * self.w + self.b"),
        but(OUT, "x = x * self.w + self.b", "return x + residual"),
    ],
    "eps-outside-the-root": [
        (MEAN, "std = x.std(-1, keepdim=True, unbiased=False)", CENTRE)
        + ("return x / (std + self.cfg.layer_norm_eps) * self.w + self.b",),
        but(EPS)[:4] + ("x = x / (scale + 1e-5)", OUT),
    ],
    "eps-inside-and-outside": [
        but(DIVIDE, "x = x / (scale + self.cfg.layer_norm_eps)"),
    ],
    "another-eps": [
        but(EPS, "variance = variance + 1e-6"),
        but(EPS, "variance = variance + 1e-8"),
    ],
    "eps-subtracted": [
        but(EPS, "variance = variance - self.cfg.layer_norm_eps"),
    ],
    "no-square-root": [
        but(SCALE, "scale = variance"),
        (MEAN, CENTRE, VARIANCE, "return x / (variance + 1e-5) * self.w + self.b"),
    ],
    "multiplied-by-the-root": [
        but(DIVIDE, "x = x * scale"),
        but(DIVIDE, "x = x / variance.rsqrt()"),
    ],
    "not-divided": [
        but(DIVIDE, "normalized = x / scale"),
        (MEAN, CENTRE, OUT),
    ],
    "wrong-axis": [over("1"), over("-2")],
    "batch-axis": [over("0"), over("dim=0")],
    "batch-and-position-axes": [over("(0, 1)")],
    "all-axes": [
        but(MEAN, "mean = x.mean()")[:2]
        + ("variance = x.pow(2).mean()", EPS, SCALE, DIVIDE, OUT),
        over("(0, 1, 2)"),
    ],
    "position-and-model-axes": [
        over("(1, 2)"),
        ("return F.layer_norm(x, x.shape[1:]) * self.w + self.b",),
    ],
    "mean-over-all-axes": [but(MEAN, "mean = x.mean()")],
    "variance-over-all-axes": [but(VARIANCE, "variance = x.pow(2).mean()")],
    "reduced-axis-dropped": [
        tuple(line.replace(", keepdim=True", "") for line in PLAIN),
    ],
    "weight-unused": [but(OUT, "return x + self.b")],
    "bias-unused": [but(OUT, "return x * self.w"), but(OUT, "x *= self.w", "return x")],
    "weight-and-bias-swapped": [but(OUT, "return x * self.b + self.w")],
    "weight-added": [but(OUT, "return x + self.w + self.b")],
    "bias-multiplied": [but(OUT, "return x * self.w * self.b")],
    "bias-before-weight": [but(OUT, "return (x + self.b) * self.w")],
    "detached-mean": [
        but(CENTRE, "x = x - mean.detach()"),
        but(MEAN, "with torch.no_grad():", "    " + MEAN),
    ],
    "detached-variance": [
        but(DIVIDE, "x = x / scale.detach()"),
        but(EPS, "variance = variance.data + self.cfg.layer_norm_eps"),
    ],
    "detached-statistics": [
        ("with torch.no_grad():", "    " + MEAN)
        + ("    variance = x.var(-1, keepdim=True, unbiased=False)", CENTRE)
        + PLAIN[3:],
    ],
    "detached-input": [
        but(DIVIDE, "x = (x / scale).detach()"),
        ("x = x.detach()", *PLAIN),
        ("with torch.no_grad():", *("    " + line for line in PLAIN[:-1]), OUT),
    ],
    "detached-output": [
        ("with torch.no_grad():", *("    " + line for line in PLAIN)),
        but(OUT, "return (x * self.w + self.b).data"),
    ],
}

PAIRS = {
    ("divides-by-n-minus-1", "eps-outside-the-root"): (
        "return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True)"
        " + self.cfg.layer_norm_eps) * self.w + self.b",
    ),
    ("divides-by-n-minus-1", "no-eps"): (
        "return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)"
        " * self.w + self.b",
    ),
    ("divides-by-n-minus-1", "bias-unused"): (
        MEAN,
        "var = x.var(-1, keepdim=True)",
        "return (x - mean) / (var + 1e-5).sqrt() * self.w",
    ),
    ("divides-by-n-minus-1", "weight-unused"): (
        "y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt()",
        "return y + self.b",
    ),
    ("divides-by-n-minus-1", "weight-and-bias-swapped"): (
        MEAN,
        "var = x.var(-1, keepdim=True)",
        "return (x - mean) / (var + 1e-5).sqrt() * self.b + self.w",
    ),
    ("divides-by-n-minus-1", "wrong-axis"): (
        "y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-5).sqrt()",
        OUT.replace("x", "y"),
    ),
    ("divides-by-n-minus-1", "mean-not-subtracted"): (
        "return x / (x.var(-1, keepdim=True) + 1e-5).sqrt() * self.w + self.b",
    ),
    ("divides-by-n-minus-1", "no-square-root"): (
        "y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5)",
        OUT.replace("x", "y"),
    ),
    ("weight-unused", "bias-unused"): but(OUT, "y = x * self.w + self.b", "return x"),
    ("no-eps", "bias-unused"): but(EPS)[:-1] + ("return x * self.w",),
    ("no-eps", "no-square-root"): (MEAN, CENTRE, VARIANCE)
    + ("return x / variance * self.w + self.b",),
    ("no-eps", "wrong-axis"): tuple(line for line in over("1") if line != EPS),
    ("mean-never-subtracted", "no-eps"): (
        "return x / x.pow(2).mean(-1, keepdim=True).sqrt() * self.w + self.b",
    ),
    ("mean-never-subtracted", "bias-unused"): (  # Llama's own form
        "return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.w",
    ),
    ("no-centring-before-squaring", "eps-outside-the-root"): (
        "rms = x.pow(2).mean(-1, keepdim=True).sqrt()",
        "x = (x - x.mean(-1, keepdim=True)) / (rms + self.cfg.layer_norm_eps)",
        OUT,
    ),
    ("variance-not-averaged", "no-eps"): (
        MEAN,
        CENTRE,
        "return x / x.norm(dim=-1, keepdim=True) * self.w + self.b",
    ),
}

# mistakes that show in another way than by an equal output
OTHER = {
    "changes-its-input": ("x -= x.mean(-1, keepdim=True)", *PLAIN[2:]),
    "reduced-axis-dropped": but(MEAN, "mean = x.mean(-1)"),
    "reduced-axis-dropped ": but(VARIANCE, "variance = x.pow(2).mean(-1)"),
    "reduced-axis-dropped  ": but(
        MEAN, "mean = einops.reduce(x, 'b p d -> b p', 'mean')"
    ),
    "no-return": but(OUT, "x * self.w + self.b"),
    "sqrt-of-a-number": but(SCALE, "scale = torch.sqrt(self.cfg.d_model)"),
    "undefined-name": but(OUT, "return x * w + b"),
    "in-place-on-a-leaf": (
        "x = x - x.mean(-1, keepdim=True)",
        "x /= (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()",
        "return x * self.w + self.b",
    ),
    "one-number-wanted": but(SCALE, "scale = math.sqrt(variance)"),
    "unknown-argument": but(MEAN, "mean = x.mean(-1, keep_dim=True)"),
    "no-such-axis": but(MEAN, "mean = x.mean(3, keepdim=True)"),
    "argument-order": but(MEAN, "mean = einops.reduce('b p d -> b p 1', x, 'mean')"),
    "reduce-without-how": but(MEAN, "mean = einops.reduce(x, 'b p d -> b p 1')"),
    "shapes-do-not-broadcast": but(OUT, "return x @ self.w + self.b"),
    "numpy-knows-no-gradient": ("x = torch.tensor(x.numpy())", *PLAIN),
    "no-such-attribute": but(OUT, "return x * self.W + self.b"),
    "einsum-pattern": but(MEAN, "mean = einops.reduce(x, 'b p -> b 1', 'mean')"),
}


def answers():
    """Every answer above, with what the check should say of it."""
    for lines in RIGHT.values():
        yield Answer("layer_norm", None, layer_norm(*lines))
    for slug, many in WRONG.items():
        for lines in many:
            yield Answer("layer_norm", (slug,), layer_norm(*lines))
    for slugs, lines in PAIRS.items():
        yield Answer("layer_norm", slugs, layer_norm(*lines))
    for slug, lines in OTHER.items():
        yield Answer("layer_norm", (slug.strip(),), layer_norm(*lines))


@pytest.mark.parametrize("name", RIGHT)
def test_right(name):
    report = checks.layer_norm.examine(layer_norm(*RIGHT[name]))
    assert report.status == "passed" and not report.notes, report


@pytest.mark.parametrize(
    ("slug", "lines"),
    [(slug, lines) for slug, answers in WRONG.items() for lines in answers],
)
def test_wrong_is_named(slug, lines):
    start = time.process_time()
    report = checks.layer_norm.examine(layer_norm(*lines))
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug], report
    assert report.mistakes[0].exact and not report.one_of
    assert time.process_time() - start < 20  # 2 s of one core, and slow machines


@pytest.mark.parametrize("slugs", PAIRS, ids=" ".join)
def test_two_mistakes_at_once(slugs):
    report = checks.layer_norm.examine(layer_norm(*PAIRS[slugs]))
    assert {m.name for m in report.mistakes} == set(slugs), report
    assert all(m.exact for m in report.mistakes)


@pytest.mark.parametrize("slug", OTHER)
def test_wrong_is_told(slug):
    report = checks.layer_norm.examine(layer_norm(*OTHER[slug]))
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug.strip()], report


def test_an_eps_that_no_entry_has_is_told():
    lines = ("return F.layer_norm(x, x.shape[-1:], self.w, self.b, 0.02)",)
    mistake, *_ = checks.layer_norm.examine(layer_norm(*lines)).mistakes
    assert mistake.name == "another-eps" and "about 0.02" in mistake.message


@pytest.mark.parametrize(
    ("stage", "lines"),
    [
        # sqrt(var) + sqrt(eps), the mean divided twice, and a bracket forgotten
        ("the-normalized-vector", but(EPS)[:-2] + ("return x / (scale + 3e-3)",)),
        ("the-centred-vector", but(CENTRE, "x = x - mean / x.shape[-1]")),
        ("the-normalized-vector", but(DIVIDE, "x = residual - mean / scale")),
    ],
)
def test_the_first_wrong_step_is_told(stage, lines):
    mistake, *_ = checks.layer_norm.examine(layer_norm(*lines)).mistakes
    assert mistake.name == f"departs-at-{stage}"
    assert mistake.line in lines


@pytest.mark.parametrize(
    ("returned", "told"),
    [("mean", "the mean"), ("x - mean", "centred"), ("residual", "what it was given")],
)
def test_an_earlier_result_returned_is_told(returned, told):
    lines = (MEAN, *F_LAYER_NORM, f"return {returned}")
    mistake, *_ = checks.layer_norm.examine(layer_norm(*lines)).mistakes
    assert mistake.name == "returns-an-earlier-step" and told in mistake.message


ANNOTATED = """
jaxtyping = __import__("jaxtyping")
Float = jaxtyping.Float

class LayerNorm(nn.Module):
    w: nn.Parameter

    def __init__(self, cfg: Config, start: float = 1.0):
        super().__init__()
        self.cfg, self.start = cfg, start
        self.register_buffer("IGNORE", torch.tensor(-1e5, dtype=torch.float32))
        self.w = nn.Parameter(torch.full((cfg.d_model,), start))
        self.b = nn.Parameter(torch.zeros(cfg.d_model))

    def centred(self, x):
        return x - x.mean(-1, keepdim=True)

    @property
    def eps(self):
        return self.cfg.layer_norm_eps

    def forward(
        self, residual: Float[torch.Tensor, "batch position d_model"], verbose=False
    ) -> Float[torch.Tensor, "batch position d_model"]:
        if verbose:
            print(residual.shape)
        x = self.centred(residual)
        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt() * self.w + self.b
"""


def test_annotations_extra_arguments_methods_and_buffers():
    report = checks.layer_norm.examine(define(ANNOTATED)["LayerNorm"])
    assert report.status == "passed" and not report.notes, report


def test_global_cfg_passes_with_a_note():
    lines = [line.replace("self.cfg", "cfg") for line in PLAIN]
    report = checks.layer_norm.examine(layer_norm(*lines, cfg=Config(d_model=5)))
    assert report.status == "passed"
    assert "global `cfg`" in report.notes[0]


@pytest.mark.parametrize("how", ['device="cuda"', "**{'device': 'cuda:0'}"])
def test_a_gpu_in_init_passes_with_a_note(how):
    source = LAYER_NORM.replace("(cfg.d_model)", f"(cfg.d_model, {how})")
    answer = define(source.replace("{body}", "\n        ".join(PLAIN)))["LayerNorm"]
    report = checks.layer_norm.examine(answer)
    assert report.status == "passed"
    assert any("GPU" in note for note in report.notes)


def test_zeros_as_starting_weights_are_a_note():
    source = LAYER_NORM.replace("torch.ones", "torch.zeros")
    answer = define(source.replace("{body}", "\n        ".join(PLAIN)))["LayerNorm"]
    report = checks.layer_norm.examine(answer)
    assert report.status == "passed" and "w = 1" in report.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "slug"),
    [
        ("self.b = nn.Parameter(torch.zeros(cfg.d_model))", "", "missing-parameter"),
        ("self.b = ", "self.bias = ", "renamed-parameter"),
        ("torch.zeros(cfg.d_model)", "torch.zeros(1)", "misshapen-parameter"),
        ("nn.Parameter(torch.zeros(cfg.d_model))", "torch.zeros(24)", "not-a-p"),
        ("ones(cfg.d_model)", "ones(24)", "literal-size"),
        ("ones(cfg.d_model)", "ones(768)", "misshapen-parameter"),
        ("super().__init__()", "pass", "no-super-init"),
        ("__init__(self, cfg)", "__init__(self, cfg, eps)", "init-argument"),
        ("(nn.Module)", "", "not-a-module"),
    ],
)
def test_wrong_parameters(old, new, slug):
    source = LAYER_NORM.replace("{body}", "\n        ".join(PLAIN))
    assert old in source
    report = checks.layer_norm.examine(define(source.replace(old, new))["LayerNorm"])
    assert report.status == "failed"
    assert report.mistakes[0].name.startswith(slug), report


@pytest.mark.parametrize(
    "body", ["pass", "...", '"""Later."""', "raise NotImplementedError()", "return"]
)
def test_to_do(body):
    source = LAYER_NORM.replace("        x = residual\n", "").replace("{body}", body)
    report = checks.layer_norm.examine(define(source)["LayerNorm"])
    assert report.status == "todo", report


def test_each_two_mistakes_can_be_told_apart():
    check = checks.layer_norm
    cases = check.make_cases()
    equal = outputs_equal(check.view, check.tolerance)
    kinds = {True: [], False: []}
    for known in check.known:
        kinds[known.gradient].append(known)
    runs = [[check.reference_run(c, k.switches) for c in cases] for k in kinds[False]]
    for i, j in itertools.combinations(range(len(runs)), 2):
        alike = all(equal(x, y) for x, y in zip(runs[i], runs[j], strict=True))
        assert not alike, (kinds[False][i], kinds[False][j])
    cases = [c for c in cases if c.grad]
    equal = gradients_equal(10 * check.tolerance)
    runs = [
        [check.reference_backward(c, k.switches) for c in cases] for k in kinds[True]
    ]
    for i, j in itertools.combinations(range(len(runs)), 2):
        alike = all(equal(x, y) for x, y in zip(runs[i], runs[j], strict=True))
        assert not alike, (kinds[True][i], kinds[True][j])


def test_every_mistake_is_tried():
    assert {k.name for k in checks.layer_norm.known} == set(WRONG)
