"""Hugging Face's models, as this course sees them: loading, names, activations.

Nothing here computes a model: every number comes out of transformers' own
`GPT2LMHeadModel`, `LlamaForCausalLM`, ..., through its weights and forward hooks.
"""

import contextlib
import os
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

import torch

from helpers import hub, loading
from helpers.hub import ModelNotLoaded, Unreadable

ASSETS = Path(__file__).parent / "assets"
SHIPPED = {"gpt2": "stories", "llama": "stories-llama"}  # by family
_loaded: dict[str, "Reference"] = {}  # by name
_current: dict[str, str] = {}  # by family: the name of the one loaded last


class Reference:
    """A model of transformers, a GPT-2 or a Llama, under the course's names.

    Without a tokenizer, it is read from the model's folder when first asked for.
    """

    def __init__(self, model, tokenizer=None, name: str = "unnamed"):
        self.model = model.eval()
        self.name = name
        self._names = loading.names_of(model.config)
        self.cfg = self._names.config_of(model.config)
        if tokenizer is not None:
            self.tokenizer = tokenizer

    def __repr__(self) -> str:
        c = self.cfg
        return (
            f"Reference({self.name!r}: {c.n_layers} layers, d_model {c.d_model}, "
            f"{c.n_heads} heads, {c.d_vocab} tokens, n_ctx {c.n_ctx})"
        )

    @property
    def family(self) -> str:
        """ "gpt2", or "llama" for all that are built like it."""
        return self._names.FAMILY

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
        needs_start = self.family == "gpt2"
        return loading.load_tokenizer(
            self.name, Path(folder), self.cfg.d_vocab, needs_start
        )

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
        first = self.tokenizer.bos_token_id
        start = [first] if prepend_bos and first is not None else []
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
        return loading.course_state_dict(self.model)

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
            for name, module in self.model.base_model.named_modules():
                hook = partial(_record, seen, name)
                hooks.enter_context(
                    module.register_forward_hook(hook, with_kwargs=True)
                )
            logits = self.model(tokens, **how).logits
        return logits, self._names.activations(seen, self.cfg)


def _record(seen: dict, name: str, module, args, kwargs, output) -> None:
    seen[name] = (args[0] if args else kwargs.get("hidden_states"), output)


def load_reference(name: str = "stories") -> Reference:
    """Load a model to compare with; in float32, whatever it was saved in.

    Args:
        name: `"stories"` or `"stories-llama"` (shipped, offline), a folder, or a name
            on the Hugging Face hub (`name@revision` for a branch, a tag or a commit) of
            the families of GPT-2, Llama, Qwen3 or Mistral. From the hub: out of the
            local cache if it is whole there; otherwise what is missing is downloaded.
            The environment variable COURSE_REFERENCE, when set, is used instead, if it
            is of the family that is asked for.

    Raises:
        ModelNotLoaded: with one sentence that says what to do.
    """
    name, chosen = os.fspath(name), os.environ.get("COURSE_REFERENCE")
    try:
        reference = _keep(chosen or name)
    except ModelNotLoaded as problem:
        where = " (The environment variable COURSE_REFERENCE asks for it.)"
        raise ModelNotLoaded(f"{problem}{where if chosen else ''}") from None
    wanted = {shipped: family for family, shipped in SHIPPED.items()}.get(name)
    if wanted in (None, reference.family):
        return reference
    print(f"COURSE_REFERENCE is {chosen!r}, of another family; this is {name!r}.")
    return _keep(name)


def _keep(name: str) -> Reference:
    """Load a model once, and make it the current one of its family."""
    if name not in _loaded:
        _loaded[name] = _load(name)
    _current[_loaded[name].family] = name
    return _loaded[name]


def current_reference(family: str = "gpt2") -> Reference:
    """The one of a family that was loaded last; the shipped one if none was."""
    if family in _current:
        return _loaded[_current[family]]
    return load_reference(SHIPPED[family])


_plain: dict[str, Reference] = {}  # loaded anew, by name


@contextlib.contextmanager
def as_loaded(family: str = "gpt2"):
    """`current_reference(family)` as it was loaded, for now.

    In a notebook it may have been moved to a GPU, made half as precise, put into
    training mode, or be hooked. That is no fault of the answer's, so the check then
    takes a copy of its own, loaded anew.
    """
    ours = current_reference(family)
    name = next(name for name, loaded in _loaded.items() if loaded is ours)
    if not _as_it_was_loaded(ours.model):
        if name not in _plain:
            _plain[name] = _load(name)
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
    if name in SHIPPED.values():
        shipped = ASSETS / name
        if (shipped / "config.json").is_file():
            return Reference(loading.load_model(name, shipped), name=name)
        raise ModelNotLoaded(
            f"The shipped model is missing from {shipped}; run "
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
    reference = Reference(loading.load_model(name, folder), name=name)
    _ = reference.tokenizer
    return reference
