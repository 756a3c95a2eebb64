"""The checks of split_c_attn and to_course_names: every mistake, every right way."""

import inspect
import itertools
import textwrap

import pytest

from helpers import checks
from helpers.checks import hf_names
from helpers.checks.catalogue import outputs_equal
from tests.candidates import Answer, define

# ---------------------------------------------------------------- split_c_attn


def split(*lines: str):
    source = "\n    ".join(["def split_c_attn(c_attn, n_heads):", *lines])
    return define(source)["split_c_attn"]


def rearranged(pattern: str) -> tuple[str]:
    return (f'return rearrange(c_attn, "{pattern}", qkv=3, n_heads=n_heads)',)


SIZES = "d_model = c_attn.shape[0]; d_head = d_model // n_heads"
COLUMNS = "d_model (qkv n_heads d_head)"
RIGHT = {
    "rearrange": rearranged(f"{COLUMNS} -> qkv n_heads d_model d_head"),
    "reshape and permute": (
        SIZES,
        "return c_attn.reshape(d_model, 3, n_heads, d_head).permute(1, 2, 0, 3)",
    ),
    "split, then each": (
        SIZES,
        "parts = c_attn.split(d_model, dim=1)",
        "return [p.view(d_model, n_heads, d_head).transpose(0, 1) for p in parts]",
    ),
    "chunk and stack": (
        "parts = c_attn.chunk(3, dim=-1)",
        "return torch.stack([rearrange(p, 'm (h d) -> h m d', h=n_heads)"
        " for p in parts])",
    ),
    "three names": (
        SIZES,
        "W_Q, W_K, W_V = torch.tensor_split(c_attn, 3, dim=1)",
        "cut = lambda W: torch.stack(W.chunk(n_heads, dim=1))",
        "return cut(W_Q), cut(W_K), cut(W_V)",
    ),
}


@pytest.mark.parametrize("lines", RIGHT.values(), ids=RIGHT)
def test_right_splits_pass(lines):
    report = checks.split_c_attn.examine(split(*lines))
    assert report.status == "passed", report


def in_order(q: int, k: int, v: int) -> tuple[str, ...]:
    (whole,) = rearranged(f"{COLUMNS} -> qkv n_heads d_model d_head")
    return (f"{whole}[[{q}, {k}, {v}]]",)


WRONG = {
    "q-and-k-swapped": in_order(1, 0, 2),
    "q-and-v-swapped": in_order(2, 1, 0),
    "k-and-v-swapped": in_order(0, 2, 1),
    "order-k-v-q": in_order(1, 2, 0),
    "order-v-q-k": in_order(2, 0, 1),
    "heads-before-qkv": (
        SIZES,
        "return c_attn.reshape(d_model, n_heads, 3, d_head).permute(2, 1, 0, 3)",
    ),
    "heads-interleaved": (
        SIZES,
        "return c_attn.reshape(d_model, 3, d_head, n_heads).permute(1, 3, 0, 2)",
    ),
    "qkv-interleaved": (
        SIZES,
        "return c_attn.reshape(d_model, n_heads, d_head, 3).permute(3, 1, 0, 2)",
    ),
    "qkv-innermost": (
        SIZES,
        "return c_attn.reshape(d_model, d_head, n_heads, 3).permute(3, 2, 0, 1)",
    ),
    "matrices-transposed": rearranged(f"{COLUMNS} -> qkv n_heads d_head d_model"),
    "heads-first": rearranged(f"{COLUMNS} -> n_heads qkv d_model d_head"),
    "d-model-first": (SIZES, "return c_attn.reshape(d_model, 3, n_heads, d_head)"),
    "qkv-before-d-model": rearranged(f"{COLUMNS} -> qkv d_model n_heads d_head"),
    "heads-not-split": ("return torch.stack(c_attn.chunk(3, dim=1))",),
    "reshape-without-permute": (
        SIZES,
        "return c_attn.reshape(3, n_heads, d_model, d_head)",
    ),
    "transposed-and-reshaped": (
        SIZES,
        "return c_attn.T.reshape(3, n_heads, d_model, d_head)",
    ),
    "heads-reshaped": (
        SIZES,
        "parts = c_attn.chunk(3, dim=1)",
        "return torch.stack([p.reshape(n_heads, d_model, d_head) for p in parts])",
    ),
}


@pytest.mark.parametrize("name, lines", WRONG.items())
def test_wrong_splits_are_named(name, lines):
    report = checks.split_c_attn.examine(split(*lines))
    assert report.status == "failed"
    assert {m.name for m in report.mistakes} == {name}, report


def test_every_known_split_is_tried_and_no_two_look_alike():
    check = checks.split_c_attn
    assert set(WRONG) == {known.name for known in check.known}
    equal = outputs_equal(check.view, check.tolerance)
    cases = check.make_cases()
    seen = {
        k.name: [check.reference_run(c, k.switches) for c in cases] for k in check.known
    }
    for a, b in itertools.combinations(seen, 2):
        pairs = zip(seen[a], seen[b], strict=True)
        assert not all(equal(x, y) for x, y in pairs), f"{a} looks like {b}"


# ------------------------------------------------------------- to_course_names

COURSE = textwrap.dedent(inspect.getsource(hf_names.to_course_names))
GIVEN = {"SAME": hf_names.SAME, "split_c_attn": hf_names.split_c_attn}


def named(*changes: tuple[str, str]):
    """The course's function with some of its text replaced."""
    source = COURSE
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return define(source, **GIVEN)["to_course_names"]


W_O = "W_O.reshape(*heads, cfg.d_model)"
BIAS = ".reshape(3, *heads)"
NAMES_RIGHT = {
    "the course's": [],
    "from the embedding": [
        ('hf["lm_head.weight"].T', 'hf["transformer.wte.weight"].T')
    ],
    "clones": [
        ("return ours", "return {n: p.detach().clone() for n, p in ours.items()}")
    ],
    "rearranged": [
        (W_O, "rearrange(W_O, '(h d) m -> h d m', h=cfg.n_heads)"),
        (BIAS, ".view(3, cfg.n_heads, -1)"),
    ],
}


@pytest.mark.parametrize("changes", NAMES_RIGHT.values(), ids=NAMES_RIGHT)
def test_right_names_pass(changes):
    report = checks.to_course_names.examine(named(*changes))
    assert report.status == "passed", report


def test_blank_names_are_to_do():
    blank = define("def to_course_names(hf, cfg):\n    raise NotImplementedError")
    report = checks.to_course_names.examine(blank["to_course_names"])
    assert report.status == "todo"


def line_with(text: str) -> str:
    return next(line for line in COURSE.splitlines() if text in line) + "\n"


def letters(order: str, *which: str) -> list[tuple[str, str]]:
    """W or b, or both, handed out to the letters in another order."""
    loop = 'for letter, weight, bias in zip("QKV", W, b, strict=True)'
    for name in which:
        at = ", ".join(f"{name}[{'QKV'.index(letter)}]" for letter in order)
        new = loop.replace(f" {name},", f" ({at}),")
    if which == ("W", "b"):
        new = loop.replace('"QKV"', f'"{order}"')
    return [(loop, new)]


NAMES_WRONG = {
    "tied-head-forgotten": [(line_with('"unembed.W_U"'), "")],
    "head-bias-forgotten": [(line_with('"unembed.b_U"'), "")],
    "head-forgotten": [
        (line_with('"unembed.W_U"'), ""),
        (line_with('"unembed.b_U"'), ""),
    ],
    "head-not-transposed": [('hf["lm_head.weight"].T', 'hf["lm_head.weight"]')],
    "head-reshaped": [
        ('hf["lm_head.weight"].T', 'hf["lm_head.weight"].reshape(cfg.d_model, -1)')
    ],
    "head-bias-of-ones": [("torch.zeros(cfg.d_vocab)", "torch.ones(cfg.d_vocab)")],
    "final-layernorm-forgotten": [
        (line_with('"ln_final.w"'), ""),
        (line_with('"ln_final.b"'), ""),
    ],
    "attention-biases-forgotten": [(line_with('attn.b_{letter}"] = bias'), "")],
    "W_O-forgotten": [(line_with('"attn.W_O"] ='), "")],
    "one-block-everywhere": [('f"transformer.h.{i}."', '"transformer.h.0."')],
    "last-block-everywhere": [
        ('f"transformer.h.{i}."', 'f"transformer.h.{cfg.n_layers - 1}."')
    ],
    "q-and-k-swapped": letters("KQV", "W", "b"),
    "q-and-v-swapped": letters("VKQ", "W", "b"),
    "k-and-v-swapped": letters("QVK", "W", "b"),
    "matrices-q-and-k-swapped": letters("KQV", "W"),
    "matrices-q-and-v-swapped": letters("VKQ", "W"),
    "matrices-k-and-v-swapped": letters("QVK", "W"),
    "biases-q-and-k-swapped": letters("KQV", "b"),
    "biases-q-and-v-swapped": letters("VKQ", "b"),
    "biases-k-and-v-swapped": letters("QVK", "b"),
    "biases-heads-before-qkv": [
        (BIAS, ".reshape(cfg.n_heads, 3, cfg.d_head).transpose(0, 1)")
    ],
    "biases-interleaved": [
        (BIAS, ".reshape(3, cfg.d_head, cfg.n_heads).transpose(1, 2)")
    ],
    "biases-not-split": [(BIAS, ".reshape(3, -1)")],
    "W_O-not-split": [(W_O, "W_O")],
    "W_O-transposed": [(W_O, "W_O.T.reshape(*heads, cfg.d_model)")],
    "W_O-interleaved": [
        (W_O, "rearrange(W_O, '(d h) m -> h d m', h=cfg.n_heads)"),
    ],
    "W_in-transposed": [
        (
            "return ours",
            "return {n: p.T if 'W_in' in n else p for n, p in ours.items()}",
        )
    ],
    "W_out-transposed": [
        (
            "return ours",
            "return {n: p.T if 'W_out' in n else p for n, p in ours.items()}",
        )
    ],
    "layernorms-swapped": [
        (
            "ours[at + our_name]",
            'ours[at + {"1": our_name.replace("ln1", "ln2"), '
            '"2": our_name.replace("ln2", "ln1")}.get(our_name[2], our_name)]',
        )
    ],
    "layernorm-weights-and-biases-swapped": [
        (
            "ours[at + our_name]",
            'ours[at + ({"w": our_name[:-1] + "b", "b": our_name[:-1] + "w"}'
            '[our_name[-1]] if our_name.startswith("ln") else our_name)]',
        )
    ],
}


def answers():
    """Every answer here, with what its check should say of it."""
    for lines in RIGHT.values():
        yield Answer("split_c_attn", None, split(*lines))
    for name, lines in WRONG.items():
        yield Answer("split_c_attn", (name,), split(*lines))
    for changes in NAMES_RIGHT.values():
        yield Answer("to_course_names", None, named(*changes))
    for name, changes in (NAMES_WRONG | NAMES_FACTS).items():
        yield Answer("to_course_names", (name,), named(*changes))


def test_every_known_name_mistake_is_tried():
    assert set(NAMES_WRONG) == {known.name for known in hf_names.NAMES_KNOWN}


@pytest.mark.parametrize("name, changes", NAMES_WRONG.items())
def test_wrong_names_are_named(name, changes):
    report = checks.to_course_names.examine(named(*changes))
    assert report.status == "failed"
    assert {m.name for m in report.mistakes} == {name}, report
    assert all(mistake.exact for mistake in report.mistakes)


def test_columns_cut_into_heads_are_a_transposition():
    """Two ways of writing one and the same mistake."""
    change = (W_O, "rearrange(W_O, 'm (h d) -> h d m', h=cfg.n_heads)")
    report = checks.to_course_names.examine(named(change))
    assert {m.name for m in report.mistakes} == {"W_O-transposed"}


def test_independent_mistakes_are_named_together():
    report = checks.to_course_names.examine(
        named(*NAMES_WRONG["head-not-transposed"], *NAMES_WRONG["biases-not-split"])
    )
    assert {m.name for m in report.mistakes} == {
        "head-not-transposed",
        "biases-not-split",
    }


NAMES_FACTS = {
    "renamed": [('"embed.W_E"', '"embed.W_e"')],
    "missing-name": [(line_with('"pos_embed.W_pos"'), "")],
    "extra-name": [("return ours", "return ours | hf")],
    "wrong-tensor": [("transformer.ln_f.weight", "transformer.h.0.ln_1.weight")],
    "wrong-values": [
        ('hf["transformer.wte.weight"]', '2 * hf["transformer.wte.weight"]')
    ],
    "no-such-name": [("transformer.ln_f.weight", "ln_f.weight")],
    "no-return": [("return ours", "pass")],
    "not-a-dict": [("return ours", "return list(ours)")],
    "changes-its-input": [("return ours", "hf['lm_head.weight'].zero_(); return ours")],
}


@pytest.mark.parametrize("name, changes", NAMES_FACTS.items())
def test_what_no_entry_knows_is_told_as_a_fact(name, changes):
    report = checks.to_course_names.examine(named(*changes))
    assert report.status == "failed"
    assert name in {m.name for m in report.mistakes}, report
    assert len(report.mistakes) <= 9
