"""What the warm-ups of notebook 01 have in common, and next_token with them.

A warm-up is a function that rearranges, or multiplies, what a GPT-2 has at hand.
"""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from helpers.checks.check import Check
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred


def sources() -> list[Source]:
    """The second is one token, where a wrong axis of size 1 is easily overlooked."""
    small = stirred()
    single = small.on(small.tokens[:1, :1], "on a single position")
    return [small, single, loaded()]


def of(*names: str) -> Callable[[Source], tuple[Tensor, ...]]:
    """Activations and weights of the first block: "attn.hook_q", "attn.W_Q"."""

    def take(source: Source) -> tuple[Tensor, ...]:
        known = source.cache | source.weights
        return tuple(known[f"blocks.0.{name}"] for name in names)

    return take


def warm_up(
    file: str,
    take: Callable[[Source], tuple[Tensor, ...]],
    axes: str,
    against: str = "the target",
    gradients: bool = True,
    **extra: Callable[[Source], object],
) -> Check:
    """The check of a warm-up; its cases are what `take` finds in each model.

    Args:
        file: `__file__` of the exercise, which has the function's name.
        take: the inputs, from a model that has been run.
        axes: names of the output's axes.
        against: what a passing answer equals.
        gradients: compare them, too; whole numbers have none.
        extra: keyword arguments of the answer, each made of the model.
    """

    def cases():
        made = []
        for source in sources():
            more = {"extra": {name: make(source) for name, make in extra.items()}}
            more |= {} if gradients else {"grad": False}
            made.append(source.case(*take(source), **more))
        return made

    kind = Tensors(cases, axes=tuple(axes.split()), against=against)
    return exercise(file, Path(file).stem, kind, keep=False)
