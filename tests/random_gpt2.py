"""GPT-2s of any size with random weights, made on the spot, for the tests.

In a fresh GPT-2 biases are 0 and LayerNorm gains 1, so that a forgotten one would not
show. Here every parameter is random.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

START = "<|endoftext|>"

# Pairwise distinct, so that no two axes can be taken for one another. transformers
# fixes n_heads * d_head = d_model, and one head alone or one layer alone is a case too.
SIZES = {
    "wide heads": dict(
        n_embd=30, n_head=3, n_inner=50, n_layer=2, vocab_size=41, n_positions=13
    ),
    "many heads": dict(
        n_embd=28, n_head=7, n_inner=18, n_layer=5, vocab_size=33, n_positions=9
    ),
    "one head": dict(
        n_embd=22, n_head=1, n_inner=None, n_layer=3, vocab_size=57, n_positions=17
    ),
    "one layer, another eps": dict(
        n_embd=24,
        n_head=2,
        n_inner=36,
        n_layer=1,
        vocab_size=300,
        n_positions=15,
        layer_norm_epsilon=1e-3,
    ),
}


def stirred(seed: int = 0, **config) -> GPT2LMHeadModel:
    """A `GPT2LMHeadModel` in which every parameter is random.

    Args:
        seed: of the weights.
        config: fields of `GPT2Config`; what is left out is GPT-2 small's.
    """
    # the start token of GPT2Config is 50256, which few of these vocabularies have
    ends = dict(bos_token_id=0, eos_token_id=0)
    if config.get("vocab_size", 50257) >= 50257:
        ends = {}
    model = GPT2LMHeadModel._from_config(
        GPT2Config(**ends, **config), attn_implementation="eager"
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    width = model.config.n_embd
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "wte" in name or "wpe" in name:
                p.normal_(std=0.5, generator=generator)
            elif p.ndim == 1:  # biases, and the gains of LayerNorm
                gain = "ln_" in name and name.endswith("weight")
                p.normal_(mean=float(gain), std=0.3, generator=generator)
            else:
                p.normal_(std=width**-0.5, generator=generator)
    return model


def byte_tokenizer(most: int | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer without merges: one token per byte, and one to start and end with.

    Args:
        most: keep only so many of the 256 bytes (the printable ones come first).
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[:most]
    vocabulary = {START: 0} | {byte: i for i, byte in enumerate(alphabet, 1)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=START, eos_token=START
    )


def save(folder: Path, seed: int = 0, **config) -> Path:
    """Write a model with its tokenizer into a folder, in Hugging Face's format."""
    sizes = SIZES["one layer, another eps"] | config
    stirred(seed, **sizes).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
