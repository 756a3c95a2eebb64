"""The checks of notebook 03: every mistake as a learner would type it."""

import itertools
import time

import pytest
import torch

from helpers import checks
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define

CHECKS = {c.answer: c for c in (checks.embed, checks.pos_embed, checks.unembed)}
WEIGHT = {
    "Embed": ("W_E", "cfg.d_vocab, cfg.d_model"),
    "PosEmbed": ("W_pos", "cfg.n_ctx, cfg.d_model"),
    "Unembed": ("W_U", "cfg.d_model, cfg.d_vocab"),
}


def answer(name: str, *lines: str, init: str | None = None) -> type:
    """A class with the usual weights, whose forward has these lines."""
    weight, shape = WEIGHT[name]
    if init is None:
        init = f"self.{weight} = nn.Parameter(torch.empty(({shape})))"
        init += f"\nnn.init.normal_(self.{weight}, std=self.cfg.init_range)"
        if name == "Unembed":
            init += "\nself.b_U = nn.Parameter(torch.zeros((cfg.d_vocab)),"
            init += " requires_grad=False)"
    source = [f"class {name}(nn.Module):", "    def __init__(self, cfg):"]
    inits = ["super().__init__()", "self.cfg = cfg", *init.splitlines()]
    source += ["        " + line for line in inits]
    source += ["    def forward(self, x):"]
    source += ["        " + line for line in lines]
    return define("\n".join(source))[name]


def whole(name: str, source: str, **names) -> type:
    """A class written out."""
    return define(source, **names)[name]


RIGHT = {
    "Embed": {
        "indexing": ["return self.W_E[x]"],
        "indexing with a colon": ["return self.W_E[x, :]"],
        "F.embedding": ["return F.embedding(x, self.W_E)"],
        "index_select": [
            "rows = torch.index_select(self.W_E, 0, x.flatten())",
            "return rows.view(*x.shape, -1)",
        ],
        "gather": [
            "ids = x.reshape(-1, 1).expand(-1, self.cfg.d_model)",
            "return self.W_E.gather(0, ids).reshape(*x.shape, self.cfg.d_model)",
        ],
        "one-hot": [
            "one_hot = F.one_hot(x, num_classes=self.cfg.d_vocab).float()",
            "return one_hot @ self.W_E",
        ],
        "one-hot einops": [
            "one_hot = F.one_hot(x, self.cfg.d_vocab).to(torch.float32)",
            "return einsum(one_hot, self.W_E, 'b p v, v d -> b p d')",
        ],
        "one-hot fancy_einsum": [
            "one_hot = torch.eye(self.cfg.d_vocab)[x]",
            "return fancy_einsum.einsum('batch position d_vocab, d_vocab d_model ->"
            " batch position d_model', one_hot, self.W_E)",
        ],
        "one-hot torch.einsum": [
            "one_hot = (x[..., None] == torch.arange(self.cfg.d_vocab)).float()",
            "return torch.einsum('bpv,vd->bpd', one_hot, self.W_E)",
        ],
        "loops": [
            "texts = [[self.W_E[t] for t in row] for row in x]",
            "return torch.stack([torch.stack(row) for row in texts])",
        ],
        "filled in": [
            "out = torch.zeros(*x.shape, self.cfg.d_model)",
            "for b in range(x.shape[0]):",
            "    for p in range(x.shape[1]):",
            "        out[b, p] = self.W_E[x[b, p]]",
            "return out",
        ],
        "prints": [
            "if self.cfg.debug: print('tokens', x.shape)",
            "embed = self.W_E[x, :]",
            "print('embed', embed)",
            "return embed",
        ],
        "take_along_dim": [
            "rows = torch.take_along_dim(self.W_E, x.reshape(-1, 1), dim=0)",
            "return rows.reshape(*x.shape, -1)",
        ],
        "transposed twice": ["return self.W_E.T[:, x].permute(1, 2, 0)"],
    },
    "PosEmbed": {
        "expand": [
            "batch, position = x.shape",
            "return self.W_pos[:position].expand(batch, position, -1)",
        ],
        "einops.repeat": [
            "pos_embed = self.W_pos[:x.size(1), :]",
            "return einops.repeat(pos_embed, 'position d_model -> batch position"
            " d_model', batch=x.size(0))",
        ],
        "arange": [
            "positions = torch.arange(x.shape[1], device=x.device)",
            "return self.W_pos[positions.expand(x.shape)]",
        ],
        "F.embedding": [
            "positions = torch.arange(x.shape[-1]).repeat(len(x), 1)",
            "return F.embedding(positions, self.W_pos)",
        ],
        "stack": ["return torch.stack([self.W_pos[:x.shape[1]]] * x.shape[0])"],
        "repeat": [
            "return self.W_pos[:x.shape[1]].unsqueeze(0).repeat(x.shape[0], 1, 1)"
        ],
        "one-hot": [
            "one_hot = F.one_hot(torch.arange(x.shape[1]), self.cfg.n_ctx).float()",
            "return (one_hot @ self.W_pos).expand(x.shape[0], -1, -1)",
        ],
        "cumsum": [
            "positions = torch.ones_like(x).cumsum(dim=1) - 1",
            "return self.W_pos[positions]",
        ],
        "zeros and arange": [
            "return self.W_pos[torch.zeros_like(x) + torch.arange(x.shape[1])]"
        ],
        "zeros added": [
            "return torch.zeros(len(x), 1, 1) + self.W_pos[:x.size(1)]",
        ],
        "ones in einsum": [
            "ones = torch.ones(x.shape)",
            "return einsum(ones, self.W_pos[:x.shape[1]], 'b p, p d -> b p d')",
        ],
        "loops": [
            "out = []",
            "for text in x:",
            "    out.append(torch.stack([self.W_pos[i] for i in range(len(text))]))",
            "return torch.stack(out)",
        ],
    },
    "Unembed": {
        "matmul": ["return x @ self.W_U + self.b_U"],
        "torch.matmul": ["return torch.matmul(x, self.W_U) + self.b_U"],
        "F.linear": ["return F.linear(x, self.W_U.T, self.b_U)"],
        "einops": [
            "logits = einsum(x, self.W_U, 'b p d_model, d_model v -> b p v')",
            "return logits + self.b_U",
        ],
        "fancy_einsum": [
            "logits = fancy_einsum.einsum('batch position d_model, d_model d_vocab ->"
            " batch position d_vocab', x, self.W_U) + self.b_U",
            "return logits",
        ],
        "torch.einsum": ["return torch.einsum('bpd,dv->bpv', x, self.W_U) + self.b_U"],
        "baddbmm": [
            "W_U = self.W_U.expand(len(x), -1, -1)",
            "return torch.baddbmm(self.b_U, x, W_U)",
        ],
        "flattened": [
            "flat = x.reshape(-1, self.cfg.d_model)",
            "logits = torch.addmm(self.b_U, flat, self.W_U)",
            "return logits.view(*x.shape[:2], -1)",
        ],
        "loop over positions": [
            "out = [x[:, i] @ self.W_U + self.b_U for i in range(x.shape[1])]",
            "return torch.stack(out, dim=1)",
        ],
        "tensordot": ["return torch.tensordot(x, self.W_U, dims=1).add(self.b_U)"],
    },
}

POS = "batch, position = x.shape"
WRONG = {
    "Embed": {
        "transposed-table": ["return self.W_E.T[x]"],
        "looks-up-columns": ["return self.W_E[:, x]"],
        "product-with-token-id": [
            "return einsum(x.float(), self.W_E, 'b p, v d -> b p d')",
            "return einsum(x, self.W_E, 'b p, v d -> b p d')",
        ],
        "vocabulary-axis-not-tied": [
            "one_hot = F.one_hot(x, self.cfg.d_vocab).float()\n"
            "return einsum(one_hot, self.W_E, 'b p v, w d -> b p d')",
        ],
        "one-hot-kept": ["return F.one_hot(x, self.cfg.d_vocab).float()"],
        "looked-up-by-position": [
            POS + "\nreturn self.W_E[:position].expand(batch, -1, -1)",
            "return self.W_E[torch.arange(x.shape[1])].repeat(len(x), 1, 1)",
        ],
        "one-row-too-far": ["return self.W_E[x + 1]"],
        "one-row-short": ["return F.embedding(x - 1, self.W_E)"],
        "batch-and-position-swapped": [
            "return self.W_E[x].transpose(0, 1)",
            "return self.W_E[x.T]",
        ],
        "batch-and-position-merged": [
            "return self.W_E[x.flatten()]",
            "return torch.cat([self.W_E[text] for text in x])",
        ],
        "first-text-only": ["return self.W_E[x[0]]"],
        "first-text-repeated": [
            "return self.W_E[x[0]].unsqueeze(0).repeat(x.shape[0], 1, 1)"
        ],
        "last-position-only": [
            "for text in x.T:\n    out = self.W_E[text]\nreturn out"
        ],
        "positions-added-up": [
            "one_hot = F.one_hot(x, self.cfg.d_vocab).float()\n"
            "return einsum(one_hot, self.W_E, 'b p v, v d -> b d')",
        ],
        "positions-averaged": ["return self.W_E[x].mean(dim=1)"],
        "scaled-by-sqrt-d-model": [
            "return self.W_E[x] * math.sqrt(self.cfg.d_model)",
        ],
        "divided-by-sqrt-d-model": ["return self.W_E[x] / self.cfg.d_model ** 0.5"],
        "position-numbers-added": [
            "return self.W_E[x] + torch.arange(x.shape[1])[None, :, None]",
        ],
        "positions-added": [
            "return self.W_E[x] + self.W_E[torch.arange(x.shape[1])]",
        ],
        "normalized": ["return F.layer_norm(self.W_E[x], (self.cfg.d_model,))"],
        # narrowed or told as they are
        "wrong-values": ["return 3 * self.W_E[x]"],
        "changes-the-right-result": ["return self.W_E[x].relu()"],
        "right-numbers-wrong-shape": [
            "return self.W_E[x][:, None]",
            "return self.W_E[x].squeeze()",
        ],
        "axes-in-another-order": ["return self.W_E[x].mT"],
        "returns-an-earlier-step": ["rows = self.W_E[x]\nreturn x"],
        "wrong-dtype": ["return self.W_E[x].double()", "return self.W_E[x].half()"],
        "no-return": ["y = self.W_E[x]"],
        "not-differentiable": [
            "return self.W_E[x].detach()",
            "return self.W_E.data[x]",
            "return torch.tensor(self.W_E.detach().numpy()[x.numpy()])",
        ],
        "wrong-gradient": ["return F.embedding(x, self.W_E, padding_idx=0)"],
        "random": ["return F.dropout(self.W_E[x], 0.1)"],
        "no-such-attribute": ["return self.w_e[x]", "return self.W_e[x]"],
        "undefined-name": ["return W_E[x]", "return self.W_E[tokens]"],
        "changes-its-input": ["y = self.W_E[x]\nx += 1\nreturn y"],
        "integers-in-a-product": [
            "return F.one_hot(x, self.cfg.d_vocab) @ self.W_E",
            "return x @ self.W_E",
            "return x.float() @ self.W_E",
        ],
        "index-not-whole": ["return self.W_E[x.float()]"],
        "shapes-do-not-broadcast": ["return x * self.W_E"],
        "index-beyond-the-table": ["return self.W_E[x * self.cfg.d_vocab]"],
        "calls-a-tensor": ["return self.W_E(x)"],
    },
    "PosEmbed": {
        "runs-on-across-the-batch": [
            "return self.W_pos[torch.arange(x.numel()).reshape(x.shape)]",
            POS + "\nreturn self.W_pos[:batch * position].view(batch, position, -1)",
        ],
        "indexed-by-token": [
            "return self.W_pos[x]",
            "return F.embedding(x, self.W_pos)",
            "return F.one_hot(x, self.cfg.n_ctx).float() @ self.W_pos",
        ],
        "batch-and-position-merged": [
            POS + "\nreturn einops.repeat(self.W_pos[:position], 'p d -> (b p) d',"
            " b=batch)",
            "return torch.cat([self.W_pos[:x.shape[1]] for _ in x])",
        ],
        "starts-at-1": [
            POS + "\nreturn self.W_pos[1:position + 1].expand(batch, -1, -1)",
            "return self.W_pos[torch.arange(1, x.shape[1] + 1)]",
            "return self.W_pos[torch.ones_like(x).cumsum(1)]",
        ],
        "reversed": [
            POS + "\nreturn self.W_pos[:position].flip(0).expand(batch, -1, -1)",
        ],
        "last-rows": [POS + "\nreturn self.W_pos[-position:].expand(batch, -1, -1)"],
        "all-rows": [
            "return self.W_pos",
            "return self.W_pos.expand(len(x), -1, -1)",
            "return einops.repeat(self.W_pos, 'p d -> b p d', b=x.shape[0])",
        ],
        "counts-the-batch": [
            "return self.W_pos[:len(x)]",
            "return self.W_pos[:x.shape[0]].expand(x.shape[0], -1, -1)",
        ],
        "position-is-the-text": [
            POS + "\nreturn self.W_pos[:batch][:, None].expand(-1, position, -1)",
        ],
        "batch-and-position-swapped": [
            POS + "\nreturn einops.repeat(self.W_pos[:position], 'p d -> p b d',"
            " b=batch)",
        ],
        "one-row-for-all": [
            "return self.W_pos[x.shape[1]].expand(*x.shape, -1)",
            "return self.W_pos[x.shape[1]]",
        ],
        "last-row-for-all": [
            "for i in range(x.shape[1]):\n    row = self.W_pos[i]\nreturn row",
        ],
        "first-row-for-all": ["return self.W_pos[torch.zeros_like(x)]"],
        "first-position-only": ["return self.W_pos[0].expand(len(x), 1, -1)"],
        "added-up-over-the-batch": [
            "ones = torch.ones(x.shape)\n"
            "return einsum(ones, self.W_pos[:x.shape[1]], 'b p, p d -> p d')",
        ],
        "product-with-token-id": [
            "return einsum(x.float(), self.W_pos[:x.shape[1]], 'b p, p d -> b p d')",
        ],
        "product-with-position": [
            "steps = torch.arange(x.shape[1])[:, None]\n"
            "return steps * self.W_pos[:x.shape[1]]",
        ],
        "position-numbers": ["return torch.arange(x.shape[1]).repeat(len(x), 1)"],
        "scaled-by-sqrt-d-model": [
            "return self.W_pos[:x.shape[1]] * self.cfg.d_model ** 0.5",
        ],
        "departs-at-a-copy-for-each-text": ["return self.W_pos[:x.shape[1]] + 1"],
        "wrong-shape": [
            POS + "\nreturn self.W_pos[:position].expand(batch, -1, -1).squeeze()",
            "return self.W_pos[:x.shape[1]].sum(-1)",
        ],
        "no-return": ["self.W_pos[:x.shape[1]].expand(len(x), -1, -1)"],
        "not-differentiable": ["return self.W_pos[:x.shape[1]].detach()"],
        "shape-for-a-number": [
            "return self.W_pos[:x.shape].expand(len(x), -1, -1)",
            "return self.W_pos[torch.arange(x)]",
        ],
        "no-such-axis": ["return self.W_pos[:x.shape[2]]"],
        "unpacks-another-count": [
            "batch, position, d_model = x.shape\nreturn self.W_pos"
        ],
    },
    "Unembed": {
        "bias-unused": ["return x @ self.W_U", "return F.linear(x, self.W_U.T)"],
        "bias-subtracted": ["return x @ self.W_U - self.b_U"],
        "bias-multiplies": ["return x @ self.W_U * self.b_U"],
        "bias-added-twice": ["return F.linear(x, self.W_U.T, self.b_U) + self.b_U"],
        "softmax-applied": ["return torch.softmax(x @ self.W_U + self.b_U, dim=-1)"],
        "log-softmax-applied": [
            "return F.log_softmax(x @ self.W_U + self.b_U, dim=-1)",
        ],
        "softmax-over-positions": ["return (x @ self.W_U + self.b_U).softmax(dim=1)"],
        "last-position-only": ["return x[:, -1] @ self.W_U + self.b_U"],
        "last-position-only-kept-axis": ["return x[:, -1:, :] @ self.W_U + self.b_U"],
        "positions-averaged": ["return (x @ self.W_U + self.b_U).mean(1)"],
        "positions-added-up": [
            "return einsum(x, self.W_U, 'b p d, d v -> b v') + self.b_U",
        ],
        "argmax-applied": ["return (x @ self.W_U + self.b_U).argmax(dim=-1)"],
        "reshaped-not-transposed": [
            "W = self.W_U.view(self.cfg.d_vocab, self.cfg.d_model)\n"
            "return F.linear(x, W, self.b_U)",
        ],
        "d-model-axis-not-tied": [
            "return einsum(x, self.W_U, 'b p d, e v -> b p v') + self.b_U",
        ],
        "vocabulary-before-position": [
            "return einsum(x, self.W_U, 'b p d, d v -> b v p') + self.b_U[:, None]",
        ],
        "batch-and-position-swapped": [
            "return einsum(x, self.W_U, 'b p d, d v -> p b v') + self.b_U",
        ],
        "batch-and-position-merged": [
            "return x.view(-1, self.cfg.d_model) @ self.W_U + self.b_U",
        ],
        "normalizes-first": [
            "x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True,"
            " unbiased=False) + 1e-5)\nreturn x @ self.W_U + self.b_U",
        ],
        "divided-by-sqrt-d-model": [
            "return x @ self.W_U / math.sqrt(self.cfg.d_model) + self.b_U",
        ],
        "wrong-values": ["return (x @ self.W_U + self.b_U).relu()"],
        "matmul-shapes": ["return x @ self.W_U.T + self.b_U"],
        "no-return": ["logits = x @ self.W_U + self.b_U"],
        "not-differentiable": ["return (x @ self.W_U + self.b_U).detach()"],
        "without-a-gradient": ["return x @ self.W_U.detach() + self.b_U"],
        "changes-its-input": ["x *= 1.5\nreturn x @ self.W_U / 1.5 + self.b_U"],
    },
}

# In `__init__`, what the report says first
BUILT_WRONG = [
    ("Embed", "renamed-parameter", "self.emb = nn.Embedding(cfg.d_vocab, cfg.d_model)"),
    ("Embed", "renamed-parameter", "self.W_e = nn.Parameter(torch.empty(cfg.d_vocab,"
     " cfg.d_model))"),
    ("Embed", "misshapen-parameter", "self.W_E = nn.Parameter(torch.empty(cfg.d_model,"
     " cfg.d_vocab))"),
    ("Embed", "misshapen-parameter", "self.W_E = nn.Parameter(torch.empty(50257, 9))"),
    ("Embed", "missing-parameter", "pass"),
    ("Embed", "not-a-parameter", "self.W_E = torch.randn(cfg.d_vocab, cfg.d_model)"),
    ("PosEmbed", "renamed-parameter", "self.pe = nn.Embedding(cfg.n_ctx, cfg.d_model)"),
    ("PosEmbed", "misshapen-parameter", "self.W_pos = nn.Parameter(torch.empty("
     "cfg.d_vocab, cfg.d_model))"),
    ("Unembed", "renamed-parameter", "self.head = nn.Linear(cfg.d_model, cfg.d_vocab)"),
    ("Unembed", "misshapen-parameter", "self.W_U = nn.Parameter(torch.empty("
     "cfg.d_vocab, cfg.d_model)); self.b_U = nn.Parameter(torch.zeros(cfg.d_vocab))"),
    ("Unembed", "missing-parameter", "self.W_U = nn.Parameter(torch.empty(cfg.d_model,"
     " cfg.d_vocab))"),
]  # fmt: skip


def flat(table: dict) -> list[tuple[str, str, list[str]]]:
    """Rows of a two-level table: class, idiom or slug, lines."""
    rows = []
    for name, entries in table.items():
        for slug, bodies in entries.items():
            bodies = [bodies] if slug in RIGHT[name] else bodies
            for body in bodies:
                lines = body if isinstance(body, list) else body.splitlines()
                rows.append((name, slug, lines))
    return rows


def answers():
    """Every answer here, with what its check should say of it."""
    for name, _, lines in flat(RIGHT):
        yield Answer(CHECKS[name].name, None, answer(name, *lines))
    for name, slug, lines in flat(WRONG):
        yield Answer(CHECKS[name].name, (slug,), answer(name, *lines))
    for name, slug, init in BUILT_WRONG:
        lines = RIGHT[name][next(iter(RIGHT[name]))]
        yield Answer(CHECKS[name].name, (slug,), answer(name, *lines, init=init))
    for name, line, slugs in PAIRS:
        yield Answer(CHECKS[name].name, tuple(slugs), answer(name, line))
    for name, bodies in RIGHT_MERGES.items():
        for body in bodies:
            yield Answer(name, None, function(name, body))
    for name, wrong in WRONG_MERGES.items():
        for slug, body in wrong.items():
            yield Answer(name, (slug,), function(name, body))


@pytest.mark.parametrize(("name", "idiom", "lines"), flat(RIGHT))
def test_right_answers_pass(name, idiom, lines):
    report = CHECKS[name].examine(answer(name, *lines))
    assert report.status == "passed", report
    assert report.notes == ()


@pytest.mark.parametrize(("name", "slug", "lines"), flat(WRONG))
def test_wrong_answers_are_named(name, slug, lines):
    report = CHECKS[name].examine(answer(name, *lines))
    assert report.status == "failed"
    assert slug in [m.name for m in report.mistakes], report
    known = {k.name for k in CHECKS[name].known}
    if slug in known:
        assert [m.name for m in report.mistakes] == [slug], report
        assert report.mistakes[0].exact
    else:
        assert not any(m.exact for m in report.mistakes)


@pytest.mark.parametrize("name", CHECKS)
def test_every_known_mistake_is_written_out_above(name):
    assert {k.name for k in CHECKS[name].known} <= WRONG[name].keys()


@pytest.mark.parametrize("name", CHECKS)
def test_no_two_mistakes_give_the_same_output(name):
    check = CHECKS[name]
    cases = [case for case in check.make_cases() if case.explains]
    outputs = {
        known.name: [check.reference_run(case, known.switches) for case in cases]
        for known in check.known
    }
    equal = outputs_equal(check.view, check.tolerance)
    for one, other in itertools.combinations(outputs, 2):
        pairs = zip(outputs[one], outputs[other], strict=True)
        assert not all(equal(a, b) for a, b in pairs), (one, other)


@pytest.mark.parametrize(("name", "slug", "init"), BUILT_WRONG)
def test_wrong_parameters_are_named(name, slug, init):
    lines = RIGHT[name][next(iter(RIGHT[name]))]
    report = CHECKS[name].examine(answer(name, *lines, init=init))
    assert report.status == "failed"
    assert report.mistakes[0].name == slug, report
    assert WEIGHT[name][0] in str(report) or "b_U" in str(report)


PAIRS = [
    ("Embed", "return self.W_E[x + 1] * self.cfg.d_model ** 0.5",
     {"one-row-too-far", "scaled-by-sqrt-d-model"}),
    ("Unembed", "return (x @ self.W_U).softmax(-1)",
     {"bias-unused", "softmax-applied"}),
    ("Unembed", "return x[:, -1] @ self.W_U",
     {"bias-unused", "last-position-only"}),
    ("PosEmbed", "return self.W_pos[1:x.shape[1] + 1] * self.cfg.d_model ** 0.5",
     {"starts-at-1", "scaled-by-sqrt-d-model"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "slugs"), PAIRS)
def test_two_mistakes_at_once(name, line, slugs):
    report = CHECKS[name].examine(answer(name, line))
    assert report.status == "failed"
    assert {m.name for m in report.mistakes} == slugs
    assert not report.one_of


@pytest.mark.parametrize(
    "line",
    [
        "return self.W_pos[:x.shape[1]]",
        "return self.W_pos[:x.shape[-1], :].unsqueeze(0)",
        "return self.W_pos[torch.arange(x.shape[1])][None]",
    ],
)
def test_positions_may_rely_on_broadcasting_with_a_note(line):
    report = checks.pos_embed.examine(answer("PosEmbed", line))
    assert report.status == "passed", report
    assert "broadcasting" in report.notes[0]


TEMPLATE = {
    "Embed": """
        class Embed(nn.Module):
            def __init__(self, cfg):
                super().__init__()
                self.cfg = cfg
                self.W_E = nn.Parameter(torch.empty((cfg.d_vocab, cfg.d_model)))
                nn.init.normal_(self.W_E, std=self.cfg.init_range)

            def forward(self, tokens):
                if self.cfg.debug: print("Tokens:", tokens.shape)
                embed = self.W_E[tokens, :]
                return embed
        """,
    "PosEmbed": """
        class PosEmbed(nn.Module):
            def __init__(self, cfg: Config, scale: float = 1.0):
                super().__init__()
                self.cfg = cfg
                self.W_pos = nn.Parameter(torch.empty((cfg.n_ctx, cfg.d_model)))
                nn.init.normal_(self.W_pos, std=self.cfg.init_range)
                self.register_buffer("IGNORE", torch.tensor(-1e5))

            def rows(self, n):
                return self.W_pos[:n, :]

            def forward(self, tokens: Int[Tensor, "batch position"], verbose=False
                        ) -> Float[Tensor, "batch position d_model"]:
                pos_embed = self.rows(tokens.size(1))
                return einops.repeat(
                    pos_embed, "position d_model -> batch position d_model",
                    batch=tokens.size(0))
        """,
    "Unembed": """
        class Unembed(nn.Module):
            def __init__(self, cfg):
                super().__init__()
                self.cfg = cfg
                self.W_U = nn.Parameter(torch.empty((cfg.d_model, cfg.d_vocab)))
                nn.init.normal_(self.W_U, std=self.cfg.init_range)
                self.b_U = nn.Parameter(torch.zeros(cfg.d_vocab))

            def forward(self, normalized_resid_final):
                # [batch, position, d_model]
                print("Normalized_resid_final:", normalized_resid_final.shape)
                logits = fancy_einsum.einsum(
                    "batch position d_model, d_model d_vocab -> batch position d_vocab",
                    normalized_resid_final, self.W_U) + self.b_U
                return logits
        """,
}


@pytest.mark.parametrize("name", CHECKS)
def test_classes_in_the_templates_form_pass(name):
    from jaxtyping import Float, Int

    names = {"Float": Float, "Int": Int, "Tensor": torch.Tensor}
    report = CHECKS[name].examine(whole(name, TEMPLATE[name], **names))
    assert report.status == "passed", report
    assert report.notes == ()


@pytest.mark.parametrize("name", CHECKS)
def test_global_cfg_and_a_gpu_in_init_pass_with_a_note(name):
    source = TEMPLATE[name].replace("self.cfg.", "cfg.").replace("cfg: Config", "cfg")
    source = source.replace("Int[Tensor, ", "tuple[Tensor, ")
    source = source.replace("Float[Tensor, ", "tuple[Tensor, ")
    source = source.replace("torch.empty((", "torch.empty(device='cuda', size=(")
    names = {"cfg": define("cfg = Config()")["cfg"], "Tensor": torch.Tensor}
    report = CHECKS[name].examine(whole(name, source, **names))
    assert report.status == "passed", report
    assert any("GPU" in note for note in report.notes)


@pytest.mark.parametrize("name", CHECKS)
def test_uninitialized_weights_pass_with_a_note(name):
    weight, shape = WEIGHT[name]
    init = f"self.{weight} = nn.Parameter(torch.zeros({shape}))"
    init += "\nself.b_U = nn.Parameter(torch.zeros(cfg.d_vocab))" * (name == "Unembed")
    lines = RIGHT[name][next(iter(RIGHT[name]))]
    report = CHECKS[name].examine(answer(name, *lines, init=init))
    assert report.status == "passed", report
    assert "init.normal_" in report.notes[0]


@pytest.mark.parametrize("name", CHECKS)
def test_blank_is_to_do_and_the_courses_own_passes(name):
    check = CHECKS[name]
    blank = answer(name, 'raise NotImplementedError("yours")')
    assert check.examine(blank).status == "todo"
    assert check.examine(answer(name, "pass")).status == "todo"
    start = time.process_time()  # what one core works, however busy the machine is
    assert check.examine(check.course).status == "passed"
    assert time.process_time() - start < 2


PAIR_RIGHT = [
    "counts = {}\nfor p in zip(x, x[1:]):\n    counts[p] = counts.get(p, 0) + 1\n"
    "return max(counts, key=counts.get)",
    "pairs = [(x[i], x[i + 1]) for i in range(len(x) - 1)]\n"
    "return max(set(pairs), key=pairs.count)",
    "from collections import Counter\n"
    "return Counter(zip(x, x[1:])).most_common(1)[0][0]",
]
COUNT = "from collections import Counter\ncounts = Counter(zip(x, x[1:]))\n"
PAIR_WRONG = {
    "returns-the-count-too": COUNT + "return counts.most_common(1)[0]",
    "returns-a-list-of-one": COUNT + "return counts.most_common(1)",
    "returns-the-count": COUNT + "return max(counts.values())",
    "returns-the-joined-text": COUNT + "return ''.join(max(counts, key=counts.get))",
    "returns-a-list": COUNT + "return list(max(counts, key=counts.get))",
    "most-common-token": COUNT + "return Counter(x).most_common(1)[0][0]",
    "rarest-pair": COUNT + "return min(counts, key=counts.get)",
    "first-pair": COUNT + "return list(counts)[0]",
    "every-second-pair": COUNT + "counts = Counter(zip(x[::2], x[1::2]))\n"
    "return max(counts, key=counts.get)",
    "not-neighbours": COUNT + "counts = Counter(zip(x, x[2:]))\n"
    "return max(counts, key=counts.get)",
    "order-forgotten": COUNT
    + "counts = Counter(tuple(sorted(p)) for p in zip(x, x[1:])"
    ")\nreturn max(counts, key=counts.get)",
    "largest-pair": COUNT + "return max(counts)",
    "wrong-result": COUNT,
    "changes-its-input": COUNT + "x.sort()\nreturn max(counts, key=counts.get)",
    "undefined-name": "return Count(x)",
}
LOOP = """\
out, i = [], 0
while i < len(x):
    if i + 1 < len(x) and (x[i], x[i + 1]) == pair:
        out.append(x[i] + x[i + 1])
        i += 2
    else:
        out.append(x[i])
        i += 1
return out"""
MERGE_RIGHT = [
    LOOP,
    LOOP.replace("(x[i], x[i + 1]) == pair", "x[i] == pair[0] and x[i + 1] == pair[1]"),
    LOOP.replace("(x[i], x[i + 1]) == pair", "tuple(x[i : i + 2]) == tuple(pair)"),
    LOOP.replace("x[i] + x[i + 1])", "''.join(pair))"),
]
MERGE_WRONG = {
    "second-token-kept": LOOP.replace("i += 2", "i += 1"),
    "last-token-lost": LOOP.replace("while i < len(x)", "while i < len(x) - 1"),
    "first-occurrence-only": "out = list(x)\nfor i in range(len(x) - 1):\n"
    "    if (x[i], x[i + 1]) == pair:\n        out[i:i + 2] = [x[i] + x[i + 1]]\n"
    "        return out\nreturn out",
    "nothing-merged": LOOP.replace("(x[i], x[i + 1])", "[x[i], x[i + 1]]"),
    "pair-as-a-tuple": LOOP.replace("x[i] + x[i + 1])", "pair)"),
    "returns-text": "return ''.join(x)",
    "pairs-only": "return [a + b for a, b in zip(x, x[1:]) if (a, b) == pair]",
    "counts-from-0": LOOP.replace("i + 1 < len(x) and ", ""),
    "wrong-result": LOOP.replace("return out", ""),
    "changes-its-input": "while x:\n    x.pop()\nreturn []",
}


RIGHT_MERGES = {"most_common_pair": PAIR_RIGHT, "merge_pair": MERGE_RIGHT}
WRONG_MERGES = {"most_common_pair": PAIR_WRONG, "merge_pair": MERGE_WRONG}


def function(name: str, body: str):
    """A function of `x` (and `pair`) with this body."""
    arguments = "x, pair" if name == "merge_pair" else "x"
    lines = [f"def {name}({arguments}):", *("    " + li for li in body.splitlines())]
    return define("\n".join(lines))[name]


@pytest.mark.parametrize(
    ("name", "body"),
    [(name, body) for name, bodies in RIGHT_MERGES.items() for body in bodies],
)
def test_right_merges_pass(name, body):
    report = getattr(checks, name).examine(function(name, body))
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "slug", "body"),
    [(name, *item) for name, wrong in WRONG_MERGES.items() for item in wrong.items()],
)
def test_wrong_merges_are_named(name, slug, body):
    report = getattr(checks, name).examine(function(name, body))
    assert [m.name for m in report.mistakes] == [slug], report


def test_merges_untouched_or_endless():
    for name, check in {
        "most_common_pair": checks.most_common_pair,
        "merge_pair": checks.merge_pair,
    }.items():
        assert check.examine(function(name, "pass")).status == "todo"
        assert check.examine(check.course).status == "passed"
        wrong = PAIR_WRONG if name == "most_common_pair" else MERGE_WRONG
        assert {known.name for known in check.known} <= wrong.keys()
        cases = check.make_cases()
        outputs = {k.name: [check.compute(*c, **k.switches) for c in cases]
                   for k in check.known}  # fmt: skip
        for one, other in itertools.combinations(outputs, 2):
            assert outputs[one] != outputs[other], (one, other)
