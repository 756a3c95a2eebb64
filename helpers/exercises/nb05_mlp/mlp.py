"""What an answer to `MLP` is compared with."""

from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, STREAM, exercise, sources, stirred
from helpers.exercises.nb05_mlp import gelu
from helpers.model import MLP, gelu_new


def cases() -> list[Case]:
    """What the MLP of a block of both models reads."""
    made = [
        source.layer("ln2.hook_normalized", "mlp.", "hook_mlp_out")
        for source in sources()
    ]
    # the pre-activations lie within ±3 here, where the two GELUs part most
    faint = noise(1, 6, STIRRED.d_model, seed=36, scale=0.4)
    layer = stirred().reference.model.transformer.h[1].mlp
    more = {"params": made[0].params, "expected": layer(faint).detach()}
    return [*made, stirred().case(faint, detail="on a faint input", **more)]


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


kind = Tensors(cases, STREAM, stages)
check = exercise(__file__, MLP, kind, steps=(gelu.check,), pairs=True)
