"""The check of DemoTransformer: wrong wiring, wrong lists of blocks, wrong parts."""

import itertools

import pytest

from helpers import checks, model
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define

PARTS = {
    name: getattr(model, name)
    for name in ("LayerNorm", "Embed", "PosEmbed", "TransformerBlock", "Unembed")
}
INIT = """
self.embed = Embed(cfg)
self.pos_embed = PosEmbed(cfg)
self.blocks = nn.ModuleList([TransformerBlock(cfg) for _ in range(cfg.n_layers)])
self.ln_final = LayerNorm(cfg)
self.unembed = Unembed(cfg)
"""
START = "x = self.embed(tokens) + self.pos_embed(tokens)"
LOOP = "for block in self.blocks: x = block(x)"
END = "return self.unembed(self.ln_final(x))"


def transformer(*lines: str, init: str = INIT, extra: str = "", **parts) -> type:
    """A DemoTransformer with these lines in forward, built of these parts."""
    init = "\n        ".join(init.strip().splitlines())
    forward = "\n        ".join("\n".join(lines or (START, LOOP, END)).splitlines())
    source = f"""
{extra}
class DemoTransformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        {init}

    def forward(self, tokens):
        {forward}
"""
    return define(source, **{**PARTS, **parts})["DemoTransformer"]


def names(report) -> set[str]:
    assert report.status == "failed", report
    return {mistake.name for mistake in report.mistakes}


# ---------------------------------------------------------------- right answers

RIGHT = {
    "template's": (
        "embed = self.embed(tokens)",
        "pos_embed = self.pos_embed(tokens)",
        "residual = embed + pos_embed",
        "for block in self.blocks:",
        "    residual = block(residual)",
        "normalized_resid_final = self.ln_final(residual)",
        "logits = self.unembed(normalized_resid_final)",
        "return logits",
    ),
    "by number, with prints": (
        START,
        "for i in range(self.cfg.n_layers):",
        "    print(i, x.shape)",
        "    x = self.blocks[i].forward(x)",
        END,
    ),
    "reduce": (
        "from functools import reduce",
        START,
        "x = reduce(lambda stream, block: block(stream), self.blocks, x)",
        END,
    ),
    "in place on its own": (
        "x = self.embed(tokens).clone()",
        "x += self.pos_embed(tokens)",
        LOOP,
        END,
    ),
    "one Sequential": (
        START,
        "return nn.Sequential(*self.blocks, self.ln_final, self.unembed)(x)",
    ),
    "a list of residuals": (
        START,
        "stream = [x]",
        "for block in self.blocks: stream.append(block(stream[-1]))",
        "return self.unembed(self.ln_final(stream[-1]))",
    ),
    "the writes alone": (
        START,
        "for block in self.blocks:",
        "    mid = block.attn(block.ln1(x)) + x",
        "    x = block.mlp(block.ln2(mid)) + mid",
        END,
    ),
}


@pytest.mark.parametrize("lines", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(lines):
    report = checks.demo_transformer.examine(transformer(*lines))
    assert report.status == "passed", report


RIGHT_INIT = {
    "generator": INIT.replace("[TransformerBlock", "TransformerBlock").replace(
        "])", ")"
    ),
    "append": INIT.replace(
        INIT.strip().splitlines()[2],
        "self.blocks = nn.ModuleList()\n"
        "for _ in range(cfg.n_layers): self.blocks.append(TransformerBlock(cfg))",
    ),
    "its own n_layers": "self.n_layers = cfg.n_layers\n" + INIT,
    "a buffer": INIT + 'self.register_buffer("IGNORE", torch.tensor(-1e5))',
}


@pytest.mark.parametrize("init", RIGHT_INIT.values(), ids=RIGHT_INIT)
def test_right_ways_to_make_the_blocks_pass(init):
    report = checks.demo_transformer.examine(transformer(init=init))
    assert report.status == "passed", report


def test_sequential_passes():
    init = INIT.replace("nn.ModuleList([", "nn.Sequential(*[")
    candidate = transformer(START, "x = self.blocks(x)", END, init=init)
    report = checks.demo_transformer.examine(candidate)
    assert report.status == "passed", report


def test_the_courses_own_passes_and_a_blank_one_is_to_do():
    assert checks.demo_transformer.examine(model.DemoTransformer).status == "passed"
    blank = transformer("raise NotImplementedError")
    assert checks.demo_transformer.examine(blank).status == "todo"


def test_a_global_cfg_passes_with_a_note():
    loop = "for i in range(cfg.n_layers): x = self.blocks[i](x)"
    candidate = transformer(START, loop, END, extra="cfg = Config(n_layers=3)")
    report = checks.demo_transformer.examine(candidate)
    assert report.status == "passed" and "`cfg`" in "".join(report.notes), report


# ---------------------------------------------------------------- wrong wiring

EMBED = "embed, pos = self.embed(tokens), self.pos_embed(tokens)"
WRONG = {
    "no-positional-embedding": [("x = self.embed(tokens)", LOOP, END)],
    "positions-multiplied": [
        ("x = self.embed(tokens) * self.pos_embed(tokens)", LOOP, END)
    ],
    "positions-subtracted": [(EMBED, "x = embed - pos", LOOP, END)],
    "no-token-embedding": [("x = self.pos_embed(tokens)", LOOP, END)],
    "positions-added-twice": [(EMBED, "x = embed + pos", "x = x + pos", LOOP, END)],
    "embedding-added-twice": [
        ("x = self.embed(tokens)", "x = x + self.embed(tokens)", LOOP, END)
    ],
    "positions-added-at-every-block": [
        (
            EMBED,
            "x = embed",
            "for block in self.blocks: x = block(x + pos)",
            END,
        )
    ],
    "positions-added-after-the-blocks": [
        (EMBED, "x = embed + pos", LOOP, "x = x + pos", END)
    ],
    "positions-too-late": [
        ("x = self.embed(tokens)", LOOP, "x = x + self.pos_embed(tokens)", END)
    ],
    "embedding-normalized": [(START, "x = self.ln_final(x)", LOOP, END)],
    "ln-final-too-early": [
        (START, "x = self.ln_final(x)", LOOP, "return self.unembed(x)")
    ],
    "no-blocks": [(START, END)],
    "blocks-in-reverse": [
        (START, "for block in reversed(self.blocks): x = block(x)", END),
        (START, "for block in self.blocks[::-1]: x = block(x)", END),
    ],
    "first-block-only": [
        (
            START,
            "for block in self.blocks:",
            "    x = block(x)",
            "    return self.unembed(self.ln_final(x))",
        ),
        (START, "x = self.blocks[0](x)", END),
    ],
    "last-block-only": [
        (START, "for block in self.blocks: y = block(x)", "x = y", END),
        (START, "x = self.blocks[-1](x)", END),
    ],
    "first-block-skipped": [
        (START, "for i in range(1, self.cfg.n_layers): x = self.blocks[i](x)", END)
    ],
    "last-block-skipped": [
        (START, "for i in range(self.cfg.n_layers - 1): x = self.blocks[i](x)", END)
    ],
    "same-block-reused": [
        (START, "for _ in range(self.cfg.n_layers): x = self.blocks[0](x)", END)
    ],
    "last-block-reused": [(START, "for _ in self.blocks: x = self.blocks[-1](x)", END)],
    "each-block-twice": [(START, "for block in self.blocks: x = block(block(x))", END)],
    "all-blocks-twice": [(START, LOOP, LOOP, END)],
    "residual-doubled": [
        (START, "for block in self.blocks: x = x + block(x)", END),
        (START, "for block in self.blocks: x += block(x)", END),
    ],
    "blocks-side-by-side": [
        (START, "x = x + sum(block(x) for block in self.blocks)", END)
    ],
    "embedding-added-after-the-blocks": [
        (START, "start = x", LOOP, "x = x + start", END)
    ],
    "no-final-layernorm": [(START, LOOP, "return self.unembed(x)")],
    "layernorm-after-each-block": [
        (
            START,
            "for block in self.blocks:",
            "    x = block(x)",
            "    x = self.ln_final(x)",
            "return self.unembed(x)",
        )
    ],
    "final-layernorm-twice": [(START, LOOP, "x = self.ln_final(x)", END)],
    "tied-to-the-embedding": [
        (
            START,
            LOOP,
            "return self.ln_final(x) @ self.embed.W_E.T + self.unembed.b_U",
        )
    ],
    "tied-without-bias": [
        (START, LOOP, "return self.ln_final(x) @ self.embed.W_E.T"),
        (
            START,
            LOOP,
            "return einsum(self.ln_final(x), self.embed.W_E, 'b p m, v m -> b p v')",
        ),
    ],
    "softmax-on-top": [
        (START, LOOP, "return self.unembed(self.ln_final(x)).softmax(-1)"),
        (START, LOOP, "return F.softmax(self.unembed(self.ln_final(x)), dim=2)"),
    ],
    "log-softmax-on-top": [
        (START, LOOP, "return self.unembed(self.ln_final(x)).log_softmax(-1)")
    ],
    "last-position-only": [
        (START, LOOP, "return self.unembed(self.ln_final(x))[:, -1]")
    ],
    "tokens-not-logits": [
        (START, LOOP, "return self.unembed(self.ln_final(x)).argmax(-1)")
    ],
    "no-unembedding": [(START, LOOP, "return self.ln_final(x)")],
    "stream-returned": [(START, LOOP, "return x")],
}


def answers():
    """Every answer here, with what the check should say of it."""
    rows = [(None, transformer(*lines)) for lines in RIGHT.values()]
    rows += [(None, transformer(init=init)) for init in RIGHT_INIT.values()]
    for table in (WRONG, {name: [lines] for name, lines in (CRASHES | FAULTS).items()}):
        rows += [((n,), transformer(*x)) for n, many in table.items() for x in many]
    rows += [((n,), transformer(init=i)) for n, many in MODULES.items() for i in many]
    rows += [((n,), of_parts(change)) for n, change in PARTS_WRONG.items()]
    for mistakes, candidate in rows:
        yield Answer("demo_transformer", mistakes, candidate)


def test_every_known_mistake_is_tried():
    assert set(WRONG) == {known.name for known in checks.demo_transformer.known}


@pytest.mark.parametrize(
    "name, lines", [(name, lines) for name, many in WRONG.items() for lines in many]
)
def test_wrong_wiring_is_named(name, lines):
    report = checks.demo_transformer.examine(transformer(*lines))
    assert names(report) == {name}, report
    assert all(mistake.exact for mistake in report.mistakes)


def test_no_two_mistakes_look_alike():
    check = checks.demo_transformer
    equal = outputs_equal(check.view, check.tolerance)
    cases = check.make_cases()
    seen = {
        k.name: [check.reference_run(c, k.switches) for c in cases] for k in check.known
    }
    for a, b in itertools.combinations(seen, 2):
        pairs = zip(seen[a], seen[b], strict=True)
        assert not all(equal(x, y) for x, y in pairs), f"{a} looks like {b}"


# ---------------------------------------------------------------- wrong modules

BLOCKS = "nn.ModuleList([TransformerBlock(cfg) for _ in range(cfg.n_layers)])"
MODULES = {
    "list-instead-of-modulelist": [INIT.replace("nn.ModuleList", "list")],
    "tuple-instead-of-modulelist": [INIT.replace("nn.ModuleList", "tuple")],
    "shared-blocks": [
        INIT.replace(BLOCKS, "nn.ModuleList([TransformerBlock(cfg)] * cfg.n_layers)")
    ],
    "wrong-number-of-blocks": [
        INIT.replace("range(cfg.n_layers)", "range(cfg.n_layers - 1)"),
        INIT.replace("range(cfg.n_layers)", "range(cfg.n_layers + 1)"),
    ],
    "literal-size": [
        INIT.replace("range(cfg.n_layers)", "range(4)"),
        INIT.replace("range(cfg.n_layers)", "range(2)"),
    ],
    "renamed-module": [
        INIT.replace("self.ln_final", "self.ln_f"),
        INIT.replace("self.blocks", "self.layers"),
        INIT.replace("self.pos_embed", "self.pos"),
    ],
    "missing-module": [INIT.replace("self.unembed = Unembed(cfg)", "")],
    "extra-module": [INIT + "self.ln_first = LayerNorm(cfg)"],
    "shared-memory": [
        INIT + "self.unembed.W_U = nn.Parameter(self.embed.W_E.T)",
    ],
    "missing-parameter": [INIT + "del self.unembed.b_U"],
}


@pytest.mark.parametrize(
    "name, init", [(name, init) for name, many in MODULES.items() for init in many]
)
def test_wrong_modules_are_named(name, init):
    candidate = transformer(init=init)
    assert names(checks.demo_transformer.examine(candidate)) == {name}


def test_a_block_count_of_gpt2_small_is_told():
    init = INIT.replace("range(cfg.n_layers)", "range(12)")
    report = checks.demo_transformer.examine(transformer(init=init))
    assert names(report) == {"wrong-number-of-blocks"}
    assert "12 blocks" in report.mistakes[0].message


# ---------------------------------------------------------------- wrong parts

CORRECT = """
class LayerNorm(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(cfg.d_model))
        self.b = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, residual):
        x = residual - residual.mean(-1, keepdim=True)
        scale = (x.pow(2).mean(-1, keepdim=True) + self.cfg.layer_norm_eps).sqrt()
        return x / scale * self.w + self.b

class PosEmbed(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.W_pos = nn.Parameter(torch.empty(cfg.n_ctx, cfg.d_model))

    def forward(self, tokens):
        return self.W_pos[:tokens.shape[1]].expand(tokens.shape[0], -1, -1)

class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.W_in = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
        self.W_out = nn.Parameter(torch.empty(cfg.d_mlp, cfg.d_model))
        self.b_in = nn.Parameter(torch.zeros(cfg.d_mlp))
        self.b_out = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, x):
        post = F.gelu(x @ self.W_in + self.b_in, approximate="tanh")
        return post @ self.W_out + self.b_out

class TransformerBlock(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.ln1 = LayerNorm(cfg)
        self.attn = Attention(cfg)
        self.ln2 = LayerNorm(cfg)
        self.mlp = MLP(cfg)

    def forward(self, resid_pre):
        resid_mid = self.attn(self.ln1(resid_pre)) + resid_pre
        return self.mlp(self.ln2(resid_mid)) + resid_mid

class Unembed(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.W_U = nn.Parameter(torch.empty(cfg.d_model, cfg.d_vocab))
        self.b_U = nn.Parameter(torch.zeros(cfg.d_vocab), requires_grad=False)

    def forward(self, x):
        return x @ self.W_U + self.b_U
"""

PARTS_WRONG = {  # the part that is named, and what is wrong in which class
    "wrong-in-blocks-0-ln1": ("x.pow(2).mean(-1", "residual.pow(2).mean(-1"),
    "wrong-in-pos-embed": ("self.W_pos[:tokens", "self.W_pos[1:1 + tokens"),
    "wrong-in-blocks-0-mlp": (', approximate="tanh"', ""),
    "wrong-in-blocks-0": ("(self.ln2(resid_mid)) + resid_mid", "(self.ln2(resid_mid))"),
    "wrong-in-unembed": ("@ self.W_U + self.b_U", "@ self.W_U"),
}


def of_parts(change: tuple[str, str]) -> type:
    """A right wiring of parts, one of which is changed."""
    old, new = change
    assert CORRECT.count(old) == 1
    parts = define(CORRECT.replace(old, new), Attention=model.Attention)
    return transformer(**{n: parts[n] for n in (*PARTS, "MLP") if n in parts})


@pytest.mark.parametrize("name, change", PARTS_WRONG.items())
def test_the_wrong_part_is_named(name, change):
    report = checks.demo_transformer.examine(of_parts(change))
    assert name in names(report), report
    assert not any(mistake.exact for mistake in report.mistakes)


def test_a_model_of_own_right_parts_passes():
    parts = define(CORRECT, Attention=model.Attention)
    mine = {n: parts[n] for n in PARTS if n in parts}
    report = checks.demo_transformer.examine(transformer(**mine))
    assert report.status == "passed", report


def test_wiring_that_no_entry_knows_is_narrowed_down():
    candidate = transformer(START, "for block in self.blocks: x = block(x * 1.01)", END)
    report = checks.demo_transformer.examine(candidate)
    assert "wiring-at-blocks-0" in names(report), report
    line = next(m.line for m in report.mistakes if m.name == "wiring-at-blocks-0")
    assert line == "for block in self.blocks: x = block(x * 1.01)"


# ---------------------------------------------------------------- crashes and faults

CRASHES = {
    "no-such-attribute": (START, LOOP, "return self.unembed(self.ln_finale(x))"),
    "list-of-modules": (START, "x = self.blocks(x)", END),
    "undefined-name": ("x = self.embed(tokens) + pos_embed(tokens)", LOOP, END),
    "no-return": (START, LOOP, "self.unembed(self.ln_final(x))"),
    "counts-from-0": (
        START,
        "for i in range(1, self.cfg.n_layers + 1): x = self.blocks[i](x)",
        END,
    ),
    "unpacks-another-count": (
        "x = self.embed(tokens)",
        "x = x + self.pos_embed(x)",
        LOOP,
        END,
    ),
}


@pytest.mark.parametrize("name, lines", CRASHES.items())
def test_crashes_are_explained(name, lines):
    report = checks.demo_transformer.examine(transformer(*lines))
    assert name in names(report), report


FAULTS = {
    "not-differentiable": (
        "with torch.no_grad():",
        f"    {START}",
        f"    {LOOP}",
        f"    {END}",
    ),
    "without-a-gradient": (
        START.replace("self.embed(tokens)", "self.embed(tokens).detach()"),
        LOOP,
        END,
    ),
}


@pytest.mark.parametrize("name, lines", FAULTS.items())
def test_silent_faults_are_named(name, lines):
    report = checks.demo_transformer.examine(transformer(*lines))
    assert name in names(report), report


def test_dropout_left_on_is_rejected():
    candidate = transformer(START, LOOP, "x = F.dropout(x, 0.1)", END)
    assert checks.demo_transformer.examine(candidate).status == "failed"
