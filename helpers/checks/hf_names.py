"""The checks of notebook 07: Hugging Face's parameters under the course's names."""

import functools
import itertools
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from helpers.checks import crash
from helpers.checks.cases import Case, Source, loaded, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.observe import same
from helpers.checks.report import Mistake, Report
from helpers.config import Config

# ---------------------------------------------------------------- split_c_attn


def split_c_attn(c_attn, n_heads):
    """W_Q, W_K and W_V of all heads: [3, n_heads, d_model, d_head]."""
    # The columns hold q, then k, then v; in each of them head after head.
    return rearrange(
        c_attn,
        "d_model (qkv n_heads d_head) -> qkv n_heads d_model d_head",
        qkv=3,
        n_heads=n_heads,
    )


RIGHT_COLUMNS = "d_model (qkv n_heads d_head) -> qkv n_heads d_model d_head"


def compute_split(
    c_attn: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    n_heads: int,
    pattern: str = RIGHT_COLUMNS,
    order: tuple[int, ...] = (0, 1, 2),
    cut: str = "columns",
) -> Tensor:
    """c_attn [d_model, 3 d_model] cut up, with switches for mistakes.

    Args:
        pattern: how the columns are read, and the order of the axes that come out.
        order: which of q, k, v comes first.
        cut: "columns", or what happens when the memory is only cut anew.
    """
    d_model = c_attn.shape[0]
    shape = (3, n_heads, d_model, d_model // n_heads)
    if cut == "memory":
        return c_attn.reshape(shape)
    if cut == "memory, transposed":
        return c_attn.T.reshape(shape)
    if cut == "heads by memory":
        parts = [third.reshape(shape[1:]) for third in c_attn.split(d_model, dim=1)]
        return torch.stack(parts)
    found = rearrange(c_attn, pattern, qkv=3, n_heads=n_heads)
    return found if order == (0, 1, 2) else found[list(order)]


def _permutation(name: str, order: tuple[int, ...], told: str) -> Known:
    return Known(
        name,
        f"{told} in your result.",
        "The columns of c_attn hold q, then k, then v, and in that order they should "
        "come out.",
        {"order": order},
        "the first third of the columns is W_Q",
    )


SPLIT_KNOWN = (
    _permutation("q-and-k-swapped", (1, 0, 2), "W_Q and W_K have changed places"),
    _permutation("q-and-v-swapped", (2, 1, 0), "W_Q and W_V have changed places"),
    _permutation("k-and-v-swapped", (0, 2, 1), "W_K and W_V have changed places"),
    _permutation("order-k-v-q", (1, 2, 0), "The order is k, v, q"),
    _permutation("order-v-q-k", (2, 0, 1), "The order is v, q, k"),
    Known(
        "heads-before-qkv",
        "You read the columns as head after head, each with its q, k and v.",
        "GPT-2 keeps all heads' q together, then all k, then all v. (GPT-NeoX does it "
        "your way.)",
        {"pattern": "d_model (n_heads qkv d_head) -> qkv n_heads d_model d_head"},
        "the slowest axis comes first in the brackets: `(qkv n_heads d_head)`",
    ),
    Known(
        "heads-interleaved",
        "You read the columns as if the heads took turns, number by number.",
        "A head's d_head columns stand side by side.",
        {"pattern": "d_model (qkv d_head n_heads) -> qkv n_heads d_model d_head"},
        "`n_heads` before `d_head`: the last axis in the brackets runs fastest",
    ),
    Known(
        "qkv-interleaved",
        "You read the columns as if q, k and v took turns, number by number.",
        "The first third of the columns is q, the second k, the last v.",
        {"pattern": "d_model (n_heads d_head qkv) -> qkv n_heads d_model d_head"},
        "the slowest axis comes first in the brackets: `(qkv n_heads d_head)`",
    ),
    Known(
        "qkv-innermost",
        "You read the columns as if q, k and v took turns, number by number, and the "
        "heads as well.",
        "The first third of the columns is q; in it stands head after head.",
        {"pattern": "d_model (d_head n_heads qkv) -> qkv n_heads d_model d_head"},
        "the slowest axis comes first in the brackets: `(qkv n_heads d_head)`",
    ),
    Known(
        "matrices-transposed",
        "Each head's matrix is [d_head, d_model].",
        "Ours are [d_model, d_head]: `x @ W` turns d_model numbers into d_head.",
        {"pattern": "d_model (qkv n_heads d_head) -> qkv n_heads d_head d_model"},
        "the axes come out as `qkv n_heads d_model d_head`",
    ),
    Known(
        "heads-first",
        "Your result is [n_heads, 3, d_model, d_head].",
        "q, k and v come first: [3, n_heads, d_model, d_head].",
        {"pattern": "d_model (qkv n_heads d_head) -> n_heads qkv d_model d_head"},
        "the axes come out as `qkv n_heads d_model d_head`",
    ),
    Known(
        "d-model-first",
        "Your result is [d_model, 3, n_heads, d_head].",
        "d_model moves in front of d_head: [3, n_heads, d_model, d_head].",
        {"pattern": "d_model (qkv n_heads d_head) -> d_model qkv n_heads d_head"},
        "a `rearrange`, or `reshape` and then `permute`",
    ),
    Known(
        "qkv-before-d-model",
        "Your result is [3, d_model, n_heads, d_head].",
        "The heads come before d_model: [3, n_heads, d_model, d_head].",
        {"pattern": "d_model (qkv n_heads d_head) -> qkv d_model n_heads d_head"},
        "the axes come out as `qkv n_heads d_model d_head`",
    ),
    Known(
        "heads-not-split",
        "Your result is [3, d_model, d_model]: the heads are still side by side.",
        "Cut each third into n_heads matrices [d_model, d_head].",
        {"pattern": "d_model (qkv n_heads d_head) -> qkv d_model (n_heads d_head)"},
        "name `n_heads` and `d_head` in the pattern",
    ),
    Known(
        "reshape-without-permute",
        "Your `reshape` cuts the memory row by row into the shape that is wanted: "
        "each matrix is put together from pieces of all of them.",
        "First give the columns their axes, [d_model, 3, n_heads, d_head]; then move "
        "d_model to its place.",
        {"cut": "memory"},
        "`rearrange` does both, or `reshape` and then `permute`",
    ),
    Known(
        "transposed-and-reshaped",
        "You transpose c_attn, and your `reshape` then cuts the memory: rows and "
        "columns of each head's matrix are mixed up.",
        "c_attn is [d_model, 3 d_model]. Give the columns their axes first; then move "
        "d_model to its place.",
        {"cut": "memory, transposed"},
        "`rearrange`, or `reshape` and then `permute`",
    ),
    Known(
        "heads-reshaped",
        "q, k and v are taken apart rightly; the `reshape` of each then cuts the "
        "memory row by row, and mixes the heads.",
        "Each third is [d_model, (n_heads d_head)]: give the columns their axes, then "
        "move the heads to the front.",
        {"cut": "heads by memory"},
        "`reshape(d_model, n_heads, d_head)`, then swap the first two axes",
    ),
)


def _split_cases() -> list[Case]:
    cases = []
    for source in (stirred(), loaded()):
        weights = source.reference.model.transformer.h[0].attn.c_attn.weight.detach()
        q, k, v = (source.weights[f"blocks.0.attn.W_{letter}"] for letter in "QKV")
        cases.append(
            Case(
                source=source.label,
                cfg=source.cfg,
                inputs=(weights,),
                expected=torch.stack([q, k, v]),
                extra={"n_heads": source.cfg.n_heads},
                grad=source is stirred(),
            )
        )
    return cases


def _three_as_one(candidate: Callable) -> Callable:
    """A tuple (W_Q, W_K, W_V) is as good as one tensor."""
    if isinstance(candidate, type) or not callable(candidate):
        return candidate

    @functools.wraps(candidate)
    def wrapper(*args, **kwargs):
        found = candidate(*args, **kwargs)
        if isinstance(found, (tuple, list)) and len(found) == 3:
            return torch.stack(list(found))
        return found

    return wrapper


SPLIT_C_ATTN = Check(
    name="split_c_attn",
    answer="split_c_attn",
    compute=compute_split,
    make_cases=_split_cases,
    known=SPLIT_KNOWN,
    axes=("q k v", "n_heads", "d_model", "d_head"),
    hints=(
        "Which axis of c_attn is made of three others, and which of the three is the "
        "slowest?",
        "The columns are (qkv n_heads d_head), in this order: the first third is q, "
        "and in it stands head after head.",
        '`rearrange(c_attn, "d_model (qkv n_heads d_head) -> …", qkv=3, '
        "n_heads=n_heads)`, with the four axes in the order that is asked for.",
    ),
    lesson="07_full_transformer.ipynb#names",
    course=split_c_attn,
    prepare=_three_as_one,
    keep=False,
)

# ------------------------------------------------------------- to_course_names

SAME = {  # in each block: Hugging Face's name, and ours for the same tensor
    "ln_1.weight": "ln1.w",
    "ln_1.bias": "ln1.b",
    "ln_2.weight": "ln2.w",
    "ln_2.bias": "ln2.b",
    "attn.c_proj.bias": "attn.b_O",
    "mlp.c_fc.weight": "mlp.W_in",
    "mlp.c_fc.bias": "mlp.b_in",
    "mlp.c_proj.weight": "mlp.W_out",
    "mlp.c_proj.bias": "mlp.b_out",
}


def to_course_names(hf, cfg):
    """The weights of a GPT-2, from Hugging Face's names and shapes to ours."""
    ours = {
        "embed.W_E": hf["transformer.wte.weight"],
        "pos_embed.W_pos": hf["transformer.wpe.weight"],
        "ln_final.w": hf["transformer.ln_f.weight"],
        "ln_final.b": hf["transformer.ln_f.bias"],
        "unembed.W_U": hf["lm_head.weight"].T,  # [d_vocab, d_model], turned
        "unembed.b_U": torch.zeros(cfg.d_vocab),  # GPT-2 has none
    }
    heads = (cfg.n_heads, cfg.d_head)
    for i in range(cfg.n_layers):
        theirs, at = f"transformer.h.{i}.", f"blocks.{i}."
        for their_name, our_name in SAME.items():
            ours[at + our_name] = hf[theirs + their_name]
        W = split_c_attn(hf[theirs + "attn.c_attn.weight"], cfg.n_heads)
        b = hf[theirs + "attn.c_attn.bias"].reshape(3, *heads)
        for letter, weight, bias in zip("QKV", W, b, strict=True):
            ours[f"{at}attn.W_{letter}"] = weight
            ours[f"{at}attn.b_{letter}"] = bias
        W_O = hf[theirs + "attn.c_proj.weight"]  # [(n_heads d_head), d_model]
        ours[at + "attn.W_O"] = W_O.reshape(*heads, cfg.d_model)
    return ours


Weights = dict[str, Tensor]


def _each_block(change: Callable[[Weights, str], None]):
    """A mistake made in every block: `change(ours, "blocks.0.")`."""

    def made(ours: Weights, hf: Weights, cfg: Config) -> None:
        for i in range(cfg.n_layers):
            change(ours, f"blocks.{i}.")

    return made


def _swap(a: str, b: str):
    def change(ours: Weights, at: str) -> None:
        ours[at + a], ours[at + b] = ours[at + b], ours[at + a]

    return _each_block(change)


def _swap_all(pairs: list[tuple[str, str]]):
    def change(ours: Weights, at: str) -> None:
        for a, b in pairs:
            ours[at + a], ours[at + b] = ours[at + b], ours[at + a]

    return _each_block(change)


def _alter(name: str, how: Callable[[Tensor], Tensor]):
    def change(ours: Weights, at: str) -> None:
        ours[at + name] = how(ours[at + name])

    return _each_block(change)


def _biases_by(pattern: str):
    """The fused bias, its numbers read in another order."""

    def made(ours: Weights, hf: Weights, cfg: Config) -> None:
        for i in range(cfg.n_layers):
            b = hf[f"transformer.h.{i}.attn.c_attn.bias"]
            read = rearrange(b, pattern, qkv=3, n_heads=cfg.n_heads)
            for letter, bias in zip("QKV", read, strict=True):
                ours[f"blocks.{i}.attn.b_{letter}"] = bias

    return made


def _set(name: str, value: Callable[[Weights, Weights, Config], Tensor]):
    def made(ours: Weights, hf: Weights, cfg: Config) -> None:
        ours[name] = value(ours, hf, cfg)

    return made


def _one_block_everywhere(which: int):
    def made(ours: Weights, hf: Weights, cfg: Config) -> None:
        source = f"blocks.{range(cfg.n_layers)[which]}."
        for name in [n for n in ours if n.startswith("blocks.")]:
            ours[name] = ours[source + name.split(".", 2)[2]]

    return made


def _forget(*names: str):
    def made(ours: Weights, hf: Weights, cfg: Config) -> None:
        for name in names:
            ours.pop(name, None)
            for i in range(cfg.n_layers):
                ours.pop(f"blocks.{i}.{name}", None)

    return made


NAMES_KNOWN = (
    Known(
        "tied-head-forgotten",
        "There is no `unembed.W_U`.",
        "GPT-2's head is tied: it is the embedding, transposed. Our `Unembed` has a "
        "matrix of its own, so it gets a copy.",
        {"made": _forget("unembed.W_U")},
        '`hf["lm_head.weight"]`, or the embedding; mind the orientation',
    ),
    Known(
        "head-bias-forgotten",
        "There is no `unembed.b_U`.",
        "GPT-2's head has no bias. Ours has one, and a bias of zeros changes nothing.",
        {"made": _forget("unembed.b_U")},
        "`torch.zeros(cfg.d_vocab)`",
    ),
    Known(
        "head-forgotten",
        "There is neither `unembed.W_U` nor `unembed.b_U`.",
        "GPT-2's head is tied: W_U is the embedding, transposed. It has no bias, so "
        "b_U is zeros.",
        {"made": _forget("unembed.W_U", "unembed.b_U")},
        '`hf["lm_head.weight"]` and `torch.zeros(cfg.d_vocab)`',
    ),
    Known(
        "head-not-transposed",
        "`unembed.W_U` is [d_vocab, d_model], as the file has it.",
        "Ours is [d_model, d_vocab]: a vector of the stream times W_U gives logits.",
        {"made": _set("unembed.W_U", lambda ours, hf, cfg: hf["lm_head.weight"])},
        "`.T`",
    ),
    Known(
        "head-reshaped",
        "`unembed.W_U` has the right shape, and its numbers are in the wrong places: "
        "`reshape` cuts the memory anew and does not transpose.",
        "Rows should become columns.",
        {
            "made": _set(
                "unembed.W_U",
                lambda ours, hf, cfg: hf["lm_head.weight"].reshape(cfg.d_model, -1),
            )
        },
        "`.T` instead of `reshape` or `view`",
    ),
    Known(
        "head-bias-of-ones",
        "`unembed.b_U` is ones.",
        "GPT-2's head has no bias, so ours must add nothing: zeros.",
        {"made": _set("unembed.b_U", lambda ours, hf, cfg: torch.ones(cfg.d_vocab))},
        "`torch.zeros(cfg.d_vocab)`",
    ),
    Known(
        "final-layernorm-forgotten",
        "`ln_final.w` and `ln_final.b` are missing.",
        "They are Hugging Face's `ln_f`.",
        {"made": _forget("ln_final.w", "ln_final.b")},
        '`hf["transformer.ln_f.weight"]` and `.bias`',
    ),
    Known(
        "attention-biases-forgotten",
        "The blocks' `b_Q`, `b_K` and `b_V` are missing.",
        "They stand side by side in `attn.c_attn.bias`, as the matrices do in its "
        "weight.",
        {"made": _forget("attn.b_Q", "attn.b_K", "attn.b_V")},
        '`hf[theirs + "attn.c_attn.bias"].reshape(3, cfg.n_heads, cfg.d_head)`',
    ),
    Known(
        "W_O-forgotten",
        "The blocks' `W_O` is missing.",
        "It is `attn.c_proj.weight`, with its rows cut into heads.",
        {"made": _forget("attn.W_O")},
        "`reshape(cfg.n_heads, cfg.d_head, cfg.d_model)`",
    ),
    Known(
        "one-block-everywhere",
        "Every block has the weights of the first.",
        "Each block has weights of its own: `transformer.h.{i}`.",
        {"made": _one_block_everywhere(0)},
        "the loop variable should stand in both names",
    ),
    Known(
        "last-block-everywhere",
        "Every block has the weights of the last.",
        "Each block has weights of its own: `transformer.h.{i}`.",
        {"made": _one_block_everywhere(-1)},
        "the loop variable should stand in both names",
    ),
    *(
        Known(
            f"{a}-and-{b}-swapped".lower(),
            f"{a.upper()} and {b.upper()} have changed places, matrices and biases.",
            "The columns of c_attn hold q, then k, then v.",
            {
                "made": _swap_all(
                    [(f"attn.{x}_{a.upper()}", f"attn.{x}_{b.upper()}") for x in "Wb"]
                )
            },
            "which letter goes with which third?",
        )
        for a, b in itertools.combinations("qkv", 2)
    ),
    *(
        Known(
            f"{kind}-{a}-and-{b}-swapped",
            f"`{x}_{a.upper()}` and `{x}_{b.upper()}` have changed places.",
            "The columns of c_attn hold q, then k, then v, in weight and bias alike.",
            {"made": _swap(f"attn.{x}_{a.upper()}", f"attn.{x}_{b.upper()}")},
            "which letter goes with which third?",
        )
        for x, kind in (("W", "matrices"), ("b", "biases"))
        for a, b in itertools.combinations("qkv", 2)
    ),
    Known(
        "biases-heads-before-qkv",
        "You read `c_attn.bias` as head after head, each with its q, k and v.",
        "All heads' q come first, then all k, then all v.",
        {"made": _biases_by("(n_heads qkv d_head) -> qkv n_heads d_head")},
        "`reshape(3, cfg.n_heads, cfg.d_head)`",
    ),
    Known(
        "biases-interleaved",
        "You read `c_attn.bias` as if the heads took turns, number by number.",
        "A head's d_head numbers stand side by side.",
        {"made": _biases_by("(qkv d_head n_heads) -> qkv n_heads d_head")},
        "`reshape(3, cfg.n_heads, cfg.d_head)`",
    ),
    Known(
        "biases-not-split",
        "`b_Q`, `b_K` and `b_V` are [d_model]: their heads are still side by side.",
        "Ours are [n_heads, d_head].",
        {"made": _biases_by("(qkv n_heads d_head) -> qkv (n_heads d_head)")},
        "`reshape(3, cfg.n_heads, cfg.d_head)`",
    ),
    Known(
        "W_O-not-split",
        "`W_O` is [d_model, d_model]: its heads are still one below another.",
        "Ours is [n_heads, d_head, d_model].",
        {"made": _alter("attn.W_O", lambda W: W.flatten(0, 1))},
        "`reshape(cfg.n_heads, cfg.d_head, cfg.d_model)`",
    ),
    Known(
        "W_O-transposed",
        "You cut the columns of `attn.c_proj.weight` into heads, or transpose it "
        "first, which is the same.",
        "It is a Conv1D's weight, [in, out], and comes out as z's heads go in: the "
        "rows are (n_heads d_head).",
        {
            "made": _alter(
                "attn.W_O", lambda W: W.flatten(0, 1).T.contiguous().view(W.shape)
            )
        },
        "leave out `.T`",
    ),
    Known(
        "W_O-interleaved",
        "You read the rows of `attn.c_proj.weight` as if the heads took turns.",
        "A head's d_head rows stand side by side: `(n_heads d_head)`.",
        {
            "made": _alter(
                "attn.W_O",
                lambda W: rearrange(
                    W.flatten(0, 1),
                    "(d_head n_heads) m -> n_heads d_head m",
                    n_heads=len(W),
                ),
            )
        },
        "`n_heads` before `d_head`: the last axis in the brackets runs fastest",
    ),
    *(
        Known(
            f"{name}-transposed",
            f"`mlp.{name}` is transposed.",
            "Hugging Face's Conv1D keeps [in, out], the same as ours. (nn.Linear is "
            "the one that keeps [out, in].)",
            {"made": _alter(f"mlp.{name}", lambda W: W.T)},
            "leave out `.T`",
        )
        for name in ("W_in", "W_out")
    ),
    Known(
        "layernorms-swapped",
        "`ln1` and `ln2` have changed places.",
        "`ln_1` stands before attention, `ln_2` before the MLP, in both namings.",
        {"made": _swap_all([("ln1.w", "ln2.w"), ("ln1.b", "ln2.b")])},
        "compare the numbers in the names",
    ),
    Known(
        "layernorm-weights-and-biases-swapped",
        "In `ln1` and `ln2`, weight and bias have changed places.",
        "`w` is Hugging Face's `weight`, `b` its `bias`.",
        {"made": _swap_all([("ln1.w", "ln1.b"), ("ln2.w", "ln2.b")])},
        "compare the ends of the names",
    ),
)


def compute_names(hf: Weights, cfg: Config, made=None) -> Weights:
    """All weights under our names; `made` puts a mistake in."""
    ours = to_course_names(hf, cfg)
    if made is not None:
        made(ours, hf, cfg)
    return ours


def _equal(a: object, b: object) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape):
        return False
    return torch.equal(a, b) or same(a, b)  # the first is quick on large models


def _tied(source: Source) -> Weights:
    """A state dict as GPT-2's: the head is the embedding, and has no bias."""
    hf = {n: p.detach().clone() for n, p in source.reference.model.state_dict().items()}
    hf["lm_head.weight"] = hf["transformer.wte.weight"].clone()
    hf.pop("lm_head.bias", None)
    return hf


_WRITES = Mistake(
    "changes-its-input",
    "Your code writes into the dictionary or the tensors that it was given.",
    "build a new dictionary, and leave out `pop` and methods that end in `_`",
)


class NamesCheck(Check):
    """Judges a dictionary of weights, entry by entry: nothing is computed with them."""

    def _examine(self, candidate) -> Report:
        early = self._not_judged(candidate)
        if early:
            return early
        for source in (stirred(), loaded()):
            hf, cfg = _tied(source), source.cfg
            given, versions = dict(hf), {n: p._version for n, p in hf.items()}
            try:
                mine = candidate(hf, cfg)
            except KeyError as error:
                return self._failed(_no_such_name(error, candidate, hf))
            except Exception as error:
                if crash.left_blank(error):
                    return self._to_do(candidate)
                where = f" on the weights of {source.label}"
                return self._failed(crash.describe(error, candidate, where))
            # torch counts what is written into a tensor, through its views as well
            same_names = hf.keys() == given.keys()
            if not same_names or any(
                p._version != versions[n] for n, p in given.items()
            ):
                return self._failed(_WRITES)
            mistakes = _judge(mine, given, cfg)
            if mistakes:
                return self._failed(*mistakes)
        return Report(
            self.name,
            self.answer,
            "passed",
            summary=f"Every weight of {stirred().label} and {loaded().label} is in its "
            "place.",
        )


def _no_such_name(error: KeyError, candidate, hf: Weights) -> Mistake:
    told = crash.describe(error, candidate)
    missing = str(error.args[0]) if error.args else ""
    close = [n for n in hf if missing and (n.endswith(missing) or missing in n)]
    hint = f"there is `{close[0]}`" if close else "print `list(hf)` to see the names"
    return Mistake(
        "no-such-name",
        f"Your code looks for `{missing}`, and there is no such name.",
        hint,
        line=told.line,
    )


def _judge(mine: object, hf: Weights, cfg: Config) -> list[Mistake]:
    if mine is None:
        return [
            Mistake(
                "no-return",
                "Your code returns None: the dictionary is filled and dropped.",
                "end with `return ours`",
            )
        ]
    if not isinstance(mine, dict):
        what = type(mine).__name__
        return [Mistake("not-a-dict", f"Your code returns {what}, not a dictionary.")]
    right = to_course_names(hf, cfg)
    off = {n for n in right.keys() | mine.keys() if not _fits(n, mine, right)}
    named, explained = _named(mine, off, hf, cfg, right)
    return [k.as_mistake() for k in named] + _facts(mine, off - explained, right)


def _fits(name: str, mine: dict, right: Weights) -> bool:
    if name not in right or name not in mine:
        return name in mine and not isinstance(mine[name], Tensor)
    return _equal(mine[name], right[name])


def _named(mine, off, hf, cfg, right) -> tuple[list[Known], set[str]]:
    """The known mistakes whose every trace is in the answer, largest first."""
    fitting = []
    for known in NAMES_KNOWN if off else ():
        wrong = dict(right)
        known.switches["made"](wrong, hf, cfg)
        touched = [n for n in right if wrong.get(n) is not right[n]]
        trace = {n for n in touched if not _fits(n, wrong, right)}
        if trace and trace <= off and all(_agree(n, mine, wrong) for n in trace):
            fitting.append((known, trace))
    fitting.sort(key=lambda pair: -len(pair[1]))
    named, explained = [], set()
    for known, trace in fitting:
        if not trace <= explained:
            named.append(known)
            explained |= trace
    return named, explained


def _agree(name: str, mine: dict, wrong: Weights) -> bool:
    if name not in wrong or name not in mine:
        return (name in mine) == (name in wrong)
    return _equal(mine[name], wrong[name])


def _facts(mine: dict, off: set[str], right: Weights) -> list[Mistake]:
    """What is wrong with the entries that no known mistake explains."""
    found: dict[str, Mistake] = {}
    spare = {n for n in off if n not in right}
    for name in sorted(off - spare):
        shown = name.replace(".0.", ".i.") if name.startswith("blocks.") else name
        if name.startswith("blocks.") and not name.startswith("blocks.0."):
            first = "blocks.0." + name.split(".", 2)[2]
            if first in off:
                continue  # told already
            shown = name
        fact = _fact(name, shown, mine, right, spare)
        found.setdefault(f"{fact.name} {shown}", fact)
    facts = list(found.values())
    for name in sorted(spare)[:3]:
        facts.append(
            Mistake(
                "extra-name", f"`{name}` is no parameter of our model.", "leave it out"
            )
        )
    if len(facts) > 6:
        more = Mistake("more", f"… and {len(facts) - 5} more entries are wrong.")
        facts = [*facts[:5], more]
    return facts


def _fact(name, shown, mine, right, spare) -> Mistake:
    goal = right[name]
    if name not in mine:
        same_numbers = [s for s in spare if _equal(mine[s], goal)]
        if same_numbers:
            other = same_numbers[0]
            spare.discard(other)
            return Mistake(
                "renamed", f"What should be called `{name}` is called `{other}`.", shown
            )
        return Mistake(
            "missing-name",
            f"There is no `{shown}`; it should have shape {list(goal.shape)}.",
            "the model's own list of names: `DemoTransformer(cfg).state_dict()`",
        )
    value = mine[name]
    if not isinstance(value, Tensor):
        told = f"`{shown}` is {type(value).__name__}, not a tensor."
        return Mistake("not-a-tensor", told)
    if value.shape != goal.shape:
        return Mistake(
            "wrong-shape",
            f"`{shown}` has shape {list(value.shape)}; it should be "
            f"{list(goal.shape)}.",
        )
    other = next((n for n, p in right.items() if n != name and _equal(value, p)), None)
    if other:
        return Mistake("wrong-tensor", f"`{shown}` holds what belongs to `{other}`.")
    return Mistake(
        "wrong-values",
        f"`{shown}` has the right shape, and its numbers are not in the right places.",
        "compare the order of the axes with the table",
    )


TO_COURSE_NAMES = NamesCheck(
    name="to_course_names",
    answer="to_course_names",
    compute=compute_names,
    make_cases=list,
    known=NAMES_KNOWN,
    axes=(),
    hints=(
        "Which entries of the table change their name only, and which their shape?",
        "In a loop over the blocks: copy the nine of SAME, split c_attn's weight with "
        "`split_c_attn` and its bias with `reshape`, cut c_proj's rows into heads. "
        "Then the head.",
        '`ours["unembed.W_U"] = hf["lm_head.weight"].T` and a `b_U` of zeros; for W_O, '
        "`reshape(cfg.n_heads, cfg.d_head, cfg.d_model)`.",
    ),
    lesson="07_full_transformer.ipynb#names",
    course=to_course_names,
    keep=False,
)
