"""What an answer to `heads_first` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, loaded, stirred


def _case(source: Source, letter: str, **more) -> Case:
    attn = source.reference.model.model.layers[0].self_attn
    weight = getattr(attn, f"{letter.lower()}_proj").weight.detach()
    expected = source.weights[f"blocks.0.attn.W_{letter}"]
    extra = {"d_head": source.cfg.d_head}
    return source.case(weight, expected=expected, extra=extra, **more)


def cases() -> list[Case]:
    """Queries and keys of both models."""
    keys = _case(stirred(), "K", detail="on its keys")
    return [_case(stirred(), "Q"), keys, _case(loaded(), "Q")]


def stages(case: Case) -> dict[str, Tensor]:
    """The split rows, and these turned."""
    (weight,), d_head = case.inputs, case.extra["d_head"]
    split = weight.unflatten(0, (-1, d_head))
    return {"[heads, d_head, d_model]": split, "[heads, d_model, d_head]": split.mT}


axes = ("heads", "d_model", "d_head")
kind = Tensors(cases, axes, stages, against="what the course loads")
check = exercise(__file__, "heads_first", kind, keep=False)
