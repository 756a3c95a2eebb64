"""Llama, Qwen3 and Mistral, in the code of notebook 12.

The definitions are the notebook's own answers. A matrix that is multiplied by a vector
of the stream has the stream's axis first, as in helpers/model.py, and heads have an
axis of their own.
"""

import math

import torch
from einops import einsum
from torch import nn
from torch.nn import functional as F

from helpers.config import LlamaConfig


class RMSNorm(nn.Module):
    """Divide every vector by its root mean square, then scale it."""

    def __init__(self, cfg, width=None):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(width or cfg.d_model))

    def forward(self, x):
        # x: [..., width], of any type
        wide = x.float()
        mean_square = wide.pow(2).mean(dim=-1, keepdim=True)  # -> [..., 1]
        normalized = wide * (mean_square + self.cfg.rms_norm_eps).rsqrt()
        return self.w * normalized.to(x.dtype)


def rotary_angles(positions, cfg):
    """How far each pair turns: [..., position] -> [..., position, d_head / 2], radians.

    positions: whole numbers. cfg: has d_head and rope_theta.
    """
    pair = torch.arange(0, cfg.d_head, 2, device=positions.device) / cfg.d_head
    speed = 1 / cfg.rope_theta**pair  # [d_head / 2], radians for each position
    return positions[..., None] * speed


def rotate(x, angles):
    """Turn each pair of every head: [batch, position, heads, d_head], the same shape.

    angles: [position, d_head / 2], radians; the pairs are halves apart.
    """
    cos = angles.cos()[:, None].to(x.dtype)  # [position, 1, d_head / 2]: for all heads
    sin = angles.sin()[:, None].to(x.dtype)
    first, second = x.chunk(2, dim=-1)  # each [batch, position, heads, d_head / 2]
    turned = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat(turned, dim=-1)


def repeat_kv(x, n_heads):
    """Each key head once for every query head of its group.

    [batch, position, n_kv_heads, d_head] -> [batch, position, n_heads, d_head]
    """
    return x.repeat_interleave(n_heads // x.shape[2], dim=2)


def hidden_keys(query_pos, key_pos, window=None, is_padding=None):
    """True where a query must not look: [query_pos, key_pos].

    query_pos, key_pos: positions, whole numbers. window: so many keys are seen at most.
    is_padding: [batch, key_pos]; with it, the result is [batch, 1, query_pos, key_pos].
    """
    distance = query_pos[:, None] - key_pos  # [query_pos, key_pos]
    hidden = distance < 0
    if window is not None:
        hidden = hidden | (distance >= window)
    if is_padding is not None:
        # [batch, key_pos] -> [batch, 1, 1, key_pos]: for all heads and queries
        hidden = hidden | (is_padding[:, None, None] & (distance != 0))
    return hidden


def project(x, W):
    """[batch, position, d_model] -> [batch, position, heads, d_head]: no bias."""
    equation = "batch position d_model, heads d_model d_head"
    return einsum(x, W, f"{equation} -> batch position heads d_head")


def remember(cache, k, v):
    """All keys and values so far; the cache keeps them. None: there is no cache."""
    if cache is None:
        return k, v
    if cache.k.shape[1]:  # an empty one does not know yet how many heads there are
        k = torch.cat([cache.k, k], dim=1)  # -> [batch, past + position, ...]
        v = torch.cat([cache.v, v], dim=1)
    cache.k, cache.v = k, v
    return k, v


class GroupedQueryAttention(nn.Module):
    """Attention in which groups of query heads share a key and a value head."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        of_keys = (cfg.n_kv_heads, cfg.d_model, cfg.d_head)
        self.W_Q = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_model, cfg.d_head))
        self.W_K = nn.Parameter(torch.empty(of_keys))
        self.W_V = nn.Parameter(torch.empty(of_keys))
        self.W_O = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head, cfg.d_model))
        for weight in (self.W_Q, self.W_K, self.W_V, self.W_O):
            nn.init.normal_(weight, std=cfg.init_range)
        if cfg.qk_norm:
            self.q_norm = RMSNorm(cfg, cfg.d_head)
            self.k_norm = RMSNorm(cfg, cfg.d_head)

    def forward(self, x, angles, hidden, cache=None):
        # x: [batch, position, d_model]; angles: of these positions
        q, k, v = project(x, self.W_Q), project(x, self.W_K), project(x, self.W_V)
        if self.cfg.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        k, v = remember(cache, rotate(k, angles), v)
        k, v = repeat_kv(k, self.cfg.n_heads), repeat_kv(v, self.cfg.n_heads)
        # -> [batch, n_heads, query_pos, key_pos]
        scores = torch.einsum("bqnh,bknh->bnqk", rotate(q, angles), k)
        scores = (scores / math.sqrt(self.cfg.d_head)).masked_fill(hidden, -torch.inf)
        z = torch.einsum("bnqk,bknh->bqnh", scores.softmax(dim=-1), v)
        return torch.einsum("bqnh,nhm->bqm", z, self.W_O)  # [batch, position, d_model]


class SwiGLU(nn.Module):
    """A gated MLP: what W_in makes, let through by what W_gate makes."""

    def __init__(self, cfg):
        super().__init__()
        self.W_gate = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
        self.W_in = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
        self.W_out = nn.Parameter(torch.empty(cfg.d_mlp, cfg.d_model))
        for weight in self.parameters():
            nn.init.normal_(weight, std=cfg.init_range)

    def forward(self, x):
        # x: [batch, position, d_model]
        gate = x @ self.W_gate  # -> [batch, position, d_mlp]
        up = x @ self.W_in
        return (F.silu(gate) * up) @ self.W_out  # -> [batch, position, d_model]


class MixtureOfExperts(nn.Module):
    """At each position the n_active likeliest of n_experts gated MLPs, weighted."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        into = (cfg.n_experts, cfg.d_model, cfg.d_mlp)
        self.W_router = nn.Parameter(torch.empty(cfg.d_model, cfg.n_experts))
        self.W_gate = nn.Parameter(torch.empty(into))
        self.W_in = nn.Parameter(torch.empty(into))
        self.W_out = nn.Parameter(torch.empty(cfg.n_experts, cfg.d_mlp, cfg.d_model))
        for weight in self.parameters():
            nn.init.normal_(weight, std=cfg.init_range)

    def forward(self, x):
        # x: [batch, position, d_model]
        probs = (x @ self.W_router).softmax(dim=-1)  # [batch, position, n_experts]
        weights, chosen = probs.topk(self.cfg.n_active)  # [batch, position, n_active]
        if self.cfg.normalize_active:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        # 0 for those that are not chosen: [batch, position, n_experts]
        weights = torch.zeros_like(probs).scatter(-1, chosen, weights)
        out = torch.zeros_like(x)
        for expert in range(self.cfg.n_experts):
            here = weights[..., expert] > 0  # [batch, position]: those who chose it
            mine = x[here]  # [chosen here, d_model]
            post = F.silu(mine @ self.W_gate[expert]) * (mine @ self.W_in[expert])
            out[here] += weights[here][:, expert, None] * (post @ self.W_out[expert])
        return out


class LlamaBlock(nn.Module):
    """Attention, then MLP; each reads the normalized stream and adds to it."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.ln1 = RMSNorm(cfg)
        self.attn = GroupedQueryAttention(cfg)
        self.ln2 = RMSNorm(cfg)
        self.mlp = SwiGLU(cfg)

    def forward(self, resid_pre, angles, hidden, cache=None):
        # resid_pre: [batch, position, d_model]; so is all that follows
        attn_out = self.attn(self.ln1(resid_pre), angles, hidden, cache)
        resid_mid = resid_pre + attn_out
        return resid_mid + self.mlp(self.ln2(resid_mid))


class Embed(nn.Module):
    """Look up one learned vector for every token."""

    def __init__(self, cfg: LlamaConfig):
        super().__init__()
        self.W_E = nn.Parameter(torch.empty(cfg.d_vocab, cfg.d_model))
        nn.init.normal_(self.W_E, std=cfg.init_range)

    def forward(self, tokens):
        return self.W_E[tokens]  # [batch, position] -> [batch, position, d_model]


class Unembed(nn.Module):
    """Turn each position's final vector into one logit for every token; no bias."""

    def __init__(self, cfg: LlamaConfig):
        super().__init__()
        self.W_U = nn.Parameter(torch.empty(cfg.d_model, cfg.d_vocab))
        nn.init.normal_(self.W_U, std=cfg.init_range)

    def forward(self, normalized_resid_final):
        # [batch, position, d_model] -> [batch, position, d_vocab]
        return normalized_resid_final @ self.W_U


class Llama(nn.Module):
    """Tokens in, for every position the logits of the next token out."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = Embed(cfg)
        self.blocks = nn.ModuleList(LlamaBlock(cfg) for _ in range(cfg.n_layers))
        self.ln_final = RMSNorm(cfg)
        self.unembed = Unembed(cfg)

    def forward(self, tokens, cache=None, is_padding=None):
        # tokens: [batch, position], the new ones; is_padding: [batch, past + position]
        past = cache[0].k.shape[1] if cache else 0
        key_pos = torch.arange(past + tokens.shape[1], device=tokens.device)
        query_pos = key_pos[past:]
        angles = rotary_angles(query_pos, self.cfg)
        hidden = hidden_keys(query_pos, key_pos, self.cfg.window, is_padding)
        residual = self.embed(tokens)  # [batch, position, d_model]
        for block, layer_cache in zip(self.blocks, cache or [None] * len(self.blocks)):
            residual = block(residual, angles, hidden, layer_cache)
        return self.unembed(self.ln_final(residual))  # [batch, position, d_vocab]
