"""What an answer to `LayerNorm` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.report import Mistake
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.model import LayerNorm


def cases() -> list[Case]:
    """The residual stream of both models, and rows in which eps shows."""
    small, big = stirred(), loaded()
    eps, width = small.cfg.layer_norm_eps, small.cfg.d_model
    spread = noise(2, 7, width, seed=1, scale=eps**0.5)
    # variance near eps, means of up to three standard deviations
    faint = spread + eps**0.5 * torch.linspace(-3, 3, 7)[None, :, None]
    layer = small.reference.model.transformer.h[1].ln_1
    inputs = {
        "": small.cache["blocks.1.hook_resid_pre"],
        "on rows whose variance is near eps": faint,
        "on a batch of one": noise(1, 5, width, seed=3) - 0.5,
        "on a single position": noise(2, 1, width, seed=4, scale=3.0),
        "on the full context": noise(2, small.cfg.n_ctx, width, seed=2, scale=2) + 0.7,
    }
    made = [
        Case(
            source=small.label,
            detail=what,
            cfg=small.cfg,
            inputs=(x,),
            params=small.part("blocks.1.ln1."),
            expected=layer(x).detach(),
            grad=what == "",
        )
        for what, x in inputs.items()
    ]
    made.append(
        Case(
            source=big.label,
            cfg=big.cfg,
            inputs=(big.cache["blocks.0.hook_resid_mid"],),
            params=big.part("blocks.0.ln2."),
            expected=big.cache["blocks.0.ln2.hook_normalized"],
            grad=True,
        )
    )
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,), p = case.inputs, case.params
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    variance = centred.pow(2).mean(-1, keepdim=True)
    with_eps = variance + case.cfg.layer_norm_eps
    normalized = centred / with_eps.sqrt()
    return {
        "the mean": mean,
        "the centred vector": centred,
        "the variance": (variance, variance.sqrt()),
        "the variance with eps added": with_eps,
        "the root of variance + eps": with_eps.sqrt(),
        "the normalized vector": normalized,
        "the scaled and shifted vector": normalized * p["w"] + p["b"],
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
    Tensors(
        cases,
        axes=("batch", "position", "d_model"),
        stages=stages,
        facts=facts,
        fresh=fresh,
    ),
    pairs=True,
)
