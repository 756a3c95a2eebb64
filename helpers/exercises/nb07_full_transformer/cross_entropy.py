"""What an answer to `cross_entropy` is compared with."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.observe import run
from helpers.checks.report import Findings
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.model import cross_entropy


def _case(source: Source, texts: slice, positions: int, detail: str = "") -> Case:
    """Logits, their tokens, and transformers' own loss: it shifts the labels itself."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    logits = source.logits[texts, :positions].contiguous()  # it takes a view
    tokens = source.tokens[texts, :positions]
    loss = ForCausalLMLoss(logits, tokens, source.cfg.d_vocab)
    return source.case(logits, tokens, detail=detail, expected=loss)


def cases() -> list[Case]:
    """Logits of both models."""
    small, big, every = stirred(), loaded(), slice(None)
    return [
        _case(small, every, 7),
        _case(small, slice(1, None), 7, "on a batch of one"),
        _case(small, every, 2, "on two positions"),
        _case(big, every, big.tokens.shape[1]),
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    logits, tokens = case.inputs
    log_probs = logits[:, :-1].log_softmax(dim=-1)
    picked = log_probs.gather(dim=-1, index=tokens[:, 1:, None])[..., 0]
    return {
        "the log probabilities of all tokens": log_probs,
        "the log probabilities of the next tokens": picked,
        "their mean": -picked.mean(),
    }


@dataclass(frozen=True)
class Loss:
    """A formula that is right, and where float32 gives way to it: that is a remark."""

    formula: Tensors

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        found = self.formula.judge(check, candidate)
        if found.mistakes or found.todo:
            return found
        # Above 88 the exponential of a float32 overflows, below -104 it is 0.
        logits = 200 * noise(1, 5, 7, seed=41).sign()
        case = Case("", stirred().cfg, (logits, torch.arange(5)[None]))
        loss = run(candidate, case).output
        if isinstance(loss, Tensor) and loss.isfinite().all():
            return found
        note = "with logits of ±200 your loss is infinite or NaN: a probability is "
        note += "rounded to 0 before its logarithm is taken. `log_softmax` does both "
        note += "in one safe step"
        return replace(found, notes=(*found.notes, note))


kind = Loss(Tensors(cases, (), stages))
check = exercise(__file__, cross_entropy, kind, pairs=True)
