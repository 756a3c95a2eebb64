"""What an answer to `MLP` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb05_mlp import gelu
from helpers.model import MLP, gelu_new


def cases() -> list[Case]:
    """What the MLP of a middle block of both models reads."""
    small, big = stirred(), loaded()
    width, module = small.cfg.d_model, small.reference.model.transformer.h[1].mlp
    inputs = {
        "": small.cache["blocks.1.ln2.hook_normalized"],
        "on a batch of one": noise(1, 5, width, seed=33),
        "on a single position": noise(2, 1, width, seed=34),
        "on the full context": noise(2, small.cfg.n_ctx, width, seed=35),
        # the pre-activations lie within ±3 here, where the two GELUs part most
        "on a faint input": noise(1, 6, width, seed=36, scale=0.4),
    }
    with torch.no_grad():
        made = [
            Case(
                source=small.label,
                detail=what,
                cfg=small.cfg,
                inputs=(x,),
                params=small.part("blocks.1.mlp."),
                expected=module(x),
                grad=what == "",
            )
            for what, x in inputs.items()
        ]
    layer = f"blocks.{big.cfg.n_layers // 2}."
    made.append(
        Case(
            source=big.label,
            cfg=big.cfg,
            inputs=(big.cache[f"{layer}ln2.hook_normalized"],),
            params=big.part(f"{layer}mlp."),
            expected=big.cache[f"{layer}hook_mlp_out"],
            grad=True,
        )
    )
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,), p = case.inputs, case.params
    product = x @ p["W_in"]
    post = gelu_new(product + p["b_in"])
    return {
        "the product with W_in": product,
        "pre (b_in added)": product + p["b_in"],
        "post (after the activation)": post,
        "the product with W_out": post @ p["W_out"],
        "the output": post @ p["W_out"] + p["b_out"],
    }


check = exercise(
    __file__,
    MLP,
    Tensors(cases, axes=("batch", "position", "d_model"), stages=stages),
    steps=(gelu.check,),
    pairs=True,
)
