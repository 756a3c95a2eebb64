"""What an answer to `SwiGLU` is compared with."""

from torch.nn import functional as F

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STREAM
from helpers.exercises.nb12_from_gpt2_to_llama.models import exercise, sources
from helpers.llama import SwiGLU


def cases() -> list[Case]:
    """The MLPs of both models; without one, of the small model alone."""
    return [
        source.layer("ln2.hook_normalized", "mlp.", "hook_mlp_out")
        for source in sources()
        if not source.cfg.n_experts
    ]


def stages(case: Case) -> dict:
    """Every step, by the notebook's names."""
    (x,), p = case.inputs, case.params
    gate, up = x @ p["W_gate"], x @ p["W_in"]
    return {
        "side by side": {"the gate": gate, "what is let through": up},
        "silu of the gate": F.silu(gate),
        "their product": F.silu(gate) * up,
        "the output": (F.silu(gate) * up) @ p["W_out"],
    }


kind = Tensors(cases, STREAM, stages, against="transformers' Llama and Qwen3")
check = exercise(__file__, SwiGLU, kind, pairs=True)
