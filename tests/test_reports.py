"""What a report says of answers that no page knows: the line, the cause, the shapes.

Each is typed as somebody would, and stands for its kind: what its report must say, and
what must not stand in it, because neither the error nor the line bears it out.
"""

from dataclasses import dataclass

import pytest

from helpers import checks, model
from tests.candidates import define

PARTS = {
    "embed": "self.W_E = nn.Parameter(torch.empty(cfg.d_vocab, cfg.d_model))",
    "pos_embed": "self.W_pos = nn.Parameter(torch.empty(cfg.n_ctx, cfg.d_model))",
    "layer_norm": """
self.w = nn.Parameter(torch.ones(cfg.d_model))
self.b = nn.Parameter(torch.zeros(cfg.d_model))
""",
    "attention": """
for n in "QKV":
    W = torch.empty(cfg.n_heads, cfg.d_model, cfg.d_head)
    setattr(self, f"W_{n}", nn.Parameter(W))
    setattr(self, f"b_{n}", nn.Parameter(torch.zeros(cfg.n_heads, cfg.d_head)))
self.W_O = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head, cfg.d_model))
self.b_O = nn.Parameter(torch.zeros(cfg.d_model))
""",
    "mlp": """
self.W_in = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
self.b_in = nn.Parameter(torch.zeros(cfg.d_mlp))
self.W_out = nn.Parameter(torch.empty(cfg.d_mlp, cfg.d_model))
self.b_out = nn.Parameter(torch.zeros(cfg.d_model))
""",
    "transformer_block": """
self.ln1, self.ln2 = LayerNorm(cfg), LayerNorm(cfg)
self.attn, self.mlp = Attention(cfg), MLP(cfg)
""",
    "demo_transformer": """
self.embed, self.pos_embed = Embed(cfg), PosEmbed(cfg)
self.blocks = nn.ModuleList([TransformerBlock(cfg) for _ in range(cfg.n_layers)])
self.ln_final, self.unembed = LayerNorm(cfg), Unembed(cfg)
""",
}
HEADS = """
q, k, v = (
    torch.einsum("btm,hmd->bthd", x, W) + b
    for W, b in [(self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V)]
)
"""
SCORES = f"{HEADS}s = torch.einsum('bqhd,bkhd->bhqk', q, k) / self.cfg.d_head**0.5\n"
STREAM = "x = self.embed(x) + self.pos_embed(x)\n"


@dataclass
class Case:
    """An answer and its report.

    Attributes:
        check: the check; a class of its title is made of the two bodies.
        forward: the body of `forward(self, x)`; its last line is the one to be shown,
            unless `line` names another.
        names: of the mistakes.
        says: must stand in the report.
        line: a part of the line to be shown; "" for none.
        init: the end of `__init__`, where it is not the usual one.
        not_said: must not stand in it.
    """

    check: str
    forward: str
    names: str
    says: str
    line: str | None = None
    init: str | None = None
    not_said: str = ""

    def report(self):
        check = getattr(checks, self.check)
        init = PARTS[self.check] if self.init is None else self.init
        lines = [
            f"class {check.title}(nn.Module):",
            "    def __init__(self, cfg):",
            "        super().__init__()",
            "        self.cfg = cfg",
            *(f"        {line}" for line in init.strip().splitlines()),
            "    def forward(self, x):",
            *(f"        {line}" for line in self.forward.strip().splitlines()),
        ]
        names = {
            name: getattr(model, name) for name in checks.titles() & {*vars(model)}
        }
        del names[check.title]
        return check.examine(define("\n".join(lines), **names)[check.title])


PATTERN = "einsum takes"
CASES = {
    "a float mask": Case(
        "attention",
        SCORES + "s = s.masked_fill(torch.ones_like(s).triu(1), -1e9)",
        "mask-not-boolean",
        "a mask must be boolean",
        not_said="token ids",
    ),
    "a float condition": Case(
        "attention",
        SCORES + "s = torch.where(torch.ones_like(s).tril(), s, -1e9)",
        "mask-not-boolean",
        "`mask.bool()`",
        not_said="token ids",
    ),
    "not of floats": Case(
        "attention",
        SCORES + "future = ~torch.ones_like(s).tril()",
        "mask-not-boolean",
        "`mask == 0` does in the place of `~mask`",
    ),
    "the embedding for the tokens": Case(
        "demo_transformer",
        "x = self.embed(x)\nx = x + self.pos_embed(x)",
        "given-to-a-part",
        "`self.pos_embed`, a PosEmbed, is given [2, 7, 24], floats; it takes [batch, "
        "position], whole numbers.",
        not_said="unpack",
    ),
    "one axis too many": Case(
        "demo_transformer",
        STREAM + "for layer in self.blocks: x = layer(x[None])",
        "given-to-a-part",
        "`layer`, a TransformerBlock, is given [1, 2, 7, 24], floats; it takes [batch, "
        "position, d_model]",
        not_said="einsum",
    ),
    "another width": Case(
        "demo_transformer",
        STREAM + "return self.ln_final(self.unembed(x))",
        "given-to-a-part",
        "is given [2, 7, 37], floats; it takes [batch, position, d_model], floats",
        not_said="broadcast",
    ),
    "one axis of W_O too many": Case(
        "attention",
        HEADS + 'return einops.einsum(v, self.W_O, "b t h d, b h d m -> b t m")',
        "number-of-axes",
        "the pattern names 4 axes of `self.W_O`, which has 3",
        not_said=PATTERN,
    ),
    "words for letters": Case(
        "attention",
        HEADS + "s = torch.einsum('b qq h d, b kk h d -> b h qq kk', q, k)",
        "einsum-names-too-long",
        "takes one letter for each axis",
    ),
    "two index tensors": Case(
        "embed",
        "return self.W_E[x, torch.arange(24)]",
        "index-pair",
        "one index is enough",
        not_said="einsum",
    ),
    "raise for return": Case(
        "embed", "raise self.W_E[x]", "raise-for-return", "`return` hands a result back"
    ),
    "the root of an int": Case(
        "attention",
        HEADS + "s = torch.einsum('bqhd,bkhd->bhqk', q, k) / self.cfg.d_head.sqrt()",
        "sqrt-of-a-number",
        "There, `self.cfg.d_head` is 8.",
        not_said="spelling",
    ),
    "one name for two positions": Case(
        "attention",
        HEADS + "s = einops.einsum(q, k, 'b t h d, b t h d -> b h t t')",
        "axis-named-twice",
        "two positions, as of queries and of keys, need two names",
    ),
    "a batch of two": Case(
        "pos_embed",
        "rows = self.W_pos[: x.shape[1]]\nreturn torch.stack([rows] * 2)",
        "wrong-shape size-written-down",
        "2 is written down on this line as the size of batch, which is 1 here",
        not_said="one step earlier",
    ),
    "sizes of GPT-2": Case(
        "attention",
        HEADS + "z = v.reshape(x.shape[0], x.shape[1], 768)",
        "size-written-down",
        "768 is a size of GPT-2 (its d_model)",
    ),
    "torch's LayerNorm": Case(
        "transformer_block",
        "return x",
        "torch-layer",
        "`ln1` and `ln2` are torch's `nn.LayerNorm`",
        line="",
        init="""
self.ln1, self.ln2 = nn.LayerNorm(cfg.d_model), nn.LayerNorm(cfg.d_model)
self.attn, self.mlp = Attention(cfg), MLP(cfg)
""",
        not_said="self.w",
    ),
    "torch's Embedding": Case(
        "demo_transformer",
        "return x",
        "torch-layer",
        "use your own class there: `Embed(cfg)`",
        line="",
        init=PARTS["demo_transformer"].replace(
            "Embed(cfg), P", "nn.Embedding(cfg.d_vocab, cfg.d_model), P"
        ),
        not_said="call it",
    ),
    "torch's Linear": Case(
        "mlp",
        "return self.W_out(self.W_in(x))",
        "torch-layer",
        "make `W_in`, `b_in`, `W_out` and `b_out` yourself",
        line="",
        init="""
self.W_in = nn.Linear(cfg.d_model, cfg.d_mlp)
self.W_out = nn.Linear(cfg.d_mlp, cfg.d_model)
""",
        not_said="call it",
    ),
    "another part": Case(
        "demo_transformer",
        "return x",
        "another-class",
        "`embed` is a PosEmbed; an Embed belongs there.",
        line="",
        init=PARTS["demo_transformer"].replace("Embed(cfg), P", "PosEmbed(cfg), P"),
    ),
    "brackets under the division": Case(
        "layer_norm",
        "c = x - x.mean(-1, keepdim=True)\nd = c.square().mean(-1, True).sqrt()\n"
        "return c / d + self.cfg.layer_norm_eps * self.w + self.b",
        "no-eps weight-unused",
        "`a / b + c` divides by b alone",
        line="",
    ),
    "a bias that does not broadcast": Case(
        "attention",
        "q = torch.einsum('btm,hmd->bhtd', x, self.W_Q) + self.b_Q",
        "shapes-do-not-broadcast",
        "is [b 2, h 3, t 7, d 8], `self.b_Q` has shape [3, 8]",
        not_said="`x` is",
    ),
    "a table made in forward": Case(
        "embed",
        "table = nn.Embedding(self.cfg.d_vocab, self.cfg.d_model)\nreturn table(x)",
        "random",
        "a layer that is made here is a new one at every call",
        line="table = nn.Embedding",
    ),
    "a product with ids": Case(
        "embed",
        "return einops.einsum(x, self.W_E, 'b v, v d -> b d')",
        "integers-in-a-product",
        "`table[ids]`",
        not_said="in the order",
    ),
    "zero times infinity": Case(
        "attention",
        SCORES + "s = s + torch.ones_like(s).triu(1) * -math.inf\nreturn x + s.sum()",
        "infinity-times-zero",
        "0 times infinity is NaN",
        line="* -math.inf",
    ),
    "the root twice": Case(
        "layer_norm",
        "c = x - x.mean(-1, keepdim=True)\nv = c.square().mean(-1, keepdim=True)\n"
        "s = (v + self.cfg.layer_norm_eps).sqrt()\n"
        "return c / s.sqrt() * self.w + self.b",
        "departs-at-the-normalized-vector",
        "right up to the root of variance + eps",
    ),
    "an assert of theirs": Case(
        "layer_norm",
        "assert x.var(-1).min() > 0.01, 'too flat'\n"
        "return F.layer_norm(x, self.w.shape, self.w, self.b)",
        "own-assert",
        "An `assert` of your own (too flat) does not hold on",
        line="assert x.var",
        not_said="right to left",
    ),
    "in place": Case(
        "transformer_block",
        "x += self.attn(self.ln1(x))\nreturn x + self.mlp(self.ln2(x))",
        "changes-its-input",
        "`x = x + ...` makes a new tensor",
        line="x += self.attn",
        not_said="mean",
    ),
    "what register_buffer returns": Case(
        "attention",
        SCORES + "s = s.masked_fill(self.mask, -1e9)",
        "register-buffer-returns-none",
        "the call alone makes `self.m`",
        init=PARTS["attention"]
        + "self.mask = self.register_buffer('m', torch.ones(7, 7).bool())",
    ),
    "a function that is not called": Case(
        "layer_norm",
        "return x - x.mean",
        "function-not-called",
        "a function itself stands here",
    ),
    "a module that is not called": Case(
        "transformer_block",
        "return x + self.attn",
        "module-not-called",
        "`self.attn` is a module",
    ),
    "einops' last line": Case(
        "pos_embed",
        "return einops.repeat(self.W_pos[: x.shape[1]], 't d -> b t d', batch=len(x))",
        "size-not-told",
        "Specify sizes for new axes in repeat: {'b'}",
    ),
    "brackets in einsum": Case(
        "attention",
        HEADS + "z = einops.einsum(v, v, 'b t h d, b t h d -> b t (h d)')",
        "brackets-in-einsum",
        "einsum's pattern knows no brackets",
    ),
    "without self.": Case(
        "embed", "return W_E[x]", "undefined-name", "it is the object's own: `self.W_E`"
    ),
    "of an earlier cell": Case(
        "layer_norm",
        "return reference(x)",
        "undefined-name",
        "`reference` is made by an earlier cell",
    ),
    "a missing Config": Case(
        "transformer_block",
        "return x",
        "init-argument",
        "hand it the Config: `MLP(cfg)`",
        line="self.mlp = MLP()",
        init="self.mlp = MLP()",
    ),
}


LINES = [  # a check, one line of forward, the mistake's name, and what is told
    (
        "pos_embed",
        "einops.repeat(self.W_pos, 't d  b t d', b=2)",
        "pattern-without-arrow",
    ),
    ("attention", "x @ self.W_Q", "batches-do-not-fit"),
    (
        "attention",
        "einops.einsum(x, self.W_Q, 'b t m, h d m -> b h d')",
        "axis-of",
    ),
    ("attention", "torch.einsum('btm,hmd,b->bthd', x, self.W_Q)", "number-of-operands"),
    ("layer_norm", "x - x.mean(-1)", "reduced-axis-dropped"),
    ("layer_norm", "x - x.std(-1, keepdim=True) + x[0, :3]", "size-written-down"),
    ("layer_norm", "x.view(2, 9, 24)", "size-written-down"),
    ("layer_norm", "np.mean(x)", "undefined-name", "`import numpy as np`"),
    ("layer_norm", "self.weight * x", "no-such-attribute", "neither in `__init__`"),
    ("layer_norm", "x / cfg.d_model", "undefined-name", "`self.cfg`"),
    ("layer_norm", "x.transpose(1, 2).view(-1)", "not-contiguous"),
    ("layer_norm", "x.size[0]", "function-not-called"),
    ("mlp", "x @ self.W_out", "matmul-shapes", "both have 24 last"),
    ("mlp", "nn.gelu(x)", "no-such-attribute", "`F.gelu`"),
    ("mlp", "x @ self.w_in", "no-such-attribute", "there is `W_in`"),
    ("mlp", "self.W_in(x)", "calls-a-tensor"),
    ("embed", "self.W_E[x.float()]", "index-not-whole"),
    ("embed", "self.W_E[x].var(dims=-1)", "unknown-argument", "`dim=`"),
    ("transformer_block", "self.attn(self.ln1(x), x)", "forward-argument"),
    ("demo_transformer", "self.blocks(self.embed(x))", "list-of-modules"),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[1])
def test_a_line_that_fails_is_explained(line: tuple):
    check, code, name, *says = line
    (told,) = Case(check, f"return {code}", "", "").report().mistakes
    assert told.name.startswith(name) and told.line == f"return {code}", told
    assert all(text in told.hint for text in says), told


@pytest.mark.parametrize("name", CASES)
def test_a_report_tells_the_line_and_the_cause(name: str):
    case = CASES[name]
    report = case.report()
    last = case.forward.strip().splitlines()[-1]
    line = last if case.line is None else case.line
    shown = [m.line for m in report.mistakes if m.line]
    assert [m.name for m in report.mistakes] == case.names.split(), report
    assert case.says in str(report), report
    assert not case.not_said or case.not_said not in str(report), report
    assert (line and any(line in one for one in shown)) or line == "" == "".join(shown)


def test_a_report_on_no_line_of_theirs():
    """The check's own call fails: the signature is at fault."""
    text = "class LayerNorm(nn.Module):\n{}    def forward({}): return x"
    own = "    def __init__(self, cfg):\n        super().__init__()\n"
    own += "".join(
        f"        {line}\n" for line in PARTS["layer_norm"].strip().split("\n")
    )
    for init, signature, name in [
        (own, "x", "needs-self"),
        (own, "self", "forward-argument"),
        ("", "self, x", "no-init"),
    ]:
        answer = define(text.format(init, signature))["LayerNorm"]
        (told,) = checks.layer_norm.examine(answer).mistakes
        assert told.name == name
