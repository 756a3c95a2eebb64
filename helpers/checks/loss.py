"""The check of notebook 07: the next-token loss, cross_entropy."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from helpers.checks.cases import Case, Source, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.observe import run
from helpers.checks.report import Report
from helpers.config import Config


def _pair(logits: Tensor, tokens: Tensor, shift: str) -> tuple[Tensor, Tensor]:
    """Logits [batch, n, d_vocab], and the token that each of them is compared with."""
    batch, position, d_vocab = logits.shape
    return {
        "next": lambda: (logits[:, :-1], tokens[:, 1:]),
        "none": lambda: (logits, tokens),
        "none, without the last": lambda: (logits[:, :-1], tokens[:, :-1]),
        "none, without the first": lambda: (logits[:, 1:], tokens[:, 1:]),
        "back": lambda: (logits[:, 1:], tokens[:, :-1]),
        "two": lambda: (logits[:, :-2], tokens[:, 2:]),
        "around the end": lambda: (logits, tokens.roll(-1, dims=1)),
        "after flattening": lambda: (
            logits.reshape(1, -1, d_vocab)[:, :-1],
            tokens.reshape(1, -1)[:, 1:],
        ),
        "batch": lambda: (logits[:-1], tokens[1:]),
        "last only": lambda: (logits[:, -2:-1], tokens[:, -1:]),
        "one axis taken for another": lambda: (
            logits[:, :-1].reshape(batch, d_vocab, position - 1).transpose(1, 2),
            tokens[:, 1:],
        ),
    }[shift]()


def compute(
    logits: Tensor,
    tokens: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    shift: str = "next",
    scale: str = "log_softmax",
    of: str = "the next token",
    reduce: str = "mean",
    factor: float = 1.0,
    then: str = "",
) -> Tensor:
    """Next-token loss of logits [batch, position, d_vocab], with switches.

    Args:
        shift: which logits are compared with which tokens.
        scale: what makes log probabilities of logits.
        of: whose log probability counts.
        reduce: how the losses of all positions become one number.
        factor: of the mean loss: -1 for a lost sign, 1/ln 2 for bits.
        then: what is done to the loss.
    """
    picked, wanted = _pair(logits, tokens, shift)
    log_probs = {
        "log_softmax": lambda x: x.log_softmax(-1),
        "softmax": lambda x: x.softmax(-1),
        "raw": lambda x: x,
        "softmax twice": lambda x: x.softmax(-1).log_softmax(-1),
        "over positions": lambda x: x.log_softmax(1),
        "over the batch": lambda x: x.log_softmax(0),
    }[scale](picked)
    ours = log_probs.gather(-1, wanted[..., None])[..., 0]
    losses = {
        "the next token": lambda: -ours,
        "every token": lambda: -log_probs.mean(-1),
        "the likeliest token": lambda: -log_probs.amax(-1),
        "all others too": lambda: -log_probs.sum(-1),
    }[of]()
    loss = {
        "mean": lambda: losses.mean(),
        "sum": lambda: losses.sum(),
        "sum over positions": lambda: losses.sum(-1).mean(),
        "sum over the batch": lambda: losses.sum(0).mean(),
        "divided by all tokens": lambda: losses.sum() / tokens.numel(),
        "divided by the batch and d_vocab": lambda: (
            losses.sum() / (losses.numel() * logits.shape[-1])
        ),
        "none": lambda: losses,
        "none, flat": lambda: losses.flatten(),
        "per text": lambda: losses.mean(-1),
        "per position": lambda: losses.mean(0),
    }[reduce]()
    loss = factor * loss
    return loss.exp() if then == "exp" else loss


KNOWN = (
    Known(
        "no-shift",
        "You compare the logits at a position with the token at that same position.",
        "The model has read that token already. Its logits are about the one after "
        "it: `logits[:, :-1]` against `tokens[:, 1:]`.",
        {"shift": "none"},
        "which token has the model not seen yet?",
    ),
    Known(
        "no-shift-last-dropped",
        "You drop the last position on both sides, and so compare the logits at a "
        "position with the token at that same position.",
        "Drop the last logits and the *first* token: `logits[:, :-1]` against "
        "`tokens[:, 1:]`.",
        {"shift": "none, without the last"},
        "which token does nobody predict?",
    ),
    Known(
        "no-shift-first-dropped",
        "You drop the first position on both sides, and so compare the logits at a "
        "position with the token at that same position.",
        "Drop the *last* logits and the first token: `logits[:, :-1]` against "
        "`tokens[:, 1:]`.",
        {"shift": "none, without the first"},
        "which logits have no token to be compared with?",
    ),
    Known(
        "shifted-backwards",
        "You compare each position's logits with the token *before* it.",
        "They predict the token after it: `logits[:, :-1]` against `tokens[:, 1:]`.",
        {"shift": "back"},
        "which of the two loses its first entry, which its last?",
    ),
    Known(
        "shifted-by-two",
        "You compare each position's logits with the token two places on.",
        "They predict the very next one.",
        {"shift": "two"},
        "is the shift done twice?",
    ),
    Known(
        "around-the-end",
        "Your shift runs around the end: the last position is compared with the first "
        "token of the text.",
        "After the last token nothing is known: drop the last logits.",
        {"shift": "around the end"},
        "slices instead of `roll`: `logits[:, :-1]` and `tokens[:, 1:]`",
    ),
    Known(
        "shifted-after-flattening",
        "You flatten first and shift then, so that the end of one text is asked to "
        "predict the start of the next.",
        "Shift along the position axis while the batch still has its own.",
        {"shift": "after flattening"},
        "`logits[:, :-1]` and `tokens[:, 1:]` first, `reshape` after",
    ),
    Known(
        "batch-shifted",
        "Your slices cut the batch: the first text is compared with the second.",
        "Shift along the position axis, the second: `[:, :-1]`, not `[:-1]`.",
        {"shift": "batch"},
        "the first axis is the batch; a colon takes all of it",
    ),
    Known(
        "last-prediction-only",
        "Only the prediction of the last token counts.",
        "Every position predicts its next token, and all of them are averaged.",
        {"shift": "last only"},
        "`[:, :-1]` takes all positions but the last, `[:, -2]` one",
    ),
    Known(
        "reshape-instead-of-transpose",
        "Your `reshape` puts the numbers into [batch, d_vocab, position] in the order "
        "in which they lie in memory: positions and tokens are mixed up.",
        "Swapping axes is `transpose`; `reshape` only cuts the row of numbers anew.",
        {"shift": "one axis taken for another"},
        "`logits.transpose(1, 2)`, or flatten batch and position",
    ),
    Known(
        "sum-not-mean",
        "You add the losses up.",
        "Take their mean: then the loss does not grow with the length of the text.",
        {"reduce": "sum"},
        "`.mean()`",
    ),
    Known(
        "sum-over-positions",
        "You add up the losses of each text, and average over the batch alone.",
        "Average over the positions too: then the loss does not grow with the length "
        "of the text.",
        {"reduce": "sum over positions"},
        "`.mean()` without an axis averages over all",
    ),
    Known(
        "sum-over-the-batch",
        "You add up the losses of the batch, and average over the positions alone.",
        "Average over the batch too.",
        {"reduce": "sum over the batch"},
        "`.mean()` without an axis averages over all",
    ),
    Known(
        "divided-by-too-many",
        "You divide by the number of all tokens.",
        "The first token of each text is not predicted: there are position − 1 losses "
        "in a text.",
        {"reduce": "divided by all tokens"},
        "`.mean()` counts for you",
    ),
    Known(
        "divided-by-the-vocabulary",
        "You average over the vocabulary as well.",
        "One number of each position counts, that of the next token; divide by the "
        "number of positions.",
        {"reduce": "divided by the batch and d_vocab"},
        "`gather` first, then `.mean()`",
    ),
    Known(
        "not-reduced",
        "You return a loss for every position, [batch, position − 1].",
        "The result is one number: their mean.",
        {"reduce": "none"},
        "`.mean()`",
    ),
    Known(
        "not-reduced-flat",
        "You return a loss for every position, in one long row.",
        "The result is one number: their mean.",
        {"reduce": "none, flat"},
        "`.mean()`",
    ),
    Known(
        "mean-per-text",
        "You return a loss for each text, [batch].",
        "The result is one number: the mean over the batch as well.",
        {"reduce": "per text"},
        "`.mean()` without an axis averages over all",
    ),
    Known(
        "mean-per-position",
        "You return a loss for each position, [position − 1].",
        "The result is one number: the mean over the positions as well.",
        {"reduce": "per position"},
        "`.mean()` without an axis averages over all",
    ),
    Known(
        "sign-lost",
        "Your loss is negative: it is the mean log probability.",
        "A loss gets smaller as the model gets better, so there is a minus sign.",
        {"factor": -1.0},
        "`-log_probs...`",
    ),
    Known(
        "in-bits",
        "Your loss is in bits: you take the logarithm to base 2.",
        "Here, and in PyTorch, it is in nats: the natural logarithm.",
        {"factor": 1 / math.log(2)},
        "`log`, not `log2`",
    ),
    Known(
        "log10",
        "You take the logarithm to base 10.",
        "Here, and in PyTorch, the loss is in nats: the natural logarithm.",
        {"factor": 1 / math.log(10)},
        "`log`, not `log10`",
    ),
    Known(
        "no-logarithm",
        "There is no logarithm: your loss is minus the mean probability.",
        "Surprise is −log p: it grows without bound as p goes to 0.",
        {"scale": "softmax"},
        "`log_softmax` instead of `softmax`",
    ),
    Known(
        "no-softmax",
        "You use the logits as if they were log probabilities.",
        "A logit means nothing alone: `log_softmax` takes off the logarithm of the "
        "sum over the vocabulary.",
        {"scale": "raw"},
        "`logits.log_softmax(dim=-1)`",
    ),
    Known(
        "softmax-twice",
        "There are two softmaxes: the second one works on probabilities.",
        "`F.cross_entropy` and `log_softmax` expect logits and take the softmax "
        "themselves.",
        {"scale": "softmax twice"},
        "take out your own softmax",
    ),
    Known(
        "softmax-over-positions",
        "Your softmax runs over the positions.",
        "At each position the tokens of the vocabulary compete: the last axis.",
        {"scale": "over positions"},
        "`dim=-1`",
    ),
    Known(
        "softmax-over-the-batch",
        "Your softmax runs over the batch.",
        "At each position the tokens of the vocabulary compete: the last axis.",
        {"scale": "over the batch"},
        "`dim=-1`",
    ),
    Known(
        "mean-over-the-vocabulary",
        "You average the log probabilities of all tokens.",
        "Only the token that really came next counts: pick it out with `gather`.",
        {"of": "every token"},
        "where does your code look at `tokens`?",
    ),
    Known(
        "sum-over-the-vocabulary",
        "You add up the log probabilities of all tokens.",
        "Only the token that really came next counts: pick it out with `gather`.",
        {"of": "all others too"},
        "where does your code look at `tokens`?",
    ),
    Known(
        "likeliest-token",
        "You take the log probability of the token that the model likes best.",
        "What counts is the token that really came next: pick it out with `gather`.",
        {"of": "the likeliest token"},
        "where does your code look at `tokens`?",
    ),
    Known(
        "perplexity",
        "You return exp(loss), the perplexity.",
        "The loss itself is wanted.",
        {"then": "exp"},
        "leave out the last `exp`",
    ),
)


def _their_loss(source: Source, tokens: Tensor) -> Tensor:
    """transformers' own: it shifts the labels itself."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    logits, _ = source.reference.run_with_cache(tokens)
    return ForCausalLMLoss(logits, tokens, source.cfg.d_vocab)


def make_cases() -> list[Case]:
    """Logits of both models, with their tokens."""
    small, big = stirred(), loaded()
    tokens = small.tokens
    return [
        Case(
            source=small.label,
            cfg=small.cfg,
            inputs=(small.logits, tokens),
            expected=_their_loss(small, tokens),
            grad=True,
        ),
        Case(
            source=small.label,
            detail="on a batch of one",
            cfg=small.cfg,
            inputs=(small.logits[1:], tokens[1:]),
            expected=_their_loss(small, tokens[1:]),
        ),
        Case(
            source=small.label,
            detail="on two positions",
            cfg=small.cfg,
            inputs=(small.logits[:, :2], tokens[:, :2]),
            expected=_their_loss(small, tokens[:, :2]),
        ),
        Case(
            source=big.label,
            cfg=big.cfg,
            inputs=(big.logits, big.tokens),
            expected=_their_loss(big, big.tokens),
            grad=True,
        ),
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    logits, tokens = case.inputs
    picked, wanted = _pair(logits, tokens, "next")
    log_probs = picked.log_softmax(-1)
    ours = log_probs.gather(-1, wanted[..., None])[..., 0]
    return {
        "the log probabilities of all tokens": log_probs,
        "the log probabilities of the next tokens": ours,
        "their mean": -ours.mean(),
    }


class LossCheck(Check):
    """Adds a remark where the formula is right and float32 gives way."""

    def _examine(self, candidate) -> Report:
        report = super()._examine(candidate)
        if report.status != "passed":
            return report
        # Above 88 the exponential of a float32 overflows, below -104 it is 0.
        logits = 200 * noise(1, 5, 7, seed=41).sign()
        case = Case("", stirred().cfg, (logits, torch.arange(5)[None]))
        loss = run(candidate, case).output
        if isinstance(loss, Tensor) and loss.isfinite().all():
            return report
        note = (
            "with logits of ±200 your loss is infinite or NaN: a probability is "
            "rounded to 0 before its logarithm is taken. `log_softmax` does both in "
            "one safe step"
        )
        return replace(report, notes=(*report.notes, note))


cross_entropy = LossCheck(
    name="cross_entropy",
    answer="cross_entropy",
    compute=compute,
    make_cases=make_cases,
    known=KNOWN,
    axes=(),
    hints=(
        "Which token are the logits at position 0 about? How many predictions can be "
        "marked in a text of 7 tokens?",
        "`log_softmax` over the vocabulary; drop the last position of the logits and "
        "the first of the tokens; pick the right token's entry; minus the mean.",
        "`log_probs = logits[:, :-1].log_softmax(dim=-1)`, then "
        "`log_probs.gather(dim=-1, index=tokens[:, 1:, None])`; a mean and a sign are "
        "left.",
    ),
    lesson="07_full_transformer.ipynb#cross_entropy",
    pairs=True,
    stages=stages,
)
