"""The checks of notebook 08's filters: temperature, top-k, top-p, repetition penalty.

Each is compared with the logits processor of transformers of the same name: the same
logits in, the same logits out.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from helpers import generation
from helpers.checks.cases import Case, Source, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check

INF = float("inf")
LOW = -1e4  # below any logit: as good as -inf once the softmax is taken


def positional(candidate):
    """Hand everything over by position, whatever the answer calls its arguments."""
    if isinstance(candidate, type) or not callable(candidate):
        return candidate

    @functools.wraps(candidate)
    def call(*inputs, **extra):
        return candidate(*inputs, *extra.values())

    return call


def wrong(name: str, does: str, should: str, hint: str, instead: Callable) -> Known:
    """A mistake, as the function that a person wrote in the right one's place."""
    return Known(name, does, should, {"instead": instead}, hint)


def instead_of(course: Callable):
    """The reference computation: the course's function, or another `instead`."""

    def compute(*inputs, p, cfg, instead=course, **extra):
        return instead(*inputs, *extra.values())

    return compute


def _check(course: Callable, make_cases, known, hints, **more) -> Check:
    return Check(
        answer=course.__name__,
        course=course,
        compute=instead_of(course),
        make_cases=make_cases,
        known=known,
        axes=("batch", "d_vocab"),
        hints=hints,
        prepare=positional,
        adapt=_any_low_fill,
        against="transformers' own",
        **more,
    )


def _any_low_fill(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    """Accept a very negative number in the place of -inf."""
    target = case.expected
    if output.shape != target.shape or not output.is_floating_point():
        return output, None
    low = target.isneginf() & (output < LOW) & ~output.isneginf()
    if not low.any():
        return output, None
    note = '-inf says it best: `float("-inf")`; a large number is a guess at "enough"'
    return output.masked_fill(low, -INF), note


def _last(source: Source) -> Tensor:
    return source.logits[:, -1]


def _cases(process: Callable, *options: dict) -> list[Case]:
    """Logits of both models, and made ones with ties; each option on each of them."""
    small, big = stirred(), loaded()
    tied = noise(3, 11, seed=81, scale=2.0).round() / 2
    given = [
        (small, _last(small), ""),
        (small, _last(small)[1:] - 20, "on a batch of one, all logits negative"),
        (replace(small, label="made-up logits"), tied, "with many ties"),
        (big, _last(big), ""),
    ]
    return [
        Case(
            source=source.label,
            detail=", ".join(filter(None, (detail, _told(option)))),
            cfg=source.cfg,
            inputs=(logits,),
            extra=option,
            expected=process(logits, *option.values()),
        )
        for source, logits, detail in given
        for option in options
    ]


def _told(option: dict) -> str:
    return "with " + ", ".join(f"{name} = {value}" for name, value in option.items())


def theirs(name: str) -> Callable:
    """transformers' logits processor as a function of logits and its setting."""
    from transformers.generation import logits_process

    made = getattr(logits_process, name)
    return lambda logits, setting: made(setting)(None, logits.clone())


# ------------------------------------------------------------------ temperature

temperature = _check(
    generation.apply_temperature,
    lambda: _cases(
        theirs("TemperatureLogitsWarper"), {"temperature": 0.6}, {"temperature": 1.7}
    ),
    (
        wrong(
            "temperature-multiplied",
            "You multiply the logits by the temperature.",
            "They are divided by it: a high temperature brings them closer together, "
            "so that unlikely tokens get a chance.",
            "which way should 2 push the logits, apart or together?",
            lambda x, t: x * t,
        ),
        wrong(
            "temperature-unused",
            "The logits come back as they were.",
            "They are divided by the temperature.",
            "return the result of the division",
            lambda x, t: x.clone(),
        ),
        wrong(
            "softmax-too",
            "You return probabilities.",
            "Return logits: the filters that follow, and `sample`, expect them.",
            "leave the softmax to `sample`",
            lambda x, t: (x / t).softmax(-1),
        ),
        wrong(
            "softmax-before-temperature",
            "You divide probabilities by the temperature.",
            "The temperature divides logits, before the softmax. Probabilities divided "
            "by a number no longer sum to 1, and their order of preference is unmoved.",
            "no softmax here",
            lambda x, t: x.softmax(-1) / t,
        ),
        wrong(
            "log-probabilities",
            "You return log probabilities.",
            "transformers returns logits. Sampling cannot tell the two apart, but the "
            "repetition penalty can: it looks at the sign.",
            "no `log_softmax` here",
            lambda x, t: (x / t).log_softmax(-1),
        ),
        wrong(
            "log-probabilities-divided",
            "You divide log probabilities by the temperature.",
            "Divide the logits themselves. Sampling cannot tell the two apart, but the "
            "repetition penalty can: it looks at the sign.",
            "no `log_softmax` here",
            lambda x, t: x.log_softmax(-1) / t,
        ),
        wrong(
            "temperature-subtracted",
            "You take the temperature off.",
            "The same number off every logit changes no probability at all. Divide.",
            "a division",
            lambda x, t: x - t,
        ),
        wrong(
            "upside-down",
            "You divide the temperature by the logits.",
            "It is the other way round: logits / temperature.",
            "what stands above the fraction bar?",
            lambda x, t: t / x,
        ),
        wrong(
            "whole-numbers",
            "You divide without remainder: the logits come out as whole numbers.",
            "`/` keeps the fraction, `//` drops it.",
            "one slash",
            lambda x, t: x // t,
        ),
    ),
    (
        "A temperature of 2 should make unlikely tokens likelier. Should the logits "
        "move apart or together?",
        "Together: smaller differences, flatter probabilities.",
        "`logits / temperature`.",
    ),
    name="temperature",
    lesson="08_generation.ipynb#Temperature",
)


# ------------------------------------------------------------------ top-k


def _by(keep: Callable, fill: float = -INF):
    """A filter that keeps the logits which `keep(logits, setting)` says."""
    return lambda x, setting: x.masked_fill(~keep(x, setting), fill)


def _kth(x: Tensor, k: int, largest: bool = True) -> Tensor:
    return x.topk(min(k, x.shape[-1]), largest=largest).values[:, -1:]


def _ids(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1]).expand_as(x)


def _unsorted_topk(x: Tensor, k: int) -> Tensor:
    kept = torch.zeros_like(x, dtype=torch.bool)
    kept.scatter_(-1, x.topk(min(k, x.shape[-1])).indices, True)
    return x.masked_fill(~kept, -INF)


def _top_k_cases() -> list[Case]:
    process = theirs("TopKLogitsWarper")
    cases = _cases(process, {"k": 1}, {"k": 2}, {"k": 5})
    small = stirred()
    beyond = {"k": small.cfg.d_vocab + 3}
    cases.append(
        Case(
            source=small.label,
            detail="with k larger than d_vocab",
            cfg=small.cfg,
            inputs=(_last(small),),
            extra=beyond,
            expected=process(_last(small), *beyond.values()),
            explains=False,
        )
    )
    return cases


_TO_TOKENS = "a rank is no token id: compare the logits with the k-th best one"

top_k = _check(
    generation.top_k,
    _top_k_cases,
    (
        wrong(
            "cuts-ties",
            "You keep exactly k tokens, even where the next one has the very same "
            "logit as the k-th.",
            "Equal logits are equally likely, so transformers keeps all that are not "
            "below the k-th best: compare by value.",
            "find the k-th best logit; remove what is smaller",
            _unsorted_topk,
        ),
        wrong(
            "rank-taken-for-token",
            "You keep the token ids 0 to k − 1.",
            "The k likeliest tokens stay, whatever their ids are.",
            _TO_TOKENS,
            _by(lambda x, k: _ids(x) < k),
        ),
        wrong(
            "order-lost",
            "Your logits come out sorted.",
            "Each logit stays at its token's place: place i speaks of token i.",
            "do not return the sorted tensor; use it to find the k-th value",
            lambda x, k: x.sort(-1, descending=True).values.masked_fill(
                _ids(x) >= k, -INF
            ),
        ),
        wrong(
            "only-the-k-values",
            "You return k numbers a row.",
            "The shape stays [batch, d_vocab]: the others become -inf.",
            "`masked_fill` keeps the shape",
            lambda x, k: x.topk(k).values,
        ),
        wrong(
            "only-the-k-tokens",
            "You return the ids of the k best tokens.",
            "Return logits, [batch, d_vocab], with -inf at all other tokens.",
            "`topk(...)` gives values and indices: it is the values you compare with",
            lambda x, k: x.topk(k).indices,
        ),
        wrong(
            "zeros-not-inf",
            "You put 0 in the place of the other logits.",
            "A logit of 0 is a good chance: e⁰ = 1. Only -inf has probability 0.",
            '`float("-inf")`',
            _by(lambda x, k: x >= _kth(x, k), 0.0),
        ),
        wrong(
            "kth-removed-too",
            "The k-th token is removed as well: k − 1 are left.",
            "Remove what is smaller than the k-th best, and keep the k-th itself.",
            "`<`, not `<=`",
            _by(lambda x, k: x > _kth(x, k)),
        ),
        wrong(
            "one-too-many",
            "You keep k + 1 tokens.",
            "The k-th best is the last of `topk(k)`, and place k − 1 of a sorted row.",
            "Python counts from 0",
            _by(lambda x, k: x >= _kth(x, k + 1)),
        ),
        wrong(
            "keeps-the-worst",
            "You keep the k smallest logits.",
            "The largest are the likely ones.",
            "sort descending, or `largest=True`",
            _by(lambda x, k: x <= _kth(x, k, largest=False)),
        ),
        wrong(
            "removes-the-best",
            "You remove the k best and keep all others.",
            "It is the other way round.",
            "turn the comparison round",
            _by(lambda x, k: x < _kth(x, k)),
        ),
        wrong(
            "one-threshold-for-the-batch",
            "You compare every row with one threshold, taken from the whole batch.",
            "Each row has a k-th best of its own.",
            "`dim=-1`, and keep the last axis: [batch, 1]",
            _by(lambda x, k: x >= x.flatten().topk(k).values[-1]),
        ),
        wrong(
            "first-rows-threshold",
            "You compare every row with the k-th best of the first row.",
            "Each row has a k-th best of its own.",
            "keep the batch axis: `[:, -1:]`",
            _by(lambda x, k: x >= _kth(x, k)[:1]),
        ),
        wrong(
            "probabilities",
            "You return probabilities.",
            "Return logits: `sample` takes the softmax.",
            "no softmax here",
            lambda x, k: generation.top_k(x, k).softmax(-1),
        ),
        wrong(
            "nothing-removed",
            "The logits come back as they were.",
            "All but the k best become -inf.",
            "`masked_fill` returns a new tensor: return that",
            lambda x, k: x.clone(),
        ),
    ),
    (
        "Which number must a logit reach to stay?",
        "The smallest of the k largest: `logits.topk(k, dim=-1).values` has it last.",
        '`logits.masked_fill(logits < kth, float("-inf"))`, where kth has shape '
        "[batch, 1]: `[:, -1:]` keeps the axis. And `k` at most d_vocab.",
    ),
    name="top_k",
    lesson="08_generation.ipynb#Top-k",
)


# ------------------------------------------------------------------ top-p


def _nucleus(
    after: float | None = None,
    descending: bool = True,
    softmax: Callable = lambda x: x.softmax(-1),
    inclusive: bool = False,
    keep_first: bool = False,
    shift: int = 0,
    fill: float = -INF,
):
    """Top-p with its knobs: which sum is compared with p, and over which order."""

    def filtered(x: Tensor, p: float, back: bool = True) -> Tensor:
        ordered, tokens = x.sort(dim=-1, descending=descending)
        probs = softmax(ordered)
        total = probs.cumsum(-1)
        out = total > p if inclusive else total - probs >= p
        if shift:
            out = torch.cat([torch.zeros_like(out[:, :shift]), out[:, :-shift]], -1)
        if keep_first:
            out[:, 0] = False
        ordered = ordered.masked_fill(out, fill)
        return torch.empty_like(x).scatter(-1, tokens, ordered) if back else ordered

    return filtered


def _kept_places(x: Tensor, p: float) -> Tensor:
    """Sorted places that stay, taken for token ids."""
    probs = x.sort(dim=-1, descending=True).values.softmax(-1)
    return probs.cumsum(-1) - probs < p


def _crossing(x: Tensor, p: float) -> Tensor:
    """The smallest logit that stays."""
    kept = generation.top_p(x, p)
    return kept.masked_fill(kept.isneginf(), INF).amin(-1, keepdim=True)


def _canonical(output: Tensor, logits: Tensor) -> Tensor:
    """Of equal logits of which some stay, let those with the lowest ids stay.

    Which of them stays is a matter of the sort, and all are equally right.
    """
    if output.shape != logits.shape or not output.is_floating_point():
        return output
    stays = output > -INF
    if not torch.equal(output[stays], logits[stays]):
        return output
    by_id = logits.argsort(dim=-1, stable=True)
    stays_first = (~stays).to(torch.uint8).argsort(dim=-1, stable=True)
    by_stay = logits.gather(-1, stays_first).argsort(dim=-1, stable=True)
    by_stay = stays_first.gather(-1, by_stay)
    return torch.empty_like(output).scatter(-1, by_id, output.gather(-1, by_stay))


def _top_p_adapt(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    output, note = _any_low_fill(output, case)
    return _canonical(output, case.inputs[0]), note


def _top_p_compute(logits, *, instead=generation.top_p, p, cfg, top_p):
    return _canonical(instead(logits, top_p), logits)


def _top_p_cases() -> list[Case]:
    cases = _cases(
        theirs("TopPLogitsWarper"), {"top_p": 0.05}, {"top_p": 0.6}, {"top_p": 0.93}
    )
    return [
        replace(case, expected=_canonical(case.expected, case.inputs[0]))
        for case in cases
    ]


top_p = replace(
    _check(
        generation.top_p,
        _top_p_cases,
        (
            wrong(
                "drops-the-crossing-token",
                "You drop the token whose probability carries the sum over p.",
                "It stays: the kept tokens hold *at least* p. Otherwise a token that "
                "is likelier than p would leave nothing to draw from.",
                "compare p with the sum *before* each token",
                _nucleus(inclusive=True),
            ),
            wrong(
                "drops-the-crossing-token-but-the-first",
                "You drop the token whose probability carries the sum over p, unless "
                "it is the first.",
                "It always stays: the kept tokens hold *at least* p.",
                "compare p with the sum *before* each token",
                _nucleus(inclusive=True, keep_first=True),
            ),
            wrong(
                "one-too-many",
                "You keep one token more than is needed.",
                "The token that carries the sum to p is the last to stay.",
                "is the shift done twice: once by hand, once in the sum?",
                _nucleus(shift=1),
            ),
            wrong(
                "no-softmax",
                "You add up logits.",
                "p is a probability: softmax first, then the running sum.",
                "`ordered.softmax(dim=-1).cumsum(dim=-1)`",
                _nucleus(softmax=lambda x: x),
            ),
            wrong(
                "not-sorted",
                "You add up the probabilities in the order of the token ids.",
                "Begin with the likeliest: sort first, in descending order.",
                "`logits.sort(dim=-1, descending=True)`",
                lambda x, p: x.masked_fill(
                    x.softmax(-1).cumsum(-1) - x.softmax(-1) >= p, -INF
                ),
            ),
            wrong(
                "not-sorted-crossing-dropped",
                "You add up the probabilities in the order of the token ids, and drop "
                "the token that crosses p.",
                "Begin with the likeliest, and keep the one that crosses.",
                "`logits.sort(dim=-1, descending=True)`",
                lambda x, p: x.masked_fill(x.softmax(-1).cumsum(-1) > p, -INF),
            ),
            wrong(
                "least-likely-first",
                "You begin with the least likely token.",
                "Begin with the likeliest.",
                "`descending=True`",
                _nucleus(descending=False),
            ),
            wrong(
                "rank-taken-for-token",
                "You worked out which *places* in the sorted row stay, and keep the "
                "token ids of those numbers.",
                "Each place belongs to a token: `sort` tells which, and `scatter` puts "
                "the result back there.",
                "`torch.empty_like(logits).scatter(-1, tokens, ordered)`",
                _by(_kept_places),
            ),
            wrong(
                "order-lost",
                "Your logits come out sorted.",
                "Each logit goes back to its token's place: place i speaks of token i.",
                "`torch.empty_like(logits).scatter(-1, tokens, ordered)`",
                lambda x, p: _nucleus()(x, p, back=False),
            ),
            wrong(
                "gathered-not-scattered",
                "On the way back you gather where you should scatter: the tokens "
                "change places.",
                "`tokens[i]` says where place i of the sorted row came *from*, so it "
                "is written there: `scatter`.",
                "`torch.empty_like(logits).scatter(-1, tokens, ordered)`",
                lambda x, p: _nucleus()(x, p, back=False).gather(
                    -1, x.argsort(-1, descending=True)
                ),
            ),
            wrong(
                "zeros-not-inf",
                "You put 0 in the place of the other logits.",
                "A logit of 0 is a good chance: e⁰ = 1. Only -inf has probability 0.",
                '`float("-inf")`',
                _nucleus(fill=0.0),
            ),
            wrong(
                "each-token-against-p",
                "You compare each token's own probability with p.",
                "It is the running sum, from the likeliest on, that is compared.",
                "`cumsum`",
                _by(lambda x, p: x.softmax(-1) >= p),
            ),
            wrong(
                "each-token-against-1-p",
                "You compare each token's own probability with 1 − p.",
                "It is the running sum, from the likeliest on, that is compared.",
                "`cumsum`",
                _by(lambda x, p: x.softmax(-1) >= 1 - p),
            ),
            wrong(
                "keeps-the-tail",
                "You keep the tail and remove the likely tokens.",
                "It is the other way round.",
                "turn the comparison round",
                _by(lambda x, p: generation.top_p(x, p).isneginf()),
            ),
            wrong(
                "keeps-all-ties",
                "You keep every token whose logit equals that of the last one to stay.",
                "The set is the smallest that holds p, so transformers stops once p is "
                "reached, even between two equals.",
                "decide by place in the sorted row, not by value",
                _by(lambda x, p: x >= _crossing(x, p)),
            ),
            wrong(
                "softmax-over-the-batch",
                "Your softmax runs over the batch.",
                "The tokens of one row compete with one another: the last axis.",
                "`dim=-1`",
                _nucleus(softmax=lambda x: x.softmax(0)),
            ),
            wrong(
                "probabilities",
                "You return probabilities.",
                "Return logits: `sample` takes the softmax.",
                "mask the logits, not the probabilities",
                lambda x, p: generation.top_p(x, p).softmax(-1),
            ),
            wrong(
                "nothing-removed",
                "The logits come back as they were.",
                "All tokens beyond p become -inf.",
                "`masked_fill` and `scatter` return new tensors; and a sum of "
                "*log* probabilities is negative, so that it never reaches p",
                lambda x, p: x.clone(),
            ),
        ),
        (
            "How much probability do the likelier tokens hold together? Keep a token "
            "while that is less than p.",
            "`sort` descending, `softmax`, `cumsum`; the sum *before* a token is the "
            "running sum minus its own probability. `sort` also gives the token ids.",
            '`ordered.masked_fill(before >= p, float("-inf"))`, and then back to the '
            "order of ids: `torch.empty_like(logits).scatter(-1, tokens, ordered)`.",
        ),
        name="top_p",
        lesson="08_generation.ipynb#Top-p",
    ),
    adapt=_top_p_adapt,
    compute=_top_p_compute,
)


# ------------------------------------------------------------------ repetition


def _penalized(
    seen: Callable = lambda x, penalty: torch.where(x > 0, x / penalty, x * penalty),
):
    """The penalty with another formula for the tokens in the text."""
    return lambda x, tokens, penalty: x.scatter(
        -1, tokens, seen(x.gather(-1, tokens), penalty)
    )


def _per_occurrence(x: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    x = x.clone()
    for row, ids in zip(x, tokens.tolist(), strict=True):
        for i in ids:
            row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
    return x


def _everywhere(x: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    ids = tokens.flatten().expand(x.shape[0], -1)
    return generation.repetition_penalty(x, ids, penalty)


def _through(change: Callable):
    return lambda x, t, q: generation.repetition_penalty(change(x), t, q)


def _repetition_cases() -> list[Case]:
    from transformers import RepetitionPenaltyLogitsProcessor

    small, big = stirred(), loaded()
    twice = torch.cat([small.tokens, small.tokens[:, :3], small.tokens[:, :1]], 1)
    given = [
        (small, _last(small), twice, ""),
        (small, _last(small)[:1], twice[:1, :1], "on a batch of one, one token"),
        (small, _last(small) - 20, twice, "with all logits negative"),
        (big, _last(big), big.tokens, ""),
    ]
    return [
        Case(
            source=source.label,
            detail=detail,
            cfg=source.cfg,
            inputs=(logits, tokens),
            extra={"penalty": penalty},
            expected=RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits.clone()),
        )
        for source, logits, tokens, detail in given
        for penalty in (1.3, 0.8)
    ]


_BOTH = "Divide a positive logit and multiply a negative one: both go down."

repetition_penalty = _check(
    generation.repetition_penalty,
    _repetition_cases,
    (
        wrong(
            "divides-negative-logits",
            "You divide negative logits by the penalty too.",
            f"That brings them closer to 0, so the token gets *likelier*. {_BOTH}",
            "`torch.where(seen > 0, seen / penalty, seen * penalty)`",
            _penalized(lambda x, q: x / q),
        ),
        wrong(
            "multiplies-positive-logits",
            "You multiply positive logits by the penalty too.",
            f"That makes the token likelier. {_BOTH}",
            "`torch.where(seen > 0, seen / penalty, seen * penalty)`",
            _penalized(lambda x, q: x * q),
        ),
        wrong(
            "the-wrong-way-round",
            "You multiply positive logits and divide negative ones: repetition is "
            "rewarded.",
            _BOTH,
            "swap the two",
            _penalized(lambda x, q: torch.where(x > 0, x * q, x / q)),
        ),
        wrong(
            "once-per-occurrence",
            "A token that occurs three times is penalized three times.",
            "Once is right, however often it occurs.",
            "read all the logits first, change them, then write them",
            _per_occurrence,
        ),
        wrong(
            "penalty-subtracted",
            "You take the penalty off the logit.",
            f"{_BOTH} (Taking a number off is another method: transformers' "
            "`presence_penalty` is not this one.)",
            "`torch.where(seen > 0, seen / penalty, seen * penalty)`",
            _penalized(lambda x, q: x - q),
        ),
        wrong(
            "all-tokens-penalized",
            "You change the logits of all tokens.",
            "Only tokens that are in the text are pushed down.",
            "`gather` their logits, `scatter` them back",
            lambda x, t, q: torch.where(x > 0, x / q, x * q),
        ),
        wrong(
            "unseen-tokens-penalized",
            "You push down the tokens that are *not* in the text.",
            "It is the ones in the text that should not come again.",
            "turn the mask round",
            lambda x, t, q: torch.where(x > 0, x / q, x * q).scatter(
                -1, t, x.gather(-1, t)
            ),
        ),
        wrong(
            "tokens-of-the-whole-batch",
            "A token that occurs in one text is penalized in every text of the batch.",
            "Each row looks at its own text.",
            "`gather` and `scatter` along the last axis keep the rows apart",
            _everywhere,
        ),
        wrong(
            "last-token-only",
            "You penalize the last token alone.",
            "All tokens of the text count.",
            "all of `tokens`",
            lambda x, t, q: generation.repetition_penalty(x, t[:, -1:], q),
        ),
        wrong(
            "first-text-only",
            "Every row is penalized for the tokens of the first text.",
            "Each row looks at its own text.",
            "`gather` and `scatter` along the last axis keep the rows apart",
            lambda x, t, q: generation.repetition_penalty(x, t[:1].expand_as(t), q),
        ),
        wrong(
            "log-probabilities",
            "You work on log probabilities.",
            "They are all negative, so that every token would be multiplied. The "
            "penalty is defined on logits.",
            "no `log_softmax` here",
            _through(lambda x: x.log_softmax(-1)),
        ),
        wrong(
            "probabilities",
            "You work on probabilities.",
            "The penalty is defined on logits.",
            "no softmax here",
            _through(lambda x: x.softmax(-1)),
        ),
        wrong(
            "forbidden-altogether",
            "You put -inf at every token of the text: none can come again.",
            f"A penalty makes it harder, not impossible. {_BOTH}",
            "`torch.where(seen > 0, seen / penalty, seen * penalty)`",
            _penalized(lambda x, q: torch.full_like(x, -INF)),
        ),
        wrong(
            "nothing-changed",
            "The logits come back as they were.",
            "The logits of the tokens in the text go down.",
            "`scatter` returns a new tensor: return that",
            lambda x, t, q: x.clone(),
        ),
    ),
    (
        "A logit of −3 should become less likely. Is −3 divided by 1.3 lower or higher "
        "than −3?",
        "Positive logits are divided, negative ones multiplied, once per token. "
        "`logits.gather(-1, tokens)` reads the logits of the tokens in the text.",
        "`torch.where(seen > 0, seen / penalty, seen * penalty)`, put back with "
        "`logits.scatter(-1, tokens, ...)`: a token that occurs twice is written "
        "twice, with one and the same number.",
    ),
    name="repetition_penalty",
    lesson="08_generation.ipynb#Repetition",
)
