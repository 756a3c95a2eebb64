"""The checks of notebook 09 on the optimizer: parameter groups and clipping."""

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from helpers import training
from helpers.checks.cases import STIRRED, noise
from helpers.checks.catalogue import Known
from helpers.checks.report import Mistake
from helpers.checks.trials import (
    Outcome,
    Trial,
    TrialCheck,
    Unusable,
    attempt,
    equal,
)
from helpers.model import DemoTransformer

LESSON = "09_training.ipynb#"


KINDS = {  # what a parameter is, by the last part of its name
    "W_E": "embeddings",
    "W_pos": "embeddings",
    "W_U": "unembedding",
    "w": "LayerNorm gains",
    "b": "LayerNorm biases",
    "b_Q": "attention biases",
    "b_K": "attention biases",
    "b_V": "attention biases",
}


@cache
def _tiny() -> DemoTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return DemoTransformer(STIRRED)


def _kind(name: str) -> str:
    leaf = name.split(".")[-1]
    return KINDS.get(
        leaf, "weight matrices" if leaf.startswith("W") else "other biases"
    )


def compute_groups(
    model,
    weight_decay,
    *,
    decayed=("embeddings", "unembedding", "weight matrices"),
    left_out=(),
    second=0.0,
    turned=False,
):
    """parameter_groups, with switches."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    named = [(n, p) for n, p in named if _kind(n) not in left_out]
    groups = ([], [])
    for name, p in named:
        groups[(_kind(name) in decayed) == turned].append(p)
    first = {"params": groups[0], "weight_decay": weight_decay}
    rest = {"params": groups[1]} | ({} if second is None else {"weight_decay": second})
    return [first, rest]


def _groups_trial(weight_decay: float) -> Trial:
    def trial(function) -> Outcome:
        model = _tiny()
        groups = function(model, weight_decay)
        if not isinstance(groups, (list, tuple)) or not all(
            isinstance(group, dict) for group in groups
        ):
            kind = "None" if groups is None else type(groups).__name__
            raise Unusable(
                f"your function returns {kind}; it should return a list of two "
                "dictionaries"
            )
        optimizer = torch.optim.AdamW([dict(g) for g in groups if g.get("params")])
        names = {id(p): name for name, p in model.named_parameters()}
        decay: dict[str, float] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) not in names:
                    raise Unusable(
                        "there is a tensor that is no parameter of the model"
                    )
                decay[names[id(p)]] = group["weight_decay"]
        return {
            f"the weight decay of {name}": decay.get(name, "left out")
            for name, p in model.named_parameters()
            if p.requires_grad  # a frozen one has no gradient: no optimizer moves it
        }

    return trial


MATRICES = ("embeddings", "unembedding", "weight matrices")

PARAMETER_GROUPS = TrialCheck(
    name="parameter_groups",
    answer="parameter_groups",
    course=training.parameter_groups,
    keep=False,
    compute=compute_groups,
    make_cases=lambda: [_groups_trial(0.1), _groups_trial(0.03)],
    known=(
        Known(
            "decay-on-attention-biases",
            "You decay b_Q, b_K and b_V: they are biases that happen to have two axes, "
            "[n_heads, d_head].",
            "Only matrices decay; here the name tells, not the number of axes.",
            {"decayed": (*MATRICES, "attention biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-layernorm",
            "You decay LayerNorm's gains and biases.",
            "A gain should stay near 1, and decay pulls it to 0.",
            {"decayed": (*MATRICES, "LayerNorm gains", "LayerNorm biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-layernorm",
            "You decay LayerNorm's gains, `w`: a capital and a small letter are taken "
            "for the same.",
            "A gain should stay near 1, and decay pulls it to 0.",
            {"decayed": (*MATRICES, "LayerNorm gains")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-biases",
            "You decay the biases.",
            "A bias moves a whole neuron where it is needed; decay pulls it back to 0. "
            "Only matrices decay.",
            {
                "decayed": (
                    *MATRICES,
                    "attention biases",
                    "other biases",
                    "LayerNorm biases",
                )
            },
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-biases",
            "You decay the biases of attention, MLP and unembedding.",
            "A bias moves a whole neuron where it is needed; decay pulls it back to 0. "
            "Only matrices decay.",
            {"decayed": (*MATRICES, "attention biases", "other biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-everything",
            "You decay every parameter, biases and LayerNorm's gains too.",
            "Decay pulls on matrices only: a gain should stay near 1, a bias where it "
            "is needed.",
            {"decayed": tuple({*KINDS.values(), "weight matrices", "other biases"})},
            "two groups, the second with `weight_decay` 0",
        ),
        Known(
            "default-decay",
            "Your second group does not say its weight decay, so AdamW takes its own "
            "default, 0.01.",
            'Say it: `"weight_decay": 0.0`.',
            {"second": None},
            "print `optimizer.param_groups`, which shows what AdamW really took",
        ),
        Known(
            "groups-swapped",
            "The groups are swapped: biases and gains decay, matrices do not.",
            "Matrices decay.",
            {"turned": True},
            "look at the condition, or at the order of the two dictionaries",
        ),
        Known(
            "no-decay",
            "Nothing decays.",
            "The matrices' group gets the `weight_decay` that is handed in.",
            {"decayed": ()},
            "print the names that end up in each group",
        ),
        Known(
            "embeddings-not-decayed",
            "You leave the embeddings, W_E and W_pos, without decay.",
            "Some recipes do that; ours, like GPT-2's, decays every matrix, and these "
            "are matrices.",
            {"decayed": ("unembedding", "weight matrices")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "embeddings-not-decayed",
            "You leave W_E, W_pos and W_U without decay.",
            "Some recipes do that; ours, like GPT-2's, decays every matrix, and these "
            "are matrices.",
            {"decayed": ("weight matrices",)},
            '`"embed" in name` is true for "unembed" as well',
        ),
        Known(
            "embeddings-left-out",
            "The embeddings are in neither group, so they are never trained.",
            "Every parameter that needs a gradient belongs to one group.",
            {"left_out": ("embeddings",)},
        ),
        Known(
            "biases-left-out",
            "Biases and LayerNorm's parameters are in neither group, so they are never "
            "trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {
                "left_out": (
                    "LayerNorm gains",
                    "LayerNorm biases",
                    "attention biases",
                    "other biases",
                )
            },
            "a second dictionary",
        ),
        Known(
            "attention-biases-left-out",
            "b_Q, b_K and b_V are in neither group, so they are never trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {"left_out": ("attention biases",)},
            "what falls through both of your conditions?",
        ),
        Known(
            "layernorm-left-out",
            "LayerNorm's parameters are in neither group, so they are never trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {"left_out": ("LayerNorm gains", "LayerNorm biases")},
            "what falls through both of your conditions?",
        ),
    ),
    axes=(),
    hints=(
        "Go through `model.named_parameters()` and look at the names. Which letter do "
        "all matrices begin with?",
        'The last part of a name: `name.split(".")[-1]`. Two lists, one for names that '
        'begin with "W_", one for all others.',
        '`[{"params": matrices, "weight_decay": weight_decay}, {"params": others, '
        '"weight_decay": 0.0}]`',
    ),
    lesson=LESSON + "adamw",
)


def compute_clip(
    parameters,
    max_norm,
    *,
    over="all",
    power=2,
    root=True,
    how="scale",
    when="too long",
    gives="before",
    of="grad",
):
    """clip_gradients, with switches."""
    used = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in used]

    def length(tensors: Iterable[Tensor]) -> Tensor:
        if power == 1:
            return sum(t.abs().sum() for t in tensors)
        if power == math.inf:
            return torch.stack([t.abs().max() for t in tensors]).max()
        total = sum(t.pow(2).sum() for t in tensors)
        return total.sqrt() if root else total

    total = length(gradients)
    if over == "sum of lengths":
        total = sum(length([g]) for g in gradients)
    if over == "last":
        total = length(gradients[-1:])
    for p in used:
        part = length([p.grad]) if over == "each" else total
        with torch.no_grad():
            if how == "by value":
                p.grad.clamp_(-max_norm, max_norm)
            elif how == "nothing":
                pass
            elif when == "always" or part > max_norm:
                target = p.grad if of == "grad" else p.data
                factor = {
                    "scale": max_norm / part,
                    "divided by the length": 1 / part,
                    "times the limit": max_norm,
                    "inverted": part / max_norm,
                }[how]
                target.mul_(factor)
    after = length([p.grad for p in used])
    return {"before": total, "after": after, "none": None}[gives]


def _parameters(scale: float) -> list[nn.Parameter]:
    shapes = ((4, 3), (5,), (2, 3, 2), (3,))
    parameters = [
        nn.Parameter(noise(*shape, seed=60 + i)) for i, shape in enumerate(shapes)
    ]
    for i, p in enumerate(parameters[:3]):  # the fourth has no gradient
        p.grad = scale * (i + 1) * noise(*p.shape, seed=70 + i)
    return parameters


def _clip_trial(scale: float, max_norm: float, once: bool = False) -> Trial:
    def trial(function) -> Outcome:
        parameters = _parameters(scale)
        given = iter(parameters) if once else parameters
        norm = function(given, max_norm)
        joint = "the joint length of all gradients"
        before = math.sqrt(
            sum(float(p.grad.pow(2).sum()) for p in _parameters(scale)[:3])
        )
        situation = f"with {joint} {before:.3g} and max_norm {max_norm:g}"
        outcome = {
            f"{situation}, gradient {i} afterwards": p.grad
            for i, p in enumerate(parameters)
        }
        outcome[f"{situation}, the length that you return"] = norm
        outcome |= {f"parameter {i} itself": p.data for i, p in enumerate(parameters)}
        return outcome

    return trial


def _takes_a_generator(function) -> Mistake | None:
    """`model.parameters()` can be gone through once only."""
    trial = _clip_trial(1.0, 2.0, once=True)
    mine, good = attempt(trial, function), attempt(trial, training.clip_gradients)
    if equal(mine, good):
        return None
    return Mistake(
        "generator-used-up",
        "It works on a list and not on `model.parameters()`, which is a generator: "
        "after your first loop it is used up, and the second sees nothing.",
        "make a list first: `gradients = [p.grad for p in parameters if ...]`",
    )


CLIP_GRADIENTS = TrialCheck(
    name="clip_gradients",
    answer="clip_gradients",
    course=training.clip_gradients,
    keep=False,
    compute=compute_clip,
    pairs=True,
    make_cases=lambda: [
        _clip_trial(1.0, 2.0),
        _clip_trial(0.01, 2.0),
        _clip_trial(0.7, 0.5),
        _clip_trial(0.02, 0.5),
        _clip_trial(0.15, 1.0),
    ],
    known=(
        Known(
            "clips-by-value",
            "You cut off every entry at ±max_norm.",
            "That bends the direction of the step. Scale all gradients by one factor "
            "where their joint *length* exceeds max_norm.",
            {"how": "by value", "gives": "before"},
            "`clamp` and `clip_grad_value_` work by value",
        ),
        Known(
            "clips-by-value",
            "You cut off every entry at ±max_norm, and return nothing.",
            "That bends the direction of the step. Scale all gradients by one factor "
            "where their joint *length* exceeds max_norm, and return that length.",
            {"how": "by value", "gives": "none"},
            "`clamp` and `clip_grad_value_` work by value",
        ),
        Known(
            "each-by-itself",
            "You clip each parameter's gradient by its own length.",
            "The limit is for all of them together: one length, one factor, so that "
            "the direction of the step stays.",
            {"over": "each"},
            "first a loop that adds up, then a loop that scales",
        ),
        Known(
            "scales-up-too",
            "You scale always: short gradients are made longer.",
            "Only scale down: leave gradients alone whose length is below max_norm.",
            {"when": "always"},
            "an `if`, or `min(1, max_norm / norm)`",
        ),
        Known(
            "no-root",
            "Your length is the sum of squares, without the root.",
            "A length is the square root of the sum of squares.",
            {"root": False},
        ),
        Known(
            "sum-of-lengths",
            "You add up the lengths of the gradients.",
            "Squares add up, lengths do not: the root comes after the sum.",
            {"over": "sum of lengths"},
        ),
        Known(
            "absolute-values",
            "Your length is the sum of absolute values.",
            "The usual length: the square root of the sum of squares.",
            {"power": 1},
        ),
        Known(
            "largest-entry",
            "Your length is the largest entry.",
            "The usual length: the square root of the sum of squares.",
            {"power": math.inf},
        ),
        Known(
            "last-gradient-only",
            "Your length is that of the last gradient alone.",
            "Add up the squares of all of them.",
            {"over": "last"},
            "does your loop set the total anew each time?",
        ),
        Known(
            "scaled-to-one",
            "You scale the gradients to length 1.",
            "Scale to length max_norm: the factor is max_norm / norm.",
            {"how": "divided by the length"},
        ),
        Known(
            "times-the-limit",
            "You multiply by max_norm.",
            "The factor is max_norm / norm.",
            {"how": "times the limit"},
        ),
        Known(
            "factor-inverted",
            "Your factor is upside down: long gradients become longer.",
            "The factor is max_norm / norm, which is below 1.",
            {"how": "inverted"},
        ),
        Known(
            "clips-the-parameters",
            "You scale the parameters themselves.",
            "Scale their gradients, `p.grad`.",
            {"of": "data"},
        ),
        Known(
            "nothing-happens",
            "The gradients stay as they are.",
            "Write into them: `p.grad.mul_(factor)` or `p.grad *= factor`; "
            "`grad = grad * factor` makes a new tensor and forgets it.",
            {"how": "nothing"},
        ),
        Known(
            "length-not-returned",
            "You return nothing.",
            "Return the length that the gradients had: it is worth a plot.",
            {"gives": "none"},
            "end with `return norm`",
        ),
        Known(
            "length-afterwards",
            "You return the length after clipping.",
            "Return the one before, which tells whether anything was clipped.",
            {"gives": "after"},
        ),
    ),
    finish=_takes_a_generator,
    axes=(),
    hints=(
        "All gradients together are one long vector. What is its length?",
        "The square root of the sum of all squares, over all parameters that have a "
        "gradient. If it is above max_norm, every gradient gets the same factor.",
        "`norm = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))`, then "
        "`g.mul_(max_norm / norm)` for each, if `norm > max_norm`.",
    ),
    lesson=LESSON + "clipping",
)
