"""The ten warm-ups of notebook 01: einops and einsum, up to those of attention.

Each check is three things: the course's function, where its inputs come from, and a
list of wrong functions. Adding a mistake is adding one entry.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from einops import einsum, rearrange, reduce, repeat
from torch import Tensor

from helpers.checks.cases import Case, Source, loaded, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check


def swap_axes(x):
    """Put the features before the positions.

    [batch, position, d_model] -> [batch, d_model, position]
    """
    return rearrange(x, "batch position d_model -> batch d_model position")


def split_heads(x, n_heads):
    """Cut every position's vector into n_heads pieces, one after the other.

    [batch, position, d_model] -> [batch, position, n_heads, d_head]
    """
    return rearrange(
        x,
        "batch position (n_heads d_head) -> batch position n_heads d_head",
        n_heads=n_heads,
    )


def merge_heads(z):
    """Lay the pieces of every position end to end again.

    [batch, position, n_heads, d_head] -> [batch, position, n_heads * d_head]
    """
    return rearrange(
        z, "batch position n_heads d_head -> batch position (n_heads d_head)"
    )


def feature_mean(x):
    """Average over the features, and keep their axis with size 1.

    [batch, position, d_model] -> [batch, position, 1]
    """
    return reduce(x, "batch position d_model -> batch position 1", "mean")


def repeat_rows(rows, batch):
    """Give every text of the batch the same rows.

    [position, d_model] -> [batch, position, d_model]
    """
    return repeat(rows, "position d_model -> batch position d_model", batch=batch)


def apply_matrix(x, W):
    """Multiply every position's vector by one matrix.

    [batch, position, d_model], [d_model, d_mlp] -> [batch, position, d_mlp]
    """
    return einsum(x, W, "batch position d_model, d_model d_mlp -> batch position d_mlp")


def project_to_heads(x, W):
    """Multiply every position's vector by one matrix per head.

    [batch, position, d_model], [n_heads, d_model, d_head]
    -> [batch, position, n_heads, d_head]
    """
    return einsum(
        x,
        W,
        "batch position d_model, n_heads d_model d_head"
        " -> batch position n_heads d_head",
    )


def compare_positions(q, k):
    """The dot product of every query with every key, head by head.

    [batch, position, n_heads, d_head], twice -> [batch, n_heads, query_pos, key_pos]
    """
    return einsum(
        q,
        k,
        "batch query_pos n_heads d_head, batch key_pos n_heads d_head"
        " -> batch n_heads query_pos key_pos",
    )


def mix_values(pattern, v):
    """For every query, the sum of all values, each times its weight in the pattern.

    [batch, n_heads, query_pos, key_pos], [batch, key_pos, n_heads, d_head]
    -> [batch, query_pos, n_heads, d_head]
    """
    return einsum(
        pattern,
        v,
        "batch n_heads query_pos key_pos, batch key_pos n_heads d_head"
        " -> batch query_pos n_heads d_head",
    )


def add_up_heads(z, W_O):
    """Multiply each head's vector by its own matrix, and add the results up.

    [batch, position, n_heads, d_head], [n_heads, d_head, d_model]
    -> [batch, position, d_model]
    """
    return einsum(
        z,
        W_O,
        "batch position n_heads d_head, n_heads d_head d_model"
        " -> batch position d_model",
    )


@cache
def _single(reference) -> Source:
    """One text of one token, where a wrong axis of size 1 is easily overlooked."""
    source = stirred()
    tokens = source.tokens[:1, :1]
    logits, activations = reference.run_with_cache(tokens)
    return replace(source, tokens=tokens, logits=logits, cache=activations)


def sources() -> list[tuple[Source, str]]:
    """Where inputs come from, and what is special about them."""
    small = stirred()
    one = _single(small.reference)
    return [(small, ""), (one, "on a single position"), (loaded(), "")]


Take = Callable[[Source], tuple[tuple[Tensor, ...], dict]]


def _check(
    course: Callable,
    take: Take,
    axes: str,
    hints: tuple[str, str, str],
    *known: Known,
) -> Check:
    """A warm-up's check.

    Args:
        course: the right function; a mistake's switch `instead` takes its place.
        take: inputs and keyword arguments, from a model that has been run.
        axes: names of the output's axes.
        hints: three, from a question to nearly the answer.
        known: its mistakes.
    """

    def compute(*inputs, p, cfg, instead=course, **extra):
        return instead(*inputs, **extra)

    def make_cases() -> list[Case]:
        cases = []
        for source, detail in sources():
            inputs, extra = take(source)
            cases.append(
                Case(
                    source=source.label,
                    detail=detail,
                    cfg=source.cfg,
                    inputs=inputs,
                    extra=extra,
                    grad=detail == "",
                )
            )
        return cases

    name = course.__name__
    return Check(
        name=name,
        answer=name,
        compute=compute,
        make_cases=make_cases,
        known=known,
        axes=tuple(axes.split()),
        hints=hints,
        lesson=f"01_building_blocks.ipynb#{name}",
        course=course,
        against="the target",
        keep=False,
    )


def _wrong(name: str, does: str, should: str, hint: str, instead: Callable) -> Known:
    return Known(name, does, should, {"instead": instead}, hint)


def _residual(source: Source) -> Tensor:
    return source.cache["blocks.0.hook_resid_pre"]


def _attention(source: Source, *names: str) -> tuple[Tensor, ...]:
    return tuple(source.cache[f"blocks.0.attn.hook_{name}"] for name in names)


SWAP_AXES = _check(
    swap_axes,
    lambda s: ((_residual(s),), {}),
    "batch d_model position",
    (
        "Which axis stays where it is?",
        "`rearrange` takes the tensor and one string: the axes as they are, an arrow, "
        "the axes as they should be.",
        '`rearrange(x, "batch position d_model -> batch ...")`, with the last two '
        "names in the other order.",
    ),
    _wrong(
        "reshaped-not-transposed",
        "You give the numbers a new shape without moving them: reshape and view read "
        "them on in their old order.",
        "To swap two axes, the numbers must change places: rearrange, transpose or "
        "permute.",
        "swapping axes is not the same as cutting the rows anew",
        lambda x: x.reshape(x.shape[0], x.shape[2], x.shape[1]),
    ),
    _wrong(
        "batch-moved",
        "All three axes are reversed: the batch stands last.",
        "The batch stays first; only position and d_model change places.",
        "name the two axes that are to be swapped",
        lambda x: x.permute(2, 1, 0),
    ),
    _wrong(
        "batch-and-position-swapped",
        "You swap batch and position.",
        "Position and d_model change places; the batch stays first.",
        "count axes from the end: −1 is d_model, −2 is position",
        lambda x: x.transpose(0, 1),
    ),
    _wrong(
        "axes-rotated",
        "d_model stands first, then batch and position.",
        "The batch stays first; only position and d_model change places.",
        "name the two axes that are to be swapped",
        lambda x: x.permute(2, 0, 1),
    ),
    _wrong(
        "not-swapped",
        "Your output has its axes in the old order.",
        "Position and d_model should change places.",
        "tensors are not changed in place: return what rearrange gives back",
        lambda x: x.clone(),
    ),
)

SPLIT_HEADS = _check(
    split_heads,
    lambda s: ((_residual(s),), {"n_heads": s.cfg.n_heads}),
    "batch position n_heads d_head",
    (
        "The vector is n_heads pieces of d_head numbers, laid end to end. Which of "
        "the two counts slowly, which counts fast?",
        "Brackets in einops are one axis made of several; the name on the left "
        "counts slowest: `(n_heads d_head)`.",
        '`rearrange(x, "batch position (n_heads d_head) -> ...", n_heads=n_heads)`: '
        "one of the two sizes must be told.",
    ),
    _wrong(
        "d-head-before-n-heads",
        "You write (d_head n_heads): a head gets every n_heads-th number.",
        "A head is a run of d_head neighbours: (n_heads d_head), the slow axis first.",
        "swap the two names in the brackets",
        lambda x, n_heads: rearrange(x, "b p (h n) -> b p n h", n=n_heads),
    ),
    _wrong(
        "sizes-swapped",
        "The last two axes are [d_head, n_heads].",
        "n_heads comes first: [batch, position, n_heads, d_head].",
        "`n_heads=n_heads` belongs to the first name in the brackets",
        lambda x, n_heads: rearrange(x, "b p (h n) -> b p h n", n=n_heads),
    ),
    _wrong(
        "right-heads-wrong-order",
        "The heads are cut right, and the last two axes stand as [d_head, n_heads].",
        "n_heads comes before d_head: each head is a row.",
        "look at the right of the arrow",
        lambda x, n_heads: rearrange(x, "b p (n h) -> b p h n", n=n_heads),
    ),
    _wrong(
        "heads-before-position",
        "The heads stand before the positions.",
        "Here they come after: [batch, position, n_heads, d_head].",
        "look at the right of the arrow",
        lambda x, n_heads: rearrange(x, "b p (n h) -> b n p h", n=n_heads),
    ),
    _wrong(
        "reshaped-across-positions",
        "You cut [batch, n_heads, position, d_head] straight out of the numbers in "
        "their old order, so that a head mixes positions.",
        "Cut d_model alone; the positions stay whole.",
        "`x.reshape(batch, position, n_heads, -1)` cuts the last axis only",
        lambda x, n_heads: x.reshape(x.shape[0], n_heads, x.shape[1], -1),
    ),
)

MERGE_HEADS = _check(
    merge_heads,
    lambda s: (_attention(s, "z"), {}),
    "batch position d_model",
    (
        "It undoes split_heads. What did you write there?",
        "The brackets stand on the right of the arrow now.",
        '`rearrange(z, "batch position n_heads d_head -> batch position (...)")`, '
        "the slow axis first.",
    ),
    _wrong(
        "d-head-before-n-heads",
        "You write (d_head n_heads): the heads are shuffled into one another.",
        "Each head's numbers stay together: (n_heads d_head), the slow axis first.",
        "swap the two names in the brackets",
        lambda z: rearrange(z, "b p n h -> b p (h n)"),
    ),
    _wrong(
        "heads-not-merged",
        "Your output still has four axes.",
        "n_heads and d_head become one axis of n_heads * d_head numbers.",
        "put both names in brackets",
        lambda z: z.clone(),
    ),
    _wrong(
        "heads-summed",
        "You add the heads up: only d_head numbers are left.",
        "Lay them end to end: all n_heads * d_head numbers are kept.",
        "rearrange keeps every number; reduce and einsum do not",
        lambda z: z.sum(2),
    ),
    _wrong(
        "positions-merged",
        "You merge positions with heads.",
        "The positions stay as they are; n_heads and d_head are merged.",
        "look at what stands in the brackets",
        lambda z: rearrange(z, "b p n h -> b (p n) h"),
    ),
    _wrong(
        "reshaped-across-positions",
        "You swap positions and heads before you merge, so that an output row mixes "
        "positions.",
        "In z the heads stand right after the position already: merge the last two "
        "axes, no transpose.",
        "leave out the transpose",
        lambda z: z.transpose(1, 2).reshape(z.shape[0], z.shape[1], -1),
    ),
)

FEATURE_MEAN = _check(
    feature_mean,
    lambda s: ((_residual(s),), {}),
    "batch position 1",
    (
        "Which axis goes? What should be left of it?",
        "`reduce` takes the tensor, a pattern and what to do; a 1 on the right keeps "
        "the axis with size 1.",
        '`reduce(x, "batch position d_model -> batch position 1", ...)`: the last '
        "argument is the name of the operation.",
    ),
    _wrong(
        "axis-dropped",
        "The reduced axis is gone: your output is [batch, position].",
        "Keep it with size 1, so that `x - mean` broadcasts.",
        "write a 1 in its place, or `keepdim=True`",
        lambda x: x.mean(-1),
    ),
    _wrong(
        "sum-not-mean",
        "You add the features up.",
        "The mean is the sum divided by d_model.",
        'the last argument of `reduce`: "mean"',
        lambda x: x.sum(-1, keepdim=True),
    ),
    _wrong(
        "max-not-mean",
        "You take the largest feature.",
        "The mean is the sum divided by d_model.",
        'the last argument of `reduce`: "mean"',
        lambda x: x.amax(-1, keepdim=True),
    ),
    _wrong(
        "over-positions",
        "You average over the positions.",
        "Each position has a mean of its own: average over d_model.",
        "d_model is the axis that must not stand on the right",
        lambda x: x.mean(1, keepdim=True),
    ),
    _wrong(
        "over-the-batch",
        "You average over the batch.",
        "Each position has a mean of its own: average over d_model.",
        "`dim=-1` is d_model",
        lambda x: x.mean(0, keepdim=True),
    ),
    _wrong(
        "over-everything",
        "You average over all axes: one number is left.",
        "Each position has a mean of its own: average over d_model alone.",
        "batch and position must stand on the right as well",
        lambda x: x.mean(),
    ),
    _wrong(
        "positions-too",
        "You average over positions and features together.",
        "Each position has a mean of its own: average over d_model alone.",
        "position must stand on the right as well",
        lambda x: x.mean((1, 2), keepdim=True),
    ),
)

REPEAT_ROWS = _check(
    repeat_rows,
    lambda s: (
        (s.weights["pos_embed.W_pos"][: s.tokens.shape[1]],),
        {"batch": s.tokens.shape[0]},
    ),
    "batch position d_model",
    (
        "Which axis is new, and where should it stand?",
        "In `repeat`, a name on the right that is not on the left is a new axis; its "
        "size must be told.",
        '`repeat(rows, "position d_model -> batch ...", batch=batch)`.',
    ),
    _wrong(
        "batch-after-position",
        "The new axis stands after the positions.",
        "The batch comes first: [batch, position, d_model].",
        "look at the right of the arrow",
        lambda rows, batch: repeat(rows, "p d -> p b d", b=batch),
    ),
    _wrong(
        "rows-laid-end-to-end",
        "You lay the copies end to end: [batch * position, d_model].",
        "Each text gets an axis entry of its own: [batch, position, d_model].",
        "no brackets: batch is an axis by itself",
        lambda rows, batch: repeat(rows, "p d -> (b p) d", b=batch),
    ),
    _wrong(
        "features-repeated",
        "You repeat along d_model.",
        "The copies stand side by side along a new batch axis.",
        "`rows.repeat(batch, 1, 1)` needs one number per axis, the new one first",
        lambda rows, batch: rows.repeat(1, batch),
    ),
    _wrong(
        "not-repeated",
        "Your output has no batch axis.",
        "Put a new axis of size batch in front.",
        "a new name on the right, and its size as an argument",
        lambda rows, batch: rows.clone(),
    ),
    _wrong(
        "batch-of-one",
        "Your batch axis has size 1.",
        "It should have size batch, one copy for each text.",
        "expand or repeat, after `[None]` or `unsqueeze(0)`",
        lambda rows, batch: rows[None],
    ),
    _wrong(
        "each-row-repeated",
        "You repeat each row batch times in a row, then cut: the texts get different "
        "rows.",
        "Every text gets all rows, in their order.",
        "repeat_interleave is another thing than repeat",
        lambda rows, batch: rows.repeat_interleave(batch, 0).reshape(
            batch, *rows.shape
        ),
    ),
)

APPLY_MATRIX = _check(
    apply_matrix,
    lambda s: ((_residual(s), s.weights["blocks.0.mlp.W_in"]), {}),
    "batch position d_mlp",
    (
        "Which name do both inputs share? It is multiplied and added up.",
        "A name that is missing on the right is summed over; the others stay.",
        '`einsum(x, W, "batch position d_model, d_model d_mlp -> ...")`: write the '
        "three names that stay.",
    ),
    _wrong(
        "axes-swapped",
        "Your output is [batch, d_mlp, position].",
        "It should be [batch, position, d_mlp].",
        "look at the order on the right of the arrow",
        lambda x, W: (x @ W).transpose(1, 2),
    ),
    _wrong(
        "positions-summed",
        "The positions are added up.",
        "Every position keeps its own result.",
        "position must stand on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, d m -> b m"),
    ),
    _wrong(
        "batch-summed",
        "The texts of the batch are added up.",
        "Every text keeps its own result.",
        "batch must stand on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, d m -> p m"),
    ),
    _wrong(
        "summed-apart",
        "x and W are each added up first, since their d_model axes have different "
        "names.",
        "Give both the same name: then equal entries meet, are multiplied, and summed.",
        "one name, twice",
        lambda x, W: einsum(x, W, "b p d, e m -> b p m"),
    ),
    _wrong(
        "not-summed",
        "You multiply and do not add up: d_model is still there.",
        "Leave d_model out on the right; a name that is missing there is summed.",
        "three names on the right",
        lambda x, W: einsum(x, W, "b p d, d m -> b p d m"),
    ),
)

PROJECT_TO_HEADS = _check(
    project_to_heads,
    lambda s: ((_residual(s), s.weights["blocks.0.attn.W_Q"]), {}),
    "batch position n_heads d_head",
    (
        "It is apply_matrix with one more axis in W. Where should that axis go?",
        "Only d_model is summed; n_heads is just carried along.",
        '`einsum(x, W, "batch position d_model, n_heads d_model d_head -> ...")`: '
        "four names stay.",
    ),
    _wrong(
        "heads-before-position",
        "Your output is [batch, n_heads, position, d_head].",
        "Here the position comes first: [batch, position, n_heads, d_head].",
        "look at the order on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, n d h -> b n p h"),
    ),
    _wrong(
        "heads-summed",
        "The heads are added up.",
        "Every head keeps its own result.",
        "n_heads must stand on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, n d h -> b p h"),
    ),
    _wrong(
        "positions-summed",
        "The positions are added up.",
        "Every position keeps its own result.",
        "position must stand on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, n d h -> b n h"),
    ),
    _wrong(
        "summed-apart",
        "x and W are each added up first, since their d_model axes have different "
        "names.",
        "Give both the same name: then equal entries meet, are multiplied, and summed.",
        "one name, twice",
        lambda x, W: einsum(x, W, "b p d, n e h -> b p n h"),
    ),
    _wrong(
        "heads-merged",
        "The heads are laid end to end: [batch, position, n_heads * d_head].",
        "Keep them as an axis of their own.",
        "no brackets on the right of the arrow",
        lambda x, W: einsum(x, W, "b p d, n d h -> b p n h").flatten(2),
    ),
)

COMPARE_POSITIONS = _check(
    compare_positions,
    lambda s: (_attention(s, "q", "k"), {}),
    "batch n_heads query_pos key_pos",
    (
        "Each query meets every key. Can their positions have the same name?",
        "Two names for the two positions, one name for d_head: it is summed.",
        '`einsum(q, k, "batch query_pos n_heads d_head, batch key_pos n_heads d_head '
        '-> ...")`: four names stay.',
    ),
    _wrong(
        "query-and-key-swapped",
        "The rows are keys and the columns queries.",
        "A row belongs to a query: [batch, n_heads, query_pos, key_pos].",
        "swap the two positions, on the left or on the right of the arrow",
        lambda q, k: einsum(q, k, "b q n h, b k n h -> b n k q"),
    ),
    _wrong(
        "heads-summed",
        "The heads are added up.",
        "Every head compares for itself.",
        "n_heads must stand on the right of the arrow",
        lambda q, k: einsum(q, k, "b q n h, b k n h -> b q k"),
    ),
    _wrong(
        "heads-last",
        "Your output is [batch, query_pos, key_pos, n_heads].",
        "The heads come right after the batch: [batch, n_heads, query_pos, key_pos].",
        "look at the order on the right of the arrow",
        lambda q, k: einsum(q, k, "b q n h, b k n h -> b q k n"),
    ),
    _wrong(
        "same-position-only",
        "A query meets only the key of its own position.",
        "Every query meets every key: the positions need two names.",
        "query_pos and key_pos",
        lambda q, k: einsum(q, k, "b p n h, b p n h -> b n p"),
    ),
    _wrong(
        "compares-heads",
        "You compare the heads with one another, position by position.",
        "You compare positions, head by head. `@` works on the last two axes, and in "
        "q those are n_heads and d_head.",
        "move n_heads before position first, or name the axes with einsum",
        lambda q, k: q @ k.transpose(-1, -2),
    ),
    _wrong(
        "mixes-heads",
        "Each query head is compared with the sum of all key heads, since the two "
        "have different names.",
        "A head's queries meet its own keys: one name, twice.",
        "`n_heads` in both inputs",
        lambda q, k: einsum(q, k, "b q n h, b k m h -> b n q k"),
    ),
    _wrong(
        "already-scaled",
        "You divide by the square root of d_head.",
        "That comes in notebook 04; here only the dot products count.",
        "leave out the division",
        lambda q, k: compare_positions(q, k) / q.shape[-1] ** 0.5,
    ),
)

MIX_VALUES = _check(
    mix_values,
    lambda s: (_attention(s, "pattern", "v"), {}),
    "batch query_pos n_heads d_head",
    (
        "Which axis of v does key_pos in the pattern speak about?",
        "The position of v *is* key_pos: give both that name, and leave it out on the "
        "right.",
        '`einsum(pattern, v, "batch n_heads query_pos key_pos, batch key_pos n_heads '
        'd_head -> ...")`: four names stay.',
    ),
    _wrong(
        "values-not-tied",
        "The position of v has a name of its own, so the weights are added up apart "
        "from the values: every query gets the plain sum of all values.",
        "Call it key_pos in both inputs: then each value meets its own weight.",
        "one name, twice",
        lambda pattern, v: einsum(pattern, v, "b n q k, b p n h -> b q n h"),
    ),
    _wrong(
        "sums-over-queries",
        "You add up over the queries: the pattern is used the wrong way round.",
        "A query adds up over its keys.",
        "the position of v is key_pos, the last axis of the pattern",
        lambda pattern, v: einsum(pattern, v, "b n k q, b k n h -> b q n h"),
    ),
    _wrong(
        "heads-before-position",
        "Your output is [batch, n_heads, query_pos, d_head].",
        "Here the position comes first: [batch, query_pos, n_heads, d_head].",
        "look at the order on the right of the arrow",
        lambda pattern, v: einsum(pattern, v, "b n q k, b k n h -> b n q h"),
    ),
    _wrong(
        "heads-summed",
        "The heads are added up.",
        "Every head keeps its own result; they are added up later, after W_O.",
        "n_heads must stand on the right of the arrow",
        lambda pattern, v: einsum(pattern, v, "b n q k, b k n h -> b q h"),
    ),
    _wrong(
        "mixes-heads",
        "The pattern of each head meets the sum of all heads' values, since the two "
        "have different names.",
        "A head's weights meet its own values: one name, twice.",
        "`n_heads` in both inputs",
        lambda pattern, v: einsum(pattern, v, "b n q k, b k m h -> b q n h"),
    ),
    _wrong(
        "uniform-weights",
        "The pattern is not used: every query gets the mean of all values.",
        "Each value is multiplied by its weight for this query.",
        "multiply by the pattern before you add up",
        lambda pattern, v: v.mean(1, keepdim=True).expand_as(v),
    ),
)

ADD_UP_HEADS = _check(
    add_up_heads,
    lambda s: ((*_attention(s, "z"), s.weights["blocks.0.attn.W_O"]), {}),
    "batch position d_model",
    (
        "Which two names are missing in the output?",
        "einsum sums over every name that is missing on the right: here over d_head "
        "and n_heads at once.",
        '`einsum(z, W_O, "batch position n_heads d_head, n_heads d_head d_model -> '
        '...")`: three names stay.',
    ),
    _wrong(
        "heads-not-summed",
        "The heads are still apart: [batch, position, n_heads, d_model].",
        "All heads write into the same d_model numbers: add them up.",
        "leave n_heads out on the right of the arrow",
        lambda z, W_O: einsum(z, W_O, "b p n h, n h d -> b p n d"),
    ),
    _wrong(
        "heads-averaged",
        "You take the mean over the heads.",
        "Their results are added up.",
        "sum, not mean",
        lambda z, W_O: einsum(z, W_O, "b p n h, n h d -> b p n d").mean(2),
    ),
    _wrong(
        "summed-apart",
        "The heads are added up in z and in W_O before they meet, since they have "
        "different names.",
        "Each head meets its own matrix: one name, twice.",
        "`n_heads` in both inputs",
        lambda z, W_O: einsum(z, W_O, "b p n h, m h d -> b p d"),
    ),
    _wrong(
        "positions-summed",
        "The positions are added up.",
        "Every position keeps its own result.",
        "position must stand on the right of the arrow",
        lambda z, W_O: einsum(z, W_O, "b p n h, n h d -> b d"),
    ),
    _wrong(
        "one-head-only",
        "Only one head is in your output: a loop overwrites instead of adding.",
        "Start at 0 and add each head's result.",
        "`total = total + ...`, not `total = ...`",
        lambda z, W_O: z[:, :, -1] @ W_O[-1],
    ),
    _wrong(
        "heads-shuffled",
        "You merge the axes as (d_head n_heads) on one side and (n_heads d_head) on "
        "the other, so that wrong numbers meet.",
        "Merge both in the same order, the slow axis first.",
        "the same brackets on both sides",
        lambda z, W_O: rearrange(z, "b p n h -> b p (h n)") @ W_O.flatten(0, 1),
    ),
)
