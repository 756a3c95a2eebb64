"""What an answer to `rotary_angles` is compared with."""

from dataclasses import replace

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, loaded, stirred
from helpers.llama import rotary_angles


def cases() -> list[Case]:
    """Positions from 0, later ones, several rows of them, and another base."""
    first, cfg = stirred(), stirred().cfg
    other = replace(cfg, rope_theta=500.0)
    rows = torch.stack([torch.arange(5), torch.arange(3, 8)])
    given = [
        (torch.arange(7), cfg, ""),
        (torch.arange(4, 9), cfg, "on positions from 4"),
        (rows, cfg, "on two rows of positions"),
        (torch.arange(7), other, "with another rope_theta"),
    ]
    made = [
        first.case(at, extra={"cfg": config}, detail=detail, grad=False)
        for at, config, detail in given
    ]
    big = loaded()
    extra = {"cfg": big.cfg}
    return [*made, big.case(torch.arange(12), extra=extra, grad=False)]


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The exponents, the speeds, and the angles."""
    (positions,), cfg = case.inputs, case.extra["cfg"]
    pair = torch.arange(0, cfg.d_head, 2) / cfg.d_head
    power = cfg.rope_theta**pair
    return {
        "the exponents 2i / d_head": (pair, -pair),
        "the speeds": (1 / power, power),
        "the angles": positions[..., None] / power,
    }


kind = Tensors(cases, ("position", "pair"), stages, against="transformers' own angles")
check = exercise(__file__, rotary_angles, kind)
