"""What an answer to `Unembed` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import LOGITS, exercise, sources
from helpers.exercises.nb03_embeddings import tables
from helpers.model import Unembed


def cases() -> list[Case]:
    """What the final LayerNorm hands over, in both models."""
    return [
        source.case(
            source.cache["ln_final.hook_normalized"],
            params=source.part("unembed."),
            expected=source.logits,
            grad=not source.detail and source.cfg.d_vocab < tables.LARGE,
        )
        for source in sources()
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The product, and the sum."""
    (x,), p = case.inputs, case.params
    return {"the product with W_U": x @ p["W_U"], "the logits": case.expected}


kind = Tensors(cases, LOGITS, stages, fresh=tables.starts_small("W_U"))
check = exercise(__file__, Unembed, kind, pairs=True)
