"""What an answer to `stream_parts` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb10_looking_inside.models import (
    cache_cases,
    of_model_and_cache,
    opened,
)


def facts(parts: Tensor, case: Case) -> list[Mistake]:
    """Whether the parts add up to the final stream."""
    subject = next(
        s for s in map(opened, (stirred(), loaded())) if s.model is case.extra["model"]
    )
    last = f"blocks.{case.cfg.n_layers - 1}.hook_resid_post"
    whole = subject.cache[last][:, : case.inputs[0].shape[1]][: len(case.inputs[0])]
    off = (parts.sum(0) - whole).abs().max() / whole.abs().max()
    if off < 1e-4:
        told = "Your parts add up to the final stream, and are not the parts asked for."
        hint = "the order: embedding, position; then layer by layer its heads, b_O, MLP"
        return [Mistake("other-parts-of-the-same-sum", told, hint)]
    told = f"Your parts do not add up to the final stream: off by {off:.1%} of it."
    hint = "is one left out, or twice in the list?"
    return [Mistake("parts-do-not-add-up", told, hint)]


check = exercise(
    __file__,
    "stream_parts",
    Tensors(
        cache_cases,
        axes=("part", "batch", "position", "d_model"),
        prepare=of_model_and_cache,
        facts=facts,
        against="the course's, whose sum is the final stream,",
    ),
    keep=False,
)
