"""GPT-2 made fast: the parameters of `helpers.model`, the same logits, less time.

What costs time differs. Many rows at once are bound by arithmetic, so operations are
fused and nothing is computed that nobody reads. A single new token is bound by memory:
every weight is read once for it, so no weight is copied, and each core reads its share.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import model as course
from helpers.config import Config
from helpers.generation import refuse_what_does_not_fit

WORTH_SHARING = 100_000  # weights; under that, waking a second core costs more


class Cache:
    """Keys and values of all layers, allocated once and written in place.

    `k` and `v`: [n_layers, batch, n_heads, n_positions, d_head], filled up to `past`.
    """

    def __init__(
        self, cfg: Config, batch: int, n_positions: int, device=None, dtype=None
    ):
        shape = (cfg.n_layers, batch, cfg.n_heads, n_positions, cfg.d_head)
        self.k = torch.empty(shape, device=device, dtype=dtype)
        self.v = torch.empty(shape, device=device, dtype=dtype)
        self.layers = list(zip(self.k.unbind(), self.v.unbind()))
        self.past = 0  # so many positions are filled

    @classmethod
    def of(cls, model: nn.Module, batch: int, n_positions: int) -> "Cache":
        """An empty one on the model's device and in its dtype."""
        weight = model.embed.W_E
        return cls(model.cfg, batch, n_positions, weight.device, weight.dtype)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write one layer's new positions; returns all of that layer's so far."""
        all_k, all_v = self.layers[layer]  # views
        new = k.shape[2]
        all_k.narrow(2, self.past, new).copy_(k)
        all_v.narrow(2, self.past, new).copy_(v)
        end = self.past + new
        return all_k.narrow(2, 0, end), all_v.narrow(2, 0, end)


def linear(x: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    """x @ W + b: [..., d_in], [d_in, d_out], [d_out] -> [..., d_out].

    One row times a large W runs at the speed of memory, which a single core does not
    use up. So W is cut into groups of rows, a view; each core multiplies one of them.
    """
    cores = torch.get_num_threads()
    one_row = x.numel() == x.shape[-1]
    shared = W.numel() >= WORTH_SHARING and len(W) % cores == 0
    if not one_row or not shared:
        rows = x.reshape(-1, x.shape[-1])  # [..., d_in] -> [rows, d_in]
        product = rows @ W if b is None else torch.addmm(b, rows, W)
        return product.view(*x.shape[:-1], -1)
    # [cores, 1, d_in / cores] @ [cores, d_in / cores, d_out] -> [cores, 1, d_out]
    parts = x.reshape(cores, 1, -1) @ W.view(cores, -1, W.shape[1])
    product = parts.sum(dim=0).view(*x.shape[:-1], -1)
    return product if b is None else product + b


class FastLayerNorm(course.LayerNorm):
    """The same in one operation."""

    def forward(self, residual):
        shape, eps = self.w.shape, self.cfg.layer_norm_eps
        return F.layer_norm(residual, shape, self.w, self.b, eps)


class FastMLP(course.MLP):
    """The same, its activation in one operation."""

    def forward(self, normalized_resid_mid):
        pre = linear(normalized_resid_mid, self.W_in, self.b_in)
        return linear(F.gelu(pre, approximate="tanh"), self.W_out, self.b_out)


class FastAttention(course.Attention):
    """The same, from scores to z in one operation that never holds the square."""

    def projections(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values, each [batch, n_heads, position, d_head]."""
        batch, position, d_model = x.shape
        pairs = ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V))
        if batch * position > 4 * d_model:  # copying W is little beside the products
            W = torch.cat([W for W, _ in pairs])  # [3 * n_heads, d_model, d_head]
            b = torch.cat([b for _, b in pairs])  # [3 * n_heads, d_head]
            qkv = F.linear(x, W.mT.flatten(0, 1), b.flatten())
            # [batch, position, 3 * n_heads * d_head] -> [batch, 3 * n_heads, position,
            # d_head]
            return qkv.unflatten(-1, b.shape).transpose(1, 2).chunk(3, dim=1)
        # every head takes all rows: [n_heads, batch * position, d_model]
        rows = x.reshape(1, -1, d_model).expand(self.cfg.n_heads, -1, -1)
        heads = [torch.baddbmm(b[:, None], rows, W) for W, b in pairs]
        # [n_heads, batch * position, d_head] -> [batch, n_heads, position, d_head]
        return [h.unflatten(1, (batch, position)).transpose(0, 1) for h in heads]

    def forward(self, normalized_resid_pre, cache: Cache | None = None, layer: int = 0):
        q, k, v = self.projections(normalized_resid_pre)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        new, past = q.shape[2], k.shape[2] - q.shape[2]
        mask = None
        if past and new > 1:  # a query sees all of the past, and the new up to itself
            everything = torch.ones(new, past + new, dtype=torch.bool, device=q.device)
            mask = everything.tril(past)
        causal = new > 1 and mask is None
        z = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        # -> [batch, position, n_heads * d_head] -> [batch, position, d_model]
        return linear(z.transpose(1, 2).flatten(2), self.W_O.flatten(0, 1), self.b_O)


class FastBlock(course.TransformerBlock):
    """The same, of the fast parts."""

    def __init__(self, cfg: Config):
        super().__init__(cfg)
        self.ln1, self.ln2 = FastLayerNorm(cfg), FastLayerNorm(cfg)
        self.attn, self.mlp = FastAttention(cfg), FastMLP(cfg)

    def forward(self, resid_pre, cache: Cache | None = None, layer: int = 0):
        resid_mid = resid_pre + self.attn(self.ln1(resid_pre), cache, layer)
        return resid_mid + self.mlp(self.ln2(resid_mid))


class FastTransformer(course.DemoTransformer):
    """GPT-2 with DemoTransformer's parameters, names and logits, in fused operations.

    `state_dict`s of the two load into each other.
    """

    def __init__(self, cfg: Config):
        super().__init__(cfg)
        self.blocks = nn.ModuleList(FastBlock(cfg) for _ in range(cfg.n_layers))
        self.ln_final = FastLayerNorm(cfg)

    def forward(self, tokens, cache: Cache | None = None, last_only: bool = False):
        """Logits [batch, position, d_vocab] of the new tokens [batch, position].

        `cache` holds the positions before them, and gets theirs. `last_only`: the
        logits of the last position alone, [batch, 1, d_vocab].
        """
        past = 0 if cache is None else cache.past
        pos_embed = self.pos_embed.W_pos[past : past + tokens.shape[1]]
        residual = F.embedding(tokens, self.embed.W_E) + pos_embed
        for layer, block in enumerate(self.blocks):
            residual = block(residual, cache, layer)
        if cache is not None:
            cache.past += tokens.shape[1]
        if last_only:
            residual = residual[:, -1:]
        b_U = self.unembed.b_U
        bias = b_U if b_U.requires_grad or b_U.any() else None  # GPT-2 itself has none
        return linear(self.ln_final(residual), self.unembed.W_U, bias)


def greedy_fast(model: FastTransformer, tokens: Tensor, n_new: int) -> Tensor:
    """The likeliest token, n_new times: [batch, position] -> [batch, position + n_new].

    The tokens of notebook 08's `greedy`.

    Raises:
        ValueError: an empty prompt, or more tokens than the model's window holds.
    """
    refuse_what_does_not_fit(model.cfg, tokens, n_new)
    batch, position = tokens.shape
    text = torch.cat([tokens, tokens.new_empty(batch, n_new)], dim=1)
    with torch.inference_mode():  # less to write down for each operation than no_grad
        cache = Cache.of(model, batch, position + n_new)
        for place in range(position, position + n_new):
            logits = model(text[:, cache.past : place], cache, last_only=True)
            text[:, place] = logits[:, -1].argmax(dim=-1)
    return text
