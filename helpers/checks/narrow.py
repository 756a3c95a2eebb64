"""Where an answer differs, when no known mistake explains it: facts, no guesses."""

import itertools
import re

import torch
from torch import Tensor

from helpers.checks.report import Mistake, mistake
from helpers.checks.run import TOLERANCE, same


def where(
    mine: Tensor, target: Tensor, axes: tuple[str, ...], tolerance: float = TOLERANCE
) -> str:
    """Which positions, heads or features differ; empty when all of them do."""
    scale = target[target.isfinite()].abs().max().clamp_min(1e-12)
    wrong = (mine - target).abs() > tolerance * scale
    wrong |= mine.isnan() != target.isnan()
    told = []
    for axis, name in enumerate(axes):
        others = [i for i in range(wrong.ndim) if i != axis]
        touched = wrong.any(dim=others) if others else wrong
        right = (~touched).nonzero().flatten().tolist()
        off = touched.nonzero().flatten().tolist()
        if off and right:
            part = off if len(off) <= len(right) else right
            listed = ", ".join(map(str, part[:5])) + (", …" if len(part) > 5 else "")
            told.append(
                f"only {name} {listed}"
                if part is off
                else f"every {name} except {listed}"
            )
    return "; ".join(told)


def spelt_out(
    got: torch.Size, want: torch.Size, axes: tuple[str, ...], lines: list[str]
) -> list[Mistake]:
    """A Mistake where a size that is wrong in this case is a number of the code.

    Args:
        lines: the one where the shape goes wrong, then all others.
    """
    for axis, mine, size in zip(axes, got, want, strict=False):
        if mine == size or len(got) != len(want):
            continue
        number = rf"(?<![\w.])(?<!\*\* )(?<!dim=){mine}(?![\w.])"
        shape = rf"(empty|expand|full|ones|repeat|reshape|view|zeros)\(.*{number}"
        for line, pattern in zip(lines, [number, *[shape] * len(lines)], strict=False):
            if re.search(pattern, line):
                words = {"number": mine, "axis": axis, "size": size}
                return [mistake("size-written-down", line=line, **words)]
    return []


def right_numbers(mine: Tensor, target: Tensor, axes: tuple[str, ...]) -> list[Mistake]:
    """A Mistake where only the shape is wrong: axes in another order, or merged."""
    if mine.numel() != target.numel() or target.numel() < 2:
        return []
    if same(mine.flatten(), target.flatten()):
        hint = "look for a squeeze, flatten or reshape too many, or one too few"
        if mine.ndim == target.ndim:
            hint = "is a size written down as a number? Take it from what you are given"
        return [mistake("right-numbers-wrong-shape", hint=hint)]
    for order in itertools.permutations(range(target.ndim)):
        turned = target.permute(order)
        if turned.shape == mine.shape and same(mine, turned):
            stand = ", ".join(axes[i] for i in order)
            return [mistake("axes-in-another-order", stand=stand, want=", ".join(axes))]
    return []


def ratio(mine: Tensor, target: Tensor) -> float | None:
    """The constant factor between two tensors, if there is one."""
    used = target.abs() > 1e-3 * target.abs().max()
    quotient = (mine[used] / target[used]).double()
    if not used.any() or not quotient.isfinite().all():
        return None
    middle = quotient.median().item()
    if torch.allclose(quotient, torch.tensor(middle).double(), rtol=1e-3, atol=0):
        if torch.allclose(mine, target * middle, atol=1e-4 * mine.abs().max().item()):
            return middle
    return None


def example(mine: Tensor, target: Tensor, axes: tuple[str, ...]) -> str:
    """The place where two tensors differ most, in numbers."""
    off = (mine - target).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
    off[mine == target] = 0  # two infinities are alike
    at = torch.unravel_index(off.argmax(), off.shape)
    place = ", ".join(f"{name} {int(i)}" for name, i in zip(axes, at))
    return (
        f"at {place} yours is {mine[at].item():.4g}, the target {target[at].item():.4g}"
    )
