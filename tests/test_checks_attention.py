"""The checks of notebook 04: every mistake as a learner would type it."""

import itertools
import time

import pytest
import torch

from helpers import checks
from helpers.checks.catalogue import names_of, outputs_equal
from tests.candidates import Answer, define

NAMES = (
    "attention_projections",
    "attention_scores",
    "causal_mask",
    "attention_pattern",
    "attention_values",
    "attention_output",
    "attention",
)
CHECKS = {name: getattr(checks, name) for name in NAMES}
HEADS = {
    "attention_projections": "def attention_projections(x, W, b):",
    "attention_scores": "def attention_scores(q, k):",
    "causal_mask": "def apply_causal_mask(attn_scores):",
    "attention_pattern": "def attention_pattern(masked_scores):",
    "attention_values": "def attention_values(pattern, v):",
    "attention_output": "def attention_output(z, W_O, b_O):",
}


def function(check: str, body: str):
    """The exercise's function with these lines, separated by semicolons or newlines."""
    lines = body.splitlines() if "\n" in body else body.split("; ")
    source = "\n".join([HEADS[check], *("    " + line for line in lines)])
    return define(source)[CHECKS[check].answer]


# Attention, as a learner writes it in one piece; every line can be replaced.
FORWARD = """
q = torch.einsum("bpm,nmd->bpnd", x, self.W_Q) + self.b_Q
k = torch.einsum("bpm,nmd->bpnd", x, self.W_K) + self.b_K
v = torch.einsum("bpm,nmd->bpnd", x, self.W_V) + self.b_V
scores = torch.einsum("bqnd,bknd->bnqk", q, k)
scores = scores / math.sqrt(self.cfg.d_head)
mask = torch.triu(torch.ones(x.shape[1], x.shape[1]), diagonal=1).bool()
scores = scores.masked_fill(mask, -1e5)
pattern = scores.softmax(dim=-1)
z = torch.einsum("bnqk,bknd->bqnd", pattern, v)
out = torch.einsum("bpnd,ndm->bpm", z, self.W_O) + self.b_O
return out
"""
INIT = """
super().__init__()
self.cfg = cfg
self.W_Q = nn.Parameter(torch.empty((cfg.n_heads, cfg.d_model, cfg.d_head)))
self.W_K = nn.Parameter(torch.empty((cfg.n_heads, cfg.d_model, cfg.d_head)))
self.W_V = nn.Parameter(torch.empty((cfg.n_heads, cfg.d_model, cfg.d_head)))
self.W_O = nn.Parameter(torch.empty((cfg.n_heads, cfg.d_head, cfg.d_model)))
for W in (self.W_Q, self.W_K, self.W_V, self.W_O):
    nn.init.normal_(W, std=cfg.init_range)
self.b_Q = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
self.b_K = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
self.b_V = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
self.b_O = nn.Parameter(torch.zeros((cfg.d_model)))
"""


def attention(*changes: tuple[str, str], forward: str = FORWARD, more: str = ""):
    """The class Attention, with pieces of its forward replaced."""
    for old, new in changes:
        assert old in forward, old
        forward = forward.replace(old, new)
    source = ["class Attention(nn.Module):", "    def __init__(self, cfg):"]
    source += ["        " + line for line in INIT.strip().splitlines()]
    source += ["    " + line for line in more.strip().splitlines()]
    source += ["    def forward(self, x):"]
    source += ["        " + line for line in forward.strip().splitlines()]
    return define("\n".join(source))["Attention"]


Z = 'z = torch.einsum("bnqk,bknd->bqnd", pattern, v)'
OUT = 'out = torch.einsum("bpnd,ndm->bpm", z, self.W_O) + self.b_O'
RIGHT = {
    "attention_projections": [
        "return torch.einsum('bpm,nmd->bpnd', x, W) + b",
        "return einsum(x, W, 'b p m, n m d -> b p n d') + b",
        "return fancy_einsum.einsum("
        "'batch pos d_model, n d_model d_head -> batch pos n d_head', x, W) + b",
        "return (x[:, :, None, None] @ W).squeeze(-2) + b",
        "flat = x @ rearrange(W, 'n m d -> m (n d)'); "
        "return flat.unflatten(-1, W.shape[::2]) + b",
        "return torch.stack([x @ W[i] + b[i] for i in range(len(W))], dim=2)",
        "return torch.tensordot(x, W, dims=([2], [1])) + b",
        "return (x.unsqueeze(1) @ W).transpose(1, 2) + b",
    ],
    "attention_scores": [
        "return torch.einsum('bqnd,bknd->bnqk', q, k) / q.shape[-1] ** 0.5",
        "return q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / math.sqrt(q.shape[-1])",
        "q = q * q.size(-1) ** -0.5; return torch.einsum('bqnd,bknd->bnqk', q, k)",
        "s = torch.einsum('bqnd,bknd->bnqk', q, k); s /= math.sqrt(q.size(-1))\n"
        "return s",
        "r = q.size(-1) ** 0.25; return torch.einsum('bqnd,bknd->bnqk', q / r, k / r)",
    ],
    "causal_mask": [
        "n = attn_scores.shape[-1]; m = torch.triu(torch.ones(n, n), 1).bool(); "
        "return attn_scores.masked_fill_(m, -1e5)",
        "n = attn_scores.shape[-1]; m = torch.tril(torch.ones(n, n)); "
        "return attn_scores.masked_fill(m == 0, float('-inf'))",
        "n = attn_scores.shape[-1]; i = torch.arange(n); "
        "return torch.where(i[:, None] >= i, attn_scores, -torch.inf)",
        "n = attn_scores.shape[-1]; "
        "return attn_scores + torch.full((n, n), float('-inf')).triu(1)",
        "n = attn_scores.shape[-1]; m = torch.ones(n, n).triu(1); "
        "return attn_scores - 1e9 * m",
        "n = attn_scores.shape[-1]; m = torch.ones(n, n).tril(); "
        "return attn_scores * m + (1 - m) * torch.finfo(torch.float32).min",
        "n = attn_scores.shape[-1]; m = torch.ones(n, n).triu(1).bool(); "
        "attn_scores[..., m] = -torch.inf; return attn_scores",
        "for i in range(attn_scores.shape[-2]):\n"
        "    attn_scores[:, :, i, i + 1:] = -1e6\n"
        "return attn_scores",
    ],
    "attention_pattern": [
        "return masked_scores.softmax(-1)",
        "return F.softmax(masked_scores, dim=3)",
        "return nn.Softmax(dim=-1)(masked_scores)",
        "e = (masked_scores - masked_scores.amax(-1, keepdim=True)).exp(); "
        "return e / e.sum(-1, keepdim=True)",
        "e = masked_scores.exp(); return e / e.sum(dim=-1, keepdim=True)",
        "return masked_scores.log_softmax(-1).exp()",
    ],
    "attention_values": [
        "return torch.einsum('bnqk,bknd->bqnd', pattern, v)",
        "return (pattern @ v.transpose(1, 2)).transpose(1, 2)",
        "return rearrange(pattern @ rearrange(v, 'b k n d -> b n k d'), "
        "'b n q d -> b q n d')",
        "each = v[:, None] * pattern.permute(0, 2, 3, 1)[..., None]; "
        "return each.sum(2)",
    ],
    "attention_output": [
        "return torch.einsum('bpnd,ndm->bpm', z, W_O) + b_O",
        "return z.flatten(2) @ W_O.flatten(0, 1) + b_O",
        "return F.linear(z.flatten(2), W_O.flatten(0, 1).T, b_O)",
        "out = b_O\nfor i in range(z.shape[2]):\n    out = out + z[:, :, i] @ W_O[i]\n"
        "return out",
        "return (z.unsqueeze(-2) @ W_O).squeeze(-2).sum(2) + b_O",
    ],
}
RIGHT_ATTENTION = {
    "torch.einsum": attention(),
    "without b_K": attention((" + self.b_K", "")),
    "-inf": attention(("-1e5", "float('-inf')")),
    "where": attention(
        ("scores.masked_fill(mask, -1e5)", "torch.where(mask, -1e5, scores)")
    ),
    "in place": attention(
        ("scores = scores / math", "scores /= math"),
        ("scores = scores.masked_fill(", "scores.masked_fill_("),
    ),
    "masked before scaled": attention(
        ("scores = scores / math.sqrt(self.cfg.d_head)\n", ""),
        (
            "pattern = scores",
            "scores = scores / self.cfg.d_head ** 0.5\npattern = scores",
        ),
    ),
    "SDPA": attention(
        forward="""
q, k, v = ((x[:, None] @ W + b[:, None]) for W, b in
           ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V)))
z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
return rearrange(z, "b n p d -> b p (n d)") @ self.W_O.flatten(0, 1) + self.b_O
"""
    ),
    "a loop over heads": attention(
        forward="""
out = self.b_O
n = x.shape[1]
future = torch.arange(n) > torch.arange(n)[:, None]
for h in range(self.cfg.n_heads):
    q = x @ self.W_Q[h] + self.b_Q[h]
    k = x @ self.W_K[h] + self.b_K[h]
    v = x @ self.W_V[h] + self.b_V[h]
    s = q @ k.mT / self.cfg.d_head ** 0.5
    s[:, future] = -torch.inf
    out = out + s.softmax(-1) @ v @ self.W_O[h]
return out
"""
    ),
    "position by position": attention(
        forward="""
q, k, v = (torch.einsum("bpm,nmd->bpnd", x, W) + b for W, b in
           ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V)))
out = torch.zeros_like(x)
for i in range(x.shape[1]):
    past = slice(0, i + 1)
    s = torch.einsum("bnd,bknd->bnk", q[:, i], k[:, past]) / self.cfg.d_head ** 0.5
    z = torch.einsum("bnk,bknd->bnd", s.softmax(-1), v[:, past])
    out[:, i] = torch.einsum("bnd,ndm->bm", z, self.W_O) + self.b_O
return out
"""
    ),
    "values and output in one matrix": attention(
        (
            Z + "\nout = torch" + OUT.split("torch")[1],
            'VO = self.W_V @ self.W_O\nv = torch.einsum("bkm,nmo->bkno", x, VO)\n'
            "v = v + (self.b_V[:, None] @ self.W_O)[:, 0]\n"
            'out = torch.einsum("bnqk,bkno->bqo", pattern, v) + self.b_O',
        )
    ),
    "the future by its places": attention(
        (
            "scores = scores.masked_fill(mask, -1e5)",
            "i = torch.triu_indices(*mask.shape, offset=1)\n"
            "scores[..., i[0], i[1]] = -1e5",
        )
    ),
    "one fused product": attention(
        forward="""
W = torch.cat([self.W_Q, self.W_K, self.W_V])
b = torch.cat([self.b_Q, self.b_K, self.b_V])
qkv = einops.einsum(x, W, "b p m, n m d -> b n p d") + b[:, None]
q, k, v = qkv.chunk(3, dim=1)
s = q @ k.transpose(-1, -2) / math.sqrt(k.shape[-1])
s = s + torch.full_like(s, -1e9).triu(1)
z = torch.softmax(s, -1) @ v
return einops.einsum(z, self.W_O, "b n p d, n d m -> b p m") + self.b_O
"""
    ),
    "the Template": define(
        '''
        from fancy_einsum import einsum
        from jaxtyping import Float
        from torch import Tensor

        class Attention(nn.Module):
            def __init__(self, cfg: Config):
                super().__init__()
                self.cfg = cfg
                shape = (cfg.n_heads, cfg.d_model, cfg.d_head)
                self.W_Q = nn.Parameter(torch.empty(shape))
                nn.init.normal_(self.W_Q, std=self.cfg.init_range)
                self.b_Q = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
                self.W_K = nn.Parameter(torch.empty(shape))
                nn.init.normal_(self.W_K, std=self.cfg.init_range)
                self.b_K = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
                self.W_V = nn.Parameter(torch.empty(shape))
                nn.init.normal_(self.W_V, std=self.cfg.init_range)
                self.b_V = nn.Parameter(torch.zeros((cfg.n_heads, cfg.d_head)))
                self.W_O = nn.Parameter(
                    torch.empty((cfg.n_heads, cfg.d_head, cfg.d_model)))
                nn.init.normal_(self.W_O, std=self.cfg.init_range)
                self.b_O = nn.Parameter(torch.zeros((cfg.d_model)))
                self.register_buffer("IGNORE", torch.tensor(
                    -1e5, dtype=torch.float32, device="cuda"))

            def forward(
                self, x: Float[Tensor, "batch position d_model"]
            ) -> Float[Tensor, "batch position d_model"]:
                """One docstring."""
                if self.cfg.debug:
                    print("x:", x.shape)
                q = einsum("b p m, n m d -> b p n d", x, self.W_Q) + self.b_Q
                k = einsum("b p m, n m d -> b p n d", x, self.W_K) + self.b_K
                v = einsum("b p m, n m d -> b p n d", x, self.W_V) + self.b_V
                scores = einsum("b q n d, b k n d -> b n q k", q, k)
                scores = self.apply_causal_mask(scores / math.sqrt(self.cfg.d_head))
                pattern = scores.softmax(dim=-1)
                z = einsum("b n q k, b k n d -> b q n d", pattern, v)
                return einsum("b q n d, n d m -> b q m", z, self.W_O) + self.b_O

            def apply_causal_mask(self, attn_scores):
                mask = torch.triu(torch.ones(attn_scores.size(-2),
                    attn_scores.size(-1), device=attn_scores.device), diagonal=1)
                attn_scores.masked_fill_(mask.bool(), self.IGNORE)
                return attn_scores
        '''
    )["Attention"],
}

TRI = "n = attn_scores.shape[-1]; mask = torch.ones(n, n)"
WRONG = {
    "attention_projections": {
        "bias-forgotten": "return torch.einsum('bpm,nmd->bpnd', x, W)",
        "d-model-not-tied": "return torch.einsum('bpm,nkd->bpnd', x, W) + b",
        "weights-reshaped": "y = x @ W.reshape(x.shape[-1], -1); "
        "return y.view(*x.shape[:2], *b.shape) + b",
        "weights-transposed": "y = x @ W.reshape(-1, x.shape[-1]).T; "
        "return y.view(*x.shape[:2], *b.shape) + b",
        "first-head-everywhere": "heads = [x @ W[0] for i in range(len(W))]; "
        "return torch.stack(heads, dim=2) + b",
        "heads-summed": "return (torch.einsum('bpm,nmd->bpnd', x, W) + b).sum(2)",
        "heads-before-positions": "return x[:, None] @ W + b[:, None]",
        "heads-not-split": "y = torch.einsum('bpm,nmd->bpnd', x, W) + b; "
        "return y.reshape(*x.shape[:2], -1)",
    },
    "attention_scores": {
        "no-scale": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "s / math.sqrt(q.shape[-1]); return s",
        "scaled-by-d-head": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s / q.shape[-1]",
        "scaled-by-sqrt-d-model": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s / (q.shape[-1] * q.shape[-2]) ** 0.5",
        "scaled-by-sqrt-n-heads": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s / math.sqrt(q.shape[-2])",
        "scaled-by-sqrt-positions": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s / math.sqrt(q.shape[1])",
        "scale-of-another-model": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s / 8",
        "multiplied-by-the-scale": "s = torch.einsum('bqnd,bknd->bnqk', q, k); "
        "return s * q.shape[-1] ** 0.5",
        "q-and-k-swapped": "s = torch.einsum('bknd,bqnd->bnqk', q, k); "
        "return s / q.shape[-1] ** 0.5",
        "d-head-not-tied": "s = torch.einsum('bqnd,bkne->bnqk', q, k); "
        "return s / q.shape[-1] ** 0.5",
        "keys-of-all-heads": "s = torch.einsum('bqnd,bkmd->bnqk', q, k); "
        "return s / q.shape[-1] ** 0.5",
        "heads-compared-with-heads": "return q @ k.mT / q.shape[-1] ** 0.5",
        "heads-last": "s = torch.einsum('bqnd,bknd->bqkn', q, k); "
        "return s / q.shape[-1] ** 0.5",
    },
    "causal_mask": {
        "mask-forgotten": f"{TRI}.triu(1).bool(); "
        "attn_scores.masked_fill(mask, -1e5); return attn_scores",
        "mask-hides-the-diagonal": [
            f"{TRI}.triu().bool(); return attn_scores.masked_fill(mask, -torch.inf)",
            f"{TRI}.triu(0); return attn_scores.masked_fill(mask == 1, -1e9)",
            f"{TRI}.triu(); return attn_scores + mask * -1e5",
        ],
        "mask-lets-the-next-token-through": f"{TRI}.tril(1); "
        "return attn_scores.masked_fill(mask == 0, -1e5)",
        "mask-hides-the-past": [
            f"{TRI}.tril(-1).bool(); return attn_scores.masked_fill(mask, -1e5)",
            f"{TRI}.tril().bool(); return attn_scores.masked_fill(mask, -1e5)",
            f"{TRI}.tril().bool(); return attn_scores.masked_fill(mask, -torch.inf)",
            f"{TRI}.tril(); return attn_scores - 1e5 * mask",
        ],
        "future-set-to-zero": [
            f"{TRI}.tril(); return attn_scores * mask",
            "return torch.tril(attn_scores)",
        ],
        "fill-has-the-wrong-sign": f"{TRI}.triu(1).bool(); "
        "return attn_scores.masked_fill(mask, 1e5)",
        "mask-from-score-values": [
            "s = attn_scores.tril(); return s.masked_fill(s == 0, float('-inf'))",
            "s = attn_scores.tril(); return torch.where(s == 0, -1e5, s)",
        ],
        "softmax-included": f"{TRI}.triu(1).bool(); "
        "return attn_scores.masked_fill(mask, -torch.inf).softmax(-1)",
        "returns-the-mask": "n = attn_scores.shape[-1]; "
        "return torch.full_like(attn_scores, -torch.inf).triu(1)",
    },
    "attention_pattern": {
        "softmax-over-queries": "return masked_scores.softmax(-2)",
        "softmax-over-heads": "return F.softmax(masked_scores, dim=1)",
        "softmax-over-batch": "return F.softmax(masked_scores, dim=0)",
        "softmax-over-both-positions": "s = masked_scores.flatten(2).softmax(-1); "
        "return s.reshape(masked_scores.shape)",
        "not-normalized": "return masked_scores.exp()",
        "no-softmax": "F.softmax(masked_scores, dim=-1); return masked_scores",
        "softmax-twice": "return masked_scores.softmax(-1).softmax(-1)",
        "log-softmax": "return F.log_softmax(masked_scores, dim=-1)",
        "sigmoid": "return torch.sigmoid(masked_scores)",
    },
    "attention_values": {
        "keys-not-tied": "return torch.einsum('bnqk,bpnd->bqnd', pattern, v)",
        "pattern-transposed": "return torch.einsum('bnkq,bknd->bqnd', pattern, v)",
        "values-of-all-heads": "return torch.einsum('bnqk,bkmd->bqnd', pattern, v)",
        "z-reshaped": "z = pattern @ v.transpose(1, 2); return z.reshape(v.shape)",
        "divided-by-the-number-of-keys": "each = v[:, None] * "
        "pattern.permute(0, 2, 3, 1)[..., None]; return each.mean(2)",
        "values-not-mixed": "torch.einsum('bnqk,bknd->bqnd', pattern, v); return v",
        "heads-before-positions": "return pattern @ v.transpose(1, 2)",
        "heads-not-split": "z = torch.einsum('bnqk,bknd->bqnd', pattern, v); "
        "return z.flatten(2)",
    },
    "attention_output": {
        "b_O-forgotten": "return torch.einsum('bpnd,ndm->bpm', z, W_O)",
        "b_O-once-per-head": "out = 0\nfor i in range(z.shape[2]):\n"
        "    out = out + z[:, :, i] @ W_O[i] + b_O\nreturn out",
        "heads-not-summed": "return torch.einsum('bpnd,ndm->bpnm', z, W_O) + b_O",
        "mean-over-heads": "y = torch.einsum('bpnd,ndm->bpnm', z, W_O); "
        "return y.mean(2) + b_O",
        "only-the-last-head": "for i in range(z.shape[2]):\n"
        "    out = z[:, :, i] @ W_O[i]\nreturn out + b_O",
        "only-the-first-head": "for i in range(z.shape[2]):\n"
        "    return z[:, :, i] @ W_O[i] + b_O",
        "heads-joined-in-the-wrong-order": "y = rearrange(z, 'b p n d -> b p (d n)'); "
        "return y @ W_O.flatten(0, 1) + b_O",
        "z-reshaped": "y = z.transpose(1, 2).reshape(*z.shape[:2], -1); "
        "return y @ W_O.flatten(0, 1) + b_O",
        "W_O-transposed": [
            "return F.linear(z.flatten(2), W_O.flatten(0, 1), b_O)",
            "W = W_O.reshape(len(b_O), -1); return z.flatten(2) @ W.T + b_O",
        ],
        "d-head-of-z-not-tied": "return torch.einsum('bpnd,nem->bpm', z, W_O) + b_O",
        "W_O-of-all-heads": "return torch.einsum('bpnd,hdm->bpm', z, W_O) + b_O",
    },
}
SCALE = "scores = scores / math.sqrt(self.cfg.d_head)"
FILL = "scores = scores.masked_fill(mask, -1e5)"
SOFTMAX = "pattern = scores.softmax(dim=-1)"
QK = 'torch.einsum("bqnd,bknd->bnqk", q, k)'
LOOP = "out = 0\nfor h in range(self.cfg.n_heads):\n    "
NEGATIVE = "-torch.inf"
WRONG_ATTENTION = {
    "no-scale": [[(SCALE, "")], [(SCALE, "scores / math.sqrt(self.cfg.d_head)")]],
    "scaled-by-d-head": [
        [("math.sqrt(self.cfg.d_head)", "self.cfg.d_head")],
        [(SCALE, f"{SCALE}\n{SCALE}")],
    ],
    "scaled-by-sqrt-d-model": [[("sqrt(self.cfg.d_head)", "sqrt(self.cfg.d_model)")]],
    "scaled-by-sqrt-n-heads": [[("sqrt(self.cfg.d_head)", "sqrt(self.cfg.n_heads)")]],
    "scaled-by-sqrt-positions": [[("sqrt(self.cfg.d_head)", "sqrt(x.shape[1])")]],
    "scale-of-another-model": [[("math.sqrt(self.cfg.d_head)", "8")]],
    "multiplied-by-the-scale": [[("scores / math", "scores * math")]],
    "scale-after-softmax": [
        [(SCALE, ""), (SOFTMAX, f"{SOFTMAX} / math.sqrt(self.cfg.d_head)")]
    ],
    "mask-forgotten": [[(FILL, "")], [(FILL, "scores.masked_fill(mask, -1e5)")]],
    "mask-after-softmax": [
        [(FILL, ""), (SOFTMAX, f"{SOFTMAX}.masked_fill(mask, 0)")],
        [(FILL, ""), (SOFTMAX, f"{SOFTMAX}.tril()")],
        [(FILL, ""), (SOFTMAX, f"{SOFTMAX}.masked_fill(mask, -1e5)")],
        [(FILL, ""), (SOFTMAX, f"{SOFTMAX}.masked_fill(mask, {NEGATIVE})")],
    ],
    "mask-hides-the-diagonal": [
        [("diagonal=1", "diagonal=0")],
        [("diagonal=1", "diagonal=0"), ("-1e5", NEGATIVE)],
        [("diagonal=1", "diagonal=0"), (FILL, "scores = scores - 1e5 * mask")],
    ],
    "mask-lets-the-next-token-through": [[("diagonal=1", "diagonal=2")]],
    "mask-hides-the-past": [
        [("triu", "tril"), ("diagonal=1", "diagonal=-1")],
        [("triu", "tril"), ("diagonal=1", "diagonal=0")],
        [("triu", "tril"), ("diagonal=1", "diagonal=0"), ("-1e5", NEGATIVE)],
        [
            ("triu", "tril"),
            ("diagonal=1", "diagonal=0"),
            (FILL, "scores = scores - 1e5 * mask"),
        ],
    ],
    "future-set-to-zero": [
        [(FILL, "scores = torch.tril(scores)")],
        [("-1e5", "1e-5")],
    ],
    "fill-has-the-wrong-sign": [[("-1e5", "1e5")]],
    "mask-from-score-values": [
        [("mask, -1e5", f"torch.tril(scores) == 0, {NEGATIVE}")],
        [("mask, -1e5", "torch.tril(scores) == 0, -1e5")],
        [("mask, -1e5", "torch.triu(scores, diagonal=1).bool(), -1e5")],
    ],
    "softmax-over-queries": [[("dim=-1", "dim=-2")]],
    "softmax-over-heads": [[("dim=-1", "dim=1")]]
    + [[("dim=-1", "dim=1"), ("-1e5", NEGATIVE)]],
    "softmax-over-batch": [[("dim=-1", "dim=0")]]
    + [[("dim=-1", "dim=0"), ("-1e5", NEGATIVE)]],
    "softmax-over-both-positions": [
        [(SOFTMAX, "pattern = scores.flatten(2).softmax(-1).view(scores.shape)")]
    ],
    "no-softmax": [
        [(SOFTMAX, "pattern = scores")],
        [(SOFTMAX, "pattern = scores"), ("-1e5", NEGATIVE)],
    ],
    "not-normalized": [[(SOFTMAX, "pattern = scores.exp()")]],
    "softmax-twice": [[(SOFTMAX, f"{SOFTMAX}.softmax(dim=-1)")]],
    "sigmoid": [[(SOFTMAX, "pattern = scores.sigmoid()")]],
    "q-and-k-swapped": [[(QK, 'torch.einsum("bqnd,bknd->bnqk", k, q)')]],
    "d-head-not-tied": [[(QK, 'torch.einsum("bqnd,bkne->bnqk", q, k)')]],
    "keys-of-all-heads": [[(QK, 'torch.einsum("bqnd,bkmd->bnqk", q, k)')]],
    "heads-compared-with-heads": [
        [
            (QK, "q @ k.transpose(-2, -1)"),
            ("x.shape[1], x.shape[1]", "scores.shape[-2], scores.shape[-1]"),
            (Z, "z = pattern @ v"),
        ]
    ],
    "v-from-the-wrong-weights": [
        [("self.W_V) + self.b_V", "self.W_K) + self.b_K")],
        [("self.W_V) + self.b_V", "self.W_K) + self.b_V")],
        [("self.W_V) + self.b_V", "self.W_Q) + self.b_Q")],
        [("self.W_V) + self.b_V", "self.W_Q) + self.b_V")],
    ],
    "q-from-the-wrong-weights": [
        [("self.W_Q) + self.b_Q", "self.W_K) + self.b_K")],
        [("self.W_Q) + self.b_Q", "self.W_K) + self.b_Q")],
        [("self.W_Q) + self.b_Q", "self.W_V) + self.b_V")],
    ],
    "k-from-the-wrong-weights": [
        [("self.W_K) + self.b_K", "self.W_Q) + self.b_Q")],
        [("self.W_K) + self.b_K", "self.W_Q) + self.b_K")],
        [("self.W_K) + self.b_K", "self.W_V) + self.b_V")],
    ],
    "b_Q-forgotten": [[(" + self.b_Q", "")]],
    "b_V-forgotten": [[(" + self.b_V", "")]],
    "no-biases-in-q-k-v": [[(f" + self.b_{x}", "") for x in "QKV"]],
    "no-biases": [[(f" + self.b_{x}", "") for x in "QKVO"]],
    "b_Q-replaced": [[("self.W_Q) + self.b_Q", "self.W_Q) + self.b_K")]],
    "b_V-replaced": [
        [("self.b_V", "self.b_K")],
        [("self.b_V", "self.b_Q")],
    ],
    "d-model-not-tied": [[("bpm,nmd->bpnd", "bpm,nkd->bpnd")]],
    "weights-reshaped": [
        [
            (
                f'torch.einsum("bpm,nmd->bpnd", x, self.W_{letter})',
                f"(x @ self.W_{letter}.reshape(x.shape[-1], -1))"
                ".unflatten(-1, self.b_Q.shape)",
            )
            for letter in "QKV"
        ]
    ],
    "weights-transposed": [
        [
            (
                f'torch.einsum("bpm,nmd->bpnd", x, self.W_{letter})',
                f"F.linear(x, self.W_{letter}.reshape(-1, x.shape[-1]))"
                ".unflatten(-1, self.b_Q.shape)",
            )
            for letter in "QKV"
        ]
    ],
    "first-head-everywhere": [
        [
            (
                f'torch.einsum("bpm,nmd->bpnd", x, self.W_{letter})',
                f"(x @ self.W_{letter}[0])[:, :, None]",
            )
            for letter in "QKV"
        ]
    ],
    "heads-split-by-reshaping": [
        [
            (
                QK,
                "0\nq, k, v = (t.reshape(len(x), self.cfg.n_heads, x.shape[1], -1)"
                " for t in (q, k, v))\nscores = q @ k.mT",
            ),
            (Z, f"z = (pattern @ v).{back}"),
        ]
        for back in ("transpose(1, 2)", "reshape(len(x), x.shape[1], *self.b_Q.shape)")
    ],
    "keys-not-tied": [[("bnqk,bknd->bqnd", "bnqk,bpnd->bqnd")]],
    "pattern-transposed": [[("bnqk,bknd->bqnd", "bnkq,bknd->bqnd")]],
    "values-of-all-heads": [[("bnqk,bknd->bqnd", "bnqk,bkmd->bqnd")]],
    "z-reshaped": [
        [(Z, "z = (pattern @ v.transpose(1, 2)).reshape(v.shape)")],
    ],
    "divided-by-the-number-of-keys": [[(Z, f"{Z} / pattern.shape[-1]")]],
    "values-not-mixed": [[(Z, "z = v")], [("bknd->bqnd", "bqnd->bqnd")]],
    "b_O-forgotten": [[(" + self.b_O", "")]],
    "b_O-once-per-head": [
        [(OUT, f"{LOOP}out = out + z[:, :, h] @ self.W_O[h] + self.b_O")],
        [
            (
                OUT,
                'each = torch.einsum("bpnd,ndm->bpnm", z, self.W_O) + self.b_O\n'
                "out = each.sum(dim=2)",
            )
        ],
    ],
    "heads-not-summed": [[("bpnd,ndm->bpm", "bpnd,ndm->bpnm")]],
    "mean-over-heads": [
        [("bpnd,ndm->bpm", "bpnd,ndm->bpnm"), ("z, self.W_O)", "z, self.W_O).mean(2)")]
    ],
    "only-the-last-head": [[(OUT, f"{LOOP}out = z[:, :, h] @ self.W_O[h] + self.b_O")]],
    "only-the-first-head": [[(OUT, "out = z[:, :, 0] @ self.W_O[0] + self.b_O")]],
    "heads-joined-in-the-wrong-order": [
        [
            (
                OUT,
                'flat = rearrange(z, "b p n d -> b p (d n)")\n'
                "out = flat @ self.W_O.flatten(0, 1) + self.b_O",
            )
        ]
    ],
    "W_O-transposed": [
        [(OUT, "out = F.linear(z.flatten(2), self.W_O.flatten(0, 1), self.b_O)")],
        [
            (
                OUT,
                "W = self.W_O.reshape(self.cfg.d_model, -1)\n"
                "out = z.flatten(2) @ W.T + self.b_O",
            )
        ],
    ],
    "d-head-of-z-not-tied": [[("bpnd,ndm->bpm", "bpnd,nem->bpm")]],
    "W_O-of-all-heads": [[("bpnd,ndm->bpm", "bpnd,hdm->bpm")]],
    "input-added": [[("return out", "return x + out")]],
    "detached-pattern": [[(SOFTMAX, f"{SOFTMAX}.detach()")]],
    "detached-values": [[("self.b_V", "self.b_V\nv = v.detach()")]],
}
# Told apart by no output, and why.
EQUIVALENT: dict[frozenset[str], str] = {}


def wrong_answers():
    """(check, name of the mistake, answer) for every mistake."""
    for check, mistakes in WRONG.items():
        for name, bodies in mistakes.items():
            for body in [bodies] if isinstance(bodies, str) else bodies:
                yield check, name, function(check, body)
    for name, ways in WRONG_ATTENTION.items():
        for changes in ways:
            yield "attention", name, attention(*changes)


def answers():
    """Every answer here, with what its check should say of it."""
    for check, bodies in RIGHT.items():
        for body in bodies:
            yield Answer(check, None, function(check, body))
    for candidate in RIGHT_ATTENTION.values():
        yield Answer("attention", None, candidate)
    for check, name, candidate in wrong_answers():
        yield Answer(check, (name,), candidate)
    for pair in PAIRS:
        yield Answer("attention", pair, both(pair))


@pytest.mark.parametrize(
    ("check", "body"), [(c, body) for c, bodies in RIGHT.items() for body in bodies]
)
def test_right_functions_pass(check, body):
    report = CHECKS[check].examine(function(check, body))
    assert report.status == "passed", str(report)


@pytest.mark.parametrize("idiom", RIGHT_ATTENTION)
def test_right_classes_pass(idiom):
    report = checks.attention.examine(RIGHT_ATTENTION[idiom])
    assert report.status == "passed", str(report)
    assert any("b_K" in note for note in report.notes) == (idiom == "without b_K")


@pytest.mark.parametrize("name", NAMES)
def test_the_course_passes(name):
    assert CHECKS[name].examine(CHECKS[name].course).status == "passed"


@pytest.mark.parametrize(
    ("check", "name", "answer"),
    [pytest.param(*w, id=f"{w[0]}-{w[1]}") for w in wrong_answers()],
)
def test_a_mistake_is_named(check, name, answer):
    report = CHECKS[check].examine(answer)
    assert report.status == "failed"
    assert not report.one_of, str(report)
    assert [m.name for m in report.mistakes] == [name], str(report)
    assert report.mistakes[0].exact


@pytest.mark.parametrize("check", NAMES)
def test_every_catalogued_mistake_is_in_this_suite(check):
    written = WRONG_ATTENTION if check == "attention" else WRONG[check]
    assert set(written) == {known.name for known in CHECKS[check].known}


@pytest.mark.parametrize("check", NAMES)
def test_mistakes_can_be_told_apart(check):
    """Each two mistakes differ somewhere, or say here why they cannot."""
    check = CHECKS[check]
    cases = check.make_cases()
    equal = outputs_equal(check.view, check.tolerance)
    known = [k for k in check.known if not k.gradient]
    seen = {k: [check.reference_run(c, k.switches) for c in cases] for k in known}
    right = [check.reference_run(c, {}) for c in cases]
    for k, runs in seen.items():
        assert not all(map(equal, runs, right)), f"{k.name} changes nothing"
    for a, b in itertools.combinations(known, 2):
        same_name = a.name == b.name or frozenset((a.name, b.name)) in EQUIVALENT
        assert same_name or not all(map(equal, seen[a], seen[b])), (a.name, b.name)


PAIRS = [
    ("no-scale", "b_V-forgotten"),
    ("mask-forgotten", "softmax-over-queries"),
    ("no-scale", "mask-from-score-values"),
    ("mask-hides-the-diagonal", "b_O-forgotten"),
    ("q-and-k-swapped", "b_O-once-per-head"),
    ("mask-after-softmax", "v-from-the-wrong-weights"),
    ("no-scale", "b_O-forgotten"),
    ("no-scale", "q-and-k-swapped"),
    ("mask-hides-the-diagonal", "softmax-over-queries"),
    ("mask-forgotten", "v-from-the-wrong-weights"),
    ("no-scale", "mask-forgotten"),
]


def both(pair: tuple[str, str]) -> type:
    """An Attention with two mistakes."""
    return attention(*(c for name in pair for c in WRONG_ATTENTION[name][0]))


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_two_mistakes_at_once_are_named(pair):
    report = checks.attention.examine(both(pair))
    assert {m.name for m in report.mistakes} == set(pair), str(report)


def test_what_no_mistake_explains_is_narrowed_down_to_the_line():
    report = checks.attention.examine(
        attention(("+ self.b_K", "+ self.b_K * x.mean(-1)[..., None, None]"))
    )
    (first, *_) = report.mistakes
    assert first.name == "departs-at-the-keys-k"
    assert "self.b_K * x.mean" in first.line
    report = checks.attention.examine(attention((SOFTMAX, f"{SOFTMAX} ** 2")))
    assert report.mistakes[0].name == "departs-at-the-mixed-values-z"
    assert "** 2" in report.mistakes[0].line


def test_an_answer_that_is_nan_all_over_is_not_explained():
    wrong = (FILL, "scores = scores + mask * float('-inf')")
    report = checks.attention.examine(attention(wrong))
    assert report.mistakes[0].name == "departs-at-the-masked-scores", str(report)
    assert "float('-inf')" in report.mistakes[0].line
    assert not any(m.exact for m in report.mistakes)


def test_a_mask_in_the_place_of_scores_is_told():
    """torch answers with a NotImplementedError, which blanks have as well."""
    report = checks.attention.examine(attention((FILL, "scores = mask")))
    assert [m.name for m in report.mistakes] == ["mask-taken-for-numbers"]
    assert report.mistakes[0].line == SOFTMAX


@pytest.mark.parametrize(
    ("returned", "told"), [("z", "the mixed values z"), ("pattern", "the pattern")]
)
def test_an_earlier_result_returned_is_told(returned, told):
    report = checks.attention.examine(attention(("return out", f"return {returned}")))
    assert report.mistakes[0].name == "returns-an-earlier-step"
    assert told in report.mistakes[0].message


def test_facts_about_masked_scores():
    def names(body):
        report = checks.causal_mask.examine(function("causal_mask", body))
        return [m.name for m in report.mistakes]

    weak = f"{TRI}.triu(1).bool(); return attn_scores.masked_fill(mask, -5.0)"
    assert names(weak)[0] == "fill-too-weak"
    product = f"{TRI}.triu(1); return attn_scores + mask * float('-inf')"
    assert names(product) == ["infinity-times-zero"]
    halved = f"{TRI}.triu(1).bool(); return attn_scores.masked_fill(mask, -1e5) / 2"
    assert names(halved)[0] == "past-changed"


def test_facts_about_patterns():
    body = "s = masked_scores.exp(); return s / s.sum()"
    report = checks.attention_pattern.examine(function("attention_pattern", body))
    assert "rows-do-not-sum-to-1" in [m.name for m in report.mistakes]


METHOD = """
class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.register_buffer("IGNORE", torch.tensor(-1e5, device="cuda"))

    def apply_causal_mask(self, attn_scores):
        n = attn_scores.size(-1)
        mask = torch.triu(torch.ones(n, n), diagonal=1).bool()
        attn_scores.masked_fill_(mask, self.IGNORE)
        return attn_scores

def apply_causal_mask(self, attn_scores):
    if self.cfg.debug:
        print(attn_scores)
    n = attn_scores.size(-1)
    return torch.where(torch.ones(n, n).tril() == 1, attn_scores, self.IGNORE)
"""


def test_the_templates_method_counts_as_the_mask():
    cell = define(METHOD)
    for answer in (
        cell["Attention"],
        cell["Attention"].apply_causal_mask,
        cell["apply_causal_mask"],
    ):
        report = checks.causal_mask.examine(answer)
        assert report.status == "passed", str(report)
    wrong = define(METHOD.replace("diagonal=1", "diagonal=0"))["Attention"]
    report = checks.causal_mask.examine(wrong.apply_causal_mask)
    assert [m.name for m in report.mistakes] == ["mask-hides-the-diagonal"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("to do", "pass"),
        ("to do", "raise NotImplementedError('your turn')"),
        ("no-return", "attn_scores.masked_fill_(torch.tensor(True), -1e5)"),
        ("wrong-dtype", "return attn_scores.bool()"),
        ("wrong-shape", "return attn_scores[0]"),
        ("undefined-name", "return scores"),
    ],
)
def test_other_answers(name, body):
    report = checks.causal_mask.examine(function("causal_mask", body))
    said = [m.name for m in report.mistakes] or [report.headline]
    assert name in said[0]


def test_forgetting_a_parameter_is_named():
    wrong = define(
        "class Attention(nn.Module):\n"
        "    def __init__(self, cfg):\n"
        "        super().__init__()\n"
        "        self.W_Q = nn.Parameter(torch.zeros(cfg.d_model, cfg.d_model))\n"
        "    def forward(self, x):\n"
        "        return x\n"
    )["Attention"]
    report = checks.attention.examine(wrong)
    names = {m.name for m in report.mistakes}
    assert names == {"misshapen-parameter", "missing-parameter"}


def test_ways_of_one_mistake_are_no_alternatives():
    ways = [k for k in checks.attention.known if k.name == "mask-hides-the-diagonal"]
    named, one_of = names_of([(k,) for k in ways])
    assert len(named) == 1 and not one_of


def test_a_check_is_quick_even_when_nothing_fits():
    """The slowest case: every mistake and every pair is tried."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    checks.attention.examine(checks.attention.course)
    start = time.process_time()
    checks.attention.examine(attention(("return out", "return out + out.sin() ** 2")))
    spent = time.process_time() - start
    torch.set_num_threads(threads)
    # 2 s is the promise; machines that do other work meanwhile count more
    assert spent < 5
