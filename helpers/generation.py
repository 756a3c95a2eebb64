"""Notebook 08's own answers: choosing tokens, and a GPT-2 that remembers its keys.

The same code as in the notebook. Everywhere `logits` are [batch, d_vocab], those of
the last position, and `tokens` are ids [batch, position].
"""

import torch
from torch import nn

from helpers.config import Config
from helpers.model import (
    Attention,
    DemoTransformer,
    TransformerBlock,
    attention_output,
    attention_pattern,
    attention_scores,
    attention_values,
)


def refuse_what_does_not_fit(cfg, tokens, n_new):
    """Stop at an empty prompt, or at a text that would outgrow the model's window."""
    position = tokens.shape[1]
    if position == 0:
        raise ValueError("The prompt is empty: give at least the start token.")
    if position + n_new > cfg.n_ctx:
        raise ValueError(
            f"{position} tokens and {n_new} new ones are more than this model can "
            f"read (n_ctx = {cfg.n_ctx}): shorten the prompt, or ask for fewer."
        )


@torch.no_grad()
def greedy(model, tokens, n_new):
    """Add the likeliest token, n_new times: -> [batch, position + n_new]."""
    for _ in range(n_new):
        logits = model(tokens)[:, -1]  # [batch, position, d_vocab] -> [batch, d_vocab]
        next_tokens = logits.argmax(dim=-1, keepdim=True)  # -> [batch, 1]
        tokens = torch.cat([tokens, next_tokens], dim=1)
    return tokens


def sample(logits):
    """Draw a token for each row, as likely as softmax says: -> [batch, 1]."""
    probs = logits.softmax(dim=-1)  # [batch, d_vocab]
    return torch.multinomial(probs, num_samples=1)


def apply_temperature(logits, temperature):
    """Make the choice bolder (above 1) or safer (below 1): [batch, d_vocab]."""
    if temperature <= 0:
        raise ValueError("The temperature must be above 0; for its limit, use greedy.")
    return logits / temperature


def top_k(logits, k):
    """Keep the k best logits, put -inf at the others; ties with the k-th stay."""
    if k < 1:
        raise ValueError("k must be at least 1; to keep every token, use no top-k.")
    k = min(k, logits.shape[-1])
    kth = logits.topk(k, dim=-1).values[:, -1:]  # [batch, d_vocab] -> [batch, 1]
    return logits.masked_fill(logits < kth, float("-inf"))


def top_p(logits, p):
    """Keep the likeliest tokens until they hold p of the probability, -inf the rest."""
    if p >= 1:
        return logits  # every token stays
    p = max(p, 1e-9)  # even at 0 the likeliest one does
    ordered, tokens = logits.sort(dim=-1, descending=True)
    probs = ordered.softmax(dim=-1)
    before = probs.cumsum(dim=-1) - probs  # what the likelier tokens hold together
    ordered = ordered.masked_fill(before >= p, float("-inf"))
    # from the order of likelihood back to the order of token ids
    return torch.empty_like(logits).scatter(-1, tokens, ordered)


def repetition_penalty(logits, tokens, penalty):
    """Push the tokens that are in the text already down: [batch, d_vocab]."""
    if penalty <= 0:
        raise ValueError("The penalty must be above 0; 1 changes nothing.")
    seen = logits.gather(-1, tokens)  # [batch, d_vocab] -> [batch, position]
    lower = torch.where(seen > 0, seen / penalty, seen * penalty)
    return logits.scatter(-1, tokens, lower)


@torch.no_grad()
def beam_search(model, tokens, n_new, n_beams):
    """The best text that n_beams parallel attempts find: -> [1, position + n_new].

    tokens: [1, position]. The score of a text is the sum of its log probabilities.
    """
    beams = tokens  # [n_beams, position]: a single one at first
    scores = torch.zeros(1, device=tokens.device)  # [n_beams]
    for _ in range(n_new):
        log_probs = model(beams)[:, -1].log_softmax(dim=-1)  # [n_beams, d_vocab]
        totals = scores[:, None] + log_probs
        d_vocab = totals.shape[-1]
        # [n_beams, d_vocab] -> [n_beams * d_vocab] -> [n_beams]
        scores, best = totals.flatten().topk(n_beams)
        beam, next_token = best // d_vocab, best % d_vocab
        beams = torch.cat([beams[beam], next_token[:, None]], dim=1)
    return beams[:1]  # topk sorts: the first is the best


class LayerCache:
    """One layer's keys and values so far, [batch, position, n_heads, d_head]."""

    def __init__(self, cfg: Config, batch: int, device=None, dtype=None):
        empty = (batch, 0, cfg.n_heads, cfg.d_head)
        self.k = torch.zeros(empty, device=device, dtype=dtype)
        self.v = torch.zeros(empty, device=device, dtype=dtype)


def new_cache(cfg, batch, device=None, dtype=None):
    """An empty cache: one LayerCache for each block."""
    return [LayerCache(cfg, batch, device, dtype) for _ in range(cfg.n_layers)]


def project(x, W, b):
    """What attention_projections computes, without copying W for a single position."""
    # [batch, 1, position, d_model] @ [n_heads, d_model, d_head]
    # -> [batch, n_heads, position, d_head] -> [batch, position, n_heads, d_head]
    return (x[:, None] @ W).transpose(1, 2) + b


def apply_cached_mask(attn_scores):
    """Put -inf where the key comes after the query; the queries are the last ones."""
    # attn_scores: [batch, n_heads, query_pos, key_pos], key_pos >= query_pos
    query_pos, key_pos = attn_scores.shape[-2:]
    past = key_pos - query_pos  # so many keys were there before the first query
    everywhere = torch.ones(
        query_pos, key_pos, dtype=torch.bool, device=attn_scores.device
    )
    future = everywhere.triu(diagonal=past + 1)
    return attn_scores.masked_fill(future, float("-inf"))


class CachedAttention(Attention):
    """Attention that is given new positions only, and remembers the old ones."""

    def forward(self, normalized_resid_pre, cache):
        # normalized_resid_pre: [batch, position, d_model], the new positions
        q = project(normalized_resid_pre, self.W_Q, self.b_Q)
        k = project(normalized_resid_pre, self.W_K, self.b_K)
        v = project(normalized_resid_pre, self.W_V, self.b_V)
        # [batch, past, n_heads, d_head] -> [batch, past + position, n_heads, d_head]
        cache.k = torch.cat([cache.k, k], dim=1)
        cache.v = torch.cat([cache.v, v], dim=1)
        pattern = attention_pattern(apply_cached_mask(attention_scores(q, cache.k)))
        z = attention_values(pattern, cache.v)  # [batch, position, n_heads, d_head]
        return attention_output(z, self.W_O, self.b_O)  # [batch, position, d_model]


class CachedBlock(TransformerBlock):
    """A TransformerBlock whose attention takes a cache; all else is as it was."""

    def __init__(self, cfg: Config):
        super().__init__(cfg)
        self.attn = CachedAttention(cfg)

    def forward(self, resid_pre, cache):
        resid_mid = resid_pre + self.attn(self.ln1(resid_pre), cache)
        return resid_mid + self.mlp(self.ln2(resid_mid))


class CachedTransformer(DemoTransformer):
    """GPT-2 that is given new tokens only; the cache holds what it needs of the old."""

    def __init__(self, cfg: Config):
        super().__init__(cfg)
        self.blocks = nn.ModuleList(CachedBlock(cfg) for _ in range(cfg.n_layers))

    def forward(self, tokens, cache):
        # tokens: [batch, position], the new ones; cache: a LayerCache for each block
        past = cache[0].k.shape[1]  # so many positions were there before
        pos_embed = self.pos_embed.W_pos[past : past + tokens.shape[1]]
        residual = self.embed(tokens) + pos_embed  # [batch, position, d_model]
        for block, layer_cache in zip(self.blocks, cache):
            residual = block(residual, layer_cache)
        # [batch, position, d_model] -> [batch, position, d_vocab]
        return self.unembed(self.ln_final(residual))


@torch.no_grad()
def greedy_cached(model, tokens, n_new):
    """What greedy returns, and no token goes through the model twice."""
    weight = next(model.parameters())  # the cache: on its device, in its dtype
    cache = new_cache(model.cfg, tokens.shape[0], weight.device, weight.dtype)
    new_tokens = tokens  # the whole prompt first, then one token at a time
    for _ in range(n_new):
        logits = model(new_tokens, cache)[:, -1]  # -> [batch, d_vocab]
        new_tokens = logits.argmax(dim=-1, keepdim=True)  # -> [batch, 1]
        tokens = torch.cat([tokens, new_tokens], dim=1)
    return tokens


def choices(logits, tokens, temperature=1.0, k=None, p=None, penalty=1.0):
    """The logits that are drawn from: [batch, d_vocab]."""
    logits = repetition_penalty(logits, tokens, penalty)
    if temperature == 0:
        return top_k(logits, 1)
    logits = apply_temperature(logits, temperature)
    logits = logits if k is None else top_k(logits, k)
    return logits if p is None else top_p(logits, p)
