"""What an answer to `RMSNorm` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, sources, stirred
from helpers.llama import RMSNorm


def cases() -> list[Case]:
    """The stream of both models, rows near eps, and numbers too large for float16."""
    made = [
        source.layer("hook_resid_pre", "ln1.", "ln1.hook_normalized")
        for source in sources()
    ]
    tiny, width = stirred(), stirred().cfg.d_model
    layer = tiny.reference.model.model.layers[1].input_layernorm
    faint = noise(2, 7, width, seed=1) * tiny.cfg.rms_norm_eps**0.5
    # All of one size: every way of rounding gives the gain itself, and its negative.
    large = 300 * noise(2, 7, width, seed=2).sign().half()
    for x, detail in (
        (faint, "on rows whose mean square is near eps"),
        (large, "on float16 numbers whose squares float16 cannot hold"),
    ):
        expected = layer(x).detach().float()
        more = {"params": made[0].params, "expected": expected, "detail": detail}
        made.append(tiny.case(x, **more))
    return made


def in_float32(output: Tensor, case: Case) -> tuple[Tensor, None]:
    """The gain is float32, and a result in the input's type is as good."""
    return (output.float() if case.inputs[0].dtype == torch.half else output), None


def stages(case: Case) -> dict[str, Tensor | tuple[Tensor, ...]]:
    """The steps of the equation, in order."""
    (x,) = case.inputs
    square = x.float().pow(2).mean(-1, keepdim=True)
    with_eps = square + case.cfg.rms_norm_eps
    normalized = (x.float() * with_eps.rsqrt()).to(x.dtype)
    return {
        "the mean square": (square, square.sqrt()),
        "the mean square with eps added": with_eps,
        "its root": (with_eps.rsqrt(), with_eps.sqrt()),
        "the normalized vector": normalized,
        "the scaled vector": normalized * case.params["w"],
    }


kind = Tensors(
    cases,
    STREAM,
    stages,
    adapt=in_float32,
    fresh=lambda p: None if p["w"].eq(1).all() else "a new RMSNorm starts with w = 1",
    against="transformers' Llama and Qwen3",
)
check = exercise(__file__, RMSNorm, kind, pairs=True)
