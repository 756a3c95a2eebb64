"""Learning from reward, in the code of notebook 13.

    python -m helpers.reward --out runs/stories-small    # the start: a few minutes

The start, `assets/stories-small`, is a GPT-2 of notebook 09's size that has not learned
for long: about a quarter of the stories that it tells are valid. The reward is exact: 1
if the grammar could have written the story, else 0.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


class Memory:
    """One layer's keys and values, [batch, n_heads, n_ctx, d_head], filled from 0 on."""

    def __init__(self, cfg, batch: int):
        shape = (batch, cfg.n_heads, cfg.n_ctx, cfg.d_head)
        self.k, self.v = torch.zeros(shape), torch.zeros(shape)


def _next_logits(model, tokens: Tensor, at: int, memories: list[Memory]) -> Tensor:
    """The logits of one new position `at`: tokens [batch] -> [batch, d_vocab]."""
    x = model.embed.W_E[tokens] + model.pos_embed.W_pos[at]  # [batch, d_model]
    for block, memory in zip(model.blocks, memories, strict=True):
        attn, normalized = block.attn, block.ln1(x)
        # [batch, d_model] @ [n_heads, d_model, d_head] -> [batch, n_heads, d_head]
        q, k, v = (
            (normalized @ W).transpose(0, 1) + b
            for W, b in (
                (attn.W_Q, attn.b_Q),
                (attn.W_K, attn.b_K),
                (attn.W_V, attn.b_V),
            )
        )
        memory.k[:, :, at], memory.v[:, :, at] = k, v
        past = memory.k[:, :, : at + 1], memory.v[:, :, : at + 1]
        z = F.scaled_dot_product_attention(q[:, :, None], *past)[:, :, 0]
        # [batch, n_heads, d_head] -> [batch, n_heads * d_head] -> [batch, d_model]
        x = x + z.flatten(1) @ attn.W_O.flatten(0, 1) + attn.b_O
        x = x + block.mlp(block.ln2(x))
    return model.unembed(model.ln_final(x))


@torch.no_grad()
def sample_rows(model, n: int, end: int, generator=None, longest: int = 127):
    """`n` texts that the model makes up, all at once: a list of lists of token ids.

    A text ends before its end token; one that has none after `longest` tokens is cut.
    """
    cfg = model.cfg
    memories = [Memory(cfg, n) for _ in range(cfg.n_layers)]
    tokens = torch.full((n,), end)
    drawn, done = [], torch.zeros(n, dtype=torch.bool)
    for at in range(longest):
        logits = _next_logits(model, tokens, at, memories)
        tokens = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        drawn.append(tokens)
        done |= tokens == end
        if done.all():
            break
    rows = torch.stack(drawn, dim=1).tolist()  # [batch, position]
    return [row[: row.index(end)] if end in row else row for row in rows]
