"""Attention layers of transformers at work: what the cases of notebook 04 are made of.

The steps of attention share them, so that an answer to one step meets what the step
before it has made.
"""

from torch import Tensor

from helpers.exercises.course import Source


def seen(source: Source, *names: str) -> tuple[Tensor, ...]:
    """q, k, v, z, pattern or attn_scores of the block's attention layer."""
    return tuple(source.cache[f"{source.block}attn.hook_{name}"] for name in names)


def weights(source: Source, *names: str) -> tuple[Tensor, ...]:
    """W_Q, b_Q, ... of the same layer."""
    return tuple(source.weights[f"{source.block}attn.{name}"] for name in names)


def stream(source: Source) -> tuple[Tensor, Tensor]:
    """What the layer reads and what it writes, [batch, position, d_model] each."""
    names = "ln1.hook_normalized", "hook_attn_out"
    reads, writes = (source.cache[source.block + name] for name in names)
    return reads, writes
