"""The checks of notebook 08's KV cache: mask, attention, model, and greedy with it.

A class that takes a cache is judged by what it returns piece by piece: a text cut
into several calls must give what one call on the whole text gives.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers import generation
from helpers.checks.cases import Case, Source, loaded, noise, stirred
from helpers.checks.check import Check
from helpers.checks.filters import instead_of, wrong
from helpers.checks.generation import _model_first, _with_model, generation_case
from helpers.checks.guard import NotDrawn
from helpers.checks.report import Mistake, Report
from helpers.config import Config
from helpers.generation import CachedAttention, CachedTransformer, LayerCache, new_cache
from helpers.model import (
    attention_output,
    attention_pattern,
    attention_scores,
    attention_values,
)

INF = float("inf")

# ------------------------------------------------------------------ the mask


def _masked(
    offset: Callable[[int, int], int], keep_future: bool = False, fill: float = -INF
):
    """A mask whose diagonal lies elsewhere, or which hides the past."""

    def mask(scores: Tensor) -> Tensor:
        query_pos, key_pos = scores.shape[-2:]
        everywhere = torch.ones(query_pos, key_pos, dtype=torch.bool)
        hidden = everywhere.triu(offset(query_pos, key_pos))
        return scores.masked_fill(~hidden if keep_future else hidden, fill)

    return mask


def _square(side: Callable[[int, int], int]):
    """A square mask, laid over scores that may be no square."""

    def mask(scores: Tensor) -> Tensor:
        n = side(*scores.shape[-2:])
        return scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -INF)

    return mask


def _mask_cases() -> list[Case]:
    small, big = stirred(), loaded()
    square = small.cache["blocks.0.attn.hook_q"], small.cache["blocks.0.attn.hook_k"]
    scores = attention_scores(*square)  # [batch, n_heads, query_pos, key_pos]
    whole = attention_scores(
        big.cache["blocks.0.attn.hook_q"], big.cache["blocks.0.attn.hook_k"]
    )
    given = [
        (small, scores, "without a past"),
        (small, scores[:, :, -1:], "with one new position"),
        (small, scores[:, :, -3:], "with three new positions"),
        (small, scores[:1, :, -2:, -5:], "on a batch of one"),
        (small, torch.zeros(2, 3, 4, 6), "with scores that are all 0"),
        (big, whole[:, :, -4:], "with four new positions"),
    ]
    return [
        Case(source=s.label, detail=detail, cfg=s.cfg, inputs=(x,), grad=i == 0)
        for i, (s, x, detail) in enumerate(given)
    ]


_THE_LAST = (
    "The queries are the *last* positions: the first of them comes after "
    "key_pos − query_pos others, and sees them all."
)

cached_mask = Check(
    name="cached_mask",
    answer="apply_cached_mask",
    course=generation.apply_cached_mask,
    compute=instead_of(generation.apply_cached_mask),
    make_cases=_mask_cases,
    known=(
        wrong(
            "mask-counts-from-zero",
            "Your mask takes the first query for position 0, so that it hides the "
            "past.",
            _THE_LAST,
            "`triu(diagonal=past + 1)` with past = key_pos − query_pos; or the *last* "
            "query_pos rows of a square mask, not the first",
            _masked(lambda q, k: 1),
        ),
        wrong(
            "mask-of-the-queries-size",
            "Your mask is a square of query_pos, and the scores are not.",
            "The mask has the shape of the scores: [query_pos, key_pos].",
            "`torch.ones(query_pos, key_pos)`",
            _square(lambda q, k: q),
        ),
        wrong(
            "mask-of-the-keys-size",
            "Your mask is a square of key_pos, and the scores are not.",
            "The mask has the shape of the scores: [query_pos, key_pos].",
            "`torch.ones(query_pos, key_pos)`; or cut the last query_pos rows out of "
            "the square",
            _square(lambda q, k: k),
        ),
        *[
            wrong(
                "mask-hides-the-diagonal",
                "Your mask hides each position from itself.",
                "A query sees its own key, which is the last of those it may see.",
                "`diagonal=past + 1`, not `past`",
                _masked(lambda q, k: k - q, fill=fill),
            )
            for fill in (-INF, -1e9)  # a row that is all hidden: NaN, or all alike
        ],
        wrong(
            "sees-one-too-far",
            "Each query sees one key too many: the next position's.",
            "The line lies at past + 1, where past = key_pos − query_pos.",
            "`diagonal=past + 1`",
            _masked(lambda q, k: k - q + 2),
        ),
        wrong(
            "nothing-masked",
            "Nothing is masked.",
            "With one new position that is right; but a prompt is read in one go, and "
            "its positions must not see what comes after them.",
            "several queries need a mask",
            lambda x: x.clone(),
        ),
        wrong(
            "past-hidden",
            "You hide the past and show the future.",
            "Turn it round: `triu` marks what is hidden.",
            "`triu`, not `tril`",
            _masked(lambda q, k: k - q, keep_future=True),
        ),
    ),
    view=lambda scores: scores.softmax(-1),
    in_place=True,
    axes=("batch", "n_heads", "query_pos", "key_pos"),
    hints=(
        "Ten keys and three queries: at which position does the first query stand?",
        "At key_pos − query_pos. It sees that many keys and its own.",
        "The mask of notebook 04, `torch.ones(query_pos, key_pos)...triu(1)`, with the "
        "diagonal moved to the right by key_pos − query_pos.",
    ),
    lesson="08_generation.ipynb#The-mask",
    against="the target",
)


# ------------------------------------------------------------------ pieces


def _fed(module: nn.Module, x: Tensor, pieces, caches: list) -> list:
    """What a module returns for each piece of x, one cache for all of them."""
    outputs, start = [], 0
    for length in pieces:
        outputs.append(module(x[:, start : start + length], caches))
        start += length
    return outputs


def _joined(outputs: list):
    """Along the positions; the first that is no tensor, if there is one."""
    odd = [output for output in outputs if not isinstance(output, Tensor)]
    return odd[0] if odd else torch.cat(outputs, dim=1)


def _two_in_turn(module: nn.Module, x: Tensor, other: Tensor, pieces, make: Callable):
    """Two texts piece by piece, in turn, each with a cache of its own."""
    caches, outputs, start = (make(), make()), ([], []), 0
    for length in pieces:
        for text, cache, kept in zip((x, other), caches, outputs, strict=True):
            kept.append(module(text[:, start : start + length], cache))
        start += length
    joined = [_joined(kept) for kept in outputs]
    odd = [output for output in joined if not isinstance(output, Tensor)]
    return odd[0] if odd else torch.cat(joined, dim=0)


def _drive(module: nn.Module, x: Tensor, pieces, make: Callable, other=None):
    with torch.no_grad():
        if other is None:
            return _joined(_fed(module, x, pieces, make()))
        return _two_in_turn(module, x, other, pieces, make)


def _driven(make_cache: Callable):
    """Let a class with `forward(x, cache)` be judged as one with `forward(x)`."""

    def prepare(candidate):
        if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
            return candidate
        if "forward" not in vars(candidate):
            return candidate

        @functools.wraps(candidate.forward)
        def forward(self, x, pieces, other=None):
            make = functools.partial(make_cache, self._cfg, x.shape[0])
            inner = functools.partial(candidate.forward, self)
            return _drive(inner, x, pieces, make, other)

        def init(self, cfg):
            candidate.__init__(self, cfg)
            self._cfg = cfg

        body = {"forward": forward, "__init__": init}
        if "__init__" in vars(candidate):
            body["__init__"] = functools.wraps(candidate.__init__)(init)
        return type(candidate.__name__, (candidate,), body)

    return prepare


def _through(course: type, make_cache: Callable):
    """The reference computation: the course's class, or another in its place."""

    def compute(x, *, p, cfg, pieces, other=None, instead=course):
        # no time for random weights that are replaced
        with torch.device("meta"), NotDrawn():
            module = instead(cfg)
        module.load_state_dict(p, assign=True)
        make = functools.partial(make_cache, cfg, x.shape[0])
        return _drive(module, x, pieces, make, other)

    return compute


# ------------------------------------------------------------------ attention


def _kept(
    k: Callable = lambda old, new: torch.cat([old, new], 1),
    v: Callable | None = None,
    attends: Callable = lambda kept, new: kept,
    mask: Callable = generation.apply_cached_mask,
    keeps: Callable = lambda kept, new: kept,
):
    """A CachedAttention that does something else with its cache.

    Args:
        k: what keys are made of the cached and the new ones.
        v: the same for values; as for keys if not given.
        attends: what is attended to, of all and of the new ones.
        mask: the mask.
        keeps: what stays in the cache, of all and of the new ones.
    """
    v = v or k

    class Wrong(CachedAttention):
        def forward(self, x, cache):
            q = generation.project(x, self.W_Q, self.b_Q)
            new_k = generation.project(x, self.W_K, self.b_K)
            new_v = generation.project(x, self.W_V, self.b_V)
            all_k, all_v = k(cache.k, new_k), v(cache.v, new_v)
            cache.k, cache.v = keeps(all_k, new_k), keeps(all_v, new_v)
            all_k, all_v = attends(all_k, new_k), attends(all_v, new_v)
            scores = attention_scores(q, all_k)
            z = attention_values(attention_pattern(mask(scores)), all_v)
            return attention_output(z, self.W_O, self.b_O)

    return Wrong


class _OnSelf(CachedAttention):
    """Keeps what it saw on itself, so that all texts share it."""

    def forward(self, x, cache):
        if not hasattr(self, "mine"):
            self.mine = LayerCache(self.cfg, x.shape[0])
        return super().forward(x, self.mine)


class _NoScale(CachedAttention):
    def forward(self, x, cache):
        q = generation.project(x, self.W_Q, self.b_Q)
        cache.k = torch.cat([cache.k, generation.project(x, self.W_K, self.b_K)], 1)
        cache.v = torch.cat([cache.v, generation.project(x, self.W_V, self.b_V)], 1)
        scores = torch.einsum("bqnh,bknh->bnqk", q, cache.k)
        pattern = generation.apply_cached_mask(scores).softmax(-1)
        z = attention_values(pattern, cache.v)
        return attention_output(z, self.W_O, self.b_O)


def _attention_cases() -> list[Case]:
    small, big = stirred(), loaded()
    layer = "blocks.1" if small.cfg.n_layers > 1 else "blocks.0"
    x = small.cache[f"{layer}.ln1.hook_normalized"]
    right = small.cache[f"{layer}.hook_attn_out"]
    params = small.part(f"{layer}.attn.")
    given = [
        ((7,), "in one piece"),
        ((4, 1, 1, 1), "a prompt of four, then one by one"),
        ((1,) * 7, "one by one"),
        ((2, 3, 2), "in pieces of several"),
    ]
    cases = [
        Case(
            source=small.label,
            detail=detail,
            cfg=small.cfg,
            inputs=(x,),
            params=params,
            expected=right,
            extra={"pieces": pieces},
        )
        for pieces, detail in given
    ]
    cases.append(
        Case(
            source=small.label,
            detail="two texts in turn, each with its own cache",
            cfg=small.cfg,
            inputs=(x[:1],),
            params=params,
            expected=right,
            extra={"pieces": (5, 1, 1), "other": x[1:]},
        )
    )
    cases.append(
        Case(
            source=big.label,
            detail="a prompt, then one by one",
            cfg=big.cfg,
            inputs=(big.cache["blocks.0.ln1.hook_normalized"][:, :8],),
            params=big.part("blocks.0.attn."),
            expected=big.cache["blocks.0.hook_attn_out"][:, :8],
            extra={"pieces": (5, 1, 1, 1)},
        )
    )
    return cases


def _layer_cache(cfg: Config, batch: int) -> LayerCache:
    return LayerCache(cfg, batch)


_JOIN = "`cache.k = torch.cat([cache.k, k], dim=1)`, and the same for v"

cached_attention = Check(
    name="cached_attention",
    answer="CachedAttention",
    course=CachedAttention,
    compute=_through(CachedAttention, _layer_cache),
    make_cases=_attention_cases,
    prepare=_driven(_layer_cache),
    known=(
        wrong(
            "cache-not-used",
            "Each piece sees itself alone: what came before is not kept, or not looked "
            "at.",
            "Put the new keys and values behind the cached ones, keep the result in "
            "the cache, and attend to all of it.",
            _JOIN,
            _kept(attends=lambda kept, new: new),
        ),
        wrong(
            "only-the-last-piece-kept",
            "You attend to the cached and the new keys, but keep only the new ones.",
            "The cache holds everything so far.",
            _JOIN,
            _kept(keeps=lambda kept, new: new),
        ),
        wrong(
            "keys-appended-twice",
            "New keys and values go into the cache twice.",
            "Once is right: `torch.cat` in one place only.",
            "attend to `cache.k` and `cache.v` as they are after the one `cat`",
            _kept(k=lambda old, new: torch.cat([old, new, new], 1)),
        ),
        wrong(
            "new-keys-in-front",
            "You put new keys in front of the old ones.",
            "The mask counts on their order: old first, new behind.",
            _JOIN,
            _kept(k=lambda old, new: torch.cat([new, old], 1)),
        ),
        wrong(
            "values-not-cached",
            "The keys are cached, the values are not.",
            "A query that finds an old key needs the value that belongs to it.",
            _JOIN,
            _kept(v=lambda old, new: new),
        ),
        wrong(
            "keys-not-cached",
            "The values are cached, the keys are not.",
            "An old value is found through its key.",
            _JOIN,
            _kept(k=lambda old, new: new, v=lambda old, new: torch.cat([old, new], 1)),
        ),
        wrong(
            "joined-along-the-heads",
            "You join along the axis of the heads.",
            "The cache grows along the positions: [batch, position, n_heads, d_head].",
            "`dim=1`",
            _kept(k=lambda old, new: torch.cat([old, new], 2)),
        ),
        wrong(
            "joined-along-the-batch",
            "You join along the batch.",
            "The cache grows along the positions: [batch, position, n_heads, d_head].",
            "`dim=1`",
            _kept(k=lambda old, new: torch.cat([old, new], 0)),
        ),
        wrong(
            "mask-counts-from-zero",
            "Your mask takes the first new query for position 0: it hides the past.",
            "Use the mask that knows how many keys were there before.",
            "`apply_cached_mask`, not `apply_causal_mask`",
            _kept(mask=_masked(lambda q, k: 1)),
        ),
        wrong(
            "no-mask",
            "There is no mask.",
            "One new query alone needs none, but the positions of a prompt must not "
            "see what comes after them.",
            "`apply_cached_mask(scores)`",
            _kept(mask=lambda scores: scores),
        ),
        wrong(
            "cache-shared",
            "Two texts share one cache: you keep keys and values somewhere else than "
            "in the cache you are given.",
            "Whoever calls you hands over the cache of *this* text. Beams and later "
            "calls bring others.",
            "`cache.k` and `cache.v`, nothing on `self`",
            _OnSelf,
        ),
        wrong(
            "no-scale",
            "The scores are not divided by the root of d_head.",
            "Nothing changes there: scores are q · k / sqrt(d_head).",
            "`attention_scores(q, cache.k)` divides",
            _NoScale,
        ),
    ),
    axes=("batch", "position", "d_model"),
    hints=(
        "Which of q, k and v of old positions does a new position need?",
        "Keys and values. Join the cached and the new ones along the positions, keep "
        "the result in the cache, and go on as in Attention, with the new mask.",
        "`cache.k = torch.cat([cache.k, k], dim=1)`, the same for v; then scores of q "
        "with cache.k, `apply_cached_mask`, softmax, values from cache.v.",
    ),
    lesson="08_generation.ipynb#Attention-with-a-cache",
)


# ------------------------------------------------------------------ the model


def _model_like(
    first: Callable = lambda cache, new: cache[0].k.shape[1],
    cache_of: Callable = lambda cache, i, cfg: cache[i],
    normalized: bool = True,
    last_only: bool = False,
):
    """A CachedTransformer with other positions, or that hands other caches on.

    Args:
        first: the position of the first new token.
        cache_of: the cache that block i gets.
        normalized: apply `ln_final`.
        last_only: return the last position's logits only.
    """

    class Wrong(CachedTransformer):
        def forward(self, tokens, cache):
            past, new = first(cache, tokens), tokens.shape[1]
            residual = self.embed(tokens) + self.pos_embed.W_pos[past : past + new]
            for i, block in enumerate(self.blocks):
                residual = block(residual, cache_of(cache, i, self.cfg))
            residual = self.ln_final(residual) if normalized else residual
            logits = self.unembed(residual)
            return logits[:, -1:] if last_only else logits

    return Wrong


class _OnItself(CachedTransformer):
    """Keeps one cache for all texts."""

    def forward(self, tokens, cache):
        if not hasattr(self, "mine"):
            self.mine = new_cache(self.cfg, tokens.shape[0])
        return super().forward(tokens, self.mine)


class _PositionAtEveryBlock(CachedTransformer):
    def forward(self, tokens, cache):
        past, new = cache[0].k.shape[1], tokens.shape[1]
        pos_embed = self.pos_embed.W_pos[past : past + new]
        residual = self.embed(tokens) + pos_embed
        for i, (block, kept) in enumerate(zip(self.blocks, cache, strict=True)):
            residual = block(residual + pos_embed if i else residual, kept)
        return self.unembed(self.ln_final(residual))


def _model_case(
    source: Source, tokens: Tensor, pieces, detail: str, other=None
) -> Case:
    both = tokens if other is None else torch.cat([tokens, other])
    logits, _ = source.reference.run_with_cache(both)
    extra = {"pieces": pieces} | ({} if other is None else {"other": other})
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens,),
        params=source.weights,
        expected=logits,
        extra=extra,
    )


def _model_cases() -> list[Case]:
    small, few, big = stirred(), stirred(n_layers=2), loaded()
    tokens, n_ctx = small.tokens, small.cfg.n_ctx
    full = (noise(2, n_ctx, seed=31).abs() * 1e4).long() % small.cfg.d_vocab
    return [
        _model_case(small, tokens, (7,), "in one piece"),
        _model_case(small, tokens, (4, 1, 1, 1), "a prompt of four, then one by one"),
        _model_case(small, tokens[:1], (1,) * 7, "on a batch of one, one by one"),
        _model_case(few, tokens, (2, 3, 2), "with 2 layers, in pieces of several"),
        _model_case(small, full, (8, 1, 1, 1), "up to the full context"),
        _model_case(
            small,
            tokens[:1],
            (5, 1, 1),
            "two texts in turn, each with its own cache",
            tokens[1:],
        ),
        _model_case(big, big.tokens[:, :8], (5, 1, 1, 1), "a prompt, then one by one"),
    ]


cached_transformer = Check(
    name="cached_transformer",
    answer="CachedTransformer",
    course=CachedTransformer,
    compute=_through(CachedTransformer, new_cache),
    make_cases=_model_cases,
    prepare=_driven(new_cache),
    known=(
        wrong(
            "position-not-offset",
            "New tokens get the positions from 0 on, whatever came before.",
            "A token's position is its place in the whole text: the first new one "
            "stands at the length of the cache.",
            "`W_pos[past : past + position]` with past = `cache[0].k.shape[1]`",
            _model_like(first=lambda cache, new: 0),
        ),
        wrong(
            "position-one-too-far",
            "New tokens get the position after their own.",
            "Positions count from 0: with `past` tokens in the cache the first new one "
            "has position past.",
            "`W_pos[past : past + position]`",
            _model_like(first=lambda cache, new: cache[0].k.shape[1] + 1),
        ),
        wrong(
            "position-one-too-low",
            "New tokens get the position before their own, once there is a past.",
            "With `past` tokens in the cache the first new one has position past.",
            "`W_pos[past : past + position]`",
            _model_like(first=lambda cache, new: max(cache[0].k.shape[1] - 1, 0)),
        ),
        wrong(
            "position-from-the-wrong-axis",
            "You take the batch for the length of the cache.",
            "`cache[0].k` is [batch, position, n_heads, d_head]: axis 1 is its length.",
            "`.shape[1]`",
            _model_like(first=lambda cache, new: cache[0].k.shape[0]),
        ),
        wrong(
            "position-from-the-heads",
            "You take the number of heads for the length of the cache.",
            "`cache[0].k` is [batch, position, n_heads, d_head]: axis 1 is its length.",
            "`.shape[1]`",
            _model_like(first=lambda cache, new: cache[0].k.shape[2]),
        ),
        wrong(
            "cache-not-handed-on",
            "Each piece sees itself alone, though its positions are right: the blocks "
            "do not get the cache that you were given.",
            "Block i reads and fills `cache[i]`.",
            "no `new_cache` and no `LayerCache` in `forward`",
            _model_like(
                cache_of=lambda cache, i, cfg: LayerCache(cfg, cache[i].k.shape[0])
            ),
        ),
        wrong(
            "one-cache-for-all-layers",
            "All blocks share the cache of the first.",
            "Each layer has keys and values of its own: block i gets `cache[i]`.",
            "`zip(self.blocks, cache)`",
            _model_like(cache_of=lambda cache, i, cfg: cache[0]),
        ),
        wrong(
            "cache-shared",
            "Two texts share one cache: you keep it on the model.",
            "Whoever calls the model hands over the cache of *this* text.",
            "use the argument `cache`, nothing on `self`",
            _OnItself,
        ),
        wrong(
            "positions-added-at-every-block",
            "You add the positional embedding again in front of every block.",
            "It is added once, at the start.",
            "take it out of the loop",
            _PositionAtEveryBlock,
        ),
        wrong(
            "no-final-layernorm",
            "`ln_final` is missing.",
            "As in DemoTransformer, it comes before the unembedding.",
            "`self.unembed(self.ln_final(residual))`",
            _model_like(normalized=False),
        ),
        wrong(
            "last-position-only",
            "You return the logits of the last position alone.",
            "Every new position has logits: [batch, position, d_vocab].",
            "choosing the last one is for the caller",
            _model_like(last_only=True),
        ),
    ),
    axes=("batch", "position", "d_vocab"),
    hints=(
        "Five tokens are in the cache. Which row of W_pos belongs to the next one?",
        "Row 5: `past = cache[0].k.shape[1]`, then one row for each new token. Block i "
        "gets `cache[i]`.",
        "`self.embed(tokens) + self.pos_embed.W_pos[past : past + tokens.shape[1]]`; "
        "then `for block, layer_cache in zip(self.blocks, cache): residual = "
        "block(residual, layer_cache)`.",
    ),
    lesson="08_generation.ipynb#The-model-with-a-cache",
)


# ------------------------------------------------------------------ greedy


class Counting(nn.Module):
    """A right CachedTransformer that counts the positions it has worked through."""

    def __init__(self, source: Source):
        super().__init__()
        self.cfg, self.positions = source.cfg, 0
        with torch.device("meta"), NotDrawn():
            self.inner = CachedTransformer(source.cfg)
        self.inner.load_state_dict(source.weights, assign=True)

    @torch.no_grad()
    def forward(self, tokens: Tensor, cache: list) -> Tensor:
        """Logits [batch, position, d_vocab] of the new tokens."""
        self.positions += tokens.shape[1]
        return self.inner(tokens, cache)


def _cached_steps(
    reads: Callable = lambda tokens, new: new,
    first: Callable = lambda prompt: prompt,
    renew: bool = False,
    at: int = -1,
    gives: Callable = lambda tokens, prompt: tokens,
    more: int = 0,
):
    """Greedy with a cache, with knobs.

    Args:
        reads: what the model reads after the first time.
        first: what it reads the first time.
        renew: make a new cache in each round.
        at: the position whose logits count.
        gives: what is returned.
        more: how many tokens too many.
    """

    def generate(model, tokens, n_new):
        prompt, new = tokens, first(tokens)
        cache = new_cache(model.cfg, tokens.shape[0])
        for _ in range(n_new + more):
            if renew:
                cache = new_cache(model.cfg, tokens.shape[0])
            new = model(new, cache)[:, at].argmax(-1)[:, None]
            tokens = torch.cat([tokens, new], 1)
            new = reads(tokens, new)
        return gives(tokens, prompt)

    return generate


def _greedy_cases() -> list[Case]:
    small, big = stirred(), loaded()
    given = [
        (small, small.tokens[:, :3], 5, ""),
        (small, small.tokens[1:, :1], 6, "from a single token"),
        (small, small.tokens[:, :2], 2, "with two new tokens"),
        (big, big.tokens[:, :5], 5, ""),
    ]
    return [
        generation_case(Counting(source), source, tokens, n_new, detail)
        for source, tokens, n_new, detail in given
    ]


class CountingCheck(Check):
    """The right tokens are not enough: no token may be worked through twice."""

    def _examine(self, candidate) -> Report:
        report = super()._examine(candidate)
        if report.status != "passed":
            return report
        source, n_new = stirred(), 6
        prompt, model = source.tokens[:, :4], Counting(stirred())
        candidate(model, prompt.clone(), n_new)
        if model.positions <= prompt.shape[1] + n_new:
            return report
        return self._failed(
            Mistake(
                "cache-saves-nothing",
                f"The tokens are right, but the model read {model.positions} positions "
                f"to add {n_new} tokens to {prompt.shape[1]}: old ones go through it "
                "again and again.",
                "one cache before the loop; after the prompt, feed the newest token "
                "alone",
            )
        )


greedy_cached = CountingCheck(
    name="greedy_cached",
    answer="greedy_cached",
    course=generation.greedy_cached,
    compute=_with_model(generation.greedy_cached),
    make_cases=_greedy_cases,
    prepare=_model_first,
    known=(
        wrong(
            "whole-text-fed-again",
            "You feed the whole text in every round, with a cache that holds it "
            "already: all keys are in there several times.",
            "After the prompt, feed the newest token alone.",
            "`model(new_tokens, cache)`, where new_tokens is [batch, 1] after the "
            "first round",
            _cached_steps(reads=lambda tokens, new: tokens),
        ),
        wrong(
            "cache-made-anew",
            "Every round begins with an empty cache, so that the model knows the last "
            "token only.",
            "One cache for the whole text: make it before the loop.",
            "move `new_cache` in front of the loop",
            _cached_steps(renew=True),
        ),
        wrong(
            "prompt-not-fed",
            "You feed the prompt's last token only: the rest never reaches the model.",
            "The first call gets the whole prompt, which fills the cache.",
            "`new_tokens = tokens` before the loop",
            _cached_steps(first=lambda prompt: prompt[:, -1:]),
        ),
        wrong(
            "prompt-fed-again",
            "You feed the prompt in every round.",
            "After the first round, feed the newest token alone.",
            "the loop must change what the model reads",
            lambda model, tokens, n_new: _prompt_again(model, tokens, n_new),
        ),
        wrong(
            "first-positions-logits",
            "You take the logits of the first position that you fed.",
            "What comes next is told at the last one: `[:, -1]`.",
            "which position has seen the whole text?",
            _cached_steps(at=0),
        ),
        wrong(
            "prompt-dropped",
            "You return the new tokens alone.",
            "Return the whole text, prompt first: [batch, position + n_new].",
            "`torch.cat([tokens, new_tokens], dim=1)`",
            _cached_steps(gives=lambda tokens, prompt: tokens[:, prompt.shape[1] :]),
        ),
        wrong(
            "returns-in-the-loop",
            "You add one token and return.",
            "n_new of them are wanted: the `return` belongs after the loop.",
            "look at how far the `return` is indented",
            _cached_steps(gives=lambda tokens, old: tokens[:, : old.shape[1] + 1]),
        ),
        wrong(
            "one-too-few",
            "You add one token too few.",
            "n_new of them are wanted; the call on the prompt gives the first.",
            "count the rounds of your loop",
            _cached_steps(more=-1),
        ),
        wrong(
            "one-too-many",
            "You add one token too many.",
            "n_new of them are wanted; the call on the prompt gives the first.",
            "count the rounds of your loop",
            _cached_steps(more=1),
        ),
    ),
    axes=("batch", "position"),
    hints=(
        "Which tokens has the model not seen yet, in the first round and later on?",
        "First the whole prompt, then the newest token alone; one cache for all calls.",
        "`cache = new_cache(model.cfg, tokens.shape[0])` before the loop; in it, "
        "`model(new_tokens, cache)[:, -1].argmax(dim=-1, keepdim=True)`.",
    ),
    lesson="08_generation.ipynb#Greedy-with-a-cache",
    against="transformers' `generate`",
)


def _prompt_again(model, tokens: Tensor, n_new: int) -> Tensor:
    prompt, cache = tokens, new_cache(model.cfg, tokens.shape[0])
    for _ in range(n_new):
        new = model(prompt, cache)[:, -1].argmax(-1)[:, None]
        tokens = torch.cat([tokens, new], 1)
    return tokens
