"""Functions that go on with a text: the model that they read, and what is right."""

from functools import cache, wraps

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.exercises.course import Source
from helpers.reference import Reference

# On the small model each goes on with other tokens than the others, at every step.
TEXTS = torch.tensor([[13, 30, 31], [27, 18, 14], [6, 14, 2], [3, 35, 34]])


class Logits(nn.Module):
    """transformers' GPT-2 as the notebook's model: tokens in, logits out."""

    def __init__(self, reference: Reference):
        super().__init__()
        self.cfg = reference.cfg
        self.inner = [reference.model]  # in a list: no parameters of its own

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, position, d_vocab] of tokens [batch, position]."""
        if not isinstance(tokens, Tensor) or tokens.ndim != 2:
            shape = list(getattr(tokens, "shape", [type(tokens).__name__]))
            raise ValueError(f"the model reads [batch, position]; it got {shape}")
        everything = torch.ones_like(tokens)
        (model,) = self.inner
        return said_by(model, tokens, attention_mask=everything, use_cache=False)


def said_by(model, tokens: Tensor, *more, **options):
    """What a model says, without a record of its own steps: only what it hangs on."""
    known = model.config.vocab_size if hasattr(model, "config") else model.cfg.d_vocab
    odd = tokens[(tokens < 0) | (tokens >= known)].flatten().tolist()
    if odd or tokens.is_floating_point():
        what = f"{odd[0]}" if odd else str(tokens.dtype)
        told = (
            f"token ids are whole numbers from 0 to {known - 1}; the model got {what}"
        )
        raise ValueError(told)
    with torch._C.DisableTorchFunction():
        logits = model(tokens, *more, **options)
        logits = getattr(logits, "logits", logits)
    return logits + 0 * tokens.sum()


def model_first(candidate):
    """Let `f(model, tokens, ...)` be judged, though a case has the model in extra."""
    if isinstance(candidate, type) or not callable(candidate):
        return candidate

    @wraps(candidate)
    def call(tokens, *, model, **extra):
        return candidate(model, tokens, *extra.values())

    return call


def case(model, source: Source, tokens: Tensor, n_new: int, detail: str, **beams):
    """A prompt for a function that generates with `model`, and transformers' answer.

    Args:
        beams: `n_beams`, for a beam search.
    """
    rows = tuple(map(tuple, tokens.tolist()))
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens,),
        extra={"model": model, "n_new": n_new, **beams},
        expected=_generated(source.reference, rows, n_new, **beams).clone(),
    )


@cache
def _generated(reference: Reference, rows: tuple, n_new: int, n_beams=1) -> Tensor:
    """What transformers' `generate` makes of a prompt; it never ends early."""
    from transformers.utils import logging

    tokens = torch.tensor(rows, device=reference.device)
    # Our start token is the padding token too: transformers warns, though the mask
    # says that nothing is padding.
    loudness = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return reference.model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=n_new,
            do_sample=False,
            num_beams=n_beams,
            eos_token_id=reference.cfg.d_vocab,  # a token that it cannot say
            pad_token_id=0,
        )
    finally:
        logging.set_verbosity(loudness)
