"""Looking inside, in the code of notebook 10: GPT-2 with hook points.

A hook point is a module that returns its input. PyTorch lets anybody listen to a
module, and put another value in the place of what it returns; so each activation that
passes through a hook point can be read and overwritten by its name. The names are
TransformerLens', as in `Reference.run_with_cache`.
"""

from functools import partial

import torch
from torch import nn

from helpers import model as course


class _Attention:
    points = ("q", "k", "v", "attn_scores", "pattern", "z")

    def forward(self, x):
        # x: [batch, position, d_model]
        q = self.hook_q(course.attention_projections(x, self.W_Q, self.b_Q))
        k = self.hook_k(course.attention_projections(x, self.W_K, self.b_K))
        v = self.hook_v(course.attention_projections(x, self.W_V, self.b_V))
        scores = course.apply_causal_mask(course.attention_scores(q, k))
        pattern = course.attention_pattern(self.hook_attn_scores(scores))
        z = course.attention_values(self.hook_pattern(pattern), v)
        return course.attention_output(self.hook_z(z), self.W_O, self.b_O)


class _MLP:
    points = ("pre", "post")

    def forward(self, x):
        pre = self.hook_pre(x @ self.W_in + self.b_in)  # [batch, position, d_mlp]
        post = self.hook_post(course.gelu_new(pre))
        return post @ self.W_out + self.b_out


class _LayerNorm:
    points = ("normalized",)

    def forward(self, residual):
        return self.hook_normalized(super().forward(residual))


class _Block:
    points = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")

    def forward(self, resid_pre):
        resid_pre = self.hook_resid_pre(resid_pre)  # [batch, position, d_model]
        attn_out = self.hook_attn_out(self.attn(self.ln1(resid_pre)))
        resid_mid = self.hook_resid_mid(resid_pre + attn_out)
        mlp_out = self.hook_mlp_out(self.mlp(self.ln2(resid_mid)))
        return self.hook_resid_post(resid_mid + mlp_out)


class _Transformer:
    points = ("embed", "pos_embed")

    def forward(self, tokens):
        residual = self.hook_embed(self.embed(tokens))
        residual = residual + self.hook_pos_embed(self.pos_embed(tokens))
        for block in self.blocks:
            residual = block(residual)
        return self.unembed(self.ln_final(residual))


def hooked(model: nn.Module) -> nn.Module:
    """Put hook points into a DemoTransformer, whoever wrote it; returns the same one.

    Its parameters stay as they are, and its logits too.
    """
    _pass_through(model, _Transformer)
    _pass_through(model.ln_final, _LayerNorm)
    for block in model.blocks:
        _pass_through(block, _Block)
        _pass_through(block.attn, _Attention)
        if hasattr(block.mlp, "W_in"):  # there is an MLP
            _pass_through(block.mlp, _MLP)
        for norm in (block.ln1, block.ln2):
            _pass_through(norm, _LayerNorm)
    return model


def _pass_through(module: nn.Module, wired: type) -> None:
    """Let a module's values go through hook points: one class on top of its own."""
    if isinstance(module, wired):
        return
    for name in wired.points:
        module.add_module(f"hook_{name}", nn.Identity())
    cls = type(module)
    module.__class__ = type(f"Hooked{cls.__name__}", (wired, cls), {})


def hook_names(model: nn.Module) -> list[str]:
    """The names of all hook points, such as `blocks.0.attn.hook_z`."""
    names = [name for name, _ in model.named_modules()]
    return [name for name in names if name.split(".")[-1].startswith("hook_")]


def run_with_edits(model, tokens, edits):
    """Logits [batch, position, d_vocab]; edits: {hook point's name: function}."""
    handles = []
    try:
        for name, edit in edits.items():

            def hook(module, given, value, edit=edit):
                return edit(value)

            handles.append(model.get_submodule(name).register_forward_hook(hook))
        return model(tokens)
    finally:
        for handle in handles:
            handle.remove()


def run_with_cache(model, tokens, edits=None):
    """Logits, and all activations by name, as they were after the edits."""
    edits, cache = edits or {}, {}

    def keep(name, value):
        cache[name] = edits[name](value) if name in edits else value
        return cache[name]

    keeping = {name: partial(keep, name) for name in hook_names(model)}
    return run_with_edits(model, tokens, keeping), cache


class Nothing(nn.Module):
    """In the place of an MLP: it adds nothing to the stream."""

    def forward(self, x):
        return torch.zeros_like(x)
