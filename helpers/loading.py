"""Reading a model's folder with transformers, and refusing what the course has not.

What transformers would only warn of, or pass over, stops here with a sentence.
"""

import warnings
from pathlib import Path

import torch

from helpers import gpt2_names, llama_names
from helpers.hub import ModelNotLoaded, Unreadable, first_line

FAMILIES = {  # transformers' model types, and who knows their names
    "gpt2": gpt2_names,
    "llama": llama_names,
    "mistral": llama_names,
    "qwen3": llama_names,
    "qwen3_moe": llama_names,
}


def names_of(config):
    """The module that gives a model's sizes, weights and activations our names."""
    return FAMILIES[config.model_type]


def course_state_dict(model) -> dict[str, torch.Tensor]:
    """A model's weights in the course's names and shapes, copied."""
    # In order of its own axes: a transposed view's clone would not be.
    plain, views = torch.contiguous_format, names_of(model.config).course_views(model)
    return {name: view.clone(memory_format=plain) for name, view in views.items()}


def load_config(name: str, folder: Path):
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelNotLoaded(
            f"The folder {folder} has no config.json, so it is not a saved model; "
            "save one with model.save_pretrained(folder)."
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise _unreadable(name, error) from error
    _refuse_what_differs(name, config)
    return config


def load_model(name: str, folder: Path):
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    config = load_config(name, folder)
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # no table of what old checkpoints have too much
    try:
        _no_loading_bar()
        # "eager" is the attention that hands out its pattern
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, by name
        )
    except Exception as error:
        raise _unreadable(name, error) from error
    finally:
        logging.set_verbosity(level)
    # transformers would go on with random numbers in their place
    for key in found["mismatched_keys"]:  # with sizes since transformers 5
        key = key if isinstance(key, str) else key[0]
        raise ModelNotLoaded(
            f"{name!r} could not be loaded: its {key} has another size than its "
            "config.json says; save the model again."
        )
    if found["missing_keys"]:
        raise ModelNotLoaded(
            f"{name!r} lacks {len(found['missing_keys'])} of its weights, "
            f"{sorted(found['missing_keys'])[0]} for one; save the model again."
        )
    return model


def _no_loading_bar() -> None:
    """Weights load in a second: no bar. A download's stays as the person has it."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    shown = not are_progress_bars_disabled()
    with warnings.catch_warnings():  # about HF_HUB_DISABLE_PROGRESS_BARS
        warnings.simplefilter("ignore")
        logging.disable_progress_bar()  # switches off the other one too
        if shown:
            enable_progress_bars()


def _unreadable(name: str, error: Exception) -> Unreadable:
    return Unreadable(
        f"{name!r} could not be loaded: {first_line(error)}. "
        "Check the name, or save the model again."
    )


def _refuse_what_differs(name: str, config) -> None:
    """Stop at a model of another family, or one that computes otherwise."""
    if config.model_type not in FAMILIES:
        raise ModelNotLoaded(
            f"{name!r} is a {config.model_type!r} model; this course compares with "
            "the GPT-2 family (gpt2, distilgpt2, gpt2-medium, ...), and with Llama, "
            "Qwen3 and Mistral."
        )
    if names_of(config) is llama_names:
        return _refuse_another_llama(name, config)
    expected = {
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    for key, value in expected.items():
        given = getattr(config, key)
        if given != value and not (
            key == "activation_function" and _same_function(given, value)
        ):
            raise ModelNotLoaded(
                f"{name!r} has {key}={given!r}, and GPT-2 has "
                f"{value!r}: the classes of this course would not match it."
            )


def _refuse_another_llama(name: str, config) -> None:
    scaling = llama_names.rope(config)
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise ModelNotLoaded(
            f"{name!r} stretches its rotary angles (rope scaling "
            f"{scaling.get('rope_type', scaling.get('type'))!r}), which this course "
            "does not build; take one without, such as HuggingFaceTB/SmolLM2-135M."
        )
    experts = getattr(config, "num_experts", 0)
    expected = {
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "mlp_only_layers": [],
        "decoder_sparse_step": 1,
    }
    for key, value in expected.items():
        if key in ("mlp_only_layers", "decoder_sparse_step") and not experts:
            continue
        given = getattr(config, key, value)
        if given != value:
            raise ModelNotLoaded(
                f"{name!r} has {key}={given!r}, and Llama has "
                f"{value!r}: the classes of this course would not match it."
            )
    if len(set(getattr(config, "layer_types", None) or ["full_attention"])) > 1:
        raise ModelNotLoaded(
            f"{name!r} has a sliding window in some layers and none in others; the "
            "classes of this course have one in all or in none."
        )


def _same_function(one: str, other: str) -> bool:
    """Whether two of transformers' activations are one, as gelu_pytorch_tanh is."""
    from transformers.activations import ACT2FN

    x = torch.linspace(-12, 12, 2401, dtype=torch.float32, device="cpu")
    return one in ACT2FN and torch.allclose(ACT2FN[one](x), ACT2FN[other](x), atol=1e-5)


def load_tokenizer(name: str, folder: Path, d_vocab: int, needs_start: bool = True):
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise Unreadable(
            f"The tokenizer of {name!r} could not be loaded: {first_line(error)}."
        ) from error
    # transformers builds an empty tokenizer when its files are missing, and one that
    # merges nothing when merges.txt is
    halves = {"vocab.json", "merges.txt"} - {file.name for file in folder.glob("*")}
    if not tokenizer.encode("Hello", add_special_tokens=False) or (
        len(halves) == 1 and not (folder / "tokenizer.json").is_file()
    ):
        raise Unreadable(
            f"The tokenizer of {name!r} turns 'Hello' into nothing: its files are "
            "missing; save them with tokenizer.save_pretrained(folder)."
        )
    # Qwen3's has none, and its models read a text without.
    if tokenizer.bos_token_id is None and needs_start:
        raise Unreadable(
            f"The tokenizer of {name!r} has no start token (bos_token); "
            "GPT-2 uses '<|endoftext|>'."
        )
    # An added padding token may lie beyond the table: no text is encoded to it.
    added = {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    text = set(tokenizer.get_vocab().values()) - added | {tokenizer.bos_token_id}
    if max(text) >= d_vocab:
        raise ModelNotLoaded(
            f"The tokenizer of {name!r} has {len(tokenizer)} tokens and the model "
            f"only {d_vocab}: they do not belong together."
        )
    return tokenizer
