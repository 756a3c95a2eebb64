"""What goes wrong in attention, step by step: the catalogue of notebook 04.

Where a mistake shows itself in several ways (a row that is masked as a whole is NaN
after a fill of -inf, and even after one of -1e5) it has an entry for each, all under
one name.
"""

from dataclasses import replace

from helpers.checks.catalogue import Known


def _ways(name, does, should, hint, *ways: dict) -> tuple[Known, ...]:
    """One mistake that comes out differently, depending on how it is written."""
    return tuple(Known(name, does, should, way, hint) for way in ways)


# The projections

_D_MODEL_NOT_TIED = Known(
    "d-model-not-tied",
    "You sum x over d_model and W over d_model, each by itself, and then multiply.",
    "Each feature of x meets its own row of W: one sum over d_model of x · W.",
    {"project": "d_model not tied"},
    "in an einsum, one axis has one name: write d_model in both inputs",
)
_WEIGHTS_RESHAPED = Known(
    "weights-reshaped",
    "You reshape W to [d_model, n_heads · d_head]. A reshape does not move numbers, so "
    "rows of different heads are mixed up.",
    "W is [n_heads, d_model, d_head]: bring d_model to the front first.",
    {"project": "reshaped"},
    "`W.transpose(0, 1).flatten(1)`, or an einsum, which needs no reshape",
)
_WEIGHTS_TRANSPOSED = Known(
    "weights-transposed",
    "You flatten W to a square matrix and use its transpose.",
    "d_model of x goes with d_model of W; `F.linear` and `.T` turn a matrix round.",
    {"project": "transposed"},
    "name the axes in an einsum instead of turning the matrix",
)
_ONE_HEAD = Known(
    "first-head-everywhere",
    "Every head uses the weights of head 0.",
    "Each head has weights of its own: that is what makes the heads differ.",
    {"project": "first head"},
    "is there an index 0 where a head's number should be?",
)

PROJECTIONS = (
    Known(
        "bias-forgotten",
        "You do not add the bias b.",
        "A projection is x · W + b, with one bias for each head and each of its d_head "
        "numbers.",
        {"bias": False},
        "`... + b`; [n_heads, d_head] broadcasts over batch and position",
    ),
    _D_MODEL_NOT_TIED,
    _WEIGHTS_RESHAPED,
    _WEIGHTS_TRANSPOSED,
    _ONE_HEAD,
    Known(
        "heads-summed",
        "You sum over the heads.",
        "The heads stay apart until the output projection.",
        {"project": "heads summed"},
        "n_heads belongs on the right-hand side of your einsum",
    ),
    Known(
        "heads-before-positions",
        "The numbers are right, and your axes are [batch, n_heads, position, d_head].",
        "This course keeps [batch, position, n_heads, d_head].",
        {"laid_out": "heads first"},
        "change the order on the right-hand side of your einsum",
    ),
    Known(
        "heads-not-split",
        "The numbers are right, and the heads are still glued together: "
        "[batch, position, n_heads · d_head].",
        "The result has an axis for the heads: [batch, position, n_heads, d_head].",
        {"laid_out": "flat"},
        "`.unflatten(-1, (n_heads, d_head))`",
    ),
)

# The scores

_SCALES = (
    Known(
        "no-scale",
        "Your scores are not divided by sqrt(d_head).",
        "A sum of d_head products grows with sqrt(d_head); the division keeps the "
        "softmax from being all or nothing.",
        {"scale": "none"},
        "if you do divide: is the result kept, as in `scores = scores / ...`?",
    ),
    Known(
        "scaled-by-d-head",
        "You divide the scores by d_head.",
        "Divide by its square root.",
        {"scale": "d_head"},
        "or is the factor 1/sqrt(d_head) there twice, for q and for k?",
    ),
    Known(
        "scaled-by-sqrt-d-model",
        "You divide the scores by sqrt(d_model).",
        "A score is a sum of d_head products, one head's width: its root is the scale.",
        {"scale": "sqrt(d_model)"},
        "which axis does the dot product sum over?",
    ),
    Known(
        "scaled-by-sqrt-n-heads",
        "You divide the scores by sqrt(n_heads).",
        "A score is a sum of d_head products: divide by sqrt(d_head).",
        {"scale": "sqrt(n_heads)"},
        "which axis of q did you take the size of?",
    ),
    Known(
        "scaled-by-sqrt-positions",
        "You divide the scores by the square root of the number of positions.",
        "A score is a sum of d_head products: divide by sqrt(d_head).",
        {"scale": "sqrt(positions)"},
        "which axis of q did you take the size of?",
    ),
    Known(
        "scale-of-another-model",
        "You divide the scores by 8, which is sqrt(d_head) only where d_head is 64.",
        "Take the size from the model at hand.",
        {"scale": "8"},
        "`math.sqrt(d_head)`, with d_head from `cfg` or from q's last axis",
    ),
    Known(
        "multiplied-by-the-scale",
        "You multiply the scores by sqrt(d_head).",
        "Divide by it: wide heads would otherwise have the largest scores.",
        {"scale": "multiplied"},
        "`/ math.sqrt(d_head)`, or `* d_head ** -0.5` with the minus sign",
    ),
)
_SWAPPED = Known(
    "q-and-k-swapped",
    "Your queries and keys have changed places: scores[query, key] holds what belongs "
    "at [key, query].",
    "Rows belong to queries (who looks), columns to keys (who is looked at).",
    {"compare": "swapped"},
    "the right-hand side ends in `query_pos key_pos`, and query_pos is q's axis",
)
_D_HEAD_NOT_TIED = Known(
    "d-head-not-tied",
    "You sum q over d_head and k over d_head, each by itself, and then multiply.",
    "A score is a dot product: one sum over d_head of q · k.",
    {"compare": "d_head not tied"},
    "in an einsum, one axis has one name: write d_head in both inputs",
)
_KEYS_OF_ALL_HEADS = Known(
    "keys-of-all-heads",
    "Each head's queries meet the sum of all heads' keys.",
    "A head compares its own queries with its own keys.",
    {"compare": "heads not tied"},
    "n_heads has the same name in q, in k and in the result",
)
_HEADS_WITH_HEADS = Known(
    "heads-compared-with-heads",
    "You compare the heads of one position with each other: the scores are "
    "[batch, position, n_heads, n_heads].",
    "A head compares positions: [batch, n_heads, query_pos, key_pos].",
    {"compare": "heads"},
    "`@` works on the last two axes; move n_heads out of the way: `q.transpose(1, 2)`",
)

SCORES = (
    *_SCALES,
    _SWAPPED,
    _D_HEAD_NOT_TIED,
    _KEYS_OF_ALL_HEADS,
    _HEADS_WITH_HEADS,
    Known(
        "heads-last",
        "The numbers are right; your axes are [batch, query_pos, key_pos, n_heads].",
        "The softmax will run over the last axis, so key_pos comes last: "
        "[batch, n_heads, query_pos, key_pos].",
        {"order": "heads last"},
        "change the order on the right-hand side of your einsum",
    ),
)

# The mask

_NO_MASK = Known(
    "mask-forgotten",
    "The future is not hidden: every query sees every key.",
    "A position must not see what comes after it, or predicting the next token would "
    "be copying it.",
    {"mask": "none"},
    "is the masked result used? `masked_fill` makes a new tensor and leaves the old "
    "one as it was; `masked_fill_` writes into it",
)
_DIAGONAL = _ways(
    "mask-hides-the-diagonal",
    "Your mask hides the diagonal as well: a position cannot see itself, and the first "
    "one sees nothing at all.",
    "Hide only keys that come after the query: key > query.",
    "`triu(diagonal=1)`: the diagonal above the main one",
    {"mask": "key >= query"},
    {"mask": "key >= query", "fill": -1e5},
    {"mask": "key >= query", "fill": "added"},
)
_ONE_AHEAD = Known(
    "mask-lets-the-next-token-through",
    "Your mask begins one place too late: every position still sees the next token.",
    "Hide every key that comes after the query, the next one included.",
    {"mask": "key > query + 1"},
    "`triu(diagonal=1)`, not 2; `tril()`, not `tril(1)`",
)
_WRONG_TRIANGLE = _ways(
    "mask-hides-the-past",
    "Your mask hides the wrong triangle: positions see the future and not the past.",
    "Rows are queries, columns are keys; what is hidden lies above the diagonal.",
    "`triu` keeps what lies above, `tril` what lies below; `masked_fill` fills where "
    "the mask is True",
    {"mask": "key < query"},
    {"mask": "key <= query"},
    {"mask": "key <= query", "fill": -1e5},
    {"mask": "key <= query", "fill": "added"},
)
_ZERO_FILL = Known(
    "future-set-to-zero",
    "You put 0 where the future is.",
    "After the softmax a score of 0 still weighs e⁰ = 1 against the others: it takes "
    "-inf to weigh nothing.",
    {"fill": 0.0},
    'fill with `float("-inf")` or -1e5; multiplying by `tril` makes zeros',
)
_POSITIVE_FILL = Known(
    "fill-has-the-wrong-sign",
    "You fill the future with a huge positive number, so it gets all the weight.",
    "The fill is hugely negative: e to the power of it is 0.",
    {"fill": 1e5},
    "look at the minus sign",
)
_FROM_VALUES = _ways(
    "mask-from-score-values",
    "Your mask looks at the values: it hides every score that is exactly 0.",
    "What is hidden depends on the places alone. A score may be 0 by itself, as with a "
    "query of zeros.",
    "make the mask from ones: `torch.ones(query_pos, key_pos).triu(1).bool()`",
    {"mask": "from values"},
    {"mask": "from values", "fill": -1e5},
)

MASK = (
    _NO_MASK,
    *_DIAGONAL,
    _ONE_AHEAD,
    *_WRONG_TRIANGLE,
    _ZERO_FILL,
    _POSITIVE_FILL,
    *_FROM_VALUES,
    Known(
        "softmax-included",
        "You return the pattern: the softmax is already in it.",
        "Return the masked scores; the softmax is the next exercise.",
        {"returns": "pattern"},
        "stop after the fill",
    ),
    Known(
        "returns-the-mask",
        "You return the mask by itself; the scores are not in it.",
        "Return the scores, with the future filled.",
        {"returns": "mask"},
        "`attn_scores.masked_fill(mask, ...)`, or `attn_scores + mask`",
    ),
)

# The pattern

_OVER_QUERIES = Known(
    "softmax-over-queries",
    "Your softmax runs over the queries: the columns sum to 1.",
    "Each query shares out a weight of 1 among its keys: the rows sum to 1.",
    {"over": -2},
    "`dim=-1` is key_pos in [batch, n_heads, query_pos, key_pos]",
)
_OVER_HEADS = _ways(
    "softmax-over-heads",
    "Your softmax runs over the heads.",
    "Every head by itself shares out a weight of 1 among the keys.",
    "`dim=-1`; without a dim, `F.softmax` picks an axis by an old rule, here the heads",
    {"over": 1},
    {"over": 1, "fill": -1e5},
)
_OVER_BATCH = _ways(
    "softmax-over-batch",
    "Your softmax runs over the batch.",
    "Texts of a batch have nothing to do with each other: each query shares out a "
    "weight of 1 among its keys.",
    "`dim=-1` is key_pos in [batch, n_heads, query_pos, key_pos]",
    {"over": 0},
    {"over": 0, "fill": -1e5},
)
_OVER_BOTH = Known(
    "softmax-over-both-positions",
    "Your softmax runs over queries and keys together: the whole matrix sums to 1.",
    "Every row sums to 1 by itself: one weight of 1 for each query.",
    {"over": "both positions"},
    "`dim=-1` and no other axis",
)
_EXP = Known(
    "not-normalized",
    "You take the exponential and do not divide by its sum.",
    "Each row is divided by its own sum, so that it sums to 1.",
    {"normalize": "exp"},
    "`masked_scores.softmax(dim=-1)` does both",
)
_NO_SOFTMAX = _ways(
    "no-softmax",
    "There is no softmax: the scores themselves are the weights.",
    "The softmax makes positive weights of them, which sum to 1 in each row.",
    "is its result kept, as in `pattern = scores.softmax(dim=-1)`?",
    {"normalize": "nothing"},
    {"normalize": "nothing", "fill": -1e5},
)
_TWICE = Known(
    "softmax-twice",
    "The softmax is there twice.",
    "Once is enough: a second one makes hidden keys visible again, since e⁰ = 1.",
    {"normalize": "twice"},
    "look for a softmax inside the mask or the scores",
)
_LOG = Known(
    "log-softmax",
    "You take the logarithm of the softmax.",
    "The pattern is the softmax itself: weights between 0 and 1.",
    {"normalize": "log"},
    "`softmax`, not `log_softmax`",
)
_SIGMOID = Known(
    "sigmoid",
    "You squash each score by itself, with a sigmoid.",
    "The keys compete: a softmax over each row makes weights that sum to 1.",
    {"normalize": "sigmoid"},
    "`masked_scores.softmax(dim=-1)`",
)

PATTERN = (
    _OVER_QUERIES,
    _OVER_HEADS[0],
    _OVER_BATCH[0],
    _OVER_BOTH,
    _EXP,
    _NO_SOFTMAX[0],
    _TWICE,
    _LOG,
    _SIGMOID,
)

# Mixing the values

_KEYS_NOT_TIED = Known(
    "keys-not-tied",
    "You sum the values of all positions, without the weights.",
    "Each value is multiplied by its own key's weight before the sum over key_pos.",
    {"mix": "keys not tied"},
    "in an einsum, one axis has one name: key_pos in the pattern and in v",
)
_PATTERN_TRANSPOSED = Known(
    "pattern-transposed",
    "You sum over the queries: each value is sent along a column of the pattern.",
    "A query takes a mean over its row: sum over key_pos.",
    {"mix": "transposed"},
    "key_pos is the pattern's last axis, and v's position",
)
_VALUES_OF_ALL_HEADS = Known(
    "values-of-all-heads",
    "Each head mixes the sum of all heads' values.",
    "A head mixes its own values.",
    {"mix": "heads not tied"},
    "n_heads has the same name in the pattern, in v and in z",
)
_Z_RESHAPED = Known(
    "z-reshaped",
    "z is [batch, n_heads, position, d_head] in memory and you reshape it. A reshape "
    "does not swap axes, so heads and positions are mixed up.",
    "Swap the two axes; then the shape is right and so are the numbers.",
    {"mix": "reshaped"},
    "`z.transpose(1, 2)` before any reshape, or the order in your einsum",
)
_AVERAGED = Known(
    "divided-by-the-number-of-keys",
    "You divide the sum by the number of keys.",
    "The weights sum to 1 already: the weighted sum is the mean.",
    {"mix": "averaged"},
    "a sum over key_pos, no mean",
)
_UNMIXED = Known(
    "values-not-mixed",
    "z is v itself: the pattern is not used.",
    "Each query's z is the sum over key_pos of weight · value.",
    {"mix": "unmixed"},
    "multiply the values by the pattern",
)

VALUES = (
    _KEYS_NOT_TIED,
    _PATTERN_TRANSPOSED,
    _VALUES_OF_ALL_HEADS,
    _Z_RESHAPED,
    _AVERAGED,
    _UNMIXED,
    Known(
        "heads-before-positions",
        "The numbers are right, and your axes are [batch, n_heads, position, d_head].",
        "This course keeps [batch, position, n_heads, d_head].",
        {"mix": "heads first"},
        "change the order on the right-hand side of your einsum",
    ),
    Known(
        "heads-not-split",
        "The numbers are right, and the heads are glued together already.",
        "z keeps an axis for the heads: [batch, position, n_heads, d_head].",
        {"mix": "flat"},
        "leave the heads apart; the output projection joins them",
    ),
)

# The output

_NO_B_O = Known(
    "b_O-forgotten",
    "You do not add b_O.",
    "The output has a bias of its own, of width d_model.",
    {"b_O_times": 0},
    "`... + b_O`, once, at the end",
)
_B_O_PER_HEAD = Known(
    "b_O-once-per-head",
    "You add b_O once for every head.",
    "Sum over the heads first, then add b_O one time.",
    {"b_O_times": "n_heads"},
    "take the bias out of the loop or the sum over heads",
)
_HEADS_KEPT = Known(
    "heads-not-summed",
    "You keep the heads apart: [batch, position, n_heads, d_model].",
    "All heads write into the same residual stream: sum over n_heads.",
    {"write": "heads kept"},
    "leave n_heads out on the right-hand side of your einsum",
)
_HEADS_MEAN = Known(
    "mean-over-heads",
    "You take the mean over the heads.",
    "Their results are added up.",
    {"write": "mean"},
    "`sum`, not `mean`",
)
_LAST_HEAD = Known(
    "only-the-last-head",
    "Only the last head is in your output.",
    "Every head adds to it.",
    {"write": "last head"},
    "`out = out + ...` in the loop, where now the last one replaces all others",
)
_FIRST_HEAD = Known(
    "only-the-first-head",
    "Only head 0 is in your output.",
    "Every head adds to it.",
    {"write": "first head"},
    "look for an index 0, or a `return` inside the loop",
)
_D_HEAD_FIRST = Known(
    "heads-joined-in-the-wrong-order",
    "You join the heads with d_head before n_heads.",
    "W_O is [n_heads, d_head, d_model]: head by head, as in `(n_heads d_head)`.",
    {"write": "d_head first"},
    "no transpose before the flatten, or an einsum, which needs neither",
)
_W_O_TRANSPOSED = Known(
    "W_O-transposed",
    "You make a square matrix of W_O and use its transpose.",
    "n_heads and d_head of z are summed with those of W_O; `F.linear` and `.T` turn a "
    "matrix round, and reshaping a square to itself does nothing.",
    {"write": "transposed"},
    "name the axes in an einsum instead of turning the matrix",
)
_Z_NOT_TIED = Known(
    "d-head-of-z-not-tied",
    "You sum z over d_head and W_O over d_head, each by itself, and then multiply.",
    "Each number of z meets its own row of W_O: one sum over d_head of z · W_O.",
    {"write": "d_head not tied"},
    "in an einsum, one axis has one name: d_head in both inputs",
)
_W_O_OF_ALL_HEADS = Known(
    "W_O-of-all-heads",
    "Each head goes through the sum of all heads' W_O.",
    "A head has its own part of W_O.",
    {"write": "heads not tied"},
    "n_heads has the same name in z and in W_O",
)

OUTPUT = (
    _NO_B_O,
    _B_O_PER_HEAD,
    _HEADS_KEPT,
    _HEADS_MEAN,
    _LAST_HEAD,
    _FIRST_HEAD,
    _D_HEAD_FIRST,
    Known(
        "z-reshaped",
        "You put the heads before the positions and then reshape: positions are mixed.",
        "In [batch, position, n_heads, d_head] the heads already stand beside d_head.",
        {"write": "positions mixed"},
        "`z.flatten(2)` without a transpose, or an einsum",
    ),
    _W_O_TRANSPOSED,
    _Z_NOT_TIED,
    _W_O_OF_ALL_HEADS,
)

# All of it


def _copied(into: str, name: str, weight: str, bias: str) -> Known:
    called = {"q": "queries", "k": "keys", "v": "values"}[into]
    letter = into.upper()
    own = f" (and b_{letter})" if bias == f"b_{letter}" else f" and {bias}"
    return Known(
        name,
        f"Your {called} are made with {weight}{own}.",
        f"They have weights of their own: W_{letter} and b_{letter}.",
        {f"{into}_from": (weight, bias)},
        "a copied line with a letter left as it was?",
    )


_COPIED = (
    _copied("v", "v-from-the-wrong-weights", "W_K", "b_K"),
    _copied("v", "v-from-the-wrong-weights", "W_K", "b_V"),
    _copied("v", "v-from-the-wrong-weights", "W_Q", "b_Q"),
    _copied("v", "v-from-the-wrong-weights", "W_Q", "b_V"),
    _copied("q", "q-from-the-wrong-weights", "W_K", "b_K"),
    _copied("q", "q-from-the-wrong-weights", "W_K", "b_Q"),
    _copied("q", "q-from-the-wrong-weights", "W_V", "b_V"),
    _copied("k", "k-from-the-wrong-weights", "W_Q", "b_Q"),
    _copied("k", "k-from-the-wrong-weights", "W_V", "b_V"),
)
_BIASES = (
    Known(
        "b_Q-forgotten",
        "b_Q is not used.",
        "It is added to the queries, one number for each head and each d_head.",
        {"q_from": ("W_Q", None)},
        "`q = ... + self.b_Q`",
    ),
    Known(
        "b_V-forgotten",
        "b_V is not used.",
        "It is added to the values, one number for each head and each d_head.",
        {"v_from": ("W_V", None)},
        "`v = ... + self.b_V`",
    ),
    Known(
        "no-biases-in-q-k-v",
        "b_Q, b_K and b_V are not used.",
        "Queries, keys and values each have a bias.",
        {"q_from": ("W_Q", None), "v_from": ("W_V", None)},
        "`q = ... + self.b_Q`, and so on",
    ),
    Known(
        "no-biases",
        "None of the four biases is used.",
        "Queries, keys, values and output each have one.",
        {"q_from": ("W_Q", None), "v_from": ("W_V", None), "b_O_times": 0},
        "`q = ... + self.b_Q`, and so on",
    ),
    Known(
        "b_Q-replaced",
        "The queries get another projection's bias.",
        "Queries get b_Q.",
        {"q_from": ("W_Q", "b_K")},
        "a copied line with a letter left as it was?",
    ),
    Known(
        "b_V-replaced",
        "The values get b_K.",
        "Values get b_V.",
        {"v_from": ("W_V", "b_K")},
        "a copied line with a letter left as it was?",
    ),
    Known(
        "b_V-replaced",
        "The values get b_Q.",
        "Values get b_V.",
        {"v_from": ("W_V", "b_Q")},
        "a copied line with a letter left as it was?",
    ),
)
_MASK_TOO_LATE = _ways(
    "mask-after-softmax",
    "You mask after the softmax.",
    "The softmax has then already given weight to the future: what is left in a row no "
    "longer sums to 1. Mask the scores, then take the softmax.",
    "change the order of the two lines",
    {"mask_when": "after", "fill": 0.0},
    {"mask_when": "after"},
    {"mask_when": "after", "fill": -1e5},
)
_SPLIT = _ways(
    "heads-split-by-reshaping",
    "You reshape [batch, position, ...] to [batch, n_heads, position, d_head]. A "
    "reshape does not move numbers, so positions end up in other heads.",
    "Split into [batch, position, n_heads, d_head], then swap two axes.",
    "`.unflatten(-1, (n_heads, d_head)).transpose(1, 2)`",
    {"split": "one way"},
    {"split": "both ways"},
)

_ALL = (
    *_SCALES,
    Known(
        "scale-after-softmax",
        "You divide the pattern by sqrt(d_head), after the softmax.",
        "Divide the scores, before mask and softmax; the pattern's rows sum to 1.",
        {"scale": "after the softmax"},
        "move the division up",
    ),
    _NO_MASK,
    *_MASK_TOO_LATE,
    *_DIAGONAL,
    _ONE_AHEAD,
    *_WRONG_TRIANGLE,
    _ZERO_FILL,
    _POSITIVE_FILL,
    *_FROM_VALUES,
    _OVER_QUERIES,
    *_OVER_HEADS,
    *_OVER_BATCH,
    _OVER_BOTH,
    *_NO_SOFTMAX,
    _EXP,
    _TWICE,
    _SIGMOID,
    _SWAPPED,
    _D_HEAD_NOT_TIED,
    _KEYS_OF_ALL_HEADS,
    _HEADS_WITH_HEADS,
    *_COPIED,
    *_BIASES,
    _D_MODEL_NOT_TIED,
    _WEIGHTS_RESHAPED,
    _WEIGHTS_TRANSPOSED,
    _ONE_HEAD,
    *_SPLIT,
    _KEYS_NOT_TIED,
    _PATTERN_TRANSPOSED,
    _VALUES_OF_ALL_HEADS,
    _Z_RESHAPED,
    _AVERAGED,
    _UNMIXED,
    _NO_B_O,
    _B_O_PER_HEAD,
    _HEADS_KEPT,
    _HEADS_MEAN,
    _LAST_HEAD,
    _FIRST_HEAD,
    _D_HEAD_FIRST,
    _W_O_TRANSPOSED,
    _Z_NOT_TIED,
    _W_O_OF_ALL_HEADS,
    Known(
        "input-added",
        "You add the input to the output.",
        "The block does that, and with the residual stream from before LayerNorm: "
        "attention returns only what it wants to write.",
        {"adds_input": True},
        "return the output projection by itself",
    ),
    Known(
        "detached-pattern",
        "The output is right, but scores or pattern are detached: W_Q and W_K cannot "
        "learn.",
        "The gradient must flow through the pattern as well as through the values.",
        {"detach": "pattern"},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
    Known(
        "detached-values",
        "The output is right, but the values are detached: W_V cannot learn.",
        "The gradient must flow through the values as well as through the pattern.",
        {"detach": "v"},
        "take out `.detach()`, `.data` and `no_grad`",
        gradient=True,
    ),
)

# Two of these at once are left to the narrowing report, which finds the first.
_RARE = {
    "scaled-by-sqrt-n-heads",
    "scaled-by-sqrt-positions",
    "scale-of-another-model",
    "multiplied-by-the-scale",
    "fill-has-the-wrong-sign",
    "softmax-over-heads",
    "softmax-over-batch",
    "softmax-over-both-positions",
    "not-normalized",
    "softmax-twice",
    "sigmoid",
    "keys-of-all-heads",
    "heads-compared-with-heads",
    "weights-reshaped",
    "weights-transposed",
    "first-head-everywhere",
    "heads-split-by-reshaping",
    "values-of-all-heads",
    "divided-by-the-number-of-keys",
    "values-not-mixed",
    "heads-not-summed",
    "only-the-first-head",
    "W_O-transposed",
    "W_O-of-all-heads",
    "d-head-of-z-not-tied",
    "no-biases",
    "b_Q-replaced",
    "b_V-replaced",
}
ATTENTION = tuple(replace(k, alone=k.name in _RARE) for k in _ALL)
