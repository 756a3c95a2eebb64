"""transformers' Llama, Qwen3 and Mistral under the course's names: sizes, weights,
activations.

transformers keeps all heads of a projection in one `Linear`, whose weight is
[out, in]; here heads have an axis of their own, and what is multiplied comes first.
"""

import torch
from einops import rearrange

from helpers.config import LlamaConfig

FAMILY = "llama"
SIZES = {  # fields of LlamaConfig, and of transformers' configurations
    "d_model": "hidden_size",
    "rms_norm_eps": "rms_norm_eps",
    "d_vocab": "vocab_size",
    "init_range": "initializer_range",
    "n_ctx": "max_position_embeddings",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
}
NORMS = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
PARTS = {"W_gate": "gate_proj", "W_in": "up_proj", "W_out": "down_proj"}  # of an MLP


def rope(hf) -> dict:
    """What a configuration says of its rotary angles, in transformers 4 and 5."""
    theta = {"rope_theta": getattr(hf, "rope_theta", 10_000.0)}
    scaling = getattr(hf, "rope_parameters", None) or getattr(hf, "rope_scaling", None)
    return theta | (scaling or {})


def config_of(hf) -> LlamaConfig:
    """Our LlamaConfig for a `LlamaConfig`, `Qwen3Config`, `MistralConfig`, ..."""
    sizes = {ours: getattr(hf, theirs) for ours, theirs in SIZES.items()}
    experts = getattr(hf, "num_experts", 0)
    return LlamaConfig(
        **sizes,
        d_head=getattr(hf, "head_dim", None) or hf.hidden_size // sizes["n_heads"],
        d_mlp=hf.moe_intermediate_size if experts else hf.intermediate_size,
        rope_theta=float(rope(hf)["rope_theta"]),
        qk_norm=hf.model_type.startswith("qwen3"),
        window=_window(hf),
        n_experts=experts,
        n_active=hf.num_experts_per_tok if experts else 0,
        normalize_active=bool(getattr(hf, "norm_topk_prob", True)),
    )


def _window(hf) -> int | None:
    layers = getattr(hf, "layer_types", None) or ["sliding_attention"]
    windowed = layers[0] == "sliding_attention"  # loading refuses a mixture
    return getattr(hf, "sliding_window", None) if windowed else None


def course_views(model) -> dict[str, torch.Tensor]:
    """A model's weights in the course's names and shapes, not copied: what is written
    into them changes the model.

    A tied head is the embedding, transposed. Experts that transformers 4 keeps apart
    are put together, and are copies.
    """
    cfg = config_of(model.config)
    ours = {"embed.W_E": model.model.embed_tokens.weight.detach()}
    for i, layer in enumerate(model.model.layers):
        attn, block = layer.self_attn, f"blocks.{i}"
        for ours_name, theirs in NORMS.items():
            ours[f"{block}.{ours_name}.w"] = getattr(layer, theirs).weight.detach()
        for letter in "QKV":
            weight = getattr(attn, f"{letter.lower()}_proj").weight.detach()
            ours[f"{block}.attn.W_{letter}"] = rearrange(
                weight,
                "(heads d_head) d_model -> heads d_model d_head",
                d_head=cfg.d_head,
            )
        ours[f"{block}.attn.W_O"] = rearrange(
            attn.o_proj.weight.detach(),
            "d_model (n_heads d_head) -> n_heads d_head d_model",
            d_head=cfg.d_head,
        )
        if cfg.qk_norm:
            ours[f"{block}.attn.q_norm.w"] = attn.q_norm.weight.detach()
            ours[f"{block}.attn.k_norm.w"] = attn.k_norm.weight.detach()
        mlp = _experts(layer.mlp) if cfg.n_experts else _mlp(layer.mlp)
        ours |= {f"{block}.mlp.{name}": weight for name, weight in mlp.items()}
    ours["ln_final.w"] = model.model.norm.weight.detach()
    ours["unembed.W_U"] = model.lm_head.weight.detach().T
    return ours


def _mlp(mlp) -> dict[str, torch.Tensor]:
    return {n: getattr(mlp, theirs).weight.detach().T for n, theirs in PARTS.items()}


def _experts(mlp) -> dict[str, torch.Tensor]:
    router = {"W_router": mlp.gate.weight.detach().T}
    if isinstance(mlp.experts, torch.nn.ModuleList):  # transformers 4
        apart = [_mlp(expert) for expert in mlp.experts]
        return router | {n: torch.stack([e[n] for e in apart]) for n in PARTS}
    gate, up = mlp.experts.gate_up_proj.detach().mT.chunk(2, dim=-1)
    return router | {
        "W_gate": gate,
        "W_in": up,
        "W_out": mlp.experts.down_proj.detach().mT,
    }


def activations(seen: dict, cfg: LlamaConfig) -> dict[str, torch.Tensor]:
    """What transformers' modules took in and gave out, under TransformerLens' names."""

    def out(name):
        output = seen[name][1]
        return output[0] if isinstance(output, tuple) else output

    def heads(x):
        split = "batch position (heads d_head) -> batch position heads d_head"
        return rearrange(x, split, d_head=cfg.d_head) if x.ndim == 3 else x

    cache = {"hook_embed": out("embed_tokens")}
    for i in range(cfg.n_layers):
        hf, ours = f"layers.{i}", f"blocks.{i}"
        attn = f"{hf}.self_attn"
        q, k = ("q_norm", "k_norm") if cfg.qk_norm else ("q_proj", "k_proj")
        cache |= {
            f"{ours}.hook_resid_pre": seen[f"{hf}.input_layernorm"][0],
            f"{ours}.ln1.hook_normalized": out(f"{hf}.input_layernorm"),
            f"{ours}.attn.hook_q": heads(out(f"{attn}.{q}")),
            f"{ours}.attn.hook_k": heads(out(f"{attn}.{k}")),
            f"{ours}.attn.hook_v": heads(out(f"{attn}.v_proj")),
            f"{ours}.attn.hook_pattern": seen[attn][1][1],
            f"{ours}.attn.hook_z": heads(seen[f"{attn}.o_proj"][0]),
            f"{ours}.hook_attn_out": out(attn),
            f"{ours}.hook_resid_mid": seen[f"{hf}.post_attention_layernorm"][0],
            f"{ours}.ln2.hook_normalized": out(f"{hf}.post_attention_layernorm"),
            f"{ours}.hook_mlp_out": out(f"{hf}.mlp"),
            f"{ours}.hook_resid_post": out(hf),
        }
        if not cfg.n_experts:
            cache |= {
                f"{ours}.mlp.hook_pre": out(f"{hf}.mlp.gate_proj"),
                f"{ours}.mlp.hook_pre_linear": out(f"{hf}.mlp.up_proj"),
                f"{ours}.mlp.hook_post": seen[f"{hf}.mlp.down_proj"][0],
            }
    cache["ln_final.hook_normalized"] = out("norm")
    return cache
