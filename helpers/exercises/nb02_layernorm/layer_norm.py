"""What an answer to `LayerNorm` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, STREAM, exercise, sources, stirred
from helpers.model import LayerNorm


def cases() -> list[Case]:
    """The residual stream of both models, and rows in which eps shows."""
    made = [
        source.layer("hook_resid_pre", "ln1.", "ln1.hook_normalized")
        for source in sources()
    ]
    # variance near eps, means of up to three standard deviations
    faint = noise(2, 7, STIRRED.d_model, seed=1) + torch.linspace(-3, 3, 7)[:, None]
    faint *= STIRRED.layer_norm_eps**0.5
    layer = stirred().reference.model.transformer.h[1].ln_1
    more = {"params": made[0].params, "expected": layer(faint).detach()}
    detail = "on rows whose variance is near eps"
    return [*made, stirred().case(faint, detail=detail, **more)]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps of the equation, in order."""
    (x,), p = case.inputs, case.params
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.pow(2).mean(-1, keepdim=True)
    with_eps = variance + case.cfg.layer_norm_eps
    return {
        "the mean": x.mean(-1, keepdim=True),
        "the centred vector": centred,
        "the variance": (variance, variance.sqrt()),
        "the variance with eps added": with_eps,
        "the root of variance + eps": with_eps.sqrt(),
        "the normalized vector": centred / with_eps.sqrt(),
        "the scaled and shifted vector": centred / with_eps.sqrt() * p["w"] + p["b"],
    }


def facts(output: Tensor, case: Case) -> list[Mistake]:
    """The eps that an otherwise right output was made with."""
    (x,), p = case.inputs, case.params
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.pow(2).mean(-1, keepdim=True)
    found = (centred * p["w"] / (output - p["b"])).pow(2) - variance
    found = found[centred.abs() > 0.5 * variance.sqrt()]
    eps = found.median().item() if found.numel() else 0.0
    near = (found - eps).abs() < 0.02 * abs(eps) + 1e-5 * variance.max()
    if not near.all() or abs(eps) < 1e-4 * variance.max():
        return []
    told = f"Your eps is about {eps:.2g}; GPT-2 was trained with "
    told += "`cfg.layer_norm_eps`, 1e-05."
    stage = "the variance with eps added"
    return [Mistake("another-eps", told, "`self.cfg.layer_norm_eps`", stage=stage)]


def fresh(parameters: dict[str, Tensor]) -> str | None:
    """A remark on starting values that are not 1 and 0."""
    if parameters["w"].eq(1).all() and parameters["b"].eq(0).all():
        return None
    return (
        "a new LayerNorm should start with w = 1 and b = 0, so that it does nothing "
        "but normalize until it has learned better"
    )


check = exercise(
    __file__,
    LayerNorm,
    Tensors(cases, axes=STREAM, stages=stages, facts=facts, fresh=fresh),
    pairs=True,
)
