"""What an answer to `LoRA` is tried out on."""

import torch
from torch import Tensor, nn

from helpers.checks.case import noise
from helpers.checks.trials import Outcome, Trial, Trials, Unusable
from helpers.exercises.course import exercise
from helpers.reward import LoRA


def _kind(matrix) -> str:
    """What stands in a matrix's place."""
    if isinstance(matrix, nn.Parameter):
        return f"a parameter {list(matrix.shape)}"
    return "a tensor" if isinstance(matrix, Tensor) else type(matrix).__name__


def _start(matrix: Tensor) -> str:
    """How a matrix begins."""
    if not matrix.any():
        return "all 0"
    return (
        "random" if matrix.unique().numel() == matrix.numel() else "with equal numbers"
    )


def _trial(d_in: int, rank: int, d_out: int, alpha: float) -> Trial:
    """Make it, look at it, use it, train it."""

    def act(answer) -> Outcome:
        torch.manual_seed(d_in)
        W = nn.Parameter(noise(d_in, d_out, seed=1))
        x, before = noise(2, 3, d_in, seed=2), W.detach().clone()
        lora = answer(W, rank, alpha)
        if not isinstance(lora, nn.Module):
            raise Unusable("LoRA is no nn.Module: begin with `class LoRA(nn.Module):`")
        outcome: Outcome = {name: _kind(getattr(lora, name, None)) for name in "AB"}
        if outcome != {
            "A": f"a parameter {[d_in, rank]}",
            "B": f"a parameter {[rank, d_out]}",
        }:
            return outcome
        learned = {n: p.numel() for n, p in lora.named_parameters() if p.requires_grad}
        outcome["how many numbers learn"] = sum(learned.values())
        outcome["`B` is all 0 at the start"] = not lora.B.any()
        outcome["`A` at the start"] = _start(lora.A)
        outcome["the output at the start"] = lora(x).detach().clone()
        with torch.no_grad():
            lora.A.copy_(noise(d_in, rank, seed=3))
            lora.B.copy_(noise(rank, d_out, seed=4))
        out = lora(x)
        outcome["the output once A and B have learned"] = out.detach().clone()
        outcome["merged()"] = lora.merged().detach().clone()
        if not out.requires_grad:
            raise Unusable("no gradient comes from the output to A and B")
        (out * noise(*out.shape, seed=5)).sum().backward()
        for name in ("A", "B"):
            outcome[f"the gradient of `{name}`"] = getattr(lora, name).grad
        lora.zero_grad()
        merged = lora.merged()
        if not merged.requires_grad:
            raise Unusable("no gradient comes from merged() to A and B")
        (merged * noise(*merged.shape, seed=6)).sum().backward()
        for name in ("A", "B"):
            outcome[f"the gradient of `{name}` by merged()"] = getattr(lora, name).grad
        outcome["the W that was given, afterwards"] = W.detach().clone()
        outcome["W was left alone"] = torch.equal(W, before)
        return outcome

    return Trial(act)


def trials() -> list[Trial]:
    """Matrices of several shapes, scales above and below 1."""
    return [_trial(6, 2, 5, 8.0), _trial(4, 3, 7, 1.0), _trial(5, 1, 5, 2.0)]


check = exercise(__file__, LoRA, Trials(trials), keep=False)
