"""Tiny models of Llama's family, and what the exercises of notebook 12 share."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial, wraps

import torch
from torch import Tensor, nn

from helpers.checks.case import Case
from helpers.checks.check import Check
from helpers.config import LlamaConfig
from helpers.exercises import course
from helpers.exercises.course import COURSE, Source, run, stir
from helpers.generation import LayerCache, new_cache
from helpers.llama import hidden_keys, rotary_angles
from helpers.reference import Reference, as_loaded, current_reference

# Pairwise distinct, and d_head is not d_model / n_heads, as in Qwen3.
SIZES = {
    "vocab_size": 37,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 10,
    "max_position_embeddings": 11,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 3, "norm_topk_prob": True}
EXPERTS |= {"moe_intermediate_size": 16}


@cache
def stirred(family: str = "Qwen3") -> Source:
    """A tiny model of transformers in which every parameter is random.

    Args:
        family: "Llama", "Qwen3", "Mistral" (with a window of 3) or "Qwen3Moe".
    """
    import transformers

    config = getattr(transformers, f"{family}Config")
    more = {"Mistral": {"sliding_window": 3}, "Qwen3Moe": EXPERTS}.get(family, {})
    with torch.random.fork_rng(devices=[]):
        model = transformers.AutoModelForCausalLM.from_config(
            config(**SIZES, **more), attn_implementation="eager"
        )
    generator = torch.Generator().manual_seed(12)
    stir(model.to(torch.float32), generator)
    name = f"a small {family} with random weights"
    tokens = torch.randint(SIZES["vocab_size"], (2, 7), generator=generator)
    return run(name, Reference(model, name=name), tokens)


# Of Llama's family: the model that the notebook has loaded, and all sources
loaded = partial(course.loaded, "llama")
sources = partial(course.sources, stirred, "llama")


def angles_and_hidden(cfg: LlamaConfig, position: int) -> dict[str, Tensor]:
    """What attention gets beside the stream."""
    positions = torch.arange(position)
    return {
        "angles": rotary_angles(positions, cfg),
        "hidden": hidden_keys(positions, positions, cfg.window),
    }


def attention_case(source: Source, reads: str, part: str, writes: str, **more) -> Case:
    """A case of a class that takes the stream, angles and hidden keys."""
    extra = angles_and_hidden(source.cfg, source.tokens.shape[1])
    extra |= more.pop("extra", {})
    return source.layer(reads, part, writes, extra=extra, **more)


def attention_cases(reads: str, part: str, writes: str) -> list[Case]:
    """In one piece, without QK-norm, and cut into pieces with a cache."""
    made = [attention_case(source, reads, part, writes) for source in sources()]
    made.append(attention_case(stirred("Llama"), reads, part, writes))
    for cuts, detail in (
        ((4, 3), "with a cache: four positions, then three"),
        ((4, 1, 1, 1), "with a cache: four positions, then one by one"),
    ):
        more = {"detail": detail, "extra": {"cuts": cuts}}
        made.append(attention_case(stirred(), reads, part, writes, **more))
    return made


def in_cuts(forward: Callable, x: Tensor, cuts, angles, hidden):
    """What `forward` returns piece by piece, with a cache, joined."""
    kept, outputs, start = LayerCache(stirred().cfg, len(x)), [], 0
    for length in cuts:
        end = start + length
        piece = x[:, start:end], angles[start:end], hidden[start:end, :end]
        outputs.append(forward(*piece, kept))
        start = end
    return joined(outputs)


def joined(outputs: list):
    """Pieces along the positions; the first that is no tensor, if there is one."""
    odd = [out for out in outputs if not isinstance(out, Tensor)]
    return odd[0] if odd else torch.cat(outputs, dim=1)


def wrapped(candidate, make: Callable):
    """A class whose forward is made of the person's; what is no class stays."""
    if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
        return candidate
    if "forward" not in vars(candidate):
        return candidate
    body = {"forward": wraps(candidate.forward)(make(candidate.forward))}
    if "__init__" in vars(candidate):
        body["__init__"] = candidate.__init__
    return type(candidate.__name__, (candidate,), body)


def with_cuts(candidate):
    """Let a class with `forward(x, angles, hidden, cache)` take `cuts` as well."""

    def make(own):
        def forward(self, x, angles, hidden, cuts=None):
            if cuts is None:
                return own(self, x, angles, hidden)
            return in_cuts(partial(own, self), x, cuts, angles, hidden)

        return forward

    return wrapped(candidate, make)


def with_pieces(candidate):
    """Let `forward(tokens, cache, is_padding)` of a whole model take `cuts` as well."""

    def make(own):
        def forward(self, tokens, cuts=None, is_padding=None):
            if cuts is None:
                logits = own(self, tokens, is_padding=is_padding)
                if is_padding is None or not isinstance(logits, Tensor):
                    return logits
                return without_padding(logits, is_padding)
            cache = new_cache(stirred().cfg, len(tokens))
            pieces = tokens.split(cuts, dim=1)
            return joined([own(self, piece, cache) for piece in pieces])

        return forward

    return wrapped(candidate, make)


def without_padding(logits: Tensor, is_padding: Tensor) -> Tensor:
    """Logits with 0 at padding, where nobody reads them and models differ."""
    return logits.masked_fill(is_padding[..., None], 0.0)


COURSE_12 = replace(
    COURSE,
    models=lambda: [stirred().reference.model, current_reference("llama").model],
    reference=partial(current_reference, "llama"),
    around=partial(as_loaded, "llama"),
)
exercise = partial(Check, course=COURSE_12)
