"""The check of cross_entropy: right idioms pass, and each mistake is named."""

import itertools

import pytest

from helpers import checks, model
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define


def loss(body: str):
    """A cross_entropy with these lines; one expression may stand alone."""
    lines = body.strip().splitlines()
    if len(lines) == 1 and not lines[0].lstrip().startswith(("return", "raise")):
        lines = [f"return {lines[0]}"]
    source = "\n    ".join(["def cross_entropy(logits, tokens):", *lines])
    return define(source)["cross_entropy"]


PICKED = "log_probs.gather(-1, tokens[:, 1:, None])[..., 0]"
LOG = "log_probs = logits[:, :-1].log_softmax(-1)"

RIGHT = {
    "F.cross_entropy, flattened": (
        "F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), "
        "tokens[:, 1:].reshape(-1))"
    ),
    "F.cross_entropy, transposed": (
        "F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])"
    ),
    "of log probabilities": (
        "F.cross_entropy(logits[:, :-1].log_softmax(-1).flatten(0, 1), "
        "tokens[:, 1:].flatten())"
    ),
    "nll_loss": (
        "F.nll_loss(logits[:, :-1].log_softmax(-1).flatten(0, 1), "
        "tokens[:, 1:].flatten())"
    ),
    "gather": f"{LOG}\nreturn -{PICKED}.mean()",
    "Template's": (
        "log_probs = logits.log_softmax(dim=-1)\n"
        "pred = log_probs[:, :-1].gather(dim=-1, index=tokens[:, 1:].unsqueeze(-1))\n"
        "return -pred.squeeze(-1).mean()"
    ),
    "one-hot": (
        f"{LOG}\n"
        "hot = F.one_hot(tokens[:, 1:], logits.shape[-1])\n"
        "return -(log_probs * hot).sum(-1).mean()"
    ),
    "the last one ignored": (
        "targets = tokens.roll(-1, dims=1)\n"
        "targets[:, -1] = -100\n"
        "return F.cross_entropy(logits.transpose(1, 2), targets)"
    ),
    "indexed": (
        f"{LOG}\n"
        "texts, places = torch.arange(len(tokens))[:, None], torch.arange(log_probs."
        "shape[1])\n"
        "return -log_probs[texts, places, tokens[:, 1:]].mean()"
    ),
    "logsumexp": (
        "x = logits[:, :-1]\n"
        "right = x.gather(-1, tokens[:, 1:, None])[..., 0]\n"
        "return (x.logsumexp(-1) - right).mean()"
    ),
    "loops": (
        "total, count = 0, 0\n"
        "for b in range(tokens.shape[0]):\n"
        "    for j in range(tokens.shape[1] - 1):\n"
        "        total = total - logits[b, j].log_softmax(-1)[tokens[b, j + 1]]\n"
        "        count += 1\n"
        "return total / count"
    ),
    "mean of means": f"{LOG}\nreturn -{PICKED}.mean(-1).mean()",
    "extra argument": (
        "def inner(x, t, base=None): return F.cross_entropy(x, t)\n"
        "return inner(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())"
    ),
}


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(body):
    report = checks.cross_entropy.examine(loss(body))
    assert report.status == "passed" and not report.notes, report


def test_the_courses_own_passes_and_a_blank_one_is_to_do():
    assert checks.cross_entropy.examine(model.cross_entropy).status == "passed"
    blank = loss("raise NotImplementedError")
    assert checks.cross_entropy.examine(blank).status == "todo"


def test_a_logarithm_of_a_rounded_probability_passes_with_a_note():
    unsafe = LOG.replace("log_softmax(-1)", "softmax(-1).log()")
    body = f"{unsafe}\nreturn -{PICKED}.mean()"
    report = checks.cross_entropy.examine(loss(body))
    assert report.status == "passed" and "log_softmax" in report.notes[0], report


WRONG = {
    "no-shift": [
        "F.cross_entropy(logits.flatten(0, 1), tokens.flatten())",
        "-logits.log_softmax(-1).gather(-1, tokens[..., None]).mean()",
    ],
    "no-shift-last-dropped": [
        "F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, :-1].flatten())"
    ],
    "no-shift-first-dropped": [
        "F.cross_entropy(logits[:, 1:].flatten(0, 1), tokens[:, 1:].flatten())"
    ],
    "shifted-backwards": [
        "F.cross_entropy(logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten())"
    ],
    "shifted-by-two": [
        "x, t = logits[:, :-1], tokens[:, 1:]\n"
        "return F.cross_entropy(x[:, :-1].flatten(0, 1), t[:, 1:].flatten())"
    ],
    "around-the-end": [
        "F.cross_entropy(logits.flatten(0, 1), tokens.roll(-1, dims=1).flatten())"
    ],
    "shifted-after-flattening": [
        "F.cross_entropy(logits.flatten(0, 1)[:-1], tokens.flatten()[1:])"
    ],
    "batch-shifted": [
        "F.cross_entropy(logits[:-1].flatten(0, 1), tokens[1:].flatten())"
    ],
    "last-prediction-only": ["F.cross_entropy(logits[:, -2], tokens[:, -1])"],
    "reshape-instead-of-transpose": [
        "x = logits[:, :-1]\n"
        "x = x.reshape(x.shape[0], x.shape[2], x.shape[1])\n"
        "return F.cross_entropy(x, tokens[:, 1:])"
    ],
    "sum-not-mean": [
        f"{LOG}\nreturn -{PICKED}.sum()",
        "F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), "
        "reduction='sum')",
    ],
    "sum-over-positions": [f"{LOG}\nreturn -{PICKED}.sum(-1).mean()"],
    "sum-over-the-batch": [f"{LOG}\nreturn -{PICKED}.sum(0).mean()"],
    "divided-by-too-many": [f"{LOG}\nreturn -{PICKED}.sum() / tokens.numel()"],
    "divided-by-the-vocabulary": [
        f"{LOG}\n"
        "hot = F.one_hot(tokens[:, 1:], logits.shape[-1])\n"
        "return -(log_probs * hot).mean()"
    ],
    "not-reduced": [f"{LOG}\nreturn -{PICKED}"],
    "not-reduced-flat": [
        "F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), "
        "reduction='none')"
    ],
    "mean-per-text": [f"{LOG}\nreturn -{PICKED}.mean(-1)"],
    "mean-per-position": [f"{LOG}\nreturn -{PICKED}.mean(0)"],
    "sign-lost": [f"{LOG}\nreturn {PICKED}.mean()"],
    "in-bits": [
        f"log_probs = logits[:, :-1].softmax(-1).log2()\nreturn -{PICKED}.mean()"
    ],
    "log10": [
        f"log_probs = logits[:, :-1].softmax(-1).log10()\nreturn -{PICKED}.mean()"
    ],
    "no-logarithm": [
        f"log_probs = logits[:, :-1].softmax(-1)\nreturn -{PICKED}.mean()"
    ],
    "no-softmax": [f"log_probs = logits[:, :-1]\nreturn -{PICKED}.mean()"],
    "softmax-twice": [
        "F.cross_entropy(logits[:, :-1].softmax(-1).flatten(0, 1), "
        "tokens[:, 1:].flatten())"
    ],
    "softmax-over-positions": [
        f"log_probs = logits[:, :-1].log_softmax(1)\nreturn -{PICKED}.mean()"
    ],
    "softmax-over-the-batch": [
        f"log_probs = logits[:, :-1].log_softmax(0)\nreturn -{PICKED}.mean()"
    ],
    "mean-over-the-vocabulary": [f"{LOG}\nreturn -log_probs.mean()"],
    "sum-over-the-vocabulary": [f"{LOG}\nreturn -log_probs.sum(-1).mean()"],
    "likeliest-token": [f"{LOG}\nreturn -log_probs.max(-1).values.mean()"],
    "perplexity": [f"{LOG}\nreturn (-{PICKED}.mean()).exp()"],
}


def answers():
    """Every answer here, with what the check should say of it."""
    for body in RIGHT.values():
        yield Answer("cross_entropy", None, loss(body))
    for table in (WRONG, {name: [body] for name, body in FAULTS.items()}):
        for name, many in table.items():
            for body in many:
                yield Answer("cross_entropy", (name,), loss(body))
    for names, body in PAIRS.items():
        yield Answer("cross_entropy", names, loss(body))


def test_every_known_mistake_is_tried():
    assert set(WRONG) == {known.name for known in checks.cross_entropy.known}


@pytest.mark.parametrize(
    "name, body", [(name, body) for name, many in WRONG.items() for body in many]
)
def test_wrong_answers_are_named(name, body):
    report = checks.cross_entropy.examine(loss(body))
    assert report.status == "failed"
    assert {m.name for m in report.mistakes} == {name}, report
    assert report.mistakes[0].exact


PAIRS = {
    ("no-shift", "sum-not-mean"): (
        "-logits.log_softmax(-1).gather(-1, tokens[..., None]).sum()"
    ),
    ("no-shift", "softmax-twice"): (
        "F.cross_entropy(logits.softmax(-1).flatten(0, 1), tokens.flatten())"
    ),
    ("shifted-backwards", "sign-lost"): (
        "-F.cross_entropy(logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten())"
    ),
}


@pytest.mark.parametrize("names, body", PAIRS.items())
def test_pairs_are_named(names, body):
    report = checks.cross_entropy.examine(loss(body))
    assert set(names) <= {m.name for m in report.mistakes}, report


def test_no_two_mistakes_look_alike():
    check = checks.cross_entropy
    equal = outputs_equal(check.view, check.tolerance)
    cases = check.make_cases()
    seen = {
        k.name: [check.reference_run(c, k.switches) for c in cases] for k in check.known
    }
    for a, b in itertools.combinations(seen, 2):
        pairs = zip(seen[a], seen[b], strict=True)
        assert not all(equal(x, y) for x, y in pairs), f"{a} looks like {b}"


FAULTS = {
    "not-differentiable": f"{LOG}\nreturn -{PICKED}.mean().detach()",
    "not-a-tensor": f"{LOG}\nreturn -{PICKED}.mean().item()",
    "no-return": f"{LOG}\nx = -{PICKED}.mean()\nreturn None",
    "cross-entropy-shapes": "F.cross_entropy(logits[:, :-1], tokens[:, 1:])",
    "gather-shapes": f"{LOG}\nreturn -log_probs.gather(-1, tokens[:, 1:]).mean()",
    "undefined-name": f"{LOG}\nreturn -log_prob.mean()",
    "changes-its-input": f"logits -= logits.amax(-1, keepdim=True)\n{LOG}\n"
    f"return -{PICKED}.mean()",
}


@pytest.mark.parametrize("name, body", FAULTS.items())
def test_faults_are_named(name, body):
    report = checks.cross_entropy.examine(loss(body))
    assert name in {m.name for m in report.mistakes}, report


def test_a_strange_factor_is_told():
    report = checks.cross_entropy.examine(loss(f"{LOG}\nreturn -1.5 * {PICKED}.mean()"))
    assert "1.5 times the target" in str(report)
