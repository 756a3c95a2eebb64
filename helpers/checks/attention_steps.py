"""The steps of attention, with a switch for each mistake that can be made in them.

Without switches every function here is right. The names of the switches differ from
step to step, so that whole attention hands each step its own.
"""

import inspect
import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from helpers.config import Config

Params = dict[str, Tensor]
Infinity = float("inf")


def projections(
    x: Tensor, W: Tensor, b: Tensor | None, *, project="", bias=True, laid_out=""
) -> Tensor:
    """Queries, keys or values: [batch, position, n_heads, d_head]."""
    n_heads, d_model, d_head = W.shape
    if project == "d_model not tied":
        y = x.sum(-1)[..., None, None] * W.sum(1)
    elif project == "reshaped":
        y = (x @ W.reshape(d_model, -1)).unflatten(-1, (n_heads, d_head))
    elif project == "transposed":
        y = F.linear(x, W.reshape(-1, d_model)).unflatten(-1, (n_heads, d_head))
    else:
        W = W[:1].expand_as(W) if project == "first head" else W
        y = torch.einsum("bpm,nmd->bpnd", x, W)
    y = y + b if bias and b is not None else y
    if project == "heads summed":
        return y.sum(2)
    if laid_out == "heads first":
        return y.transpose(1, 2)
    if laid_out == "flat":
        return y.flatten(2)
    return y


def scores(
    q: Tensor, k: Tensor, *, cfg: Config, scale="sqrt(d_head)", compare="", order=""
) -> Tensor:
    """Scaled scores: [batch, n_heads, query_pos, key_pos]."""
    divisor = {
        "sqrt(d_head)": math.sqrt(cfg.d_head),
        "d_head": cfg.d_head,
        "sqrt(d_model)": math.sqrt(cfg.n_heads * cfg.d_head),
        "sqrt(n_heads)": math.sqrt(cfg.n_heads),
        "sqrt(positions)": math.sqrt(q.shape[1]),
        "8": 8.0,
        "multiplied": 1 / math.sqrt(cfg.d_head),
    }.get(scale, 1.0)
    if compare == "heads":
        return q @ k.transpose(-1, -2) / divisor
    if compare == "d_head not tied":
        raw = torch.einsum("bqn,bkn->bnqk", q.sum(-1), k.sum(-1))
    elif compare == "heads not tied":
        raw = torch.einsum("bqnd,bkd->bnqk", q, k.sum(2))
    else:
        raw = torch.einsum("bqnd,bknd->bnqk", q, k)
    raw = raw.transpose(-1, -2) if compare == "swapped" else raw
    done = raw / divisor
    return done.permute(0, 2, 3, 1) if order == "heads last" else done


def causal_mask(
    attn_scores: Tensor, *, mask="key > query", fill=-Infinity, returns=""
) -> Tensor:
    """Scores with the future hidden: [batch, n_heads, query_pos, key_pos]."""
    query = torch.arange(attn_scores.shape[-2])[:, None]
    key = torch.arange(attn_scores.shape[-1])
    hidden = key > query
    if mask != "key > query":
        hidden = {
            "key >= query": key >= query,
            "key > query + 1": key > query + 1,
            "key < query": key < query,
            "key <= query": key <= query,
        }.get(mask, torch.zeros_like(hidden))
    if mask == "from values":
        hidden = attn_scores.tril() == 0
    if fill == "added":
        masked = attn_scores - 1e5 * hidden
    else:
        masked = attn_scores.masked_fill(hidden, fill)
    if returns == "mask":
        return torch.zeros_like(attn_scores).masked_fill(hidden, fill)
    return masked.softmax(-1) if returns == "pattern" else masked


def pattern(masked: Tensor, *, normalize="softmax", over: int | tuple = -1) -> Tensor:
    """Weights that sum to 1 in each row: [batch, n_heads, query_pos, key_pos]."""
    if normalize == "nothing":
        return masked
    if normalize == "exp":
        return masked.exp()
    if normalize == "sigmoid":
        return masked.sigmoid()
    if normalize == "log":
        return masked.log_softmax(-1)
    if over == "both positions":
        return masked.flatten(-2).softmax(-1).view_as(masked)
    weights = masked.softmax(over)
    if normalize == "averaged":
        return weights / weights.shape[-1]
    return weights.softmax(over) if normalize == "twice" else weights


def values(pattern: Tensor, v: Tensor, *, mix="") -> Tensor:
    """Each query's weighted mean of the values: [batch, position, n_heads, d_head]."""
    if mix == "unmixed":
        return v * 1.0
    if mix == "keys not tied":
        return torch.einsum("bnq,bnd->bqnd", pattern.sum(-1), v.sum(1))
    if mix == "heads not tied":
        return torch.einsum("bnqk,bkd->bqnd", pattern, v.sum(2))
    if mix == "transposed":
        pattern = pattern.transpose(-1, -2)
    z = torch.einsum("bnqk,bknd->bnqd", pattern, v)
    if mix == "averaged":
        z = z / pattern.shape[-1]
    if mix == "heads first":
        return z
    if mix == "reshaped":
        return z.reshape(v.shape)
    z = z.transpose(1, 2)
    return z.flatten(2) if mix == "flat" else z


def output(z: Tensor, W_O: Tensor, b_O: Tensor, *, write="", b_O_times=1) -> Tensor:
    """All heads written to the residual stream's width: [batch, position, d_model]."""
    n_heads = len(W_O)
    bias = b_O * (n_heads if b_O_times == "n_heads" else b_O_times)
    if not write:
        return z.flatten(2) @ W_O.flatten(0, 1) + bias
    if write == "d_head first":
        return rearrange(z, "b p n d -> b p (d n)") @ W_O.flatten(0, 1) + bias
    if write == "positions mixed":
        return z.transpose(1, 2).reshape(z.flatten(2).shape) @ W_O.flatten(0, 1) + bias
    if write == "transposed":
        return F.linear(z.flatten(2), W_O.flatten(0, 1)) + bias
    if write == "d_head not tied":
        each = z.sum(-1)[..., None] * W_O.sum(1)
    elif write == "heads not tied":
        each = torch.einsum("bpnd,dm->bpnm", z, W_O.sum(0))
    else:
        each = torch.einsum("bpnd,ndm->bpnm", z, W_O)
    if write == "heads kept":
        return each + bias
    if write == "mean":
        return each.mean(2) + bias
    if write == "last head":
        return each[:, :, -1] + bias
    if write == "first head":
        return each[:, :, 0] + bias
    return each.sum(2) + bias  # with one of the axes not tied


def attention(
    x: Tensor,
    *,
    p: Params,
    cfg: Config,
    q_from=("W_Q", "b_Q"),
    k_from=("W_K", "b_K"),
    v_from=("W_V", "b_V"),
    split="",
    mask_when="before the softmax",
    adds_input=False,
    detach="",
    **switches,
) -> Tensor:
    """The whole of it: x [batch, position, d_model] -> the same shape."""

    def project(weight_and_bias):
        weight, bias = weight_and_bias
        mine = _for(projections, switches)
        y = projections(x, p[weight], p.get(bias), **mine)
        if split:  # heads cut off by a reshape that does not move the position
            y = y.flatten(2).reshape(len(x), cfg.n_heads, -1, cfg.d_head)
            y = y.transpose(1, 2)
        return y

    def cut(name, tensor):
        return tensor.detach() if detach == name else tensor

    q, k, v = project(q_from), project(k_from), cut("v", project(v_from))
    if switches.get("compare") == "heads":
        found = scores(q, k, cfg=cfg, **_for(scores, switches))
        masked = causal_mask(found, **_for(causal_mask, switches))
        z = pattern(masked, **_for(pattern, switches)) @ v
        return output(z, p["W_O"], p["b_O"], **_for(output, switches))
    found = scores(q, k, cfg=cfg, **_for(scores, switches))
    if mask_when == "before the softmax":
        masked = causal_mask(found, **_for(causal_mask, switches))
        weights = pattern(masked, **_for(pattern, switches))
    else:
        weights = pattern(found, **_for(pattern, switches))
        weights = causal_mask(weights, **_for(causal_mask, switches))
    weights = cut("pattern", weights)
    if switches.get("scale") == "after the softmax":
        weights = weights / math.sqrt(cfg.d_head)
    z = values(weights, v, **_for(values, switches))
    if split == "both ways":
        z = z.transpose(1, 2).reshape(z.shape)
    out = output(z, p["W_O"], p["b_O"], **_for(output, switches))
    out = out + x if adds_input else out
    return cut("output", out)


_SWITCHES = {
    step: frozenset(inspect.signature(step).parameters)
    for step in (projections, scores, causal_mask, pattern, values, output)
}


def _for(step, switches: dict) -> dict:
    """The switches that a step has."""
    return {name: s for name, s in switches.items() if name in _SWITCHES[step]}
