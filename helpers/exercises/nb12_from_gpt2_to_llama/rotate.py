"""What an answer to `rotate` is compared with."""

import torch

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import PER_HEAD, Source
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, loaded, stirred
from helpers.llama import rotary_angles, rotate


def _turned(source: Source, part: str, past: int = 0, **more) -> Case:
    """Queries or keys of a model, as transformers turns them."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    x = source.cache[f"{source.block}attn.hook_{part}"]
    at = torch.arange(past, past + x.shape[1])
    angles = rotary_angles(at, source.cfg)
    both = torch.cat([angles, angles], dim=-1)[None]
    cos, sin = both.cos(), both.sin()
    expected, _ = apply_rotary_pos_emb(x, x, cos, sin, unsqueeze_dim=2)
    return source.case(x, angles, expected=expected, **more)


def cases() -> list[Case]:
    """Queries, keys, of which there are fewer, and positions that begin later."""
    tiny = stirred()
    return [
        _turned(tiny, "q"),
        _turned(tiny, "k", detail="on its keys"),
        _turned(tiny, "q", 4, detail="at positions from 4"),
        _turned(loaded(), "q"),
    ]


def stages(case: Case) -> dict:
    """Each half as it comes, turned, and both together."""
    x, angles = case.inputs
    first, second = x.chunk(2, dim=-1)
    new_first, new_second = rotate(x, angles).chunk(2, dim=-1)
    return {
        "the halves": {"the first half": first, "the second half": second},
        "turned": {"the new first half": new_first, "the new second half": new_second},
        "the joined halves": rotate(x, angles),
    }


kind = Tensors(cases, PER_HEAD, stages, against="transformers' own rotation")
check = exercise(__file__, rotate, kind)
