"""The checks of notebook 09: every mistake as a learner would type it."""

import copy
import itertools
import math

import pytest
import torch

from helpers import checks, training
from helpers.checks.trials import equal
from tests.candidates import Answer, define

NAMES = {"batch_loss": training.batch_loss, "clip_gradients": training.clip_gradients}

BATCH = """
def make_batch(rows, end):
    longest = max(len(row) for row in rows)
    tokens = torch.full((len(rows), longest + 1), end)
    targets = torch.full((len(rows), longest + 1), -100)
    for i, row in enumerate(rows):
        tokens[i, 1 : len(row) + 1] = torch.tensor(row)
        targets[i, : len(row) + 1] = torch.tensor([*row, end])
    return tokens, targets
"""
LOSS = """
def batch_loss(logits, targets):
    log_probs = logits.log_softmax(-1)
    counted = targets != -100
    picked = log_probs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(picked * counted).sum() / counted.sum()
"""
GROUPS = """
def parameter_groups(model, weight_decay):
    decay, rest = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        last = name.split(".")[-1]
        if last.startswith("W_"):
            decay.append(p)
        else:
            rest.append(p)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
"""
RATE = """
def learning_rate(step, steps, peak, lowest, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step + 1 - warmup) / (steps - warmup)
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))
"""
CLIP = """
def clip_gradients(parameters, max_norm):
    parameters = [p for p in parameters if p.grad is not None]
    total = 0.0
    for p in parameters:
        total += p.grad.pow(2).sum()
    norm = total ** 0.5
    if norm > max_norm:
        for p in parameters:
            p.grad *= max_norm / norm
    return norm
"""
STEP = """
def train_step(model, optimizer, tokens, targets, lr, max_norm=1.0):
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = lr
    logits = model(tokens)
    loss = batch_loss(logits, targets)
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(list(model.parameters()), max_norm)
    optimizer.step()
    return loss.item()
"""
SOURCES = {
    "make_batch": BATCH,
    "batch_loss": LOSS,
    "parameter_groups": GROUPS,
    "learning_rate": RATE,
    "clip_gradients": CLIP,
    "train_step": STEP,
}

RIGHT = {
    "make_batch": {
        "the usual": BATCH,
        "pad_sequence": """
            def make_batch(rows, end):
                from torch.nn.utils.rnn import pad_sequence
                tokens = [torch.tensor([end] + row) for row in rows]
                targets = [torch.tensor(row + [end]) for row in rows]
                return (pad_sequence(tokens, batch_first=True, padding_value=end),
                        pad_sequence(targets, batch_first=True, padding_value=-100))
            """,
        "other filling": """
            def make_batch(rows, end):
                n = max(map(len, rows)) + 1
                tokens = [[end, *row] + [0] * (n - 1 - len(row)) for row in rows]
                targets = [[*row, end] + [-100] * (n - 1 - len(row)) for row in rows]
                return torch.tensor(tokens), torch.tensor(targets)
            """,
        "a list of two": BATCH.replace(
            "return tokens, targets", "return [tokens, targets]"
        ),
        "wider than needed": BATCH.replace("longest + 1", "longest + 4"),
    },
    "batch_loss": {
        "by hand": LOSS,
        "flattened": """
            def batch_loss(logits, targets):
                return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            """,
        "transposed": """
            def batch_loss(logits, targets):
                return F.cross_entropy(logits.transpose(1, 2), targets)
            """,
        "boolean index": """
            def batch_loss(logits, targets):
                keep = targets != -100
                return F.cross_entropy(logits[keep], targets[keep])
            """,
        "nll": """
            def batch_loss(logits, targets):
                log_probs = einops.rearrange(logits, "b p v -> (b p) v").log_softmax(-1)
                return F.nll_loss(log_probs, targets.reshape(-1), ignore_index=-100)
            """,
        "module": """
            def batch_loss(logits, targets):
                return nn.CrossEntropyLoss()(logits.permute(0, 2, 1), targets)
            """,
    },
    "parameter_groups": {
        "the usual": GROUPS,
        "part of the name": GROUPS.replace('last.startswith("W_")', '"W_" in name'),
        "frozen ones too": GROUPS.replace("not p.requires_grad", "False"),
        "others first": GROUPS.replace(
            "return [\n", 'return [{"params": rest, "weight_decay": 0.0},\n'
        ).replace('        {"params": rest, "weight_decay": 0.0},\n', ""),
        "dictionary": """
            def parameter_groups(model, weight_decay):
                learned = dict(model.named_parameters())
                W = [p for n, p in learned.items() if n.split(".")[-1][0] == "W"]
                ids = {id(p) for p in W}
                rest = [p for p in model.parameters() if id(p) not in ids]
                return [dict(params=W, weight_decay=weight_decay, lr=1e-3),
                        dict(params=rest, weight_decay=0)]
            """,
    },
    "learning_rate": {
        "the usual": RATE,
        "tensor": RATE.replace("return lowest", "return torch.tensor(lowest)"),
        "min": """
            def learning_rate(step, steps, peak, lowest, warmup):
                n = step + 1
                if n <= warmup:
                    return peak * min(1.0, n / warmup)
                share = (math.cos((n - warmup) / (steps - warmup) * torch.pi) + 1) / 2
                return peak * share + lowest * (1 - share)
            """,
    },
    "clip_gradients": {
        "loops": CLIP,
        "torch's": """
            def clip_gradients(parameters, max_norm):
                return torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            """,
        "one vector": """
            def clip_gradients(parameters, max_norm):
                ps = [p for p in parameters if p.grad is not None]
                norm = torch.cat([p.grad.flatten() for p in ps]).norm()
                factor = min(1.0, max_norm / norm.item())
                for p in ps:
                    p.grad = p.grad * factor
                return norm.item()
            """,
    },
    "train_step": {
        "the usual": STEP,
        "zero first": STEP.replace("    optimizer.zero_grad()\n", "").replace(
            "    model.train()\n", "    optimizer.zero_grad()\n    model.train()\n"
        ),
        "zero last": STEP.replace("    optimizer.zero_grad()\n", "").replace(
            "    optimizer.step()\n",
            "    optimizer.step()\n    optimizer.zero_grad()\n",
        ),
        "model zeroed": STEP.replace("optimizer.zero_grad", "model.zero_grad"),
        "torch's clip": STEP.replace(
            "clip_gradients(list(model.parameters())",
            "torch.nn.utils.clip_grad_norm_(model.parameters()",
        ),
        "detached": STEP.replace("loss.item()", "loss.detach()"),
        "own loss": STEP.replace(
            "batch_loss(logits, targets)",
            "F.cross_entropy(logits.transpose(1, 2), targets)",
        ),
    },
}

# exercise -> [(slug, code of the right answer, code in its place)]
_FILL = "torch.full((len(rows), longest + 1), -100)"
_DECAY = 'last.startswith("W_")'
_COS = "0.5 * (1 + math.cos(math.pi * progress))"
_ZERO, _BACK = "    optimizer.zero_grad()\n", "    loss.backward()\n"
_CLIP = "    clip_gradients(list(model.parameters()), max_norm)\n"
_MOVE = "    optimizer.step()\n"
_SCALE = "        for p in parameters:\n            p.grad *= max_norm / norm\n"
WRONG = {
    "make_batch": [
        ("padding-counted", _FILL, _FILL.replace("-100", "end")),
        ("padding-zero", _FILL, "torch.zeros(len(rows), longest + 1).long()"),
        (
            "end-never-learned",
            "    return",
            "    targets[targets == end] = -100\n    return",
        ),
        (
            "end-missing",
            BATCH,
            """
            def make_batch(rows, end):
                n = max(map(len, rows))
                whole = [[end, *row] for row in rows]
                tokens = [w[:-1] + [end] * (n + 1 - len(w)) for w in whole]
                targets = [w[1:] + [-100] * (n + 1 - len(w)) for w in whole]
                return torch.tensor(tokens), torch.tensor(targets)
            """,
        ),
        (
            "start-missing",
            BATCH,
            """
            def make_batch(rows, end):
                n = max(map(len, rows))
                tokens = [row + [end] * (n - len(row)) for row in rows]
                targets = [row[1:] + [end] + [-100] * (n - len(row)) for row in rows]
                return torch.tensor(tokens), torch.tensor(targets)
            """,
        ),
        ("no-shift", "torch.tensor([*row, end])", "torch.tensor([end, *row])"),
        (
            "shifted-backwards",
            BATCH,
            """
            def make_batch(rows, end):
                n = max(map(len, rows)) + 1
                tokens = torch.full((len(rows), n), end)
                targets = torch.full((len(rows), n), -100)
                for i, row in enumerate(rows):
                    tokens[i, :len(row) + 1] = torch.tensor(row + [end])
                    targets[i, :len(row) + 1] = torch.tensor([end] + row)
                return tokens, targets
            """,
        ),
        (
            "shifted-twice",
            "torch.tensor([*row, end])",
            "torch.tensor([*row[1:], end, -100])",
        ),
        (
            "padded-on-the-left",
            BATCH,
            """
            def make_batch(rows, end):
                n = max(map(len, rows)) + 1
                tokens = [[end] * (n - len(row) - 1) + [end] + row for row in rows]
                targets = [[-100] * (n - len(row) - 1) + row + [end] for row in rows]
                return torch.tensor(tokens), torch.tensor(targets)
            """,
        ),
        ("swapped", "return tokens, targets", "return targets, tokens"),
    ],
    "batch_loss": [
        (
            "padding-counted",
            "counted = targets != -100",
            "counted = torch.ones_like(targets)",
        ),
        (
            "padding-counted",
            LOSS,
            """
            def batch_loss(logits, targets):
                log_probs = logits.log_softmax(-1)
                b, p = targets.shape
                picked = log_probs[torch.arange(b)[:, None], torch.arange(p), targets]
                return -picked.mean()
            """,
        ),
        ("divided-by-all-positions", "counted.sum()", "targets.numel()"),
        ("sum-not-mean", " / counted.sum()", ""),
        (
            "mean-of-rows",
            "-(picked * counted).sum() / counted.sum()",
            "-((picked * counted).sum(1) / counted.sum(1)).mean()",
        ),
        (
            "sum-per-story",
            "-(picked * counted).sum() / counted.sum()",
            "-(picked * counted).sum(1).mean()",
        ),
        (
            "not-reduced",
            "return -(picked * counted).sum() / counted.sum()",
            "return F.cross_entropy(logits.transpose(1, 2), targets, reduction='none')",
        ),
        (
            "not-reduced",
            LOSS,
            """
            def batch_loss(logits, targets):
                return F.cross_entropy(logits.flatten(0, 1), targets.flatten(),
                                       reduction="none")
            """,
        ),
        (
            "shifted-again",
            LOSS,
            """
            def batch_loss(logits, targets):
                return F.cross_entropy(logits[:, :-1].flatten(0, 1),
                                       targets[:, 1:].flatten())
            """,
        ),
        (
            "shifted-backwards",
            LOSS,
            """
            def batch_loss(logits, targets):
                return F.cross_entropy(logits[:, 1:].transpose(1, 2), targets[:, :-1])
            """,
        ),
        (
            "softmax-twice",
            LOSS,
            """
            def batch_loss(logits, targets):
                probs = logits.softmax(dim=-1)
                return F.cross_entropy(probs.flatten(0, 1), targets.flatten())
            """,
        ),
        ("raw-logits", "logits.log_softmax(-1)", "logits"),
        ("no-logarithm", "log_softmax", "softmax"),
        ("over-positions", "log_softmax(-1)", "log_softmax(1)"),
        ("sign-lost", "-(picked", "(picked"),
    ],
    "parameter_groups": [
        ("decay-on-attention-biases", _DECAY, "p.dim() > 1"),
        ("decay-on-layernorm", _DECAY, '"b_" not in last'),
        ("decay-on-layernorm", _DECAY, 'last.lower().startswith("w")'),
        ("decay-on-biases", _DECAY, 'last != "w"'),
        ("decay-on-biases", _DECAY, '"ln" not in name'),
        ("decay-on-everything", _DECAY, "True"),
        ("default-decay", ', "weight_decay": 0.0', ""),
        ("groups-swapped", _DECAY, f"not {_DECAY}"),
        ("no-decay", '"weight_decay": weight_decay', '"weight_decay": 0.0'),
        (
            "embeddings-not-decayed",
            _DECAY,
            f'{_DECAY} and name not in ("embed.W_E", "pos_embed.W_pos")',
        ),
        ("embeddings-not-decayed", _DECAY, f'{_DECAY} and "embed" not in name'),
        (
            "embeddings-left-out",
            "if not p.requires_grad",
            'if not p.requires_grad or name in ("embed.W_E", "pos_embed.W_pos")',
        ),
        ("biases-left-out", '        {"params": rest, "weight_decay": 0.0},\n', ""),
        ("attention-biases-left-out", "else:", "elif p.dim() == 1:"),
        ("layernorm-left-out", "else:", 'elif "b_" in name:'),
    ],
    "learning_rate": [
        ("starts-at-zero", "(step + 1) / warmup", "step / warmup"),
        (
            "starts-at-zero",
            RATE,
            RATE.replace("(step + 1) /", "step /").replace("step + 1 -", "step -"),
        ),
        ("never-quite-lowest", "step + 1 - warmup", "step - warmup"),
        ("never-quite-lowest", "(steps - warmup)", "steps"),
        (
            "jump-after-warm-up",
            "(step + 1 - warmup) / (steps - warmup)",
            "(step + 1) / steps",
        ),
        (
            "jump-after-warm-up",
            "(step + 1 - warmup) / (steps - warmup)",
            "step / steps",
        ),
        ("lowest-ignored", "lowest + (peak - lowest)", "peak"),
        ("lowest-added", "(peak - lowest)", "peak"),
        (
            "cut-off-at-lowest",
            f"lowest + (peak - lowest) * {_COS}",
            f"max(lowest, peak * {_COS})",
        ),
        ("no-warm-up", "if step < warmup", "if False"),
        (
            "warm-up-from-lowest",
            "return peak * (step + 1) / warmup",
            "return lowest + (peak - lowest) * (step + 1) / warmup",
        ),
        ("stays-at-the-peak", f"lowest + (peak - lowest) * {_COS}", "peak"),
        ("straight-line", _COS, "(1 - progress)"),
        ("whole-wave", "math.pi *", "2 * math.pi *"),
        ("quarter-wave", _COS, "math.cos(math.pi / 2 * progress)"),
        ("no-pi", "math.pi * progress", "progress"),
        ("degrees", "math.pi * progress", "180 * progress"),
        ("goes-up", "1 + math.cos", "1 - math.cos"),
        (
            "one-forgotten",
            "(1 + math.cos(math.pi * progress))",
            "math.cos(math.pi * progress)",
        ),
        ("half-forgotten", "0.5 * (1", "(1"),
        (
            "factor-not-rate",
            RATE,
            RATE.replace("peak * (step", "(step").replace(
                "lowest + (peak - lowest)", "lowest / peak + (1 - lowest / peak)"
            ),
        ),
    ],
    "clip_gradients": [
        (
            "clips-by-value",
            _SCALE,
            _SCALE.replace(
                "*= max_norm / norm", ".clamp_(-max_norm, max_norm)"
            ).replace("p.grad .", "p.grad."),
        ),
        (
            "clips-by-value",
            CLIP,
            """
            def clip_gradients(parameters, max_norm):
                torch.nn.utils.clip_grad_value_(parameters, max_norm)
            """,
        ),
        (
            "each-by-itself",
            "    if norm > max_norm:\n" + _SCALE,
            "    for p in parameters:\n        if p.grad.norm() > max_norm:\n"
            "            p.grad *= max_norm / p.grad.norm()\n",
        ),
        ("scales-up-too", "if norm > max_norm", "if True"),
        ("no-root", "total ** 0.5", "total"),
        (
            "sum-of-lengths",
            CLIP,
            CLIP.replace(".pow(2).sum()", ".norm()").replace(" ** 0.5", ""),
        ),
        (
            "absolute-values",
            CLIP,
            CLIP.replace(".pow(2)", ".abs()").replace(" ** 0.5", ""),
        ),
        (
            "largest-entry",
            "norm = total ** 0.5",
            "norm = max(p.grad.abs().max() for p in parameters)",
        ),
        ("last-gradient-only", "total +=", "total ="),
        ("scaled-to-one", "*= max_norm / norm", "/= norm"),
        ("times-the-limit", "*= max_norm / norm", "*= max_norm"),
        ("factor-inverted", "max_norm / norm", "norm / max_norm"),
        ("clips-the-parameters", "p.grad *=", "p.data *="),
        (
            "nothing-happens",
            _SCALE,
            "        gradients = [p.grad * max_norm / norm for p in parameters]\n",
        ),
        ("length-not-returned", "    return norm\n", ""),
        (
            "length-afterwards",
            "return norm",
            "return torch.cat([p.grad.flatten() for p in parameters]).norm()",
        ),
        (
            "generator-used-up",
            CLIP,
            """
            def clip_gradients(parameters, max_norm):
                norm = sum(p.grad.pow(2).sum() for p in parameters
                           if p.grad is not None).sqrt()
                for p in parameters:
                    if p.grad is not None and norm > max_norm:
                        p.grad.mul_(max_norm / norm)
                return norm
            """,
        ),
    ],
    "train_step": [
        ("no-zero-grad", _ZERO, ""),
        (
            "step-before-backward",
            _ZERO + _BACK + _CLIP + _MOVE,
            _MOVE + _ZERO + _BACK + _CLIP,
        ),
        ("step-before-backward", _BACK + _CLIP + _MOVE, _MOVE + _BACK + _CLIP),
        ("zeroed-after-backward", _ZERO + _BACK, _BACK + _ZERO),
        ("clip-before-backward", _BACK + _CLIP, _CLIP + _BACK),
        ("no-clip", _CLIP, ""),
        ("clip-after-step", _CLIP + _MOVE, _MOVE + _CLIP),
        (
            "clips-by-value",
            "clip_gradients(list(",
            "torch.nn.utils.clip_grad_value_(list(",
        ),
        (
            "clips-each-by-itself",
            _CLIP,
            "    for p in model.parameters():\n        if p.grad is not None:\n"
            "            clip_gradients([p], max_norm)\n",
        ),
        ("limit-ignored", "parameters()), max_norm)", "parameters()), 1.0)"),
        ("no-step", _MOVE, ""),
        ("no-train-mode", "    model.train()\n", ""),
        ("eval-mode", "model.train()", "model.eval()"),
        (
            "train-mode-too-late",
            STEP,
            STEP.replace("    model.train()\n", "").replace(
                _ZERO, "    model.train()\n" + _ZERO
            ),
        ),
        ("rate-not-set", 'group["lr"] = lr', "pass"),
        (
            "rate-too-late",
            STEP,
            STEP.replace(
                '    for group in optimizer.param_groups:\n        group["lr"] = lr\n',
                "",
            ).replace(
                _MOVE,
                _MOVE + "    for group in optimizer.param_groups:\n"
                '        group["lr"] = lr\n',
            ),
        ),
        (
            "first-group-only",
            '    for group in optimizer.param_groups:\n        group["lr"] = lr\n',
            '    optimizer.param_groups[0]["lr"] = lr\n',
        ),
        (
            "sum-not-mean",
            "batch_loss(logits, targets)",
            "F.cross_entropy(logits.transpose(1, 2), targets, reduction='sum')",
        ),
        (
            "padding-counted",
            "batch_loss(logits, targets)",
            "F.cross_entropy(logits.transpose(1, 2), targets.where(targets >= 0, 0))",
        ),
        ("returns-a-tensor", "loss.item()", "loss"),
        ("no-return", "    return loss.item()\n", ""),
    ],
}


def answer(name: str, source: str):
    return define(source, **NAMES)[name]


def examine(name: str, source: str):
    return getattr(checks, name).examine(answer(name, source))


def wrong(name: str, old: str, new: str) -> str:
    """The right answer's source with a piece of it replaced, or another source."""
    source = SOURCES[name]
    assert source.count(old) == 1, old
    return new if old == source else source.replace(old, new)


def answers():
    """Every answer above, with what its check should say of it."""
    for name, idioms in RIGHT.items():
        for source in idioms.values():
            yield Answer(name, None, answer(name, source))
    for name, rows in WRONG.items():
        for slug, old, new in rows:
            yield Answer(name, (slug,), answer(name, wrong(name, old, new)))


CASES = [
    pytest.param(name, slug, old, new, id=f"{name}-{i}-{slug}")
    for name, rows in WRONG.items()
    for i, (slug, old, new) in enumerate(rows)
]


@pytest.mark.parametrize(("name", "slug", "old", "new"), CASES)
def test_a_mistake_is_named(name, slug, old, new):
    report = examine(name, wrong(name, old, new))
    assert report.status == "failed"
    assert [m.name for m in report.mistakes] == [slug], str(report)


@pytest.mark.parametrize(
    ("name", "idiom"), [(name, idiom) for name in RIGHT for idiom in RIGHT[name]]
)
def test_a_right_answer_passes(name, idiom):
    report = examine(name, RIGHT[name][idiom])
    assert report.status == "passed", str(report)


@pytest.mark.parametrize("name", SOURCES)
def test_every_catalogued_mistake_is_written_as_a_learner_would(name):
    catalogued = {known.name for known in getattr(checks, name).known}
    tried = {slug for slug, _, _ in WRONG[name]}
    assert catalogued <= tried, catalogued - tried
    assert len(catalogued) >= 4


@pytest.mark.parametrize("name", SOURCES)
def test_the_courses_own_passes_and_blanks_are_to_do(name):
    check = getattr(checks, name)
    assert check.examine(check.course).status == "passed"
    lines = SOURCES[name].strip().splitlines()[0]
    blank = f'{lines}\n    """What it does."""\n    raise NotImplementedError\n'
    assert examine(name, blank).status == "todo"
    assert examine(name, f"{lines}\n    return 1 / 0\n").status == "failed"
    assert all(check.hints)


@pytest.mark.parametrize("name", [n for n in SOURCES if n != "batch_loss"])
def test_two_mistakes_are_never_taken_for_one_another(name):
    check = getattr(checks, name)
    trials = check.make_cases()
    made = [(k, [check._course(t, k.switches) for t in trials]) for k in check.known]
    for (a, seen_a), (b, seen_b) in itertools.combinations(made, 2):
        alike = all(equal(x, y, traces=True) for x, y in zip(seen_a, seen_b))
        assert not alike or a.name == b.name, (a.name, b.name)


def test_an_unknown_mistake_is_told_as_a_fact():
    said = str(examine("learning_rate", RATE.replace("0.5 *", "0.49 *")))
    assert (
        "wrong-result" in said and "it should be" in said and "learning_rate(" in said
    )
    said = str(examine("train_step", STEP.replace("backward()", "backwards()")))
    assert "backwards" in said and "your line" in said


def test_two_mistakes_at_once():
    report = examine(
        "train_step", STEP.replace(_ZERO, "").replace("loss.item()", "loss")
    )
    assert {m.name for m in report.mistakes} == {"no-zero-grad", "returns-a-tensor"}


def test_the_schedule_reaches_its_ends():
    rates = [training.learning_rate(s, 50, 2.0, 0.2, 10) for s in range(50)]
    assert rates[0] == 0.2 and rates[9] == max(rates) == 2.0
    assert math.isclose(rates[-1], 0.2)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_clipping_equals_torchs():
    mine = [torch.nn.Parameter(torch.randn(3, 4)) for _ in range(3)]
    for p in mine:
        p.grad = torch.randn(3, 4)
    theirs = copy.deepcopy(mine)
    for p, q in zip(mine, theirs):
        q.grad = p.grad.clone()
    norm = training.clip_gradients(mine, 0.5)
    assert math.isclose(
        norm, torch.nn.utils.clip_grad_norm_(theirs, 0.5).item(), rel_tol=1e-5
    )
    for p, q in zip(mine, theirs):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)
