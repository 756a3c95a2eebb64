"""What an answer to `Unembed` is compared with."""

from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb03_embeddings import tables
from helpers.model import Unembed


def cases() -> list[Case]:
    """What the final LayerNorm hands over, in both models."""
    small, big = stirred(), loaded()
    width, longest = small.cfg.d_model, small.cfg.n_ctx
    inputs = {
        "": small.cache["ln_final.hook_normalized"],
        "on a batch of one": noise(1, 5, width, seed=3),
        "on a single position": noise(2, 1, width, seed=4),
        "on the full context": noise(2, longest, width, seed=5, scale=2.0),
    }
    return [
        *_cases(small, inputs),
        *_cases(big, {"": big.cache["ln_final.hook_normalized"]}),
    ]


def _cases(source, inputs: dict) -> list[Case]:
    return tables.cases(source, "unembed.", source.reference.model.lm_head, inputs)


def stages(case: Case) -> dict[str, Tensor]:
    """The product, and the sum."""
    (x,), p = case.inputs, case.params
    return {"the product with W_U": x @ p["W_U"], "the logits": case.expected}


check = exercise(
    __file__,
    Unembed,
    Tensors(
        cases,
        axes=("batch", "position", "d_vocab"),
        stages=stages,
        fresh=tables.starts_small("W_U"),
    ),
    pairs=True,
)
