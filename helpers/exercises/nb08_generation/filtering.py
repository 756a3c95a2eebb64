"""Filters of logits, compared with transformers' logits processors of the same name."""

from dataclasses import replace
from functools import partial

from torch import Tensor, equal

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, loaded, stirred
from helpers.exercises.nb08_generation.generating import by_position

INF = float("inf")
LOW = -1e4  # below any logit: as good as -inf once the softmax is taken


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


def given() -> list[tuple]:
    """Logits of both models, and made ones with ties, as `cases` takes them."""
    small, big, tied = stirred(), loaded(), noise(3, 11, seed=81, scale=2.0)
    return [
        (small, "", last(small)),
        (small, "on a batch of one, all logits negative", last(small)[3:] - 20),
        (replace(small, label="made-up logits"), "with many ties", tied.round() / 2),
        (big, "", last(big)),
    ]


def last(source: Source) -> Tensor:
    """The logits of the last two positions, [2 * batch, d_vocab].

    Of two rows' thresholds, two numbers, nobody could say whether they are right.
    """
    return source.logits[:, -2:].flatten(0, 1)


def cases(name: str, given: list[tuple], *options: dict, **more) -> list[Case]:
    """Each option on all of the inputs: a model, what is special, logits and tokens.

    Args:
        name: of transformers' logits processor; an option is its setting.
    """
    from transformers.generation import logits_process

    made = []
    for source, detail, logits, *tokens in given:
        for option in options:
            ((what, setting),) = option.items()
            process = getattr(logits_process, name)(setting)
            case = source.case(
                logits,
                *tokens,
                detail=f"{detail} with {what} = {setting}".strip(),
                expected=process(tokens[0] if tokens else None, logits.clone()),
                extra=option,
                **more,
            )
            made.append(case)
    return made


Filtered = partial(
    Tensors,
    axes=("batch", "d_vocab"),
    prepare=by_position,
    adapt=any_low_fill,
    against="transformers' own",
)
