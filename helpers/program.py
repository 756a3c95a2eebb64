"""What `python my_gpt2.py` and `python my_llama.py` do: continue a text with the
person's own model."""

import argparse
import contextlib
import os
import sys
from typing import Any

from helpers import my_code
from helpers.reference import SHIPPED, Reference, load_reference

MODELS = {  # by the file's name: the class, its parts, and the family of its weights
    "my_gpt2": (
        "DemoTransformer",
        "LayerNorm Embed PosEmbed Attention MLP TransformerBlock Unembed",
        "gpt2",
    ),
    "my_llama": (
        "Llama",
        "RMSNorm rotary_angles rotate SwiGLU repeat_kv hidden_keys "
        "GroupedQueryAttention LlamaBlock Embed Unembed",
        "llama",
    ),
}


def run(own: dict[str, Any], which: str = "my_gpt2") -> None:
    """Continue a text with the person's own model: `python my_gpt2.py "Once upon"`.

    Args:
        own: the globals of their file.
        which: "my_gpt2" or "my_llama".
    """
    name, parts, family = MODELS[which]
    parser = argparse.ArgumentParser(description="Continue a text with my own model.")
    parser.add_argument("prompt", nargs="?", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=100, help="at most this many")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="the same seed, the same text")
    parser.add_argument("--reference", default=SHIPPED[family], help="whose weights")
    args = parser.parse_args()
    with contextlib.suppress(AttributeError):  # a notebook's needs it not
        sys.stdout.reconfigure(errors="replace")  # a console may lack some letters
    try:
        if name not in own:
            raise NameError(name=name)
        try:
            reference = load_reference(args.reference)
        except Exception as error:
            sys.exit(str(error))
        if reference.family != family:
            sys.exit(f"{reference.name!r} is of another family than this {name}.")
        _continue(own, own[name], reference, args)
    except NameError as error:
        todo = {p for p in parts.split() if p not in own} | {error.name}
        sys.exit(f"Still to do before this runs: {', '.join(sorted(todo))}.")
    except (BrokenPipeError, KeyboardInterrupt):  # nobody reads on
        os._exit(1)


def _continue(own: dict[str, Any], make: type, reference: Reference, args) -> None:
    import torch

    if args.seed is not None:
        torch.manual_seed(args.seed)
    cfg = my_code.fit(own, reference.cfg)
    tokens, shown = reference.to_tokens(args.prompt), ""
    model = make(cfg).eval()
    # Not strict: a mask kept as a buffer is not among the weights.
    model.load_state_dict(reference.state_dict(), strict=False)
    for _ in range(args.tokens + 1):
        text = reference.tokenizer.decode(tokens[0], skip_special_tokens=True)
        if not text.endswith("\ufffd"):  # half a character: wait for the rest
            print(text[len(shown) :], end="", flush=True)
            shown = text
        with torch.no_grad():
            logits = model(tokens[:, -cfg.n_ctx :])[0, -1]
        probs = (logits / max(args.temperature, 1e-6)).softmax(dim=-1)
        next_token = torch.multinomial(probs, 1)
        if next_token == reference.tokenizer.eos_token_id:
            break
        tokens = torch.cat([tokens, next_token[None]], dim=1)
    print()
