"""What a person set before a check decides no verdict, and is as it was afterwards."""

import builtins
import contextlib
import getpass
import inspect
import io
import locale
import pdb
import random
import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import IPython.core.debugger  # noqa: F401
import numpy
import pytest
import torch
from tests.test_checks_layer_norm import LAYER_NORM, PLAIN
from tests.test_checks_layer_norm import layer_norm as answer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from helpers import checks, load_reference, model
from helpers.checks import guard
from helpers.checks.report import Text
from tests.candidates import define

WRONG = (PLAIN[0].replace("mean", "std"), *PLAIN[1:])


class Doubles(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return out * 2 if func is torch.Tensor.mean else out


class Refuses(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise RuntimeError("a mode of the person's")


@contextlib.contextmanager
def setting(put, value, back):
    put(value)
    try:
        yield
    finally:
        put(back)


def device(name):
    return setting(torch.set_default_device, name, None)


@contextlib.contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def two_devices():
    with device("meta"), torch.device("cuda"):
        yield


AROUND = {
    "float64": (torch.set_default_dtype, torch.float64, torch.float32),
    "float16": (torch.set_default_dtype, torch.float16, torch.float32),
    "meta": lambda: device("meta"),
    "cuda": lambda: device("cuda"),
    "with device": lambda: torch.device("meta"),
    "two devices": two_devices,
    "no grad": torch.no_grad,
    "no grad for all": (torch.set_grad_enabled, False, True),
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": (torch.use_deterministic_algorithms, True, False),
    "anomaly": torch.autograd.detect_anomaly,
    "matmul": (torch.set_float32_matmul_precision, "medium", "highest"),
    "warnings": warnings_as_errors,
    "numpy": lambda: numpy.errstate(all="raise"),
    "recursion": (sys.setrecursionlimit, 400, sys.getrecursionlimit()),
    "function mode": Doubles,
    "dispatch mode": Refuses,
    "flops": lambda: FlopCounterMode(display=False),
    "print": (lambda f: setattr(builtins, "print", f), lambda: 1 / 0, print),
}


def around(name):
    how = AROUND[name]
    return setting(*how) if isinstance(how, tuple) else how()


def settings() -> list:
    """What must be afterwards as it was before."""
    modes = torch.overrides._get_current_function_mode_stack()
    return [
        torch.get_default_dtype(),
        torch._GLOBAL_DEVICE_CONTEXT.__dict__.get("device_context"),
        list(map(id, modes)),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_deterministic_debug_mode(),
        torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(),
        list(warnings.filters),
        numpy.geterr(),
        sys.getrecursionlimit(),
        (sys.stdout, sys.stdin, builtins.input, sys.breakpointhook),
        random.getstate(),
        bytes(torch.default_generator.get_state().tolist()),
        load_reference("stories"),
    ]


def inside() -> list:
    """What an answer sees of them."""
    errors = [e for e in warnings.filters if e[0] == "error" and e[2] is Warning]
    return settings()[:9] + [numpy.geterr(), errors, sys.getrecursionlimit() >= 1000]


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", AROUND)
def test_a_setting_before_the_check_decides_nothing(name):
    seen = []
    look = "seen.append(inside())"
    right, wrong = answer(look, *PLAIN, seen=seen, inside=inside), answer(*WRONG)
    checks.layer_norm.examine(right)
    neutral = seen[0]
    seen.clear()
    named = [m.name for m in checks.layer_norm.examine(wrong).mistakes]
    with around(name):
        if name != "recursion":
            before = settings()
        report = checks.layer_norm.examine(right)
        same = checks.layer_norm.examine(wrong)
        checks.mlp.examine(model.MLP)  # its cases are made anew as well
        if name != "recursion":
            assert settings() == before
    assert report.status == "passed" and not report.notes, report
    assert [m.name for m in same.mistakes] == named
    assert seen[0] == neutral


@pytest.mark.parametrize("name", ["meta", "inference", "dispatch mode", "warnings"])
def test_put_back_when_the_check_itself_stops(name, monkeypatch):
    def fails():
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        raise ValueError("no cases today")

    monkeypatch.setattr(checks.layer_norm, "make_cases", fails)
    with around(name):
        before = settings()
        report = checks.layer_norm.examine(answer(*PLAIN))
        assert settings() == before
    (mistake,) = report.mistakes
    assert mistake.name == "the-check-stopped" and "no cases today" in mistake.message
    assert "fault of the course" in mistake.hint


MOVED = {
    "half": lambda m: m.half(),
    "double": lambda m: m.double(),
    "bfloat16": lambda m: m.bfloat16(),
    "meta": lambda m: m.to("meta"),
    "train": lambda m: m.train(),
    "frozen": lambda m: m.requires_grad_(False),
    "hooked": lambda m: m.transformer.h[0].register_forward_hook(lambda *_: 1 / 0),
    "sdpa": lambda m: m.set_attn_implementation("sdpa"),
    "inference": lambda m: [
        setattr(m.lm_head, "weight", torch.nn.Parameter(torch.zeros(3, 3)))
    ],
}


@pytest.fixture
def moved(monkeypatch):
    """A reference loaded anew, which the test may spoil."""
    from helpers import reference

    monkeypatch.setattr(reference, "_loaded", {})
    yield load_reference("stories")


@pytest.mark.parametrize("how", MOVED)
def test_a_reference_that_was_moved_blames_nobody(how, moved):
    with torch.inference_mode(how == "inference"):
        MOVED[how](moved.model)
    for check in (checks.layer_norm, checks.attention, checks.to_course_names):
        report = check.examine(check.course)
        assert report.status == "passed", report
    assert load_reference("stories") is moved
    assert moved.model.training is (how == "train")


def test_each_verdict_is_the_same_whatever_was_drawn_before():
    report = [str(checks.sample.examine(checks.sample.course))]
    for seed in (0, 1):
        torch.manual_seed(seed)
        report.append(str(checks.sample.examine(checks.sample.course)))
    assert len(set(report)) == 1


def test_examinations_in_threads():
    candidate, out = answer("print('mine')", *PLAIN), sys.stdout
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(checks.layer_norm.examine, [candidate] * 8))
    assert sys.stdout is out
    assert all(r.status == "passed" and "mine" in r.printed for r in reports)


def test_an_answer_may_call_a_check():
    inner = "checks.layer_norm.examine(torch.nn.ReLU)"
    assert checks.layer_norm.examine(answer(inner, *PLAIN, checks=checks)).status


# ------------------------------------------------------- code that waits for a person

ASKS = {
    "input('?')": "input()",
    "ask('?')": "input()",
    "breakpoint()": "breakpoint()",
    "import pdb; pdb.set_trace()": "pdb.set_trace()",
    "from pdb import set_trace; set_trace()": "pdb.set_trace()",
    "stop()": "pdb.set_trace()",
    "from IPython.core.debugger import set_trace; set_trace()": "",
    "from IPython import embed; embed()": "embed()",
    "import getpass; getpass.getpass()": "getpass()",
    "secret()": "getpass()",
    "import code; code.interact()": "code.interact()",
    "import sys; sys.stdin.readline()": "sys.stdin",
    "for line in __import__('sys').stdin: pass": "sys.stdin",
}


def known_names() -> dict:
    return {"ask": input, "stop": pdb.set_trace, "secret": getpass.getpass}


@pytest.mark.parametrize("line", ASKS)
def test_code_that_waits_is_named_at_once(line):
    before = settings()
    asks = answer(line, *PLAIN, **known_names())
    swallowed = answer(
        "try:", f"    {line}", "except BaseException: pass", *PLAIN, **known_names()
    )
    for candidate in (asks, swallowed):
        (mistake,) = checks.layer_norm.examine(candidate).mistakes
        assert mistake.name == "waits-for-you" and ASKS[line] in mistake.message
        assert mistake.line == line and "class yourself" in mistake.hint
    assert settings() == before and known_names()["ask"] is input


def test_code_that_waits_in_init_in_a_helper_and_in_a_function():
    source = LAYER_NORM.replace("{body}", "\n        ".join(PLAIN))
    in_init = source.replace("self.cfg = cfg", "self.cfg = cfg; input()")
    helper = "def show(x):\n    breakpoint()\n\n\n" + source
    helper = helper.replace("self.cfg = cfg", "self.cfg = cfg; show(1)")
    for text, line in ((in_init, "self.cfg = cfg; input()"), (helper, "breakpoint()")):
        (mistake,) = checks.layer_norm.examine(define(text)["LayerNorm"]).mistakes
        assert mistake.name == "waits-for-you" and mistake.line == line
    function = "def {name}(*args):\n    input()\n    return 1"
    for check in (checks.top_k, checks.greedy, checks.make_batch, checks.merge_pair):
        candidate = define(function.format(name=check.answer))[check.answer]
        (mistake,) = check.examine(candidate).mistakes
        assert mistake.name == "waits-for-you" and "function" in mistake.hint


# ----------------------------------------------------------- devices and global sizes

GPU = [
    'torch.tensor(-1e5, device="cuda")',
    'torch.tensor(-1e5, device=torch.device("cuda:0"))',
    'torch.tensor(-1e5).to("mps")',
    "torch.tensor(-1e5).cuda()",
    "torch.tensor(-1e5).to(0)",
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("how", GPU)
def test_a_class_that_asks_for_a_gpu_can_be_made_here(how):
    line = f'self.register_buffer("IGNORE", {how})'
    source = LAYER_NORM.replace("{body}", "\n        ".join(PLAIN))
    source = source.replace("self.cfg = cfg", f"self.cfg = cfg\n        {line}")
    candidate = define(source)["LayerNorm"]
    for _ in range(2):
        report = checks.layer_norm.examine(candidate)
        assert report.status == "passed" and line in report.notes[0], report
        assert isinstance(candidate.__init__, guard.MadeHere)
        assert not isinstance(candidate.__init__.__wrapped__, guard.MadeHere)
    made = candidate(load_reference("stories").cfg)
    assert made.IGNORE.device.type == "cpu"
    assert guard.functions_of(candidate)[0].__globals__["nn"] is torch.nn
    assert list(inspect.signature(candidate).parameters) == ["cfg"]


OWN = """
@dataclass
class Config:
    d_model: int = 768
    debug: bool = False
    layer_norm_eps: float = 1e-5
    d_vocab: int = 50257
    init_range: float = 0.02
    n_ctx: int = 1024
    n_heads: int = 12
    n_layers: int = 12
    mine: str = "kept"

    @property
    def d_head(self): return self.d_model // self.n_heads

    @property
    def d_mlp(self): return 4 * self.d_model if self.d_model > 24 else 40

cfg = Config()
"""
BLOCK = """
class TransformerBlock(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln1, self.attn = LayerNorm(cfg), {Attention}(cfg)
        self.ln2, self.mlp = LayerNorm(cfg), MLP(cfg)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x {sign} self.mlp(self.ln2(x))
"""


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("by", ["Attention", "mine.Attention"])
def test_a_global_cfg_of_ones_own_in_a_file_of_parts(by, frozen, monkeypatch):
    """As with parts that come from my_gpt2.py, which has a Config of its own."""
    from dataclasses import dataclass

    own = OWN.replace("@dataclass", f"@dataclass(frozen={frozen})")
    text = inspect.getsource(model.Attention)
    assert "self.cfg.d_head" in text or "cfg.d_head" in text
    text = text.replace("self.cfg.d_head", "cfg.d_head") + PATTERN
    part = types.ModuleType("mine")
    steps = {n: getattr(model, n) for n in dir(model) if n.startswith(("att", "app"))}
    space = define(own + text, dataclass=dataclass, **steps)
    vars(part).update({k: v for k, v in space.items() if not k.startswith("__")})
    names = dict(Attention=space["Attention"], mine=part)
    names |= dict(LayerNorm=model.LayerNorm, MLP=model.MLP)
    for sign, status in (("+", "passed"), ("-", "failed")):
        source = BLOCK.format(Attention=by, sign=sign)
        block = define(source, **names)["TransformerBlock"]
        report = checks.transformer_block.examine(block)
        assert report.status == status, report
        assert not any("in-attn" in m.name for m in report.mistakes), report
    assert checks.attention.examine(space["Attention"]).status == "passed"
    assert space["cfg"].d_model == 768


PATTERN = """

class Attention(Attention):
    def forward(self, x):
        assert cfg.d_model == x.shape[-1] and cfg.mine == "kept"
        return super().forward(x)
"""


# -------------------------------------------------------------------- what is told

WRITES = {
    "logits[logits < 0] = -1e9": "logits[...] = ",
    "logits[..., :1] -= 1": "logits[...] = ",
    "logits -= 1": "logits -= ...",
    "logits.sub_(1)": "sub_",
    "logits.data.masked_fill_(logits < 0, 0.0)": "masked_fill_",
    "torch.sub(logits, 1, out=logits)": "",
    "logits.numpy()[:] += 1": "",
}


@pytest.mark.parametrize("line", WRITES)
def test_the_line_that_writes_into_the_input(line):
    source = f"""
    def helper(logits):
        {line}
        return logits

    def top_k(logits, k):
        values = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
        out = torch.where(logits < values, -math.inf, logits)
        helper(logits)
        return out
    """
    report = checks.top_k.examine(define(source)["top_k"])
    (mistake,) = [m for m in report.mistakes if m.name == "changes-its-input"]
    assert mistake.line == line and WRITES[line] in mistake.message
    assert "residual" not in str(mistake)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("where", ["stdout", "file"])
def test_a_report_on_a_console_of_few_characters(encoding, where, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    if where == "stdout":
        monkeypatch.setattr(sys, "stdout", out)
    else:  # what `open` takes by itself
        monkeypatch.setattr(locale, "getpreferredencoding", lambda _: encoding)
    print(checks.layer_norm.examine(model.LayerNorm), file=out)
    wrong = answer("print('√x ✗ 中')", *WRONG)
    print(checks.layer_norm.examine(wrong), file=out)
    print(checks.layer_norm.hint(), Text("→ ≠ 中"), file=out)
    with pytest.raises(checks.CheckFailed) as failed:
        checks.layer_norm(wrong)  # shows its report
    print(failed.value, file=out)
    out.flush()
    said = out.buffer.getvalue().decode(encoding)
    passed, not_yet = ("✓", "✗") if encoding == "utf-8" else ("+", "x")
    assert f"{passed} passed: LayerNorm" in said
    assert f"{not_yet} not yet: LayerNorm" in said
