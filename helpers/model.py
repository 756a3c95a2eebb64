"""GPT-2, complete: the classes that notebooks 02 to 07 build, in the same code."""

import math

import torch
from einops import einsum
from torch import nn

from helpers.config import Config


class LayerNorm(nn.Module):
    """Give every position's vector mean 0 and variance 1, then scale and shift it."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(cfg.d_model))
        self.b = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, residual):
        # residual: [batch, position, d_model]
        mean = residual.mean(dim=-1, keepdim=True)  # -> [batch, position, 1]
        centred = residual - mean
        variance = centred.pow(2).mean(dim=-1, keepdim=True)  # -> [batch, position, 1]
        normalized = centred / (variance + self.cfg.layer_norm_eps).sqrt()
        return normalized * self.w + self.b  # [batch, position, d_model]


class Embed(nn.Module):
    """Look up one learned vector for every token."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.W_E = nn.Parameter(torch.empty(cfg.d_vocab, cfg.d_model))
        nn.init.normal_(self.W_E, std=cfg.init_range)

    def forward(self, tokens):
        return self.W_E[tokens]  # [batch, position] -> [batch, position, d_model]


class PosEmbed(nn.Module):
    """Look up one learned vector for every position, whatever the token there."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.W_pos = nn.Parameter(torch.empty(cfg.n_ctx, cfg.d_model))
        nn.init.normal_(self.W_pos, std=cfg.init_range)

    def forward(self, tokens):
        batch, position = tokens.shape
        pos_embed = self.W_pos[:position]  # [position, d_model]
        # [position, d_model] -> [batch, position, d_model]
        return pos_embed.expand(batch, -1, -1)


def attention_projections(x, W, b):
    """Queries, keys or values of all heads: [batch, position, n_heads, d_head]."""
    # [batch, position, d_model] -> [batch, position, n_heads, d_head]
    return b + einsum(
        x,
        W,
        "batch position d_model, n_heads d_model d_head"
        " -> batch position n_heads d_head",
    )


def attention_scores(q, k):
    """How well each query fits each key: [batch, n_heads, query_pos, key_pos]."""
    # [batch, position, n_heads, d_head], twice -> [batch, n_heads, query_pos, key_pos]
    scores = einsum(
        q,
        k,
        "batch query_pos n_heads d_head, batch key_pos n_heads d_head"
        " -> batch n_heads query_pos key_pos",
    )
    return scores / math.sqrt(q.shape[-1])


def apply_causal_mask(attn_scores):
    """Put -inf wherever the key comes after the query."""
    # attn_scores: [batch, n_heads, query_pos, key_pos]
    query_pos, key_pos = attn_scores.shape[-2:]
    everywhere = torch.ones(
        query_pos, key_pos, dtype=torch.bool, device=attn_scores.device
    )
    return attn_scores.masked_fill(everywhere.triu(diagonal=1), float("-inf"))


def attention_pattern(masked_scores):
    """Turn each query's row of scores into weights that sum to 1."""
    return masked_scores.softmax(dim=-1)  # [batch, n_heads, query_pos, key_pos]


def attention_values(pattern, v):
    """Each query's weighted mean of the values: [batch, position, n_heads, d_head]."""
    # [batch, n_heads, query_pos, key_pos] -> [batch, query_pos, n_heads, d_head]
    return einsum(
        pattern,
        v,
        "batch n_heads query_pos key_pos, batch key_pos n_heads d_head"
        " -> batch query_pos n_heads d_head",
    )


def attention_output(z, W_O, b_O):
    """Write every head's result back to the residual stream's width, and add up."""
    # [batch, position, n_heads, d_head] -> [batch, position, d_model]
    return b_O + einsum(
        z,
        W_O,
        "batch position n_heads d_head, n_heads d_head d_model"
        " -> batch position d_model",
    )


class Attention(nn.Module):
    """Let every position fetch information from the positions before it."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        into_heads = (cfg.n_heads, cfg.d_model, cfg.d_head)
        self.W_Q = nn.Parameter(torch.empty(into_heads))
        self.W_K = nn.Parameter(torch.empty(into_heads))
        self.W_V = nn.Parameter(torch.empty(into_heads))
        self.W_O = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head, cfg.d_model))
        for weight in (self.W_Q, self.W_K, self.W_V, self.W_O):
            nn.init.normal_(weight, std=cfg.init_range)
        self.b_Q = nn.Parameter(torch.zeros(cfg.n_heads, cfg.d_head))
        self.b_K = nn.Parameter(torch.zeros(cfg.n_heads, cfg.d_head))
        self.b_V = nn.Parameter(torch.zeros(cfg.n_heads, cfg.d_head))
        self.b_O = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, normalized_resid_pre):
        # normalized_resid_pre: [batch, position, d_model]
        q = attention_projections(normalized_resid_pre, self.W_Q, self.b_Q)
        k = attention_projections(normalized_resid_pre, self.W_K, self.b_K)
        v = attention_projections(normalized_resid_pre, self.W_V, self.b_V)
        pattern = attention_pattern(apply_causal_mask(attention_scores(q, k)))
        z = attention_values(pattern, v)  # [batch, position, n_heads, d_head]
        return attention_output(z, self.W_O, self.b_O)  # [batch, position, d_model]


def gelu_new(x):
    """GPT-2's activation: the tanh approximation of GELU."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))
    return 0.5 * x * (1 + inner.tanh())


class MLP(nn.Module):
    """Widen each position's vector, bend it with gelu_new, and narrow it again."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.W_in = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
        self.W_out = nn.Parameter(torch.empty(cfg.d_mlp, cfg.d_model))
        nn.init.normal_(self.W_in, std=cfg.init_range)
        nn.init.normal_(self.W_out, std=cfg.init_range)
        self.b_in = nn.Parameter(torch.zeros(cfg.d_mlp))
        self.b_out = nn.Parameter(torch.zeros(cfg.d_model))

    def forward(self, normalized_resid_mid):
        # [batch, position, d_model] -> [batch, position, d_mlp]
        pre = normalized_resid_mid @ self.W_in + self.b_in
        post = gelu_new(pre)
        # [batch, position, d_mlp] -> [batch, position, d_model]
        return post @ self.W_out + self.b_out


class TransformerBlock(nn.Module):
    """Attention, then MLP; each reads the residual stream and adds to it."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.ln1 = LayerNorm(cfg)
        self.attn = Attention(cfg)
        self.ln2 = LayerNorm(cfg)
        self.mlp = MLP(cfg)

    def forward(self, resid_pre):
        # resid_pre: [batch, position, d_model]; so is everything below
        resid_mid = resid_pre + self.attn(self.ln1(resid_pre))
        return resid_mid + self.mlp(self.ln2(resid_mid))


class Unembed(nn.Module):
    """Turn each position's final vector into one logit for every token."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.W_U = nn.Parameter(torch.empty(cfg.d_model, cfg.d_vocab))
        nn.init.normal_(self.W_U, std=cfg.init_range)
        self.b_U = nn.Parameter(torch.zeros(cfg.d_vocab), requires_grad=False)

    def forward(self, normalized_resid_final):
        # [batch, position, d_model] -> [batch, position, d_vocab]
        return normalized_resid_final @ self.W_U + self.b_U


class DemoTransformer(nn.Module):
    """GPT-2: tokens in, for every position the logits of the next token out."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.embed = Embed(cfg)
        self.pos_embed = PosEmbed(cfg)
        self.blocks = nn.ModuleList(TransformerBlock(cfg) for _ in range(cfg.n_layers))
        self.ln_final = LayerNorm(cfg)
        self.unembed = Unembed(cfg)

    def forward(self, tokens):
        # [batch, position] -> [batch, position, d_model]
        residual = self.embed(tokens) + self.pos_embed(tokens)
        for block in self.blocks:
            residual = block(residual)
        # [batch, position, d_model] -> [batch, position, d_vocab]
        return self.unembed(self.ln_final(residual))


def cross_entropy(logits, tokens):
    """Mean loss, in nats, of predicting each token from the ones before it."""
    # The logits at a position are about the token after it: shift by one.
    log_probs = logits[:, :-1].log_softmax(dim=-1)  # [batch, position - 1, d_vocab]
    next_tokens = tokens[:, 1:, None]  # [batch, position - 1, 1]
    return -log_probs.gather(dim=-1, index=next_tokens).mean()
