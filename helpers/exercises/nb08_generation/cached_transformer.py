"""What an answer to `CachedTransformer` is compared with."""

from functools import partial

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import LOGITS, Source, exercise
from helpers.exercises.nb08_generation.pieces import cases, in_pieces
from helpers.generation import CachedTransformer, new_cache


def take(source: Source) -> tuple:
    """A whole model's tokens, weights and logits."""
    return source.tokens, source.weights, source.logits


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the last piece, in order."""
    (tokens,), p, pieces = case.inputs, case.params, case.extra["pieces"]
    new = pieces.lengths[-1]
    past = sum(pieces.lengths[:-1])
    embed = p["embed.W_E"][tokens[:, -new:]]
    pos_embed = p["pos_embed.W_pos"][past : past + new]
    return {
        "the embedding": embed,
        "the positional embedding": pos_embed,
        "what the first block reads": embed + pos_embed,
        "the logits": case.expected[:, -new:],
    }


kind = Tensors(partial(cases, take, new_cache), LOGITS, stages, prepare=in_pieces)
check = exercise(__file__, CachedTransformer, kind)
