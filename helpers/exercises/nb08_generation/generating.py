"""Functions that go on with a text: the model that they read, and what is right."""

from collections.abc import Callable
from functools import cache, wraps

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.exercises.course import Source, loaded, stirred
from helpers.reference import Reference

# On the small model each goes on with other tokens than the others, at every step.
TEXTS = torch.tensor([[13, 30, 31], [27, 18, 14], [6, 14, 2], [3, 35, 34]])


class Logits(nn.Module):
    """transformers' GPT-2 as the notebook's model: tokens in, logits out."""

    def __init__(self, source: Source):
        super().__init__()
        self.cfg = source.cfg
        self.inner = [source.reference.model]  # in a list: no parameters of its own
        self.whole = self.forward

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
        wanted = f"whole numbers from 0 to {known - 1}"
        what = odd[0] if odd else tokens.dtype
        raise ValueError(f"token ids are {wanted}; the model got {what}")
    with torch._C.DisableTorchFunction():
        logits = model(tokens, *more, **options)
        logits = getattr(logits, "logits", logits)
    return logits + 0 * tokens.sum()


def by_position(candidate):
    """Hand everything over by position, whatever the answer calls its arguments.

    A case has the model in its extra; `f(model, tokens, ...)` takes it first.
    """
    if isinstance(candidate, type) or not callable(candidate):
        return candidate

    @wraps(candidate)
    def call(*inputs, **extra):
        first = [extra.pop("model")] if "model" in extra else []
        return candidate(*first, *inputs, *extra.values())

    return call


def case(model, source: Source, tokens: Tensor, n_new: int, detail: str, **beams):
    """A prompt for a function that generates with `model`, and transformers' answer.

    Args:
        beams: `n_beams`, for a beam search.
    """
    rows = tuple(map(tuple, tokens.tolist()))
    right = _generated(source.reference, rows, n_new, **beams).clone()
    extra = {"model": model(source), "n_new": n_new, **beams}
    more = {"detail": detail, "grad": False, "explains": n_new > 0}
    return source.case(tokens, expected=right, extra=extra, **more)


def cases(model: Callable[[Source], nn.Module]) -> list[Case]:
    """Prompts of both models, of several lengths; one meets the end token, 0."""
    small, one_layer, big = stirred(), stirred(n_layers=1), loaded()
    given = [
        (small, TEXTS, 5, ""),
        (small, small.tokens[1:, :1], 6, "from a single token"),
        (small, small.tokens[:, :6], 1, "with one new token"),
        (small, small.tokens[:, :2], 2, "with two new tokens"),
        (one_layer, torch.tensor([[8, 31]]), 5, "past an end token"),
        (big, big.tokens[:, :-5][:, :5], 5, ""),
        (small, small.tokens, 0, "with no new token"),
    ]
    return [case(model, *prompt) for prompt in given]


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of each round, in order."""
    (tokens,), text, steps = case.inputs, case.expected, {}
    for i in range(case.extra["n_new"]):
        end = tokens.shape[1] + i
        steps |= {
            f"the last position's logits in round {i + 1}": case.extra["model"].whole(
                text[:, :end]
            )[:, -1],
            f"the new token in round {i + 1}": text[:, end : end + 1],
            f"the text after round {i + 1}": text[:, : end + 1],
        }
    return steps or {"the prompt": tokens}


@cache
def _generated(reference: Reference, rows: tuple, n_new: int, n_beams=1) -> Tensor:
    """What transformers' `generate` makes of a prompt; it never ends early."""
    from transformers.utils import logging

    tokens = torch.tensor(rows, device=reference.device)
    if not n_new:  # to which generate would not agree
        return tokens
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
