"""What an answer to `repeat_kv` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_HEAD
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, loaded, stirred
from helpers.llama import repeat_kv


def cases() -> list[Case]:
    """Keys of both models, for twice and for four times as many query heads."""
    from transformers.models.llama.modeling_llama import repeat_kv as theirs

    made = []
    for source, group, detail in (
        (stirred(), 2, ""),
        (stirred(), 4, "with four query heads in a group"),
        (stirred(), 1, "with a key head for each query head"),
        (loaded(), loaded().cfg.n_heads // loaded().cfg.n_kv_heads, ""),
    ):
        k = source.cache[f"{source.block}attn.hook_k"]
        expected = theirs(k.transpose(1, 2), group).transpose(1, 2)
        more = {"expected": expected, "detail": detail, "grad": not detail}
        made.append(source.case(k, extra={"n_heads": group * k.shape[2]}, **more))
    return made


def stages(case: Case) -> dict[str, Tensor]:
    """One step."""
    return {"the repeated heads": repeat_kv(*case.inputs, **case.extra)}


kind = Tensors(cases, PER_HEAD, stages, against="transformers' own repeat_kv")
check = exercise(__file__, repeat_kv, kind)
