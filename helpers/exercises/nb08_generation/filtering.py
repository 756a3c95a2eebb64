"""Filters of logits, compared with transformers' logits processors of the same name."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from torch import Tensor, equal

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.exercises.course import Source, loaded, stirred

INF = float("inf")
LOW = -1e4  # below any logit: as good as -inf once the softmax is taken


def positional(candidate):
    """Hand everything over by position, whatever the answer calls its arguments."""
    if isinstance(candidate, type) or not callable(candidate):
        return candidate

    @wraps(candidate)
    def call(*inputs, **extra):
        return candidate(*inputs, *extra.values())

    return call


def any_low_fill(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    """Accept a very negative number in the place of -inf."""
    target = case.expected
    if output.shape != target.shape or not output.is_floating_point():
        return output, None
    low = target.isneginf() & (output < LOW) & ~output.isneginf()
    if not low.any():
        return output, None
    note = '-inf says it best: `float("-inf")`; a large number is a guess at "enough"'
    return output.masked_fill(low, -INF), note


def facts(output: Tensor, case: Case) -> list[Mistake]:
    """What stands where a filter should put -inf, if all else is right."""
    (logits, *_), target = case.inputs, case.expected
    out = target.isneginf()
    filled = output[out].unique()
    if out.any() and output[~out].isnan().all():
        told = "The logits that stay become NaN: 0 times infinity is no number."
        hint = 'fill, do not multiply: `masked_fill(mask, float("-inf"))`'
        return [Mistake("infinity-multiplied", told, hint, True)]
    if len(filled) != 1 or not equal(output[~out], logits[~out]):
        return []
    told = f"You put {filled.item():.4g} in the place of the other logits: they can "
    told += "still be drawn. Only -inf has probability 0."
    return [Mistake("fill-is-too-small", told, '`float("-inf")`', True)]


def last(source: Source) -> Tensor:
    """The logits of the last two positions, [2 * batch, d_vocab].

    Of two rows' thresholds, two numbers, nobody could say whether they are right.
    """
    return source.logits[:, -2:].flatten(0, 1)


def theirs(name: str) -> Callable:
    """transformers' logits processor as a function of logits and its setting."""
    from transformers.generation import logits_process

    made = getattr(logits_process, name)
    return lambda logits, setting: made(setting)(None, logits.clone())


def cases(process: Callable, *options: dict) -> list[Case]:
    """Logits of both models, and made ones with ties; each option on each of them."""
    small, big = stirred(), loaded()
    tied = noise(3, 11, seed=81, scale=2.0).round() / 2
    given = [
        (small, last(small), ""),
        (small, last(small)[3:] - 20, "on a batch of one, all logits negative"),
        (replace(small, label="made-up logits"), tied, "with many ties"),
        (big, last(big), ""),
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
