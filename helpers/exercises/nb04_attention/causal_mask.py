"""What an answer to `apply_causal_mask` is compared with."""

import contextlib
import functools
import inspect
from dataclasses import replace

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.checks.guard import OnCPU
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_PAIR, STIRRED, exercise, sources, stirred
from helpers.exercises.nb04_attention import runs
from helpers.model import apply_causal_mask, attention_scores


def cases() -> list[Case]:
    """Scores as they come, all zero, and far below zero.

    What counts is the pattern, and transformers hands that out: its logarithm is one
    way to write masked scores.
    """
    made = []
    for source in sources():
        q, k, pattern = runs.seen(source, "q", "k", "pattern")
        made.append(source.case(attention_scores(q, k), expected=pattern.log()))
    first, (usual,) = stirred(), made[0].inputs
    zero, low = torch.zeros_like(usual), usual - 60
    made.append(first.case(zero, detail="where every score is 0"))
    made.append(first.case(low, detail="where scores are about −60"))
    return made


def after_softmax(masked: Tensor) -> Tensor:
    """What counts of masked scores: whatever the fill, the pattern they lead to."""
    return masked.softmax(-1) if masked.is_floating_point() else masked


def facts(masked: Tensor, case: Case) -> list[Mistake]:
    """What a look at the masked scores themselves shows, before any softmax."""
    (given,) = case.inputs
    future = torch.ones(given.shape[-2:], dtype=torch.bool).triu(1)
    future = future.expand_as(given)
    hidden, kept = masked[future], masked[~future]
    if kept.isnan().any():
        told = "Your masked scores contain NaN where nothing should be hidden: -inf "
        told += "times 0 is NaN, not 0."
        hint = "fill instead of multiplying: `masked_fill(mask, -inf)`; or multiply "
        hint += "-1e5, which is finite"
        exact = hidden.isneginf().all().item()
        return [Mistake("infinity-times-zero", told, hint, exact)]
    if not torch.allclose(kept, given[~future], rtol=1e-4, atol=1e-5):
        told = "You change scores that should stay as they are, on or below the "
        told += "diagonal."
        hint = "touch only the places where the key comes after the query"
        return [Mistake("past-changed", told, hint)]
    if hidden.numel() and hidden.isfinite().all():
        told = f"You leave the future with scores of up to {hidden.max():.4g}: after "
        told += "the softmax it still has some weight."
        hint = 'fill with `float("-inf")`, or with a number far below every score, '
        hint += "such as -1e5"
        return [Mistake("fill-too-weak", told, hint)]
    return []


def as_function(candidate):
    """The Template's method `apply_causal_mask(self, attn_scores)` counts as well."""
    if isinstance(candidate, type):
        candidate = getattr(candidate, "apply_causal_mask", candidate)
    if not inspect.isfunction(candidate):
        return candidate
    if next(iter(inspect.signature(candidate).parameters), None) != "self":
        return candidate
    return functools.wraps(candidate)(functools.partial(candidate, _owner(candidate)))


def _owner(method) -> nn.Module:
    """An object for `self`: of the class that the method is written in, if it can be.

    Otherwise, and in what it leaves out, it has what the Template's class has: cfg and
    the buffer IGNORE.
    """
    cfg = replace(STIRRED, n_ctx=64)  # longer than every case
    owner = None
    with contextlib.suppress(Exception), OnCPU():  # no such class, or not made yet
        owner = method.__globals__[method.__qualname__.split(".")[0]](cfg)
    owner = owner if isinstance(owner, nn.Module) else nn.Module()
    for name, value in {"cfg": cfg, "IGNORE": torch.tensor(-1e5)}.items():
        if not hasattr(owner, name):
            setattr(owner, name, value)
    return owner


def stages(case: Case) -> dict[str, Tensor]:
    """One step."""
    return {"the masked scores": apply_causal_mask(*case.inputs)}


kind = Tensors(
    cases,
    PER_PAIR,
    stages,
    facts,
    view=after_softmax,
    prepare=as_function,
    in_place=True,
)
check = exercise(__file__, apply_causal_mask, kind)
