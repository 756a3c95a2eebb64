"""What an answer to `top_k` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, stirred
from helpers.exercises.nb08_generation import filtering
from helpers.generation import top_k


def cases() -> list[Case]:
    """Logits with several k, also one that is larger than d_vocab."""
    process, small = filtering.theirs("TopKLogitsWarper"), stirred()
    logits, beyond = filtering.last(small), small.cfg.d_vocab + 3
    return [
        *filtering.cases(process, {"k": 1}, {"k": 2}, {"k": 5}),
        Case(
            source=small.label,
            detail="with k larger than d_vocab",
            cfg=small.cfg,
            inputs=(logits,),
            extra={"k": beyond},
            expected=process(logits, beyond),
            explains=False,
        ),
    ]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps, in order."""
    (logits,) = case.inputs
    k = min(case.extra["k"], logits.shape[-1])
    best = logits.topk(k, dim=-1).values
    return {
        "the logits": logits,
        "the k best logits": best,
        "the k-th best logit": best[:, -1:],
        "the logits with -inf": case.expected,
    }


check = exercise(
    __file__,
    top_k,
    Tensors(
        cases,
        axes=("batch", "d_vocab"),
        stages=stages,
        facts=filtering.facts,
        prepare=filtering.positional,
        adapt=filtering.any_low_fill,
        against="transformers' own",
    ),
)
