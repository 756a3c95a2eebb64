"""The checks of notebooks 00 and 01: every mistake as a learner would type it."""

import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap

import pytest

from helpers import checks, my_code
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define
from tests.notebook_tools import complete

# Function: (arguments, right bodies, wrong bodies by slug); a body without a line
# break is an expression to return.
FUNCTIONS = {
    "next_token": (
        "logits",
        [
            "logits[:, -1].argmax(dim=-1)",
            "torch.argmax(logits, dim=-1)[:, -1]",
            "logits[:, -1, :].max(-1).indices",
            "logits.softmax(-1)[:, -1].argmax(1)",
            "logits[:, -1].topk(1).indices.squeeze(-1)",
            "torch.stack([text[-1].argmax() for text in logits])",
            "torch.tensor([int(text[-1].argmax()) for text in logits])",
        ],
        {
            "all-positions": ["logits.argmax(dim=-1)"],
            "first-position": ["logits[:, 0].argmax(-1)"],
            "next-to-last-position": ["logits[:, -2:-1].argmax(-1).flatten()"],
            "last-text-only": ["logits[-1].argmax(-1)"],
            "last-token-of-the-vocabulary": ["logits[:, :, -1].argmax(-1)"],
            "over-positions": ["torch.argmax(logits, dim=1)"],
            "batch-flattened": ["logits[:, -1].argmax()"],
            "everything-flattened": ["torch.argmax(logits)"],
            "least-likely": ["logits[:, -1].argmin(-1)"],
            "value-not-index": ["logits[:, -1].max(-1).values"],
            "axis-kept": ["logits[:, -1].argmax(-1, keepdim=True)"],
            "probabilities-not-token": ["logits[:, -1].softmax(-1)"],
        },
    ),
    "swap_axes": (
        "x",
        [
            "rearrange(x, 'b p d -> b d p')",
            "x.transpose(1, 2)",
            "x.mT",
            "x.permute(0, 2, 1).contiguous()",
            "torch.einsum('bpd->bdp', x)",
            "x.swapaxes(-1, -2)",
        ],
        {
            "reshaped-not-transposed": [
                "x.view(x.shape[0], x.shape[2], x.shape[1])",
                "rearrange(x, 'b p d -> b (p d)').reshape(len(x), x.shape[2], -1)",
            ],
            "batch-moved": ["x.permute(2, 1, 0)", "rearrange(x, 'b p d -> d p b')"],
            "batch-and-position-swapped": ["rearrange(x, 'b p d -> p b d')"],
            "axes-rotated": ["rearrange(x, 'b p d -> d b p')"],
            "not-swapped": ["x", "rearrange(x, 'b p d -> b p d')"],
        },
    ),
    "split_heads": (
        "x, n_heads",
        [
            "rearrange(x, 'b p (n h) -> b p n h', n=n_heads)",
            "x.reshape(*x.shape[:2], n_heads, -1)",
            "x.unflatten(-1, (n_heads, -1))",
            "x.view(x.size(0), x.size(1), n_heads, x.size(2) // n_heads)",
            "torch.stack(x.chunk(n_heads, dim=-1), dim=2)",
        ],
        {
            "d-head-before-n-heads": [
                "rearrange(x, 'b p (h n) -> b p n h', n=n_heads)",
            ],
            "sizes-swapped": ["x.unflatten(-1, (-1, n_heads))"],
            "right-heads-wrong-order": [
                "rearrange(x, 'b p (n h) -> b p h n', n=n_heads)",
                "torch.stack(x.chunk(n_heads, dim=-1), dim=-1)",
            ],
            "heads-before-position": [
                "x.unflatten(-1, (n_heads, -1)).transpose(1, 2)",
            ],
            "reshaped-across-positions": [
                "x.reshape(x.shape[0], n_heads, x.shape[1], -1)",
            ],
        },
    ),
    "merge_heads": (
        "z",
        [
            "rearrange(z, 'b p n h -> b p (n h)')",
            "z.flatten(2)",
            "z.reshape(*z.shape[:2], -1)",
            "torch.cat(list(z.unbind(2)), dim=-1)",
        ],
        {
            "d-head-before-n-heads": ["rearrange(z, 'b p n h -> b p (h n)')"],
            "heads-not-merged": ["z", "rearrange(z, 'b p n h -> b p n h')"],
            "heads-summed": ["einops.reduce(z, 'b p n h -> b p h', 'sum')"],
            "positions-merged": ["z.flatten(1, 2)"],
            "reshaped-across-positions": [
                "z.transpose(1, 2).reshape(z.shape[0], z.shape[1], -1)",
            ],
        },
    ),
    "feature_mean": (
        "x",
        [
            "einops.reduce(x, 'b p d -> b p 1', 'mean')",
            "x.mean(-1, keepdim=True)",
            "x.sum(2, keepdim=True) / x.shape[-1]",
            "x.mean(dim=-1)[..., None]",
            "torch.einsum('bpd->bp', x).unsqueeze(-1) / x.size(-1)",
            "(x @ torch.ones(x.shape[-1], 1)) / x.shape[-1]",
        ],
        {
            "axis-dropped": ["einops.reduce(x, 'b p d -> b p', 'mean')"],
            "sum-not-mean": ["einops.reduce(x, 'b p d -> b p 1', 'sum')"],
            "max-not-mean": ["einops.reduce(x, 'b p d -> b p 1', 'max')"],
            "over-positions": ["einops.reduce(x, 'b p d -> b 1 d', 'mean')"],
            "over-the-batch": ["x.mean(0, keepdim=True)"],
            "over-everything": ["torch.mean(x)"],
            "positions-too": ["einops.reduce(x, 'b p d -> b 1 1', 'mean')"],
        },
    ),
    "repeat_rows": (
        "rows, batch",
        [
            "einops.repeat(rows, 'p d -> b p d', b=batch)",
            "rows.expand(batch, -1, -1)",
            "rows.repeat(batch, 1, 1)",
            "torch.stack([rows] * batch)",
            "rows[None] + torch.zeros(batch, 1, 1)",
        ],
        {
            "batch-after-position": ["torch.stack([rows] * batch, dim=1)"],
            "rows-laid-end-to-end": ["torch.cat([rows] * batch)"],
            "features-repeated": ["rows.repeat(1, batch)"],
            "not-repeated": ["rows"],
            "batch-of-one": ["rows.unsqueeze(0)"],
            "each-row-repeated": [
                "einops.repeat(rows, 'p d -> (p b) d', b=batch)"
                ".reshape(batch, *rows.shape)",
            ],
        },
    ),
    "apply_matrix": (
        "x, W",
        [
            "einsum(x, W, 'b p d, d m -> b p m')",
            "x @ W",
            "F.linear(x, W.T)",
            "torch.einsum('bpd,dm->bpm', x, W)",
            "fancy_einsum.einsum('b p d, d m -> b p m', x, W)",
            "(x[..., None] * W).sum(-2)",
            "torch.tensordot(x, W, dims=1)",
        ],
        {
            "axes-swapped": ["einsum(x, W, 'b p d, d m -> b m p')"],
            "positions-summed": ["(x @ W).sum(1)"],
            "batch-summed": ["einsum(x, W, 'b p d, d m -> p m')"],
            "summed-apart": ["torch.einsum('bpd,em->bpm', x, W)"],
            "not-summed": ["x[..., None] * W"],
        },
    ),
    "project_to_heads": (
        "x, W",
        [
            "einsum(x, W, 'b p d, n d h -> b p n h')",
            "torch.stack([x @ w for w in W], dim=2)",
            "(x[:, None] @ W).transpose(1, 2)",
            "torch.einsum('bpd,ndh->bpnh', x, W)",
            "rearrange(x @ rearrange(W, 'n d h -> d (n h)'),"
            " 'b p (n h) -> b p n h', n=len(W))",
        ],
        {
            "heads-before-position": ["x[:, None] @ W"],
            "heads-summed": ["sum(x @ w for w in W)"],
            "positions-summed": ["einsum(x, W, 'b p d, n d h -> b n h')"],
            "summed-apart": ["einsum(x, W, 'b p d, n e h -> b p n h')"],
            "heads-merged": ["torch.cat([x @ w for w in W], dim=-1)"],
        },
    ),
    "compare_positions": (
        "q, k",
        [
            "einsum(q, k, 'b i n h, b j n h -> b n i j')",
            "q.transpose(1, 2) @ k.transpose(1, 2).mT",
            "torch.einsum('bqnh,bknh->bnqk', q, k)",
            "fancy_einsum.einsum('b q n h, b k n h -> b n q k', q, k)",
            "torch.stack([q[:, :, n] @ k[:, :, n].mT for n in range(q.shape[2])], 1)",
        ],
        {
            "query-and-key-swapped": [
                "einsum(q, k, 'b q n h, b k n h -> b n k q')",
                "k.transpose(1, 2) @ q.transpose(1, 2).mT",
            ],
            "heads-summed": ["einsum(q, k, 'b q n h, b k n h -> b q k')"],
            "heads-last": ["einsum(q, k, 'b q n h, b k n h -> b q k n')"],
            "same-position-only": ["(q * k).sum(-1).transpose(1, 2)"],
            "compares-heads": ["q @ k.mT"],
            "mixes-heads": ["einsum(q, k, 'b q n h, b k m h -> b n q k')"],
            "already-scaled": [
                "einsum(q, k, 'b q n h, b k n h -> b n q k') / math.sqrt(q.size(-1))",
            ],
        },
    ),
    "mix_values": (
        "pattern, v",
        [
            "einsum(pattern, v, 'b n i j, b j n h -> b i n h')",
            "(pattern @ v.transpose(1, 2)).transpose(1, 2)",
            "torch.einsum('bnqk,bknh->bqnh', pattern, v)",
        ],
        {
            "values-not-tied": ["einsum(pattern, v, 'b n q k, b p n h -> b q n h')"],
            "sums-over-queries": ["(pattern.mT @ v.transpose(1, 2)).transpose(1, 2)"],
            "heads-before-position": ["pattern @ v.transpose(1, 2)"],
            "heads-summed": ["einsum(pattern, v, 'b n q k, b k n h -> b q h')"],
            "mixes-heads": ["einsum(pattern, v, 'b n q k, b k m h -> b q n h')"],
            "uniform-weights": ["v.mean(1, keepdim=True).repeat(1, v.shape[1], 1, 1)"],
        },
    ),
    "add_up_heads": (
        "z, W_O",
        [
            "einsum(z, W_O, 'b p n h, n h d -> b p d')",
            "z.flatten(2) @ W_O.flatten(0, 1)",
            "sum(z[:, :, n] @ W_O[n] for n in range(len(W_O)))",
            "torch.einsum('bpnh,nhd->bpd', z, W_O)",
            "einsum(z, W_O, 'b p n h, n h d -> b p n d').sum(2)",
        ],
        {
            "heads-not-summed": ["einsum(z, W_O, 'b p n h, n h d -> b p n d')"],
            "heads-averaged": ["einsum(z, W_O, 'b p n h, n h d -> b p n d').mean(2)"],
            "summed-apart": ["z.sum(2) @ W_O.sum(0)"],
            "positions-summed": ["einsum(z, W_O, 'b p n h, n h d -> b d')"],
            "one-head-only": [
                """
                for n in range(len(W_O)):
                    total = z[:, :, n] @ W_O[n]
                return total
                """,
            ],
            "heads-shuffled": ["z.transpose(2, 3).flatten(2) @ W_O.flatten(0, 1)"],
        },
    ),
}
RIGHT = [(name, body) for name, (_, right, _) in FUNCTIONS.items() for body in right]
WRONG = [
    (name, slug, body)
    for name, (_, _, wrong) in FUNCTIONS.items()
    for slug, bodies in wrong.items()
    for body in bodies
]


def function(name: str, body: str):
    """A function of that name, from the body that a learner would write."""
    body = textwrap.dedent(body).strip()
    if "\n" not in body and not body.startswith("raise "):
        body = f"return {body}"
    header = f"def {name}({FUNCTIONS[name][0]}):\n"
    return define(header + textwrap.indent(body, "    "))[name]


def answers():
    """Every answer here, with what its check should say of it."""
    for name, body in RIGHT:
        yield Answer(name, None, function(name, body))
    for name, slug, body in WRONG:
        yield Answer(name, (slug,), function(name, body))
    for parts in SCALE_AND_SHIFT_RIGHT.values():
        yield Answer("scale_and_shift", None, scale_and_shift(**parts))
    for slug, all_parts in SCALE_AND_SHIFT_WRONG.items():
        for parts in all_parts:
            yield Answer("scale_and_shift", (slug,), scale_and_shift(**parts))
    for make in CONFIG_RIGHT.values():
        yield Answer("config", None, make())
    for slug, makes in CONFIG_WRONG.items():
        for make in makes:
            yield Answer("config", (slug,), make())


def examined(name: str, body: str):
    return getattr(checks, name).examine(function(name, body))


@pytest.mark.parametrize(("name", "body"), RIGHT)
def test_right_functions(name, body):
    report = examined(name, body)
    assert report.status == "passed", str(report)


@pytest.mark.parametrize(("name", "slug", "body"), WRONG)
def test_wrong_functions_are_named(name, slug, body):
    report = examined(name, body)
    assert [m.name for m in report.mistakes] == [slug], str(report)
    assert report.mistakes[0].exact


@pytest.mark.parametrize("name", FUNCTIONS)
def test_blank_functions_are_to_do(name, capsys):
    for body in ("None", 'raise NotImplementedError("Fill this in.")', "pass\n..."):
        assert examined(name, body).status == "todo"
    check = getattr(checks, name)
    assert check(function(name, "pass\npass")) is check.course
    assert "to do" in capsys.readouterr().out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_return_and_crashes_are_told(name):
    first = FUNCTIONS[name][0].split(",")[0]
    assert examined(name, f"y = {first} * 1\npass").mistakes[0].name == "no-return"
    report = examined(name, f"{first} @ torch.ones(999, 2)")
    assert "ones(999, 2)" in report.mistakes[0].line


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "next_token"])
def test_a_function_that_cuts_the_gradient_fails(name):
    body = FUNCTIONS[name][1][0]
    mistakes = examined(name, f"({body}).detach()").mistakes
    assert [m.name for m in mistakes] == ["not-differentiable"]


@pytest.mark.parametrize("name", [*FUNCTIONS, "scale_and_shift"])
def test_each_two_mistakes_can_be_told_apart(name):
    check = getattr(checks, name)
    equal = outputs_equal(check.view, check.tolerance)
    cases = check.make_cases()
    made = {
        known.name: [check.reference_run(case, known.switches) for case in cases]
        for known in check.known
    }
    for a, b in itertools.combinations(made, 2):
        assert not all(map(equal, made[a], made[b])), f"{a} and {b} look the same"


def test_every_mistake_is_tried():
    for name, (_, _, wrong) in FUNCTIONS.items():
        assert {k.name for k in getattr(checks, name).known} == wrong.keys()
    tried = set(SCALE_AND_SHIFT_WRONG)
    assert {k.name for k in checks.scale_and_shift.known} <= tried


@pytest.mark.parametrize(
    ("name", "body", "slug", "words"),
    [
        ("next_token", "logits[:, -1].max(dim=-1)", "not-a-tensor", "`.indices`"),
        (
            "split_heads",
            'rearrange(x, "b p (n_heads d_head) -> b p n_heads d_head")',
            "size-not-told",
            "`n_heads=n_heads`",
        ),
        (
            "split_heads",
            'rearrange(x, "b p (n h) -> b p n h", n=4)',
            "right-numbers-wrong-shape",
            "written down as a number",
        ),
    ],
)
def test_the_cause_is_pointed_at(name, body, slug, words):
    first = examined(name, body).mistakes[0]
    assert first.name == slug and words in first.hint


def test_an_einsum_error_quotes_the_line():
    report = examined("apply_matrix", "einsum(x, W, 'b p d, m d -> b p m')")
    (mistake,) = report.mistakes
    assert "einsum(x, W" in mistake.line
    assert "`W` is [m 24, d 40]" in mistake.message
    assert "`d` is 24 in `x` and 40 in `W`" in mistake.message


# ------------------------------------------------------------ ScaleAndShift

INIT = """
super().__init__()
self.cfg = cfg
self.w = nn.Parameter(torch.ones(cfg.d_model))
self.b = nn.Parameter(torch.zeros(cfg.d_model))
self.register_buffer("centre", torch.zeros(cfg.d_model))
"""
FORWARD = "return (x - self.centre) * self.w + self.b"


def scale_and_shift(forward: str = FORWARD, init: str = INIT, base="nn.Module"):
    source = (
        f"class ScaleAndShift({base}):\n"
        f"    def __init__(self, cfg):\n{textwrap.indent(init.strip(), ' ' * 8)}\n"
        f"    def forward(self, x):\n{textwrap.indent(forward.strip(), ' ' * 8)}\n"
    )
    return define(source)["ScaleAndShift"]


def changed(old: str, new: str) -> dict:
    assert INIT.count(old) == 1, old
    return {"init": INIT.replace(old, new)}


SCALE_AND_SHIFT_RIGHT = {
    "the course's": {},
    "in three steps": {
        "forward": "y = x - self.centre\ny = y * self.w\nreturn y + self.b"
    },
    "einsum": {
        "forward": "y = einsum(x - self.centre, self.w, 'b p d, d -> b p d')\n"
        "return y + self.b"
    },
    "multiplied out": {"forward": "return x * self.w - self.centre * self.w + self.b"},
    "addcmul": {"forward": "return torch.addcmul(self.b, x - self.centre, self.w)"},
    "loop": {
        "forward": "return torch.stack([(x[:, i] - self.centre) * self.w + self.b "
        "for i in range(x.shape[1])], dim=1)"
    },
    "prints": {"forward": "print(x.shape)\n" + FORWARD},
    "old super": changed("super()", "super(ScaleAndShift, self)"),
    "named base": changed("super().__init__()", "nn.Module.__init__(self)"),
    "more buffers": {"init": INIT + 'self.register_buffer("more", torch.ones(3))'},
    "nn.Buffer": changed(
        'self.register_buffer("centre", torch.zeros(cfg.d_model))',
        "self.centre = nn.Buffer(torch.zeros(cfg.d_model))",
    ),
}
SCALE_AND_SHIFT_WRONG = {
    "shift-before-scale": [{"forward": "return (x - self.centre + self.b) * self.w"}],
    "weight-unused": [{"forward": "return x - self.centre + self.b"}],
    "bias-unused": [{"forward": "return (x - self.centre) * self.w"}],
    "weight-and-bias-swapped": [
        {"forward": "return (x - self.centre) * self.b + self.w"}
    ],
    "centre-unused": [{"forward": "return x * self.w + self.b"}],
    "centre-added": [{"forward": "return (x + self.centre) * self.w + self.b"}],
    "centre-taken-off-last": [{"forward": "return x * self.w + self.b - self.centre"}],
    "missing-brackets": [{"forward": "return x - self.centre * self.w + self.b"}],
    "no-super-init": [changed("super().__init__()", "pass")],
    "not-a-parameter": [
        changed("nn.Parameter(torch.ones(cfg.d_model))", "torch.ones(cfg.d_model)")
    ],
    "missing-parameter": [changed("self.b = nn.Parameter", "b = nn.Parameter")],
    "renamed-parameter": [
        changed("self.w =", "self.weight =") | {"forward": "return x * self.weight"}
    ],
    "misshapen-parameter": [changed("torch.ones(cfg.d_model)", "torch.ones(1)")],
    "literal-size": [
        changed("torch.ones(cfg.d_model)", "torch.ones(24)"),
    ],
    "buffer-is-learned": [
        changed(
            'self.register_buffer("centre", torch.zeros(cfg.d_model))',
            "self.centre = nn.Parameter(torch.zeros(cfg.d_model))",
        )
    ],
    "not-a-buffer": [
        changed(
            'self.register_buffer("centre", torch.zeros(cfg.d_model))',
            "self.centre = torch.zeros(cfg.d_model)",
        )
    ],
    "missing-buffer": [
        changed('self.register_buffer("centre", torch.zeros(cfg.d_model))', "")
    ],
    "misshapen-buffer": [
        changed('"centre", torch.zeros(cfg.d_model)', '"centre", torch.zeros(1)')
    ],
    "buffer-not-saved": [
        changed(
            '"centre", torch.zeros(cfg.d_model)',
            '"centre", torch.zeros(cfg.d_model), persistent=False',
        )
    ],
    "wrong-starting-values": [
        changed("torch.ones", "torch.zeros"),
        changed("torch.ones", "torch.randn"),
        changed(
            "self.b = nn.Parameter(torch.zeros", "self.b = nn.Parameter(torch.ones"
        ),
    ],
    "changes-its-input": [{"forward": "x -= self.centre\nreturn x * self.w + self.b"}],
    "not-differentiable": [
        {"forward": FORWARD.replace("return ", "return (") + ").detach()"}
    ],
    "without-a-gradient": [
        {"forward": "return (x - self.centre) * self.w.data + self.b"},
        {"forward": "return (x.detach() - self.centre) * self.w + self.b"},
    ],
    "no-such-attribute": [{"forward": "return (x - self.center) * self.w + self.b"}],
    "undefined-name": [{"forward": "return (x - self.centre) * w + self.b"}],
    "no-return": [{"forward": "y = (x - self.centre) * self.w + self.b"}],
    "not-a-module": [{"base": "object", "init": INIT.replace("self.register", "0;#")}],
}


@pytest.mark.parametrize("name", SCALE_AND_SHIFT_RIGHT)
def test_right_scale_and_shift(name):
    report = checks.scale_and_shift.examine(
        scale_and_shift(**SCALE_AND_SHIFT_RIGHT[name])
    )
    assert report.status == "passed", str(report)


@pytest.mark.parametrize(
    ("slug", "parts"),
    [(slug, p) for slug, all_parts in SCALE_AND_SHIFT_WRONG.items() for p in all_parts],
)
def test_wrong_scale_and_shift_is_named(slug, parts):
    report = checks.scale_and_shift.examine(scale_and_shift(**parts))
    assert [m.name for m in report.mistakes] == [slug], str(report)


def test_blank_scale_and_shift():
    blank = 'raise NotImplementedError("Fill this in.")'
    for parts in (
        {"forward": blank},
        {"init": blank},
        {"init": blank, "forward": "..."},
    ):
        assert checks.scale_and_shift.examine(scale_and_shift(**parts)).status == "todo"


# ------------------------------------------------------------------- Config

LINES = [
    "d_model: int = 768",
    "debug: bool = False",
    "layer_norm_eps: float = 1e-5",
    "d_vocab: int = 50257",
    "init_range: float = 0.02",
    "n_ctx: int = 1024",
    "d_head: int = 64",
    "d_mlp: int = 3072",
    "n_heads: int = 12",
    "n_layers: int = 12",
]
DATACLASS = "from dataclasses import dataclass, field\n"


def config(*lines: str, above: str = "@dataclass") -> type:
    """A Config of these lines: a line with a field's name takes that line's place."""
    body = list(LINES)
    for line in lines:
        name = line.split(":")[0].split("=")[0].strip()
        at = [i for i, old in enumerate(body) if old.startswith(name + ":")]
        if at:
            body[at[0]] = line
        else:
            body.append(line)
    text = "\n".join(f"    {line}" for line in body)
    return define(f"{DATACLASS}{above}\nclass Config:\n{text}")["Config"]


def without(*names: str, more: tuple[str, ...] = (), above="@dataclass") -> type:
    kept = [line for line in LINES if line.split(":")[0] not in names]
    text = "\n".join(f"    {line}" for line in [*more, *kept])
    return define(f"{DATACLASS}{above}\nclass Config:\n{text}")["Config"]


CONFIG_RIGHT = {
    "as it is": config,
    "brackets": lambda: config(above="@dataclass()"),
    "frozen": lambda: config(above="@dataclass(frozen=True)"),
    "keywords only": lambda: config(above="@dataclass(kw_only=True)"),
    "slots": lambda: config(above="@dataclass(slots=True)"),
    "no comparison": lambda: config(above="@dataclass(eq=False)"),
    "field": lambda: config("d_model: int = field(default=768)"),
    "factory": lambda: config("d_model: int = field(default_factory=lambda: 768)"),
    "any annotation": lambda: config("d_model: 'width' = 768", "n_ctx: float = 1024"),
    "another order": lambda: without("d_model", more=("d_model: int = 768",)),
    "computed": lambda: config("d_mlp: int = 4 * 768", "init_range: float = 2e-2"),
    "one more": lambda: config("dropout: float = 0.0"),
    "a property": lambda: config("width = property(lambda self: self.d_model)"),
    "debug 0": lambda: config("debug: bool = 0"),
}
CONFIG_WRONG = {
    "dataclass-forgotten": [lambda: config(above="")],
    "missing-field": [lambda: without("n_ctx"), lambda: without("init_range")],
    "no-annotation": [lambda: config("n_heads = 12"), lambda: config("d_head = 64")],
    "renamed-field": [
        lambda: without("d_model", more=("d_Model: int = 768",)),
        lambda: without("layer_norm_eps", more=("layernorm_eps: float = 1e-5",)),
        lambda: without("n_heads", more=("n_head: int = 12",)),
    ],
    "wrong-default": [
        lambda: config("d_mlp: int = 768"),
        lambda: config("d_vocab: int = 50256"),
        lambda: config("layer_norm_eps: float = 1e-6"),
        lambda: config("debug: bool = True"),
        lambda: config("d_model: int = None"),
    ],
    "defaults-swapped": [lambda: config("d_head: int = 12", "n_heads: int = 64")],
    "no-default": [lambda: without("d_model", more=("d_model: int",))],
    "value-as-annotation": [lambda: without("d_model", more=("d_model: 768",))],
    "trailing-comma": [lambda: config("d_model: int = 768,")],
    "default-is-text": [lambda: config("d_model: int = '768'")],
    "default-of-another-type": [lambda: config("d_model: int = 768.0")],
    "not-an-argument": [
        lambda: config("d_model: int = field(default=768, init=False)")
    ],
    "not-a-field": [lambda: config("d_model: __import__('typing').ClassVar = 768")],
    "extra-field-without-default": [
        lambda: without(more=("dropout: float",)),
    ],
    "instance-not-class": [lambda: config()()],
    "wrong-kind": [lambda: 3, lambda: {"d_model": 768}, lambda: lambda cfg: cfg],
    "argument-ignored": [
        lambda: config("__post_init__ = lambda self: setattr(self, 'd_model', 768)"),
        lambda: config("def __init__(self, **sizes): pass"),
    ],
    "init-argument": [lambda: config("def __init__(self): pass")],
}


@pytest.mark.parametrize("name", CONFIG_RIGHT)
def test_right_config(name):
    report = checks.config.examine(CONFIG_RIGHT[name]())
    assert report.status == "passed", str(report)


@pytest.mark.parametrize(
    ("slug", "make"),
    [(slug, make) for slug, makes in CONFIG_WRONG.items() for make in makes],
)
def test_wrong_config_is_named(slug, make):
    report = checks.config.examine(make())
    assert [m.name for m in report.mistakes] == [slug], str(report)


def test_several_mistakes_of_a_config_are_all_told():
    report = checks.config.examine(config("d_model: int = 1", "d_mlp = 3072"))
    assert [m.name for m in report.mistakes] == ["wrong-default", "no-annotation"]


def test_notes_on_a_config():
    frozen = checks.config.examine(config(above="@dataclass(frozen=True)"))
    assert "hash" in frozen.notes[0]
    odd = checks.config.examine(config("d_model: str = 768"))
    assert "annotated str" in odd.notes[0]


@pytest.mark.parametrize("body", ["pass", '"""Sizes."""', "...\n    pass"])
def test_blank_config(body, capsys):
    for above in ("", "@dataclass"):
        blank = define(f"{DATACLASS}{above}\nclass Config:\n    {body}")["Config"]
        assert checks.config.examine(blank).status == "todo"
        assert checks.config(blank) is checks.config.course
        assert "to do" in capsys.readouterr().out


def test_a_passing_config_is_what_later_notebooks_load(my_gpt2, monkeypatch, capsys):
    monkeypatch.setattr(my_code, "_edition", "exercises")
    main = sys.modules["__main__"]  # a notebook: it keeps its cells in `_ih`
    cell = "@dataclass\nclass Config:\n    " + "\n    ".join(LINES)
    monkeypatch.setattr(main, "_ih", ["", cell], raising=False)
    monkeypatch.setattr(main, "dataclass", dataclasses.dataclass, raising=False)
    checks.config(config())
    assert cell in my_gpt2.read_text(encoding="utf-8")
    assert my_code.load("Config")(d_model=24).d_model == 24
    assert "yours" in capsys.readouterr().out


def test_warm_ups_are_not_kept(my_gpt2, monkeypatch, capsys):
    monkeypatch.setattr(my_code, "_edition", "exercises")
    checks.swap_axes(function("swap_axes", "x.mT"))
    assert "passed" in capsys.readouterr().out
    assert not my_gpt2.exists()


def test_hints_and_solutions():
    for name in [*FUNCTIONS, "scale_and_shift", "config"]:
        check = getattr(checks, name)
        assert all(check.hints)
        assert check.answer in str(check.solution())


def test_notebooks_hold_the_courses_own_code():
    """What `solution()` shows is what the complete edition has."""
    there = {}
    for notebook in ("00_start_here", "01_building_blocks"):
        for cell in complete(notebook).cells:
            if cell.id.endswith("-exercise"):
                (node,) = ast.parse(cell.source).body
                there[node.name] = ast.dump(node)
    for name in [*FUNCTIONS, "scale_and_shift"]:
        check = getattr(checks, name)
        (node,) = ast.parse(inspect.getsource(check.course)).body
        assert there[check.answer] == ast.dump(node), name
