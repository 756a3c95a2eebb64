"""The check of notebook 02: LayerNorm."""

import torch
from torch import Tensor, nn

from helpers.checks.cases import Case, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.report import Mistake
from helpers.config import Config


def compute(
    x: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    mean_over=-1,
    variance_over=-1,
    keepdim: bool = True,
    centre: str = "both",
    squared: bool = True,
    correction: int = 0,
    averaged: bool = True,
    eps: str | float = "inside",
    root: bool = True,
    divided: str = "by the root",
    weight: str | None = "w",
    bias: str | None = "b",
    affine: str = "y * w + b",
    detach: tuple[str, ...] = (),
    plus_input: bool = False,
) -> Tensor:
    """LayerNorm of x [batch, position, d_model], with switches for each mistake."""
    mean = x.mean(dim=mean_over, keepdim=keepdim)
    if "mean" in detach:
        mean = mean.detach()
    centred = x - mean
    spread = x if centre in ("only the numerator", "nowhere") else centred
    squares = spread.pow(2) if squared else spread.abs()
    variance = squares.sum(dim=variance_over, keepdim=keepdim)
    if averaged:
        variance = variance / (squares.numel() / variance.numel() - correction)
    if "variance" in detach:
        variance = variance.detach()
    e = cfg.layer_norm_eps
    inside = {"inside": e, "twice": e, "subtracted": -e}.get(eps, 0.0)
    inside = eps if isinstance(eps, float) else inside
    scale = (variance + inside).sqrt() if root else variance + inside
    scale = scale + e if eps in ("outside", "twice") else scale
    numerator = x if centre in ("only the variance", "nowhere") else centred
    if divided == "by the root":
        y = numerator / scale
    else:
        y = numerator * scale if divided == "multiplied" else numerator
    if "normalized" in detach:
        y = y.detach()
    if affine == "y * w + b":
        y = y * p[weight] if weight else y
        y = y + p[bias] if bias else y
    elif affine == "(y + b) * w":
        y = (y + p["b"]) * p["w"]
    else:
        y = y + p["w"] + p["b"] if affine == "y + w + b" else y * p["w"] * p["b"]
    y = y + x if plus_input else y
    return y.detach() if "output" in detach else y


KNOWN = (
    Known(
        "divides-by-n-minus-1",
        "Your variance divides by n − 1.",
        "LayerNorm divides by n: it describes these d_model numbers and estimates "
        "nothing beyond them.",
        {"correction": 1},
        "`torch.var` and `torch.std` divide by n − 1; with `correction=0`, by n",
    ),
    Known(
        "variance-not-averaged",
        "Your variance is the sum of the squares.",
        "Variance is their mean: divide the sum by d_model.",
        {"averaged": False},
        "`mean` where you have `sum`, or divide by `x.shape[-1]`",
    ),
    *[
        Known(
            "absolute-deviation",
            "You average the absolute values of the centred vector.",
            "Variance is the mean of the squares; its root weighs large deviations "
            "more than |x − mean| does.",
            {"squared": False, **more},
            "`centred.pow(2)` in the place of `abs`",
        )
        for more in ({}, {"root": False})
    ],
    Known(
        "no-centring-before-squaring",
        "Your variance is the mean of x², without the mean taken off first.",
        "Variance measures the spread around the mean: centre, then square.",
        {"centre": "only the numerator"},
        "square the centred vector, not the one that came in",
    ),
    Known(
        "mean-not-subtracted",
        "Your output is x / sqrt(variance + eps): the mean is still in it.",
        "LayerNorm divides the centred vector, so that its mean is 0.",
        {"centre": "only the variance"},
        "which of your variables should stand above the fraction bar?",
    ),
    Known(
        "mean-never-subtracted",
        "You divide x by the root of the mean of x²: no mean is taken off anywhere.",
        "That is RMSNorm. LayerNorm centres the vector first, and both the variance "
        "and the quotient are made of the centred one.",
        {"centre": "nowhere"},
        "`residual - residual.mean(-1, keepdim=True)` in the first line",
    ),
    Known(
        "input-added",
        "You add the input back to the result.",
        "LayerNorm only reads the residual stream. What is added to the stream later "
        "on is the output of attention or of the MLP.",
        {"plus_input": True},
        "the last line ends with `+ self.b`",
        alone=True,
    ),
    Known(
        "no-eps",
        "There is no eps in your denominator, or one far too small to matter.",
        "GPT-2 adds eps to the variance, so that a constant vector does not divide "
        "by 0.",
        {"eps": "none"},
        "`variance + self.cfg.layer_norm_eps`, then the square root",
    ),
    Known(
        "eps-outside-the-root",
        "You add eps after the square root.",
        "eps belongs inside: sqrt(variance + eps). Outside it is about 300 times "
        "weaker on a vanishing variance.",
        {"eps": "outside"},
        "add eps to the variance, before the root",
    ),
    Known(
        "eps-inside-and-outside",
        "You add eps twice: to the variance and to its root.",
        "Once is enough, and inside: sqrt(variance + eps).",
        {"eps": "twice"},
        "take out the eps that stands outside the root",
    ),
    *[
        Known(
            "another-eps",
            f"Your eps is {value:g}.",
            "GPT-2 was trained with `cfg.layer_norm_eps`, 1e-05; another eps shows "
            "where the variance is small.",
            {"eps": value},
            "`self.cfg.layer_norm_eps`",
            alone=True,
        )
        for value in (1e-6, 1e-7, 1e-8, 1e-4, 1e-3)
    ],
    Known(
        "eps-subtracted",
        "You subtract eps from the variance.",
        "It is added, to keep the denominator away from 0.",
        {"eps": "subtracted"},
        "look at the sign in front of eps",
    ),
    Known(
        "no-square-root",
        "You divide by the variance itself.",
        "Divide by its square root, the standard deviation: only then does the "
        "result have variance 1.",
        {"root": False},
        "the units must cancel: the variance is in squares of x",
    ),
    Known(
        "multiplied-by-the-root",
        "You multiply by sqrt(variance + eps).",
        "Divide by it: the result should have variance 1.",
        {"divided": "multiplied"},
        "`rsqrt()` is one over the root: multiply by that, or divide by `sqrt()`",
    ),
    Known(
        "not-divided",
        "You take the mean off and do not divide by the standard deviation.",
        "Divide by sqrt(variance + eps): the result should have variance 1.",
        {"divided": "not at all"},
        "is the variable with the quotient the one that you go on with?",
    ),
    Known(
        "wrong-axis",
        "You average over the positions.",
        "LayerNorm averages over d_model, the last axis: each position is normalized "
        "by itself.",
        {"mean_over": 1, "variance_over": 1},
        "`dim=-1` is d_model in [batch, position, d_model]",
    ),
    Known(
        "batch-axis",
        "You average over the batch.",
        "LayerNorm averages over d_model, the last axis; averaging over the batch is "
        "what BatchNorm does.",
        {"mean_over": 0, "variance_over": 0},
        "`dim=-1` is d_model in [batch, position, d_model]",
    ),
    Known(
        "batch-and-position-axes",
        "You average over the batch and the positions together.",
        "That is BatchNorm. LayerNorm averages over d_model, for each position by "
        "itself.",
        {"mean_over": (0, 1), "variance_over": (0, 1)},
        "`dim=-1` is d_model in [batch, position, d_model]",
    ),
    Known(
        "all-axes",
        "You average over all axes at once.",
        "Each position is normalized by itself, over d_model alone; otherwise a "
        "position depends on its neighbours and on the rest of the batch.",
        {"mean_over": (0, 1, 2), "variance_over": (0, 1, 2)},
        "give `mean` an axis: `dim=-1`",
    ),
    Known(
        "position-and-model-axes",
        "You average over the positions and d_model together.",
        "Each position is normalized by itself, over d_model alone.",
        {"mean_over": (1, 2), "variance_over": (1, 2)},
        "`dim=-1` and no other axis",
    ),
    Known(
        "mean-over-all-axes",
        "You take off one mean for the whole tensor.",
        "Each position has a mean of its own: average over d_model, the last axis.",
        {"mean_over": (0, 1, 2)},
        "give `mean` an axis: `dim=-1, keepdim=True`",
    ),
    Known(
        "variance-over-all-axes",
        "You use one variance for the whole tensor.",
        "Each position has a variance of its own: average over d_model, the last axis.",
        {"variance_over": (0, 1, 2)},
        "give the variance an axis: `dim=-1, keepdim=True`",
    ),
    Known(
        "reduced-axis-dropped",
        "Your mean or variance has lost its last axis: [batch, position] does not "
        "line up with [batch, position, d_model].",
        "Keep the reduced axis with size 1, and broadcasting does the rest.",
        {"keepdim": False},
        "`keepdim=True`, or `-> batch position 1` in einops",
    ),
    Known(
        "weight-unused",
        "The weight `w` is not used.",
        "After normalizing, each feature is multiplied by its own learned weight.",
        {"weight": None},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "bias-unused",
        "The bias `b` is not used.",
        "After scaling, each feature is shifted by its own learned bias.",
        {"bias": None},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "weight-and-bias-swapped",
        "The weight and the bias have changed places.",
        "`w` multiplies, `b` is added.",
        {"weight": "b", "bias": "w"},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "weight-added",
        "The weight `w` is added.",
        "`w` multiplies, `b` is added.",
        {"affine": "y + w + b"},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "bias-multiplied",
        "The bias `b` is multiplied.",
        "`w` multiplies, `b` is added.",
        {"affine": "y * w * b"},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "bias-before-weight",
        "You add the bias `b` first and multiply the sum by `w`.",
        "Scale first, shift last: otherwise the bias is scaled as well.",
        {"affine": "(y + b) * w"},
        "`normalized * self.w + self.b`",
    ),
    Known(
        "detached-mean",
        "The output is right, but the mean is detached from the graph.",
        "The gradient must flow through the mean as well.",
        {"detach": ("mean",)},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
    Known(
        "detached-variance",
        "The output is right, but the variance is detached from the graph.",
        "The gradient must flow through the variance as well.",
        {"detach": ("variance",)},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
    Known(
        "detached-statistics",
        "The output is right, but mean and variance are detached from the graph.",
        "The gradient must flow through both.",
        {"detach": ("mean", "variance")},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
    Known(
        "detached-input",
        "The output is right, but the normalized vector is detached: no gradient "
        "reaches what came before.",
        "Everything below this layer learns through it.",
        {"detach": ("normalized",)},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
    Known(
        "detached-output",
        "The output is right, but it is detached: no gradient flows through it.",
        "A model with this layer could not be trained.",
        {"detach": ("output",)},
        "take out `.detach()`, `.data`, `no_grad` and numpy",
        gradient=True,
    ),
)


def _through(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """What transformers' own module makes of an input."""
    with torch.no_grad():
        return layer(x)


def make_cases() -> list[Case]:
    """The residual stream of both models, and rows in which eps shows."""
    cases = []
    small, big = stirred(), loaded()
    eps = small.cfg.layer_norm_eps
    width = small.cfg.d_model
    spread = noise(2, 7, width, seed=1, scale=eps**0.5)
    # variance near eps, means of up to three standard deviations
    faint = spread + eps**0.5 * torch.linspace(-3, 3, 7)[None, :, None]
    layer = small.reference.model.transformer.h[1].ln_1
    full = noise(2, small.cfg.n_ctx, width, seed=2, scale=2.0) + 0.7
    for what, x in {
        "": small.cache["blocks.1.hook_resid_pre"],
        "on rows whose variance is near eps": faint,
        "on a batch of one": noise(1, 5, width, seed=3) - 0.5,
        "on a single position": noise(2, 1, width, seed=4, scale=3.0),
        "on the full context": full,
    }.items():
        cases.append(
            Case(
                source=small.label,
                detail=what,
                cfg=small.cfg,
                inputs=(x,),
                params=small.part("blocks.1.ln1."),
                expected=_through(layer, x),
                grad=what == "",
            )
        )
    cases.append(
        Case(
            source=big.label,
            cfg=big.cfg,
            inputs=(big.cache["blocks.0.hook_resid_mid"],),
            params=big.part("blocks.0.ln2."),
            expected=big.cache["blocks.0.ln2.hook_normalized"],
            grad=True,
        )
    )
    return cases


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,) = case.inputs
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
        "the root of it": with_eps.sqrt(),
        "the normalized vector": normalized,
        "the scaled and shifted vector": normalized * case.params["w"]
        + case.params["b"],
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
    return [
        Mistake(
            "another-eps",
            f"Your eps is about {eps:.2g}; GPT-2 was trained with "
            "`cfg.layer_norm_eps`, 1e-05.",
            "`self.cfg.layer_norm_eps`",
        )
    ]


def fresh(parameters: dict[str, Tensor]) -> str | None:
    """A remark on starting values that are not 1 and 0."""
    if not parameters["w"].eq(1).all() or not parameters["b"].eq(0).all():
        return (
            "a new LayerNorm should start with w = 1 and b = 0, so that it does "
            "nothing but normalize until it has learned better"
        )
    return None


layer_norm = Check(
    name="layer_norm",
    answer="LayerNorm",
    compute=compute,
    make_cases=make_cases,
    known=KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "Which axis holds the numbers of one position? Which averages do you need?",
        "Mean over the last axis with keepdim, take it off, average the squares the "
        "same way, add eps, take the root, divide.",
        "`centred = residual - residual.mean(-1, keepdim=True)`, then "
        "`variance = centred.pow(2).mean(-1, keepdim=True)`; what is left is "
        "one division, a multiplication by `self.w` and an addition of `self.b`.",
    ),
    lesson="02_layernorm.ipynb#LayerNorm",
    pairs=True,
    stages=stages,
    facts=facts,
    fresh=fresh,
)
