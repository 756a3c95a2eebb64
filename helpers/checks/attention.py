"""The checks of notebook 04: attention, one step at a time and as a whole."""

import functools
import inspect
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from helpers.checks import attention_mistakes as mistakes
from helpers.checks import attention_steps as steps
from helpers.checks.cases import STIRRED, Case, loaded, stirred
from helpers.checks.check import Check
from helpers.checks.guard import OnCPU
from helpers.checks.report import Mistake
from helpers.config import Config


@dataclass(frozen=True)
class _Run:
    """One attention layer of transformers at work: what goes in and what comes out."""

    source: str
    detail: str
    cfg: Config
    params: dict[str, Tensor]
    seen: dict[str, Tensor]  # x, q, k, v, pattern, z, out

    def case(self, *inputs: Tensor, expected: Tensor | None = None, **more) -> Case:
        more.setdefault("grad", self.detail == "")
        return Case(
            source=self.source,
            detail=more.pop("detail", self.detail),
            cfg=self.cfg,
            inputs=inputs,
            expected=expected,
            **more,
        )

    @property
    def scores(self) -> Tensor:
        """[batch, n_heads, query_pos, key_pos], scaled and not masked."""
        return steps.scores(self.seen["q"], self.seen["k"], cfg=self.cfg)


def _run(source, layer: int, cache: dict[str, Tensor], detail: str) -> _Run:
    block = f"blocks.{layer}."
    seen = {n: cache[f"{block}attn.hook_{n}"] for n in ("q", "k", "v", "pattern", "z")}
    seen["x"] = cache[f"{block}ln1.hook_normalized"]
    seen["out"] = cache[f"{block}hook_attn_out"]
    params = source.part(f"{block}attn.")
    return _Run(source.label, detail, source.cfg, params, seen)


@functools.cache
def _small_runs() -> tuple[_Run, ...]:
    """The tiny model first: most wrong explanations are out after one case."""
    small = stirred()
    shapes = {
        "": small.tokens.shape,
        "on a batch of one": (1, 5),
        "on a single position": (2, 1),
        "on the full context": (2, small.cfg.n_ctx),
    }
    runs = []
    for detail, (batch, position) in shapes.items():
        tokens = torch.arange(batch * position) * 5 % small.cfg.d_vocab
        tokens = tokens.view(batch, position) if detail else small.tokens
        _, cache = small.reference.run_with_cache(tokens)
        runs.append(_run(small, 1, cache, detail))
    return tuple(runs)


def _runs() -> list[_Run]:
    big = loaded()
    return [*_small_runs(), _run(big, 0, big.cache, "")]


# The projections


def projection_cases() -> list[Case]:
    """Queries, keys and values of each run, one of them at a time."""
    cases = []
    for run, letter in zip(_runs(), "QKVQK", strict=True):
        W, b = run.params[f"W_{letter}"], run.params[f"b_{letter}"]
        expected = run.seen[letter.lower()]
        cases.append(run.case(run.seen["x"], W, b, expected=expected))
    return cases


def projection_stages(case: Case) -> dict[str, Tensor]:
    """x · W, then the bias."""
    x, W, b = case.inputs
    return {
        "the product of x and W": steps.projections(x, W, None),
        "the product with the bias added": steps.projections(x, W, b),
    }


def _without_params(step):
    """A step as a check calls it: with p and cfg, whether the step has them or not."""
    takes_cfg = "cfg" in inspect.signature(step).parameters

    def compute(*inputs, p, cfg, **switches):
        return step(*inputs, **({"cfg": cfg} if takes_cfg else {}), **switches)

    return compute


PER_HEAD = ("batch", "position", "n_heads", "d_head")
PER_PAIR = ("batch", "n_heads", "query_pos", "key_pos")
STREAM = ("batch", "position", "d_model")

attention_projections = Check(
    name="attention_projections",
    answer="attention_projections",
    compute=_without_params(steps.projections),
    make_cases=projection_cases,
    known=mistakes.PROJECTIONS,
    axes=PER_HEAD,
    hints=(
        "Which axis do x and W share, and which of W's axes should be left?",
        "An einsum that names every axis of x and of W and leaves out d_model on the "
        "right; then add the bias.",
        '`b + einsum(x, W, "batch position d_model, n_heads d_model d_head -> ...")` '
        "with `batch position n_heads d_head` after the arrow.",
    ),
    lesson="04_attention.ipynb#Queries-and-keys-and-values",
    stages=projection_stages,
)


# The scores


def score_cases() -> list[Case]:
    """Queries and keys; transformers keeps its scores to itself."""
    return [run.case(run.seen["q"], run.seen["k"]) for run in _runs()]


def score_stages(case: Case) -> dict[str, Tensor]:
    """Dot products, then the scale."""
    q, k = case.inputs
    return {
        "the dot products of queries and keys": steps.scores(
            q, k, cfg=case.cfg, scale="none"
        ),
        "the division by sqrt(d_head)": steps.scores(q, k, cfg=case.cfg),
    }


attention_scores = Check(
    name="attention_scores",
    answer="attention_scores",
    compute=_without_params(steps.scores),
    make_cases=score_cases,
    known=mistakes.SCORES,
    axes=PER_PAIR,
    hints=(
        "A score is a dot product of one query and one key. Over which axis?",
        "Give the positions of q and of k two names, query_pos and key_pos; the same "
        "letters for batch, n_heads and d_head; then divide.",
        '`einsum(q, k, "batch query_pos n_heads d_head, batch key_pos n_heads d_head '
        '-> batch n_heads query_pos key_pos") / math.sqrt(q.shape[-1])`',
    ),
    lesson="04_attention.ipynb#Scores",
    stages=score_stages,
)


# The mask


def mask_cases() -> list[Case]:
    """Scores as they come, all zero, and far below zero.

    What counts is the pattern, and transformers hands that out: its logarithm is one
    way to write masked scores.
    """
    cases = [
        run.case(run.scores, expected=run.seen["pattern"].log()) for run in _runs()
    ]
    first = _runs()[0]
    zero, low = torch.zeros_like(first.scores), first.scores - 60
    cases.append(first.case(zero, detail="where every score is 0", grad=False))
    cases.append(first.case(low, detail="where scores are about −60", grad=False))
    return cases


def after_softmax(masked: Tensor) -> Tensor:
    """What counts of masked scores: whatever the fill, the pattern they lead to."""
    return masked.softmax(-1) if masked.is_floating_point() else masked


def mask_facts(masked: Tensor, case: Case) -> list[Mistake]:
    """What a look at the masked scores themselves shows, before any softmax."""
    (given,) = case.inputs
    future = torch.ones(given.shape[-2:], dtype=torch.bool).triu(1)
    future = future.expand_as(given)
    hidden, kept = masked[future], masked[~future]
    if kept.isnan().any():
        return [
            Mistake(
                "infinity-times-zero",
                "Your masked scores contain NaN where nothing should be hidden: -inf "
                "times 0 is NaN, not 0.",
                "fill instead of multiplying: `masked_fill(mask, -inf)`; or multiply "
                "-1e5, which is finite",
                exact=hidden.isneginf().all().item(),
            )
        ]
    if not torch.allclose(kept, given[~future], rtol=1e-4, atol=1e-5):
        return [
            Mistake(
                "past-changed",
                "You change scores that should stay as they are, on or below the "
                "diagonal.",
                "touch only the places where the key comes after the query",
            )
        ]
    if hidden.numel() and hidden.isfinite().all():
        return [
            Mistake(
                "fill-too-weak",
                "You leave the future with scores of up to "
                f"{hidden.max():.4g}: after the softmax it still has some weight.",
                'fill with `float("-inf")`, or with a number far below every score, '
                "such as -1e5",
            )
        ]
    return []


def as_function(candidate):
    """The Template's method `apply_causal_mask(self, attn_scores)` counts as well."""
    if isinstance(candidate, type):
        candidate = getattr(candidate, "apply_causal_mask", candidate)
    if not inspect.isfunction(candidate):
        return candidate
    first = next(iter(inspect.signature(candidate).parameters), None)
    if first != "self":
        return candidate
    owner = _owner(candidate)

    @functools.wraps(candidate)
    def function(attn_scores):
        return candidate(owner, attn_scores)

    return function


def _owner(method) -> nn.Module:
    """An object for `self`: of the class that the method is written in, if it can be.

    Otherwise, and in what it leaves out, it has what the Template's class has: cfg and
    the buffer IGNORE.
    """
    cfg = replace(STIRRED, n_ctx=64)  # longer than every case
    cls = method.__globals__.get(method.__qualname__.split(".")[0])
    try:
        with OnCPU():
            owner = cls(cfg)
    except Exception:  # no such class, or one that cannot be made yet
        owner = None
    if not isinstance(owner, nn.Module):
        owner = nn.Module()
    for name, value in {"cfg": cfg, "IGNORE": torch.tensor(-1e5)}.items():
        if not hasattr(owner, name):
            setattr(owner, name, value)
    return owner


causal_mask = Check(
    name="causal_mask",
    answer="apply_causal_mask",
    compute=_without_params(steps.causal_mask),
    make_cases=mask_cases,
    known=mistakes.MASK,
    axes=PER_PAIR,
    hints=(
        "In a [query_pos, key_pos] table, where are the keys that come after the "
        "query: above or below the diagonal?",
        "Make a table of ones, keep what is above the diagonal with `triu`, turn it "
        "into booleans, and fill the scores there with -inf.",
        "`mask = torch.ones(query_pos, key_pos, dtype=torch.bool).triu(1)` (on the "
        "scores' device), then `attn_scores.masked_fill(mask, ...)`.",
    ),
    lesson="04_attention.ipynb#The-causal-mask",
    view=after_softmax,
    prepare=as_function,
    stages=lambda case: {"the masked scores": steps.causal_mask(*case.inputs)},
    facts=mask_facts,
    in_place=True,
)


# The pattern


def pattern_cases() -> list[Case]:
    """Masked scores, filled with -inf and with the Template's -1e5."""
    cases = []
    for run in _runs():
        masked = steps.causal_mask(run.scores)
        cases.append(run.case(masked, expected=run.seen["pattern"]))
    first = _runs()[0]
    finite = steps.causal_mask(first.scores, fill=-1e5)
    detail = "masked with −1e5"
    cases.append(first.case(finite, expected=first.seen["pattern"], detail=detail))
    return cases


def pattern_facts(pattern: Tensor, case: Case) -> list[Mistake]:
    """Properties that every pattern has."""
    found = []
    rows = pattern.sum(-1)
    if not torch.allclose(rows, torch.ones_like(rows), atol=1e-4):
        low, high = rows.min(), rows.max()
        found.append(
            Mistake(
                "rows-do-not-sum-to-1",
                f"Your rows sum to between {low:.4g} and {high:.4g}; each query has a "
                "weight of exactly 1 to share out.",
                "a softmax over the last axis, key_pos",
            )
        )
    if (pattern < 0).any():
        message = "Some of your weights are negative; a softmax has none."
        found.append(Mistake("negative-weights", message))
    return found


attention_pattern = Check(
    name="attention_pattern",
    answer="attention_pattern",
    compute=_without_params(steps.pattern),
    make_cases=pattern_cases,
    known=mistakes.PATTERN,
    axes=PER_PAIR,
    hints=(
        "Along which axis should the weights of one query sum to 1?",
        "A softmax over key_pos, the last axis.",
        "`masked_scores.softmax(dim=...)`",
    ),
    lesson="04_attention.ipynb#The-pattern",
    stages=lambda case: {"the softmax": steps.pattern(*case.inputs)},
    facts=pattern_facts,
)


# The values


def value_cases() -> list[Case]:
    """Patterns and values of transformers, and the z that it makes of them."""
    return [
        run.case(run.seen["pattern"], run.seen["v"], expected=run.seen["z"])
        for run in _runs()
    ]


attention_values = Check(
    name="attention_values",
    answer="attention_values",
    compute=_without_params(steps.values),
    make_cases=value_cases,
    known=mistakes.VALUES,
    axes=PER_HEAD,
    hints=(
        "Each query has one weight for every key. What is summed, and over which axis?",
        "An einsum over key_pos: it is the pattern's last axis and v's position; "
        "query_pos is the position of the result.",
        '`einsum(pattern, v, "batch n_heads query_pos key_pos, '
        'batch key_pos n_heads d_head -> ...")`',
    ),
    lesson="04_attention.ipynb#Mixing-the-values",
    stages=lambda case: {"the weighted sum of the values": steps.values(*case.inputs)},
)


# The output


def output_cases() -> list[Case]:
    """z and the output's weights."""
    return [
        run.case(
            run.seen["z"],
            run.params["W_O"],
            run.params["b_O"],
            expected=run.seen["out"],
        )
        for run in _runs()
    ]


def output_stages(case: Case) -> dict[str, Tensor]:
    """Every head's part, their sum, the bias."""
    z, W_O, b_O = case.inputs
    return {
        "each head's part": steps.output(z, W_O, b_O, write="heads kept", b_O_times=0),
        "the sum over the heads": steps.output(z, W_O, b_O, b_O_times=0),
        "the sum with b_O added": steps.output(z, W_O, b_O),
    }


attention_output = Check(
    name="attention_output",
    answer="attention_output",
    compute=_without_params(steps.output),
    make_cases=output_cases,
    known=mistakes.OUTPUT,
    axes=STREAM,
    hints=(
        "z has two axes that the residual stream does not have. What becomes of them?",
        "An einsum over n_heads and d_head at once, then b_O, one time.",
        '`b_O + einsum(z, W_O, "batch position n_heads d_head, '
        'n_heads d_head d_model -> ...")`',
    ),
    lesson="04_attention.ipynb#The-output-projection",
    stages=output_stages,
)


# All of it


def attention_cases() -> list[Case]:
    """The attention layers of both models, and one whose scores are all 0."""
    cases = [
        run.case(run.seen["x"], params=run.params, expected=run.seen["out"])
        for run in _runs()
    ]
    first = _runs()[0]
    silent = {name: torch.zeros_like(first.params[name]) for name in ("W_Q", "b_Q")}
    cases.append(
        first.case(
            first.seen["x"],
            params=first.params | silent,
            detail="where every score is 0",
            grad=False,
        )
    )
    return cases


def attention_stages(case: Case) -> dict:
    """Every step; scores with b_K or without, which is as good."""
    (x,), p, cfg = case.inputs, case.params, case.cfg
    q, k, v = (
        steps.projections(x, p[f"W_{letter}"], p[f"b_{letter}"]) for letter in "QKV"
    )
    plain = steps.projections(x, p["W_K"], None)
    scores = tuple(steps.scores(q, keys, cfg=cfg) for keys in (k, plain))
    masked = tuple(steps.causal_mask(s) for s in scores)
    pattern = steps.pattern(masked[0])
    z = steps.values(pattern, v)
    return {
        "side by side": {
            "the queries q": q,
            "the keys k": k,
            "the values v": v,
        },
        "the scaled scores": scores,
        "the masked scores": masked,
        "the pattern": pattern,
        "the mixed values z": z,
        "the output": steps.output(z, p["W_O"], p["b_O"]),
    }


attention = Check(
    name="attention",
    answer="Attention",
    compute=steps.attention,
    make_cases=attention_cases,
    known=mistakes.ATTENTION,
    axes=STREAM,
    hints=(
        "You have written every step. In which order do they come, and which of them "
        "is used three times?",
        "q, k and v from the input; scores; mask; pattern; z; output. Each takes what "
        "the one before returns.",
        "`q = attention_projections(normalized_resid_pre, self.W_Q, self.b_Q)`, the "
        "same for k and v, then "
        "`pattern = attention_pattern(apply_causal_mask(attention_scores(q, k)))`; "
        "two calls are left.",
    ),
    lesson="04_attention.ipynb#Attention",
    pairs=True,
    stages=attention_stages,
    causal=True,
    may_be_unused={
        "b_K": "b_K is not used, and no output can show it: it adds the same number to "
        "all scores of a query, and the softmax does not notice. GPT-2 has it all the "
        "same"
    },
)
