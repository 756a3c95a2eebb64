"""Hugging Face's GPT-2, as this course sees it: loading, names, activations.

Nothing here computes a GPT-2: every number comes out of
`transformers.GPT2LMHeadModel`, through its weights and forward hooks.
"""

import math
import os
import threading
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path

import torch
from einops import rearrange

from helpers.config import Config

STORIES = Path(__file__).parent / "assets" / "stories"
_PROBE_SECONDS = 2.0  # long enough for a slow line, short enough to wait for
_loaded: dict[str, "Reference"] = {}  # by name; the last one loaded is "current"
_current: str | None = None


class ModelNotLoaded(RuntimeError):
    """A reference model that cannot be loaded or used; the message says what to do."""

    def _render_traceback_(self):  # IPython shows this instead of our frames
        return [f"{type(self).__name__}: {self}"]


class Reference:
    """A GPT-2 of transformers under the course's names.

    Args:
        model: a `GPT2LMHeadModel`; put into eval mode.
        tokenizer: its tokenizer, or None for a model that only sees token ids.
        name: what `load_reference` was asked for.
    """

    def __init__(self, model, tokenizer=None, name: str = "unnamed"):
        self.model = model.eval()
        self.name = name
        self.cfg = config_of(model.config)
        if tokenizer is not None:
            self.tokenizer = tokenizer

    def __repr__(self) -> str:
        c = self.cfg
        return (
            f"Reference({self.name!r}: {c.n_layers} layers, d_model {c.d_model}, "
            f"{c.n_heads} heads, {c.d_vocab} tokens, n_ctx {c.n_ctx})"
        )

    @property
    def device(self) -> torch.device:
        """Where the model's parameters live."""
        return self.model.device

    @cached_property
    def tokenizer(self):
        """The tokenizer (loaded when first asked for, to keep the start fast)."""
        return _load_tokenizer(self.name, self.cfg)

    def to_tokens(
        self, text: str | list[str], prepend_bos: bool = True
    ) -> torch.Tensor:
        """Token ids, [batch, position]; one text is a batch of one.

        Raises:
            ValueError: texts of different lengths, which one tensor cannot hold,
                or a text that is empty and has no start token either.
        """
        texts = [text] if isinstance(text, str) else list(text)
        start = [self.tokenizer.bos_token_id] if prepend_bos else []
        ids = [
            start + self.tokenizer.encode(t, add_special_tokens=False) for t in texts
        ]
        lengths = sorted({len(row) for row in ids})
        if len(lengths) != 1:
            raise ValueError(
                f"These texts have {', '.join(map(str, lengths))} tokens; "
                "a batch needs texts of one length. Pass them one at a time."
            )
        if lengths == [0]:
            raise ValueError(
                "An empty text has no tokens. Pass some text, or prepend_bos=True."
            )
        return torch.tensor(ids, device=self.device)

    def to_str_tokens(
        self, text: str | torch.Tensor, prepend_bos: bool = True
    ) -> list[str]:
        """The text of each token, in order; `text` may be token ids as well."""
        if isinstance(text, str):
            text = self.to_tokens(text, prepend_bos)
        return [self.tokenizer.decode([i]) for i in text.flatten().tolist()]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights in the course's names and shapes; a fresh copy each time."""
        return course_state_dict(self.model)

    @torch.no_grad()
    def run_with_cache(
        self, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run transformers' model and keep what happens inside.

        Args:
            tokens: [batch, position] ids, at most n_ctx positions.

        Returns:
            logits [batch, position, d_vocab], and the activations by
            TransformerLens' names (`blocks.0.attn.hook_pattern`, ...).
            `hook_normalized` is LayerNorm's output, weight and bias included.
        """
        tokens = tokens.to(self.device)
        if tokens.ndim != 2:
            raise ValueError(
                f"Tokens have shape {list(tokens.shape)}; "
                "run_with_cache needs [batch, position]: try tokens[None]."
            )
        if tokens.shape[1] > self.cfg.n_ctx:
            raise ValueError(
                f"{tokens.shape[1]} tokens are more than this model can read "
                f"(n_ctx = {self.cfg.n_ctx}); shorten the text."
            )
        seen: dict[str, tuple] = {}
        handles = [
            module.register_forward_hook(_recorder(seen, name), with_kwargs=True)
            for name, module in self.model.transformer.named_modules()
        ]
        try:
            # the mask says that nothing is padding: our padding token is a real one
            everything = torch.ones_like(tokens)
            logits = self.model(
                tokens, attention_mask=everything, use_cache=False
            ).logits
        finally:
            for handle in handles:
                handle.remove()
        return logits, _activations(seen, self.cfg)


def config_of(hf) -> Config:
    """Our Config for a `GPT2Config`."""
    return Config(
        d_model=hf.n_embd,
        layer_norm_eps=hf.layer_norm_epsilon,
        d_vocab=hf.vocab_size,
        init_range=hf.initializer_range,
        n_ctx=hf.n_positions,
        d_head=hf.n_embd // hf.n_head,
        d_mlp=hf.n_inner or 4 * hf.n_embd,
        n_heads=hf.n_head,
        n_layers=hf.n_layer,
    )


def course_state_dict(model) -> dict[str, torch.Tensor]:
    """A `GPT2LMHeadModel`'s weights in the course's names and shapes.

    transformers keeps q, k and v of all heads in one matrix (`c_attn`), stores
    matrices as [in, out] (`Conv1D`) and ties the head to the embedding.
    """
    cfg = config_of(model.config)
    hf = {name: p.detach() for name, p in model.named_parameters()}
    hf = {name.removeprefix("transformer."): p for name, p in hf.items()}
    # A tied head is not listed a second time: it is the embedding, transposed.
    head = model.lm_head.weight.detach()
    bias = hf.get("lm_head.bias", torch.zeros(cfg.d_vocab, device=model.device))
    ours = {"embed.W_E": hf["wte.weight"], "pos_embed.W_pos": hf["wpe.weight"]}
    for i in range(cfg.n_layers):
        theirs = {
            name.removeprefix(f"h.{i}."): p
            for name, p in hf.items()
            if name.startswith(f"h.{i}.")
        }
        block = {
            "ln1.w": theirs["ln_1.weight"],
            "ln1.b": theirs["ln_1.bias"],
            "ln2.w": theirs["ln_2.weight"],
            "ln2.b": theirs["ln_2.bias"],
            "mlp.W_in": theirs["mlp.c_fc.weight"],
            "mlp.b_in": theirs["mlp.c_fc.bias"],
            "mlp.W_out": theirs["mlp.c_proj.weight"],
            "mlp.b_out": theirs["mlp.c_proj.bias"],
            "attn.W_O": rearrange(
                theirs["attn.c_proj.weight"],
                "(n_heads d_head) d_model -> n_heads d_head d_model",
                n_heads=cfg.n_heads,
            ),
            "attn.b_O": theirs["attn.c_proj.bias"],
        }
        W = rearrange(
            theirs["attn.c_attn.weight"],
            "d_model (qkv n_heads d_head) -> qkv n_heads d_model d_head",
            qkv=3,
            n_heads=cfg.n_heads,
        )
        b = rearrange(
            theirs["attn.c_attn.bias"],
            "(qkv n_heads d_head) -> qkv n_heads d_head",
            qkv=3,
            n_heads=cfg.n_heads,
        )
        for letter, weight, biases in zip("QKV", W, b, strict=True):
            block[f"attn.W_{letter}"] = weight
            block[f"attn.b_{letter}"] = biases
        ours |= {f"blocks.{i}.{name}": p for name, p in block.items()}
    ours |= {"ln_final.w": hf["ln_f.weight"], "ln_final.b": hf["ln_f.bias"]}
    ours |= {"unembed.W_U": head.T, "unembed.b_U": bias}
    # One copy each, in order of its own axes: a transposed view's clone would not be.
    plain = torch.contiguous_format
    return {name: p.clone(memory_format=plain) for name, p in ours.items()}


def _recorder(seen: dict, name: str):
    def hook(module, args, kwargs, output):
        given = args[0] if args else kwargs.get("hidden_states")
        seen[name] = (given, output)

    return hook


def _activations(seen: dict, cfg: Config) -> dict[str, torch.Tensor]:
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


def load_reference(name: str = "stories") -> Reference:
    """Load a GPT-2 to compare with.

    Args:
        name: `"stories"` (shipped, offline), `"gpt2"` or another GPT-2-family
            name on the Hugging Face hub, or a folder. The environment variable
            COURSE_REFERENCE, when set, is used instead.

    Raises:
        ModelNotLoaded: with one sentence that says what to do.
    """
    global _current
    chosen = os.environ.get("COURSE_REFERENCE")
    name = chosen or name
    if name not in _loaded:
        try:
            source = _source(name)
        except ModelNotLoaded as problem:
            where = " (The environment variable COURSE_REFERENCE asks for it.)"
            raise ModelNotLoaded(f"{problem}{where if chosen else ''}") from None
        _loaded[name] = Reference(_load_model(name, source), name=name)
        if name != "stories":  # ours is tested; another's must speak up at once
            _loaded[name].tokenizer  # noqa: B018
    _current = name
    return _loaded[name]


def current_reference() -> Reference:
    """The reference that was loaded last; the default one if none was."""
    return _loaded[_current] if _current else load_reference()


def _source(name: str) -> tuple[str, bool]:
    """Where the files of a reference are, and whether to stay off the network."""
    folder = STORIES if name == "stories" else Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder), True
    if folder.is_dir():
        raise ModelNotLoaded(
            f"The folder {folder} has no config.json, so it is not a saved model; "
            "save one with model.save_pretrained(folder)."
        )
    if name == "stories":
        raise ModelNotLoaded(
            f"The shipped model is missing from {folder}; run "
            "`git checkout -- helpers/assets`, or `python -m helpers.pretrain`."
        )
    from huggingface_hub import constants, try_to_load_from_cache

    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:
        raise ModelNotLoaded(
            f"There is no folder {name!r} here, and a model on the hub is called "
            "`name` or `owner/name`; check the spelling."
        ) from None
    if cached:
        return name, True
    if constants.HF_HUB_OFFLINE or not _hub_answers(constants.ENDPOINT):
        raise ModelNotLoaded(
            f"{name!r} is neither a folder nor in the local cache, and "
            f"{constants.ENDPOINT} cannot be reached; go online once, "
            'or use load_reference("stories"), which needs no network.'
        )
    return name, False


def _hub_answers(endpoint: str) -> bool:
    """One short question, through the user's proxy, before transformers' retries."""
    answered = threading.Event()

    def ask():
        try:
            urllib.request.urlopen(endpoint, timeout=_PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # an answer, even if not a kind one
        except (OSError, ValueError):
            return
        answered.set()

    # In a thread: looking a host up has no time limit of its own.
    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(_PROBE_SECONDS)


def _load_model(name: str, source: tuple[str, bool]):
    path, local = source
    from transformers import AutoConfig, GPT2LMHeadModel
    from transformers.utils import logging

    try:
        config = AutoConfig.from_pretrained(path, local_files_only=local)
        _refuse_what_differs(name, config)
        logging.disable_progress_bar()
        # "eager" is the attention that hands out its pattern
        model, found = GPT2LMHeadModel.from_pretrained(
            path,
            config=config,
            local_files_only=local,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except ModelNotLoaded:
        raise
    except Exception as error:
        raise ModelNotLoaded(
            f"{name!r} could not be loaded: {_first_line(error)} "
            "Check the name, or save the model again."
        ) from error
    if found["missing_keys"]:
        # transformers would go on with random numbers in their place
        raise ModelNotLoaded(
            f"{name!r} lacks {len(found['missing_keys'])} of its weights, "
            f"{sorted(found['missing_keys'])[0]} for one; save the model again."
        )
    return model


def _refuse_what_differs(name: str, config) -> None:
    """Stop at a model that is not GPT-2, or a GPT-2 that computes otherwise."""
    if config.model_type != "gpt2":
        raise ModelNotLoaded(
            f"{name!r} is a {config.model_type!r} model; this course compares with "
            "the GPT-2 family: gpt2, distilgpt2, gpt2-medium, ..."
        )
    expected = {
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    for key, value in expected.items():
        if getattr(config, key) != value:
            raise ModelNotLoaded(
                f"{name!r} has {key}={getattr(config, key)!r}, and GPT-2 has "
                f"{value!r}: the classes of this course would not match it."
            )


def _load_tokenizer(name: str, cfg: Config):
    from transformers import AutoTokenizer

    path, local = _source(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local)
    except Exception as error:
        raise ModelNotLoaded(
            f"The tokenizer of {name!r} could not be loaded: {_first_line(error)}"
        ) from error
    if not tokenizer.encode("Hello", add_special_tokens=False):
        # transformers builds an empty tokenizer when its files are missing
        raise ModelNotLoaded(
            f"The tokenizer of {name!r} turns 'Hello' into nothing: its files are "
            "missing; save them with tokenizer.save_pretrained(folder)."
        )
    if len(tokenizer) > cfg.d_vocab:
        raise ModelNotLoaded(
            f"The tokenizer of {name!r} has {len(tokenizer)} tokens and the model "
            f"only {cfg.d_vocab}: they do not belong together."
        )
    if tokenizer.bos_token_id is None:
        raise ModelNotLoaded(
            f"The tokenizer of {name!r} has no start token (bos_token); "
            "GPT-2 uses '<|endoftext|>'."
        )
    return tokenizer


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:") + "."
