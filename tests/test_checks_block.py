"""The check of notebook 06: wrong wiring, and wrong parts in a right wiring."""

import itertools

import pytest

from helpers import checks, model
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define

BLOCK = """
class TransformerBlock(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.ln1 = LayerNorm(cfg)
        self.attn = Attention(cfg)
        self.ln2 = LayerNorm(cfg)
        self.mlp = MLP(cfg)

    def forward(self, resid_pre):
        x = resid_pre
        {body}
"""
PARTS = {name: getattr(model, name) for name in ("LayerNorm", "Attention", "MLP")}


def block(*lines: str, **parts) -> type:
    """A block whose forward has these lines, built of these parts."""
    source = BLOCK.replace("{body}", "\n        ".join(lines))
    return define(source, **{**PARTS, **parts})["TransformerBlock"]


ATTN = "attn_out = self.attn(self.ln1(x))"
MID = "mid = x + attn_out"
MLP = "mlp_out = self.mlp(self.ln2(mid))"
OUT = "return mid + mlp_out"

RIGHT = {
    "four steps": (ATTN, MID, MLP, OUT),
    "two lines": (
        "x = x + self.attn(self.ln1(x))",
        "return x + self.mlp(self.ln2(x))",
    ),
    "template's": (
        "normalized_resid_pre = self.ln1(resid_pre)",
        "attn_out = self.attn(normalized_resid_pre)",
        "resid_mid = resid_pre + attn_out",
        "normalized_resid_mid = self.ln2(resid_mid)",
        "mlp_out = self.mlp(normalized_resid_mid)",
        "resid_post = resid_mid + mlp_out",
        "return resid_post",
    ),
    "forward called by name, prints": (
        "x = self.attn.forward(self.ln1.forward(x)) + x",
        "print(x.mean())",
        "return self.mlp.forward(self.ln2.forward(x)) + x",
    ),
    "in place on its own": (
        "x = x.clone()",
        "x += self.attn(self.ln1(x))",
        "x += self.mlp(self.ln2(x))",
        "return x",
    ),
    "a loop of two": (
        "for ln, write in ((self.ln1, self.attn), (self.ln2, self.mlp)):",
        "    x = x + write(ln(x))",
        "return x",
    ),
    "nn.Sequential": (
        "x = x + nn.Sequential(self.ln1, self.attn)(x)",
        "return x + nn.Sequential(self.ln2, self.mlp)(x)",
    ),
    "one sum": (ATTN, MID, MLP, "return sum([resid_pre, attn_out, mlp_out])"),
}

WRONG = {
    "ln1-used-twice": [(ATTN, MID, "mlp_out = self.mlp(self.ln1(mid))", OUT)],
    "ln2-used-twice": [("attn_out = self.attn(self.ln2(x))", MID, MLP, OUT)],
    "layernorms-swapped": [
        ("mid = x + self.attn(self.ln2(x))", "return mid + self.mlp(self.ln1(mid))"),
    ],
    "no-ln1": [("attn_out = self.attn(x)", MID, MLP, OUT)],
    "no-ln2": [(ATTN, MID, "mlp_out = self.mlp(mid)", OUT)],
    "no-first-residual": [
        ("x = self.attn(self.ln1(x))", "return x + self.mlp(self.ln2(x))"),
    ],
    "no-second-residual": [(ATTN, MID, "return self.mlp(self.ln2(mid))")],
    "no-residual": [
        ("return self.mlp(self.ln2(self.attn(self.ln1(x))))",),
    ],
    "one-residual-around-both": [
        (ATTN, "return x + self.mlp(self.ln2(attn_out))"),
    ],
    "normalized-kept-in-first-residual": [
        ("x = self.ln1(x)", "mid = x + self.attn(x)", MLP, OUT),
    ],
    "normalized-kept-in-second-residual": [
        (ATTN, MID, "mid = self.ln2(mid)", "return mid + self.mlp(mid)"),
    ],
    "second-residual-from-the-start": [(ATTN, MID, MLP, "return x + mlp_out")],
    "post-norm": [
        ("x = self.ln1(x + self.attn(x))", "return self.ln2(x + self.mlp(x))"),
    ],
    "norm-after-attention": [
        ("attn_out = self.ln1(self.attn(x))", MID, MLP, OUT),
    ],
    "norm-after-mlp": [(ATTN, MID, "mlp_out = self.ln2(self.mlp(mid))", OUT)],
    "parallel": [
        (ATTN, "mlp_out = self.mlp(self.ln2(x))", "return x + attn_out + mlp_out"),
    ],
    "mlp-reads-attention-only": [
        (ATTN, MID, "mlp_out = self.mlp(self.ln2(attn_out))", OUT),
    ],
    "mlp-before-attention": [
        ("mid = x + self.mlp(self.ln2(x))", "return mid + self.attn(self.ln1(mid))"),
    ],
    "mlp-write-lost": [(ATTN, MID, MLP, "return mid"), (ATTN, "return x + attn_out")],
    "only-attention-returned": [(ATTN, "return attn_out")],
    "attention-write-lost": [
        (ATTN, "return x + self.mlp(self.ln2(x))"),
        ("mid = x", MLP, OUT),
    ],
    "stream-added-twice": [(ATTN, MID, MLP, "return x + mid + mlp_out")],
    "resid-mid-added-twice": [(ATTN, MID, MLP, "out = mid + mlp_out", OUT + " + mid")],
    "attention-added-twice": [(ATTN, MID, MLP, OUT + " + attn_out")],
    "mlp-added-twice": [(ATTN, MID, MLP, OUT + " + mlp_out")],
    "output-normalized": [(ATTN, MID, MLP, "return self.ln2(mid + mlp_out)")],
}

PAIRS = {
    ("no-ln1", "no-ln2"): ("x = x + self.attn(x)", "return x + self.mlp(x)"),
    ("normalized-kept-in-first-residual", "normalized-kept-in-second-residual"): (
        "x = self.ln1(x)",
        "x = self.ln2(x + self.attn(x))",
        "return x + self.mlp(x)",
    ),
    ("norm-after-attention", "norm-after-mlp"): (
        "x = x + self.ln1(self.attn(x))",
        "return x + self.ln2(self.mlp(x))",
    ),
    ("ln1-used-twice", "parallel"): (  # GPT-J's own form
        "h = self.ln1(x)",
        "return x + self.attn(h) + self.mlp(h)",
    ),
    ("no-ln1", "no-second-residual"): (
        "mid = x + self.attn(x)",
        "return self.mlp(self.ln2(mid))",
    ),
    ("ln1-used-twice", "no-first-residual"): (
        "mid = self.attn(self.ln1(x))",
        "return mid + self.mlp(self.ln1(mid))",
    ),
    ("layernorms-swapped", "mlp-before-attention"): (
        "x = x + self.mlp(self.ln1(x))",
        "return x + self.attn(self.ln2(x))",
    ),
}


def answers():
    """Every answer here, with what the check should say of it."""
    for lines in RIGHT.values():
        yield Answer("transformer_block", None, block(*lines))
    for slug, many in WRONG.items():
        for lines in many:
            yield Answer("transformer_block", (slug,), block(*lines))
    for slugs, lines in PAIRS.items():
        yield Answer("transformer_block", slugs, block(*lines))
    for slug, kind, body in PARTS_WRONG:
        candidate = block(*WIRED, **{kind: subclass(kind, body)})
        yield Answer("transformer_block", (slug,), candidate)
    for slug, _, lines in UNCOMMON:
        yield Answer("transformer_block", (slug,), block(*lines))


@pytest.mark.parametrize("name", RIGHT)
def test_right(name):
    report = checks.transformer_block.examine(block(*RIGHT[name]))
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("slug", "lines"),
    [(slug, lines) for slug, answers in WRONG.items() for lines in answers],
)
def test_wrong_wiring_is_named(slug, lines):
    report = checks.transformer_block.examine(block(*lines))
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug], report
    assert report.mistakes[0].exact


@pytest.mark.parametrize("slugs", PAIRS, ids="+".join)
def test_two_mistakes_at_once(slugs):
    report = checks.transformer_block.examine(block(*PAIRS[slugs]))
    assert {m.name for m in report.mistakes} == set(slugs), report
    assert not report.one_of


def test_each_two_mistakes_can_be_told_apart():
    check = checks.transformer_block
    cases = check.make_cases()
    equal = outputs_equal(check.view, check.tolerance)
    runs = {
        k.name: [check.reference_run(c, k.switches) for c in cases] for k in check.known
    }
    assert set(runs) == set(WRONG)
    for a, b in itertools.combinations(runs, 2):
        alike = all(equal(x, y) for x, y in zip(runs[a], runs[b], strict=True))
        assert not alike, (a, b)


# The walk: a right wiring of parts of which one is wrong

WIRED = RIGHT["four steps"]


def subclass(base: str, body: str) -> type:
    """A part of the person's own: the course's with another forward."""
    source = f"class {base}(Base):\n    def forward(self, x):\n"
    source += "\n".join(f"        {line}" for line in body.splitlines())
    return define(source, Base=PARTS[base], gelu_new=model.gelu_new)[base]


UNBIASED = subclass(
    "LayerNorm",
    "x = x - x.mean(-1, keepdim=True)\n"
    "return x / (x.var(-1, keepdim=True) + 1e-5).sqrt() * self.w + self.b",
)


PARTS_WRONG = [
    ("wrong-in-attn", "Attention", "return super().forward(x) * 1.01"),
    ("wrong-in-attn", "Attention", "return super().forward(x)[0]"),
    ("wrong-in-attn", "Attention", "super().forward(x)"),
    ("wrong-in-attn", "Attention", "return super().forward(x @ x)"),
    ("wrong-in-attn", "Attention", "return super().forward(x.detach())"),
    (
        "wrong-in-mlp",
        "MLP",
        "return (x @ self.W_in + self.b_in).relu() @ self.W_out + self.b_out",
    ),
    (
        "wrong-in-ln1",
        "LayerNorm",
        "x -= x.mean(-1, keepdim=True)\nreturn super().forward(x)",
    ),
]


@pytest.mark.parametrize(("slug", "kind", "body"), PARTS_WRONG)
def test_the_wrong_part_is_named(slug, kind, body):
    report = checks.transformer_block.examine(
        block(*WIRED, **{kind: subclass(kind, body)})
    )
    assert report.status == "failed"
    assert report.mistakes[0].name == slug, report
    assert f"`{kind}`" in report.mistakes[0].message
    assert not report.mistakes[0].exact


def test_a_wrong_layernorm_is_named_at_its_first_place():
    report = checks.transformer_block.examine(block(*WIRED, LayerNorm=UNBIASED))
    assert report.mistakes[0].name == "wrong-in-ln1", report
    assert "checks.layer_norm" in report.mistakes[0].hint


UNCOMMON = [
    (
        "wiring-at-attn",
        "reads something else",
        ("attn_out = self.attn(2 * self.ln1(x))", MID, MLP, OUT),
    ),
    (
        "wiring-at-mlp",
        "reads the output of `attn`",
        (ATTN, MID, "self.ln2(mid)", "return mid - self.mlp(attn_out)"),
    ),
    (
        "wiring-at-ln2",
        "it should read `resid_mid = resid_pre + attn_out`",
        (ATTN, "mid = x - attn_out", MLP, OUT),
    ),
    (
        "wiring-after-mlp",
        "what you return",
        (ATTN, MID, MLP, "return mid * mlp_out"),
    ),
    (
        "wiring-at-ln2",
        "called 2 times",
        (
            ATTN,
            MID,
            "h = self.ln2(mid)",
            "mlp_out = self.mlp(h)",
            "return self.ln2(h)",
        ),
    ),
]


@pytest.mark.parametrize(("slug", "told", "lines"), UNCOMMON)
def test_uncommon_wiring_is_narrowed(slug, told, lines):
    report = checks.transformer_block.examine(block(*lines))
    assert report.mistakes[0].name == slug, report
    assert told in report.mistakes[0].message
    assert not any(m.exact for m in report.mistakes)


def test_one_layernorm_in_two_places():
    source = BLOCK.replace("self.ln2 = LayerNorm(cfg)", "self.ln2 = self.ln1")
    source = source.replace("{body}", "\n        ".join(WIRED))
    report = checks.transformer_block.examine(
        define(source, **PARTS)["TransformerBlock"]
    )
    assert {m.name for m in report.mistakes} == {"shared-parameter"}, report


def test_a_class_in_the_place_of_an_object():
    source = BLOCK.replace("Attention(cfg)", "Attention")
    source = source.replace("{body}", "\n        ".join(WIRED))
    report = checks.transformer_block.examine(
        define(source, **PARTS)["TransformerBlock"]
    )
    assert [m.name for m in report.mistakes] == ["class-not-called"], report


def test_a_missing_part():
    source = BLOCK.replace("        self.ln2 = LayerNorm(cfg)\n", "")
    source = source.replace("{body}", "\n        ".join(WIRED))
    report = checks.transformer_block.examine(
        define(source, **PARTS)["TransformerBlock"]
    )
    assert "`ln2`" in str(report)


def test_blank():
    report = checks.transformer_block.examine(block("pass"))
    assert report.status == "failed"  # `x = resid_pre` is a line: it returns None
    source = BLOCK.replace("        x = resid_pre\n", "")
    source = source.replace("{body}", "raise NotImplementedError")
    blank = define(source, **PARTS)["TransformerBlock"]
    assert checks.transformer_block.examine(blank).status == "todo"
