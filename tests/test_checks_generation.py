"""Notebook 08's checks: every mistake as a learner would type it, every right idiom."""

import ast
import itertools
import json
from pathlib import Path

import pytest
import torch

from helpers import checks, generation, model
from helpers.checks.generation import bound
from helpers.checks.observe import same
from tests.candidates import Answer, define

ROOT = Path(__file__).resolve().parents[1]


def names(report) -> set[str]:
    return {mistake.name for mistake in report.mistakes}


CHECKS = {
    "greedy": checks.greedy,
    "sample": checks.sample,
    "apply_temperature": checks.temperature,
    "top_k": checks.top_k,
    "top_p": checks.top_p,
    "repetition_penalty": checks.repetition_penalty,
    "beam_search": checks.beam_search,
    "apply_cached_mask": checks.cached_mask,
    "CachedAttention": checks.cached_attention,
    "CachedTransformer": checks.cached_transformer,
    "greedy_cached": checks.greedy_cached,
}
HEADS = {
    "greedy": "def greedy(model, tokens, n_new):",
    "sample": "def sample(logits):",
    "apply_temperature": "def apply_temperature(logits, temperature):",
    "top_k": "def top_k(logits, k):",
    "top_p": "def top_p(logits, p):",
    "repetition_penalty": "def repetition_penalty(logits, tokens, penalty):",
    "beam_search": "def beam_search(model, tokens, n_new, n_beams):",
    "apply_cached_mask": "def apply_cached_mask(scores):",
    "greedy_cached": "def greedy_cached(model, tokens, n_new):",
    "CachedAttention": (
        "class CachedAttention(Attention):\n    def forward(self, x, cache):"
    ),
    "CachedTransformer": (
        "class CachedTransformer(DemoTransformer):\n"
        "    def __init__(self, cfg):\n"
        "        super().__init__(cfg)\n"
        "        self.blocks = nn.ModuleList("
        "CachedBlock(cfg) for _ in range(cfg.n_layers))\n"
        "    def forward(self, tokens, cache):"
    ),
}


COURSE = {
    name: value
    for module in (model, generation)
    for name, value in vars(module).items()
    if name[0] != "_"
}


def written(name: str, body: str):
    """An answer with a body of its own; the course's other pieces are there."""
    indent = "        " if name[0].isupper() else "    "
    lines = "\n".join(indent + line for line in body.strip("\n").splitlines())
    return define(f"{HEADS[name]}\n{lines}\n", **COURSE)[name]


LOOP = "for _ in range(n_new):\n    "
ADD = "    tokens = torch.cat([tokens, new], dim=1)\nreturn tokens"
QKV = """
q = einsum(x, self.W_Q, 'b p m, n m h -> b p n h') + self.b_Q
k = einsum(x, self.W_K, 'b p m, n m h -> b p n h') + self.b_K
v = einsum(x, self.W_V, 'b p m, n m h -> b p n h') + self.b_V
"""
REST = """
pattern = apply_cached_mask(attention_scores(q, k)).softmax(-1)
return attention_output(attention_values(pattern, v), self.W_O, self.b_O)
"""
KEEP = """
cache.k = k = torch.cat([cache.k, k], 1)
cache.v = v = torch.cat([cache.v, v], 1)
"""
START = "past, new = cache[0].k.shape[1], tokens.shape[1]\n"
EMBED = "x = self.embed(tokens) + self.pos_embed.W_pos[past : past + new]\n"
BLOCKS = "for block, kept in zip(self.blocks, cache): x = block(x, kept)\n"
END = "return self.unembed(self.ln_final(x))"
BEAM = """
beams, scores = tokens, torch.zeros(1)
for _ in range(n_new):
    logp = model(beams)[:, -1].log_softmax(-1)
    total = scores[:, None] + logp
    scores, best = total.flatten().topk(n_beams)
    row, col = best // total.shape[1], best % total.shape[1]
    beams = torch.cat([beams[row], col[:, None]], 1)
return beams[:1]
"""

RIGHT = [
    ("greedy", LOOP + "new = model(tokens)[:, -1].argmax(-1).unsqueeze(1)\n" + ADD),
    ("greedy", LOOP + "new = model(tokens)[:, -1, :].topk(1).indices\n" + ADD),
    (
        "greedy",
        LOOP
        + "new = model(tokens).softmax(-1)[:, -1].argmax(-1, keepdim=True)\n"
        + ADD,
    ),
    ("sample", "return torch.multinomial(F.softmax(logits, -1), 1)"),
    ("sample", "return torch.distributions.Categorical(logits=logits).sample()"),
    (
        "sample",
        "noise = -torch.rand_like(logits).log()\n"
        "return (logits.softmax(-1) / noise).argmax(-1, keepdim=True)",
    ),
    (
        "sample",
        "total = logits.softmax(-1).cumsum(-1)\n"
        "drawn = (total < torch.rand(len(logits), 1)).sum(-1, keepdim=True)\n"
        "return drawn.clamp(max=logits.shape[-1] - 1)",
    ),
    ("apply_temperature", "return logits * (1 / temperature)"),
    (
        "top_k",
        "t = logits.topk(min(k, logits.shape[1])).values.min(-1, keepdim=True)[0]"
        "\nreturn torch.where(logits >= t, logits, -torch.inf)",
    ),
    (
        "top_k",
        "k = min(k, logits.shape[1])\n"
        "t = logits.sort(-1, descending=True)[0][:, k - 1 : k]\n"
        "return logits.masked_fill(logits < t, -1e10)",
    ),
    (
        "top_p",
        "s, i = logits.sort(-1)\n"
        "out = s.softmax(-1).cumsum(-1) <= 1 - p\n"
        "out[:, -1:] = False\n"
        "return logits.masked_fill(out.scatter(1, i, out), -torch.inf)",
    ),
    (
        "top_p",
        "i = logits.argsort(dim=-1, descending=True)\n"
        "q = logits.softmax(-1).gather(-1, i)\n"
        "keep = torch.zeros_like(logits, dtype=torch.bool)\n"
        "keep.scatter_(-1, i, q.cumsum(-1) - q < p)\n"
        "return torch.where(keep, logits, float('-inf'))",
    ),
    (
        "repetition_penalty",
        "out = logits.clone()\n"
        "for row, ids in zip(out, tokens):\n"
        "    for i in ids.unique():\n"
        "        row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty\n"
        "return out",
    ),
    ("beam_search", BEAM),
    (
        "beam_search",
        BEAM.replace(
            "beams, scores = tokens, torch.zeros(1)",
            "beams = tokens.repeat(n_beams, 1)\n"
            "scores = torch.full((n_beams,), -1e9)\nscores[0] = 0",
        ),
    ),
    (
        "apply_cached_mask",
        "q, k = scores.shape[-2:]\n"
        "mask = torch.ones(k, k).tril()[-q:]\n"
        "return scores.masked_fill(mask == 0, -1e5)",
    ),
    (
        "apply_cached_mask",
        "q, k = scores.shape[-2:]\n"
        "at = torch.arange(q)[:, None] + k - q\n"
        "return torch.where(torch.arange(k) <= at, scores, -torch.inf)",
    ),
    ("CachedAttention", QKV + KEEP + REST),
    (
        "CachedTransformer",
        "past = cache[-1].v.shape[1]\n"
        "at = torch.arange(past, past + tokens.shape[1])\n"
        "x = self.embed.W_E[tokens] + self.pos_embed.W_pos[at]\n"
        "for i in range(self.cfg.n_layers): x = self.blocks[i](x, cache[i])\n" + END,
    ),
    (
        "greedy_cached",
        "cache = new_cache(model.cfg, len(tokens))\n"
        "logits = model(tokens, cache)\n"
        "for i in range(n_new):\n"
        "    new = logits[:, -1].argmax(-1, keepdim=True)\n"
        "    tokens = torch.cat([tokens, new], 1)\n"
        "    logits = model(new, cache) if i < n_new - 1 else None\n"
        "return tokens",
    ),
]


@pytest.mark.parametrize("name, body", RIGHT)
def test_right_idioms_pass(name, body):
    report = CHECKS[name].examine(written(name, body))
    assert report.status == "passed", report


@pytest.mark.parametrize("name", CHECKS)
def test_the_courses_own_answer_passes(name):
    report = CHECKS[name].examine(getattr(generation, name))
    assert report.status == "passed", report


TYPED = [  # (answer, mistake, body), as a learner would type it
    ("greedy", "first-positions-logits",
     LOOP + "new = model(tokens)[:, 0].argmax(-1, keepdim=True)\n" + ADD),
    ("greedy", "least-likely",
     LOOP + "new = model(tokens)[:, -1].argmin(-1, keepdim=True)\n" + ADD),
    ("greedy", "last-token-only",
     LOOP + "new = model(tokens[:, -1:])[:, -1].argmax(-1, keepdim=True)\n" + ADD),
    ("greedy", "prompt-only",
     "prompt = tokens\n" + LOOP
     + "new = model(prompt)[:, -1].argmax(-1, keepdim=True)\n" + ADD),
    ("greedy", "returns-in-the-loop",
     LOOP + "new = model(tokens)[:, -1:].argmax(-1)\n" + ADD.replace("\n", "\n    ")),
    ("greedy", "cat-shapes",
     LOOP + "new = model(tokens)[:, -1].argmax(-1)\n" + ADD),
    ("greedy", "prompt-dropped",
     "out = []\n" + LOOP + "new = model(tokens)[:, -1:].argmax(-1)\n"
     "    out.append(new)\n"
     + ADD.replace("return tokens", "return torch.cat(out, 1)")),
    ("greedy", "put-in-front",
     LOOP + "new = model(tokens)[:, -1:].argmax(-1)\n"
     + ADD.replace("[tokens, new]", "[new, tokens]")),
    ("greedy", "one-too-few",
     "for _ in range(n_new - 1):\n    new = model(tokens)[:, -1:].argmax(-1)\n" + ADD),
    ("sample", "same-draws-every-time",
     "torch.manual_seed(0)\nreturn torch.multinomial(logits.softmax(-1), 1)"),
    ("sample", "not-probabilities", "return torch.multinomial(logits, 1)"),
    ("top_k", "k-too-large",
     "t = logits.topk(k).values[:, -1:]\n"
     "return logits.masked_fill(logits < t, -torch.inf)"),
    ("apply_cached_mask", "mask-hides-the-diagonal",
     "q, k = scores.shape[-2:]\n"
     "return scores.masked_fill(torch.ones(q, k).triu(k - q).bool(), -1e9)"),
    ("sample", "greedy", "return logits.argmax(-1, keepdim=True)"),
    ("sample", "uniform",
     "return torch.randint(logits.shape[-1], (logits.shape[0], 1))"),
    ("sample", "softmax-twice",
     "probs = logits.softmax(-1)\n"
     "return torch.distributions.Categorical(logits=probs).sample()"),
    ("sample", "half-the-logits",
     "return torch.multinomial((logits / 2).softmax(-1), 1)"),
    ("sample", "probabilities-returned", "return logits.softmax(-1)"),
    ("apply_temperature", "temperature-multiplied", "return logits * temperature"),
    ("apply_temperature", "softmax-too", "return (logits / temperature).softmax(-1)"),
    ("apply_temperature", "log-probabilities",
     "return (logits / temperature).log_softmax(-1)"),
    ("apply_temperature", "softmax-before-temperature",
     "return logits.softmax(-1) / temperature"),
    ("apply_temperature", "temperature-unused", "logits / temperature\nreturn logits"),
    ("top_k", "cuts-ties",
     "v, i = logits.topk(min(k, logits.shape[1]))\n"
     "return torch.full_like(logits, -torch.inf).scatter(1, i, v)"),
    ("top_k", "rank-taken-for-token",
     "out = logits.clone()\nout[:, k:] = -torch.inf\nreturn out"),
    ("top_k", "kth-removed-too",
     "t = logits.topk(min(k, logits.shape[1])).values[:, -1:]\n"
     "return logits.masked_fill(logits <= t, -torch.inf)"),
    ("top_k", "zeros-not-inf",
     "t = logits.topk(min(k, logits.shape[1])).values[:, -1:]\n"
     "return logits * (logits >= t)"),
    ("top_k", "only-the-k-values", "return logits.topk(k).values"),
    ("top_p", "drops-the-crossing-token",
     "s, i = logits.sort(-1, descending=True)\n"
     "s[s.softmax(-1).cumsum(-1) > p] = -torch.inf\n"
     "return torch.zeros_like(logits).scatter(-1, i, s)"),
    ("top_p", "rank-taken-for-token",
     "q = logits.softmax(-1).sort(-1, descending=True).values\n"
     "return logits.masked_fill(q.cumsum(-1) - q >= p, -torch.inf)"),
    ("top_p", "no-softmax",
     "s, i = logits.sort(-1, descending=True)\n"
     "s = s.masked_fill(s.cumsum(-1) - s >= p, -torch.inf)\n"
     "return torch.zeros_like(logits).scatter(-1, i, s)"),
    ("top_p", "order-lost",
     "s, i = logits.sort(-1, descending=True)\nq = s.softmax(-1)\n"
     "return s.masked_fill(q.cumsum(-1) - q >= p, -torch.inf)"),
    ("top_p", "each-token-against-p",
     "return logits.masked_fill(logits.softmax(-1) < p, -torch.inf)"),
    ("repetition_penalty", "divides-negative-logits",
     "seen = logits.gather(-1, tokens)\n"
     "return logits.scatter(-1, tokens, seen / penalty)"),
    ("repetition_penalty", "once-per-occurrence",
     "out = logits.clone()\nfor row, ids in zip(out, tokens):\n    for i in ids:\n"
     "        row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty\n"
     "return out"),
    ("repetition_penalty", "tokens-of-the-whole-batch",
     "out = logits.clone()\ni = tokens.unique()\n"
     "x = out[:, i]\nout[:, i] = torch.where(x > 0, x / penalty, x * penalty)\n"
     "return out"),
    ("repetition_penalty", "penalty-subtracted",
     "seen = logits.gather(-1, tokens)\n"
     "return logits.scatter(-1, tokens, seen - penalty)"),
    ("beam_search", "sorts-by-last-step-only",
     BEAM.replace("scores[:, None] + logp", "logp")),
    ("beam_search", "logits-summed", BEAM.replace(".log_softmax(-1)", "")),
    ("beam_search", "probabilities-summed", BEAM.replace("log_softmax", "softmax")),
    ("beam_search", "worst-beam-returned", BEAM.replace("beams[:1]", "beams[-1:]")),
    ("beam_search", "greedy",
     BEAM.replace("= tokens, torch.zeros(1)",
                  "= tokens.repeat(n_beams, 1), torch.zeros(n_beams)")),
    ("apply_cached_mask", "mask-counts-from-zero",
     "return scores.masked_fill(torch.ones_like(scores).triu(1) == 1, -torch.inf)"),
    ("apply_cached_mask", "mask-of-the-keys-size",
     "n = scores.shape[-1]\n"
     "return scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)"),
    ("apply_cached_mask", "nothing-masked", "return scores * 1"),
    ("apply_cached_mask", "mask-hides-the-diagonal",
     "q, k = scores.shape[-2:]\n"
     "return scores.masked_fill(torch.ones(q, k).triu(k - q).bool(), -torch.inf)"),
    ("greedy_cached", "returns-in-the-loop",
     "cache, new = new_cache(model.cfg, len(tokens)), tokens\n" + LOOP
     + "new = model(new, cache)[:, -1:].argmax(-1)\n" + ADD.replace("\n", "\n    ")),
    ("greedy_cached", "whole-text-fed-again",
     "cache = new_cache(model.cfg, len(tokens))\n" + LOOP
     + "new = model(tokens, cache)[:, -1:].argmax(-1)\n" + ADD),
    ("greedy_cached", "cache-saves-nothing",
     LOOP + "c = new_cache(model.cfg, len(tokens))\n"
     "    new = model(tokens, c)[:, -1:].argmax(-1)\n" + ADD),
    ("greedy_cached", "prompt-not-fed",
     "cache, new = new_cache(model.cfg, len(tokens)), tokens[:, -1:]\n" + LOOP
     + "new = model(new, cache)[:, -1:].argmax(-1)\n" + ADD),
    ("CachedAttention", "keys-appended-twice",
     QKV + KEEP + "\nk, v = cache.k, cache.v = ("
     "torch.cat([cache.k, k[:, -x.shape[1]:]], 1), "
     "torch.cat([cache.v, v[:, -x.shape[1]:]], 1))" + REST),
    ("CachedAttention", "cache-not-used", QKV + REST),
    ("CachedAttention", "values-not-cached",
     QKV + "cache.k = k = torch.cat([cache.k, k], 1)" + REST),
    ("CachedAttention", "mask-counts-from-zero",
     QKV + KEEP + REST.replace("apply_cached_mask", "apply_causal_mask")),
    ("CachedAttention", "new-keys-in-front",
     QKV + KEEP.replace("[cache.k, k]", "[k, cache.k]")
     .replace("[cache.v, v]", "[v, cache.v]") + REST),
    ("CachedTransformer", "position-not-offset",
     START + EMBED.replace("[past : past + new]", "[:new]") + BLOCKS + END),
    ("CachedTransformer", "one-cache-for-all-layers",
     START + EMBED + BLOCKS.replace("zip(self.blocks, cache)",
     "zip(self.blocks, [cache[0]] * 9)") + END),
    ("CachedTransformer", "position-from-the-wrong-axis",
     START.replace("shape[1], t", "shape[0], t") + EMBED + BLOCKS + END),
    ("CachedTransformer", "no-final-layernorm",
     START + EMBED + BLOCKS + "return self.unembed(x)"),
]  # fmt: skip


def answers():
    """Every answer above, with what its check should say of it."""
    for name, body in RIGHT:
        yield Answer(CHECKS[name].name, None, written(name, body))
    for name, mistake, body in TYPED:
        yield Answer(CHECKS[name].name, (mistake,), written(name, body))


@pytest.mark.parametrize("name, mistake, body", TYPED)
def test_typed_mistakes_are_named(name, mistake, body):
    report = CHECKS[name].examine(written(name, body))
    assert mistake in names(report), report


@pytest.mark.parametrize(
    "name, known",
    [(n, k) for n, c in CHECKS.items() for k in c.known if n != "sample"],
    ids=lambda x: getattr(x, "name", x),
)
def test_every_catalogued_mistake_is_named_and_no_other(name, known):
    """Also shows that no two of an exercise look alike: only one name may fit."""
    instead = known.switches["instead"]
    if not isinstance(instead, type):
        wrong = instead

        def instead(*inputs):
            return wrong(*inputs)

    report = CHECKS[name].examine(instead)
    assert names(report) == {known.name}, report
    assert all(mistake.exact for mistake in report.mistakes)


@pytest.mark.parametrize("known", checks.sample.known, ids=lambda k: k.name)
def test_every_wrong_distribution_is_named(known):
    wrong = known.switches["instead"]
    report = checks.sample.examine(lambda logits: torch.multinomial(wrong(logits), 1))
    assert names(report) == {known.name}, report


@pytest.mark.parametrize("name", CHECKS)
def test_blanks_are_to_do(name):
    body = 'raise NotImplementedError("Fill this in.")'
    assert CHECKS[name].examine(written(name, body)).status == "todo"


def test_at_least_four_mistakes_each():
    assert all(len(check.known) >= 4 for check in CHECKS.values())


def test_the_bound_of_sampling_is_hoeffdings():
    spread = bound(9, draws=20_000, error=1e-6)
    assert 2 * 9 * 4 * torch.exp(torch.tensor(-2 * 20_000 * spread**2)) <= 1.001e-6


def test_what_does_not_fit_is_said_in_a_sentence():
    from helpers.checks.cases import stirred

    cfg = stirred().cfg
    with pytest.raises(ValueError, match="prompt is empty"):
        generation.refuse_what_does_not_fit(cfg, torch.zeros(1, 0), 3)
    with pytest.raises(ValueError, match="n_ctx = 11"):
        generation.refuse_what_does_not_fit(cfg, torch.zeros(1, 9), 3)
    generation.refuse_what_does_not_fit(cfg, torch.zeros(1, 8), 3)
    with pytest.raises(ValueError, match="above 0"):
        generation.apply_temperature(torch.zeros(1, 3), 0)
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    cold = generation.choices(logits, torch.zeros(1, 1, dtype=torch.long), 0)
    assert same(cold.softmax(-1), torch.tensor([[0.0, 1.0, 0.0]]))


def _definitions(tree: ast.Module) -> dict[str, str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {n.name: ast.dump(n) for n in tree.body if isinstance(n, kinds)}


def test_the_notebook_and_helpers_hold_the_same_code():
    notebook = ROOT / "notebooks" / "08_generation.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    theirs = [_definitions(ast.parse(s)) for s in sources]
    shown = dict(itertools.chain.from_iterable(d.items() for d in theirs))
    ours = _definitions(ast.parse(Path(generation.__file__).read_text("utf-8")))
    assert {name: shown.get(name) for name in ours} == ours
