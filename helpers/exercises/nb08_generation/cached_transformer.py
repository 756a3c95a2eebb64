"""What an answer to `CachedTransformer` is compared with."""

from functools import partial

from torch import Tensor

from helpers.checks.case import Case, noise
from helpers.checks.tensors import Tensors
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.exercises.nb08_generation.pieces import Pieces, in_pieces
from helpers.generation import CachedTransformer, new_cache


def cases() -> list[Case]:
    """One text in several pieces, up to the full context, and two in turn."""
    small, few, big = stirred(), stirred(n_layers=2), loaded()
    tokens, n_ctx = small.tokens, small.cfg.n_ctx
    full = (noise(2, n_ctx, seed=31).abs() * 1e4).long() % small.cfg.d_vocab
    return [
        _case(small, tokens, "in one piece", 7),
        _case(small, tokens, "a prompt of four, then three", 4, 3),
        _case(small, tokens, "a prompt of four, then one by one", 4, 1, 1, 1),
        _case(small, tokens[:1], "on a batch of one, one by one", *[1] * 7),
        _case(few, tokens, "with 2 layers, in pieces of several", 2, 3, 2),
        _case(small, full, "up to the full context", 8, 1, 1, 1),
        _case(
            small,
            tokens,
            "two texts in turn, each with its own cache",
            5,
            1,
            1,
            two=True,
        ),
        _case(big, big.tokens[:, :8], "a prompt, then one by one", 5, 1, 1, 1),
    ]


def _case(source: Source, tokens: Tensor, detail: str, *lengths, two=False) -> Case:
    """A text, or two in turn."""
    logits, _ = source.reference.run_with_cache(tokens)
    cache = partial(new_cache, source.cfg)
    other = tokens[1:] if two else None
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens[:1] if two else tokens,),
        params=source.weights,
        expected=logits,
        extra={"pieces": Pieces(lengths, cache, other)},
    )


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


check = exercise(
    __file__,
    CachedTransformer,
    Tensors(
        cases,
        axes=("batch", "position", "d_vocab"),
        stages=stages,
        prepare=in_pieces,
    ),
)
