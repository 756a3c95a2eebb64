"""What an answer to `top_k` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.exercises.course import exercise, stirred
from helpers.exercises.nb08_generation import filtering
from helpers.generation import top_k


def cases() -> list[Case]:
    """Logits with several k, also one that is larger than d_vocab."""
    given, name = filtering.given(), "TopKLogitsWarper"
    beyond = {"k": stirred().cfg.d_vocab + 3}
    return [
        *filtering.cases(name, given, {"k": 1}, {"k": 2}, {"k": 5}),
        *filtering.cases(name, given[:1], beyond, explains=False),
    ]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps, in order."""
    (logits,) = case.inputs
    k = min(case.extra["k"], logits.shape[-1])
    best = logits.topk(k, dim=-1).values
    return {
        "the k best logits": best,
        "the k-th best logit": best[:, -1:],
        "the logits with -inf": case.expected,
    }


kind = filtering.Filtered(cases, stages=stages, facts=filtering.facts)
check = exercise(__file__, top_k, kind)
