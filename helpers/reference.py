"""Hugging Face's GPT-2, as this course sees it: loading, names, activations.

Nothing here computes a GPT-2: every number comes out of
`transformers.GPT2LMHeadModel`, through its weights and forward hooks.
"""

import contextlib
import math
import os
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

import torch
from einops import rearrange

from helpers import hub, loading
from helpers.config import Config
from helpers.hub import ModelNotLoaded, Unreadable

STORIES = Path(__file__).parent / "assets" / "stories"
SIZES = {  # fields of Config, and of transformers' GPT2Config
    "d_model": "n_embd",
    "layer_norm_eps": "layer_norm_epsilon",
    "d_vocab": "vocab_size",
    "init_range": "initializer_range",
    "n_ctx": "n_positions",
    "n_heads": "n_head",
    "n_layers": "n_layer",
}
_loaded: dict[str, "Reference"] = {}  # by name; the last one loaded is "current"
_current: str | None = None


class Reference:
    """A GPT-2 of transformers, a `GPT2LMHeadModel`, under the course's names.

    Without a tokenizer, it is read from the model's folder when first asked for.
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
        folder = self.model.name_or_path  # transformers notes where it comes from
        if not folder:
            raise ModelNotLoaded(
                "This reference has no tokenizer; give it one: "
                "Reference(model, tokenizer)."
            )
        return loading.load_tokenizer(self.name, Path(folder), self.cfg)

    def to_tokens(
        self, text: str | list[str], prepend_bos: bool = True
    ) -> torch.Tensor:
        """Token ids, [batch, position]; one text is a batch of one.

        Raises:
            ValueError: texts of different lengths, which one tensor cannot hold; a
                text that is empty and has no start token either; a token (of padding)
                that the model does not have.
        """
        texts = [text] if isinstance(text, str) else list(text)
        start = [self.tokenizer.bos_token_id] if prepend_bos else []
        ids = [
            start + self.tokenizer.encode(t, add_special_tokens=False) for t in texts
        ]
        beyond = [i for row in ids for i in row if i >= self.cfg.d_vocab]
        if beyond:  # an added token, for padding most likely
            raise ValueError(
                f"The text has the token {self.tokenizer.decode(beyond[:1])!r}, which "
                f"is not among the model's {self.cfg.d_vocab}; take it out."
            )
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
        # the mask says that nothing is padding: our padding token is a real one
        how = {"attention_mask": torch.ones_like(tokens), "use_cache": False}
        with ExitStack() as hooks:
            for name, module in self.model.transformer.named_modules():
                hook = partial(_record, seen, name)
                hooks.enter_context(
                    module.register_forward_hook(hook, with_kwargs=True)
                )
            logits = self.model(tokens, **how).logits
        return logits, _activations(seen, self.cfg)


def config_of(hf) -> Config:
    """Our Config for a `GPT2Config`."""
    sizes = {ours: getattr(hf, theirs) for ours, theirs in SIZES.items()}
    d_mlp = hf.n_inner or 4 * hf.n_embd
    return Config(**sizes, d_head=hf.n_embd // hf.n_head, d_mlp=d_mlp)


def course_state_dict(model) -> dict[str, torch.Tensor]:
    """A `GPT2LMHeadModel`'s weights in the course's names and shapes, copied."""
    # In order of its own axes: a transposed view's clone would not be.
    plain = torch.contiguous_format
    return {n: p.clone(memory_format=plain) for n, p in course_views(model).items()}


def course_views(model) -> dict[str, torch.Tensor]:
    """The same, not copied: what is written into them changes the model.

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


def _record(seen: dict, name: str, module, args, kwargs, output) -> None:
    seen[name] = (args[0] if args else kwargs.get("hidden_states"), output)


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
    """Load a GPT-2 to compare with; in float32, whatever it was saved in.

    Args:
        name: `"stories"` (shipped, offline), a folder, or `"gpt2"` or another
            GPT-2-family name on the Hugging Face hub (`name@revision` for a branch, a
            tag or a commit). From the hub: out of the local cache if it is whole there;
            otherwise what is missing is downloaded. The environment variable
            COURSE_REFERENCE, when set, is used instead.

    Raises:
        ModelNotLoaded: with one sentence that says what to do.
    """
    global _current
    chosen = os.environ.get("COURSE_REFERENCE")
    name = chosen or os.fspath(name)
    if name not in _loaded:
        try:
            _loaded[name] = _load(name)
        except ModelNotLoaded as problem:
            where = " (The environment variable COURSE_REFERENCE asks for it.)"
            raise ModelNotLoaded(f"{problem}{where if chosen else ''}") from None
    _current = name
    return _loaded[name]


def current_reference() -> Reference:
    """The reference that was loaded last; the default one if none was."""
    return _loaded[_current] if _current else load_reference()


_plain: dict[str, Reference] = {}  # loaded anew, by name


@contextlib.contextmanager
def as_loaded():
    """`current_reference()` as it was loaded, for now.

    In a notebook it may have been moved to a GPU, made half as precise, put into
    training mode, or be hooked. That is no fault of the answer's, so the check then
    takes a copy of its own, loaded anew.
    """
    global _current
    ours = current_reference()
    name = next(name for name, loaded in _loaded.items() if loaded is ours)
    if not _as_it_was_loaded(ours.model):
        if name not in _plain:
            del _loaded[name]
            try:
                _plain[name] = load_reference(name)
            finally:
                _loaded[name], _current = ours, name
        _loaded[name] = _plain[name]
    try:
        yield
    finally:
        _loaded[name] = ours


def _as_it_was_loaded(model: torch.nn.Module) -> bool:
    tensors = [*model.parameters(), *model.buffers()]
    return (
        all(x.device.type == "cpu" and not x.is_inference() for x in tensors)
        and all(p.dtype == torch.float32 for p in model.parameters())
        and not any(
            m.training or m._forward_hooks or m._forward_pre_hooks or m._backward_hooks
            for m in model.modules()
        )
        and model.config._attn_implementation == "eager"
    )


def _load(name: str) -> Reference:
    """Decides, once, from which folder everything comes."""
    if name == "stories":
        if (STORIES / "config.json").is_file():
            return Reference(loading.load_model(name, STORIES), name=name)
        raise ModelNotLoaded(
            f"The shipped model is missing from {STORIES}; run "
            "`git checkout -- helpers/assets`, or `python -m helpers.pretrain`."
        )
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return _read(name, Path(folder))
    cached = hub.cached(name)
    try:
        if cached:
            return _read(name, cached)
    except Unreadable:
        pass  # a download that was stopped, most likely
    return _read(name, hub.complete(name, partial(loading.load_config, name)))


def _read(name: str, folder: Path) -> Reference:
    """All of it at once: a model without its tokenizer must speak up before its use."""
    model = loading.load_model(name, folder)
    return Reference(
        model, loading.load_tokenizer(name, folder, config_of(model.config)), name
    )
