"""transformers' GPT-2 under the course's names: sizes, weights, activations."""

import math

import torch
from einops import rearrange

from helpers.config import Config

FAMILY = "gpt2"
SIZES = {  # fields of Config, and of transformers' GPT2Config
    "d_model": "n_embd",
    "layer_norm_eps": "layer_norm_epsilon",
    "d_vocab": "vocab_size",
    "init_range": "initializer_range",
    "n_ctx": "n_positions",
    "n_heads": "n_head",
    "n_layers": "n_layer",
}


def config_of(hf) -> Config:
    """Our Config for a `GPT2Config`."""
    sizes = {ours: getattr(hf, theirs) for ours, theirs in SIZES.items()}
    d_mlp = hf.n_inner or 4 * hf.n_embd
    return Config(**sizes, d_head=hf.n_embd // hf.n_head, d_mlp=d_mlp)


def course_views(model) -> dict[str, torch.Tensor]:
    """A model's weights in the course's names and shapes, not copied: what is written
    into them changes the model.

    transformers keeps q, k and v of all heads in one matrix (`c_attn`), stores
    matrices as [in, out] (`Conv1D`) and ties the head to the embedding.
    """
    cfg = config_of(model.config)
    hf = {name: p.detach() for name, p in model.named_parameters()}
    hf = {name.removeprefix("transformer."): p for name, p in hf.items()}
    ours = {"embed.W_E": hf["wte.weight"], "pos_embed.W_pos": hf["wpe.weight"]}
    for i in range(cfg.n_layers):
        theirs, block = f"h.{i}", f"blocks.{i}"
        W = rearrange(
            hf[f"{theirs}.attn.c_attn.weight"],
            "d_model (qkv n_heads d_head) -> qkv n_heads d_model d_head",
            qkv=3,
            n_heads=cfg.n_heads,
        )
        b = rearrange(
            hf[f"{theirs}.attn.c_attn.bias"],
            "(qkv n_heads d_head) -> qkv n_heads d_head",
            qkv=3,
            n_heads=cfg.n_heads,
        )
        for letter, weight, biases in zip("QKV", W, b, strict=True):
            ours[f"{block}.attn.W_{letter}"] = weight
            ours[f"{block}.attn.b_{letter}"] = biases
        ours[f"{block}.attn.W_O"] = rearrange(
            hf[f"{theirs}.attn.c_proj.weight"],
            "(n_heads d_head) d_model -> n_heads d_head d_model",
            n_heads=cfg.n_heads,
        )
        ours[f"{block}.attn.b_O"] = hf[f"{theirs}.attn.c_proj.bias"]
        ours |= {
            f"{block}.ln1.w": hf[f"{theirs}.ln_1.weight"],
            f"{block}.ln1.b": hf[f"{theirs}.ln_1.bias"],
            f"{block}.ln2.w": hf[f"{theirs}.ln_2.weight"],
            f"{block}.ln2.b": hf[f"{theirs}.ln_2.bias"],
            f"{block}.mlp.W_in": hf[f"{theirs}.mlp.c_fc.weight"],
            f"{block}.mlp.b_in": hf[f"{theirs}.mlp.c_fc.bias"],
            f"{block}.mlp.W_out": hf[f"{theirs}.mlp.c_proj.weight"],
            f"{block}.mlp.b_out": hf[f"{theirs}.mlp.c_proj.bias"],
        }
    ours |= {"ln_final.w": hf["ln_f.weight"], "ln_final.b": hf["ln_f.bias"]}
    # A tied head is not listed a second time: it is the embedding, transposed.
    ours["unembed.W_U"] = model.lm_head.weight.detach().T
    bias = torch.zeros(cfg.d_vocab, device=model.device)
    ours["unembed.b_U"] = hf.get("lm_head.bias", bias)
    return ours


def activations(seen: dict, cfg: Config) -> dict[str, torch.Tensor]:
    """What transformers' modules took in and gave out, under TransformerLens' names."""

    def out(name):
        output = seen[name][1]
        return output[0] if isinstance(output, tuple) else output

    embed, pos_embed = out("wte"), out("wpe")
    cache = {"hook_embed": embed, "hook_pos_embed": pos_embed.expand_as(embed)}
    for i in range(cfg.n_layers):
        hf, ours = f"h.{i}", f"blocks.{i}"
        q, k, v = rearrange(
            out(f"{hf}.attn.c_attn"),
            "batch position (qkv n_heads d_head) -> qkv batch position n_heads d_head",
            qkv=3,
            n_heads=cfg.n_heads,
        )
        # The only activation that transformers keeps to itself: its pattern is
        # softmax(scores + mask), so the scores are made from its own q and k.
        scores = torch.einsum("bqnh,bknh->bnqk", q, k) / math.sqrt(cfg.d_head)
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        z = rearrange(
            seen[f"{hf}.attn.c_proj"][0],
            "batch position (n_heads d_head) -> batch position n_heads d_head",
            n_heads=cfg.n_heads,
        )
        cache |= {
            f"{ours}.hook_resid_pre": seen[f"{hf}.ln_1"][0],
            f"{ours}.ln1.hook_normalized": out(f"{hf}.ln_1"),
            f"{ours}.attn.hook_q": q,
            f"{ours}.attn.hook_k": k,
            f"{ours}.attn.hook_v": v,
            f"{ours}.attn.hook_attn_scores": scores.masked_fill(future, -torch.inf),
            f"{ours}.attn.hook_pattern": seen[f"{hf}.attn"][1][1],
            f"{ours}.attn.hook_z": z,
            f"{ours}.hook_attn_out": out(f"{hf}.attn.c_proj"),
            f"{ours}.hook_resid_mid": seen[f"{hf}.ln_2"][0],
            f"{ours}.ln2.hook_normalized": out(f"{hf}.ln_2"),
            f"{ours}.mlp.hook_pre": out(f"{hf}.mlp.c_fc"),
            f"{ours}.mlp.hook_post": out(f"{hf}.mlp.act"),
            f"{ours}.hook_mlp_out": out(f"{hf}.mlp.c_proj"),
            f"{ours}.hook_resid_post": out(hf),
        }
    cache["ln_final.hook_normalized"] = out("ln_f")
    return cache
