"""Answers that misbehave: one clear sentence each, and nothing is left behind."""

import functools
import sys

import pytest
import torch

from helpers import checks, load_reference, my_code
from helpers.checks import check as check_module
from tests import random_gpt2
from tests.candidates import define

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
MEAN = "mean = x.mean(-1, keepdim=True)"
CENTRE = "x = x - mean"
OUT = "return x * self.w + self.b"
PLAIN = (
    MEAN,
    CENTRE,
    "variance = x.pow(2).mean(-1, keepdim=True) + self.cfg.layer_norm_eps",
    "x = x / variance.sqrt()",
    OUT,
)


def answer(*lines: str, **names) -> type:
    """A LayerNorm whose forward has these lines; x is its input."""
    source = LAYER_NORM.replace("{body}", "\n        ".join(lines))
    return define(source, **names)["LayerNorm"]


RESULT = PLAIN[:-1] + ("out = x * self.w + self.b",)


def examine(candidate):
    """Examine, and see that all that later cells rely on is as it was."""
    model = load_reference("stories").model
    weights = {name: w.clone() for name, w in model.state_dict().items()}
    torch.manual_seed(5)
    state, out, trace = torch.get_rng_state(), sys.stdout, sys.gettrace()
    report = checks.layer_norm.examine(candidate)
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.stdout is out and sys.gettrace() is trace
    assert torch.get_default_dtype() is torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.is_grad_enabled() and not model.training
    for name, w in model.state_dict().items():
        assert torch.equal(w, weights[name]), name
    assert len(str(report)) < 3000
    return report


def one_mistake(candidate):
    report = examine(candidate)
    assert report.status == "failed", report
    assert len(report.mistakes) == 1, report
    return report.mistakes[0]


@pytest.mark.parametrize(
    "line",
    [
        "for i in range(100_000): print(i)",
        "print('x' * 10_000_000)",
        "for i in range(10_000): print('x', end='')",
        "import sys; sys.stdout.close(); print('closed?')",
        "torch.manual_seed(0)",
    ],
)
def test_harmless(line):
    report = examine(answer(line, *PLAIN))
    assert report.status == "passed", report


@pytest.mark.parametrize(
    "loop",
    [
        ("while True: pass",),
        ("while True:", "    try:", "        x = x + 1", "    except:", "        pass"),
        ("while True:", "    try: x.sum()", "    except BaseException: continue"),
    ],
)
def test_a_hang_is_stopped(loop, monkeypatch):
    monkeypatch.setattr(check_module, "SECONDS", 1.0)
    mistake = one_mistake(answer(*loop, *PLAIN))
    assert mistake.name == "hangs"
    assert mistake.line


BAD_WORDS = """
class Odd(Exception):
    def __str__(self):
        raise ValueError("no words")

""" + LAYER_NORM.replace("{body}", "raise Odd()")

STATE = "getattr(self, 'calls', 0)"

ODD = {
    "exits": ("import sys", "sys.exit()"),
    "interrupted": ("raise KeyboardInterrupt",),
    "not-a-tensor": (*RESULT, "return out, out"),
    "not-a-tensor ": (*RESULT, "return out.detach().numpy()"),
    "not-a-tensor  ": (*RESULT, "return [out]"),
    "no-return": (*RESULT, "return None"),
    "changes-a-setting": ("torch.set_default_dtype(torch.float64)", *PLAIN),
    "changes-a-setting ": ("torch.set_default_device('meta')", *PLAIN),
    "changes-a-setting  ": ("torch.set_grad_enabled(False)", *PLAIN),
    "changes-the-reference": (
        "reference.model.transformer.wte.weight.data.mul_(2)",
        *PLAIN,
    ),
    "changes-the-reference ": (
        "reference.model.transformer.ln_f.weight = None",
        *PLAIN,
    ),
    "changes-the-reference  ": (
        "p = reference.model.transformer.ln_f.weight",
        "p.data = torch.zeros(3)",
        "raise ValueError",
    ),
    "literal-batch": ("x = x.reshape(2, *x.shape[1:])", *PLAIN),
    "literal-size": (*PLAIN[:-1], "return x.reshape(2, 7, 24) * self.w + self.b"),
    "wrong-dtype": (*RESULT, "return out.double()"),
    "wrong-device": (*RESULT, "return out.to('meta')"),
    "detached-output": (*RESULT, "return torch.from_numpy(out.detach().numpy())"),
    "random": (*RESULT, "return out + torch.randn(out.shape) * 0.1"),
    "changes-its-parameters": (*RESULT, "self.w.data.mul_(1.5)", "return out"),
    "changes-its-parameters ": ("self.b.data += 1", *PLAIN),
    "changes-its-parameters  ": ("with torch.no_grad(): self.b.zero_()", *PLAIN),
    "first-call-only": (
        *RESULT,
        f"self.calls = {STATE} + 1",
        "return out if self.calls == 1 else out * 0",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd(name):
    mistake = one_mistake(answer(*ODD[name], reference=load_reference("stories")))
    slugs = dict.fromkeys(("literal-batch", "literal-size"), "size-written-down")
    slugs["first-call-only"] = "random"
    slug = slugs.get(name, name.strip())
    assert mistake.name == slug, mistake


def test_an_exception_without_words():
    mistake = one_mistake(define(BAD_WORDS)["LayerNorm"])
    assert "stops" in mistake.message and "Odd" in mistake.message
    assert mistake.line == "raise Odd()"


@pytest.mark.parametrize(
    "candidate",
    [
        lambda x: x,
        functools.partial(answer(*PLAIN), None),
        None,
        "LayerNorm",
        3,
        torch.zeros(2),
        torch.nn.LayerNorm(3),
    ],
    ids=lambda c: type(c).__name__,
)
def test_no_class_at_all(candidate):
    assert one_mistake(candidate).name in ("wrong-kind", "instance-not-class")


@pytest.mark.parametrize(
    ("old", "new", "slug"),
    [
        ("forward(self, residual)", "forward(residual)", "needs-self"),
        ("forward(self, residual)", "forward(self, residual, y)", "forward-argument"),
        ("def forward", "def foward", "no-forward"),
        ("def __init__", "def init", "no-init"),
    ],
)
def test_signatures(old, new, slug):
    source = LAYER_NORM.replace("{body}", "\n        ".join(PLAIN)).replace(old, new)
    assert one_mistake(define(source)["LayerNorm"]).name == slug


@pytest.mark.parametrize(
    "lines",
    [
        (*RESULT, "return out.tanh()"),
        (*PLAIN[:-1], "return (x * self.w + self.b).tanh()"),
    ],
)
def test_a_right_result_that_is_changed(lines):
    report = examine(answer(*lines))
    mistake = report.mistakes[0]
    assert mistake.name == "changes-the-right-result" and not mistake.exact
    assert mistake.line == lines[-1]


def test_the_values_are_drawn_where_the_report_is_shown():
    wrong = examine(answer(*RESULT, "return out + (out > 1)"))
    assert 'src="data:image/png;base64,iVBOR' in wrong._repr_html_()
    assert "base64" in examine(answer("return x[0]"))._repr_html_()  # both shapes
    assert "image" not in examine(answer(*PLAIN))._repr_html_()


def test_einsum_errors_in_the_learners_own_letters():
    untied = (MEAN, CENTRE, "pattern = 0", "W = torch.ones(3, 5)")
    for call in (
        "einsum(x, W, 'batch position d_model, d_model new -> batch position new')",
        "torch.einsum('bpd,dn->bpn', x, W)",
    ):
        report = examine(answer(*untied, f"x = {call}", OUT))
        message = report.mistakes[0].message
        name = "d" if call.startswith("torch") else "d_model"
        assert f"so `{name}` is 24 in `x` and 3 in `W`" in message, message
        assert report.mistakes[0].line == f"x = {call}"
    report = examine(answer("W = self.w", "x = einsum(x, W, 'b d, d -> b d')"))
    assert "names 2 axes of `x`, which has 3" in str(report)


def test_the_courses_own_is_never_said_to_pass(capsys, my_gpt2):
    """What a check hands back for a blank one comes again when it is run twice."""
    before = my_code.edition()
    my_code.edition("exercises")
    try:
        course = checks.layer_norm(answer("raise NotImplementedError('yours')"))
        assert checks.layer_norm(course) is course is checks.layer_norm.own
    finally:
        my_code.edition(before)
    said = capsys.readouterr().out
    assert said.count("to do") == 2 and "still the course's own" in said
    assert not my_gpt2.exists()


def test_a_raise_left_beside_finished_code_is_pointed_at():
    line = "raise NotImplementedError('yours')"
    for lines in ([line, *PLAIN], [*PLAIN[:-1], line]):
        report = examine(answer(*lines))
        assert report.status == "todo"
        assert "still has its `raise NotImplementedError`" in report.summary


def test_each_reference_has_its_own_numbers(tmp_path):
    """What mistakes come out as is kept from check to check, apart for each model."""
    folder = str(random_gpt2.save(tmp_path))
    wrong = answer("x = (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)", OUT)
    try:
        for name in ("stories", folder, folder, "stories"):
            load_reference(name)
            report = checks.layer_norm.examine(wrong)
            assert {m.name for m in report.mistakes} == {
                "divides-by-n-minus-1",
                "no-eps",
            }
            report = checks.layer_norm.examine(answer(*PLAIN))
            assert report.status == "passed" and name in report.summary
    finally:
        load_reference("stories")


def test_a_config_that_is_written_to_is_a_copy():
    source = LAYER_NORM.replace("{body}", "\n        ".join(PLAIN))
    source = source.replace("self.cfg = cfg", "self.cfg = cfg; cfg.d_vocab = 1")
    before = load_reference("stories").cfg.d_vocab
    examine(define(source)["LayerNorm"])
    assert load_reference("stories").cfg.d_vocab == before > 1


NAMES = {
    "attention_scores(x)": "is made by an earlier cell",
    "F.gelu(x)": "from torch.nn import functional as F",
    "resdiual + 1": "there is `residual`",
    "cfg.d_model": "`self.cfg`",
}


@pytest.mark.parametrize("line", NAMES)
def test_a_name_that_is_gone(line):
    text = define(LAYER_NORM.replace("{body}", f"return {line}"))
    for name in ("F", "cfg"):
        text.pop(name, None)
    (mistake,) = checks.layer_norm.examine(text["LayerNorm"]).mistakes
    assert mistake.name == "undefined-name" and NAMES[line] in mistake.hint


CRASHES = {
    "not-contiguous": ("x[:, :-1].view(-1, x.shape[-1])", "reshape"),
    "padding-as-a-target": (
        "F.cross_entropy(x[0], torch.full((x.shape[1],), -100), ignore_index=-1)",
        "-100",
    ),
    "config-for-a-number": ("torch.ones(self.cfg)", "cfg.d_model"),
    "config-for-a-number ": ("x / self.cfg", "cfg.d_model"),
    "config-for-a-number  ": ("self.cfg['emb_dim']", "cfg.d_model"),
    "no-such-field": ("self.cfg.emb_dim", "d_model"),
}


@pytest.mark.parametrize("name", CRASHES)
def test_crashes_of_frequent_idioms(name):
    line, hint = CRASHES[name]
    (mistake,) = checks.layer_norm.examine(answer(f"return {line}")).mistakes
    assert mistake.name == name.strip() and hint in mistake.hint, mistake


def test_ids_of_columns_taken_for_rows():
    source = """
    def top_p(logits, p):
        values, ids = logits.sort(-1, descending=True)
        logits = logits.clone()
        logits[ids[values.softmax(-1).cumsum(-1) > p]] = -math.inf
        return logits
    """
    report = checks.top_p.examine(define(source)["top_p"])
    assert report.mistakes[-1].name == "index-along-the-first-axis", report
    assert "scatter" in report.mistakes[-1].hint
