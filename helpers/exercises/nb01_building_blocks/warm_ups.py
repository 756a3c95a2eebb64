"""What the warm-ups of notebook 01 have in common, and next_token with them.

A warm-up is a function that rearranges, or multiplies, what a GPT-2 has at hand.
"""

from collections.abc import Callable

from torch import Tensor

from helpers.checks.check import Check
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred


def sources() -> list[Source]:
    """The second is one token, where a wrong axis of size 1 is easily overlooked."""
    small = stirred()
    single = small.on(small.tokens[:1, :1], "on a single position")
    return [small, single, loaded()]


def residual(source: Source) -> Tensor:
    """The residual stream before the first block: [batch, position, d_model]."""
    return source.cache["blocks.0.hook_resid_pre"]


def attention(source: Source, *names: str) -> tuple[Tensor, ...]:
    """What the first attention layer makes: q, k, v, z, or the pattern."""
    return tuple(source.cache[f"blocks.0.attn.hook_{name}"] for name in names)


def warm_up(
    file: str,
    answer: str,
    take: Callable[[Source], tuple[Tensor, ...]],
    axes: str,
    against: str = "the target",
    gradients: bool = True,
    **extra: Callable[[Source], object],
) -> Check:
    """The check of a warm-up; its cases are what `take` finds in each model.

    Args:
        file: `__file__` of the exercise.
        answer: the function's name.
        take: the inputs, from a model that has been run.
        axes: names of the output's axes.
        against: what a passing answer equals.
        gradients: compare them, too; whole numbers have none.
        extra: keyword arguments of the answer, each made of the model.
    """

    def cases():
        made = []
        for source in sources():
            more = {"extra": {name: of(source) for name, of in extra.items()}}
            more |= {} if gradients else {"grad": False}
            made.append(source.case(*take(source), **more))
        return made

    kind = Tensors(cases, axes=tuple(axes.split()), against=against)
    return exercise(file, answer, kind, keep=False)
