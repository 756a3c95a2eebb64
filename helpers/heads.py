"""What attention heads look at, and what a model loses without them."""

import copy

import torch
from torch import Tensor, nn

from helpers import model as course
from helpers import stories


@torch.no_grad()
def attention_patterns(model: nn.Module, tokens: Tensor) -> Tensor:
    """Every head's pattern: [n_layers, batch, n_heads, query_pos, key_pos].

    Computed from what each Attention is given and its own weights, so it works with
    any class of the course's parameter names.
    """
    seen = []
    # By name: blocks may be in any container.
    names = [f"blocks.{i}.attn" for i in range(model.cfg.n_layers)]
    layers = [model.get_submodule(name) for name in names]
    hooks = [
        attn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for attn in layers
    ]
    try:
        model.eval()(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    patterns = []
    for attn, x in zip(layers, seen):
        q = course.attention_projections(x, attn.W_Q, attn.b_Q)
        k = course.attention_projections(x, attn.W_K, attn.b_K)
        scores = course.apply_causal_mask(course.attention_scores(q, k))
        patterns.append(course.attention_pattern(scores))
    return torch.stack(patterns)


def words_to_repeat(tokenizer) -> Tensor:
    """The ids of the stories' names, things and colours: each is one token."""
    kinds = ("A B", "c", "x", "y", "Z", "G")
    values = [value for kind in kinds for value in stories.VALUES[kind]]
    words = [" " + (v if isinstance(v, str) else v[0]) for v in values]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    return torch.tensor([first for first, *_ in ids])


def said_before(tokens: Tensor, targets: Tensor, words: Tensor) -> Tensor:
    """Where the coming token stands already, if it is one of `words`.

    [batch, query_pos, key_pos], True at the keys that hold the query's target.
    """
    holds = tokens[:, None, :] == targets[:, :, None]
    return (holds & torch.isin(targets, words)[:, :, None]).tril()


def look_back_scores(
    model: nn.Module, tokens: Tensor, targets: Tensor, words: Tensor
) -> Tensor:
    """How much each head looks at the earlier places that hold the coming token.

    Averaged over the positions whose next token is one of `words` and has occurred
    before. [n_layers, n_heads], from 0 to 1.
    """
    patterns = attention_patterns(model, tokens)
    holds = said_before(tokens, targets, words)
    asked = holds.any(dim=-1)  # [batch, query_pos]
    # [n_layers, batch, n_heads, query_pos, key_pos] -> [..., query_pos]
    looked = (patterns * holds[None, :, None]).sum(dim=-1)
    looked = looked.transpose(1, 2)[:, :, asked]  # [n_layers, n_heads, asked]
    return looked.mean(dim=-1)


def switched_off(model: nn.Module, heads: list[tuple[int, int]]) -> nn.Module:
    """A copy in which these heads, each a (layer, head), write nothing."""
    model = copy.deepcopy(model)
    for layer, head in heads:  # by name: blocks may be in any container
        attn = model.get_submodule(f"blocks.{layer}.attn")
        with torch.no_grad():
            attn.W_O[head] = 0
    return model
