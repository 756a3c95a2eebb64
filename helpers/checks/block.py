"""The check of notebook 06: TransformerBlock."""

from torch import Tensor

from helpers import model
from helpers.checks import layernorm
from helpers.checks.cases import Case, Source, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.mlp import compute_mlp
from helpers.config import Config


def _part(p: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    start = name + "."
    return {k.removeprefix(start): v for k, v in p.items() if k.startswith(start)}


def _norm(name: str | None, x: Tensor, p: dict[str, Tensor], cfg: Config) -> Tensor:
    return layernorm.compute(x, p=_part(p, name), cfg=cfg) if name else x


def attention(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    """Attention of x [batch, position, d_model], from the functions of notebook 04."""
    q, k, v = (
        model.attention_projections(x, p[f"W_{letter}"], p[f"b_{letter}"])
        for letter in "QKV"
    )
    scores = model.apply_causal_mask(model.attention_scores(q, k))
    z = model.attention_values(model.attention_pattern(scores), v)
    return model.attention_output(z, p["W_O"], p["b_O"])


def compute(
    resid_pre: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    norm_1: str | None = "ln1",
    norm_2: str | None = "ln2",
    place_1: str = "before",
    place_2: str = "before",
    keeps_1: str = "stream",
    keeps_2: str = "stream",
    mlp_reads: str = "stream",
    mlp_first: bool = False,
    returns: str = "resid_post",
) -> Tensor:
    """A block on resid_pre [batch, position, d_model], with switches for mistakes.

    Args:
        norm_1: the LayerNorm in front of attention; norm_2: in front of the MLP.
        place_1: where it works: "before" what attention reads, on its "write", or on
            the "sum" (post-norm); place_2: likewise for the MLP.
        keeps_1: what attention's write is added to: the "stream", the "normalized"
            vector that attention read, "resid_pre", or "nothing"; keeps_2: likewise.
        mlp_reads: the "stream", "resid_pre", or attention's "write" alone.
        mlp_first: the MLP before attention.
        returns: what comes out in the end.
    """
    stream, write = resid_pre, resid_pre
    steps = [
        ("attn", norm_1, place_1, keeps_1),
        ("mlp", norm_2, place_2, keeps_2),
    ]
    streams, writes = [], []
    for name, norm, place, keeps in steps[::-1] if mlp_first else steps:
        sources = {"stream": stream, "resid_pre": resid_pre, "write": write}
        reads = sources[mlp_reads] if name == "mlp" else stream
        reads = _norm(norm, reads, p, cfg) if place == "before" else reads
        part = _part(p, name)
        write = attention(reads, part) if name == "attn" else compute_mlp(reads, p=part)
        write = _norm(norm, write, p, cfg) if place == "write" else write
        kept = {"stream": stream, "normalized": reads, "resid_pre": resid_pre}
        stream = kept[keeps] + write if keeps != "nothing" else write
        stream = _norm(norm, stream, p, cfg) if place == "sum" else stream
        streams.append(stream)
        writes.append(write)
    return {
        "resid_post": lambda: stream,
        "resid_mid": lambda: streams[0],
        "without attention": lambda: resid_pre + writes[1],
        "resid_pre again": lambda: stream + resid_pre,
        "resid_mid again": lambda: stream + streams[0],
        "first write again": lambda: stream + writes[0],
        "second write again": lambda: stream + writes[1],
        "normalized": lambda: _norm("ln2", stream, p, cfg),
    }[returns]()


KNOWN = (
    Known(
        "ln1-used-twice",
        "Your MLP reads the stream through `ln1`.",
        "Each sublayer has a LayerNorm of its own, with weights of its own: `ln2` "
        "stands in front of the MLP.",
        {"norm_2": "ln1"},
        "count how often `self.ln1` and `self.ln2` stand in your forward",
    ),
    Known(
        "ln2-used-twice",
        "Your attention reads the stream through `ln2`.",
        "Each sublayer has a LayerNorm of its own, with weights of its own: `ln1` "
        "stands in front of attention.",
        {"norm_1": "ln2"},
        "count how often `self.ln1` and `self.ln2` stand in your forward",
    ),
    Known(
        "layernorms-swapped",
        "`ln1` and `ln2` have changed places.",
        "`ln1` stands in front of attention, `ln2` in front of the MLP; each was "
        "trained for its place.",
        {"norm_1": "ln2", "norm_2": "ln1"},
        "`self.attn(self.ln1(...))` first, then `self.mlp(self.ln2(...))`",
    ),
    Known(
        "no-ln1",
        "Your attention reads the residual stream as it is.",
        "It should read `self.ln1(resid_pre)`: without it the scores grow with the "
        "length of the stream.",
        {"norm_1": None},
        "what does `self.ln1` do in your forward?",
    ),
    Known(
        "no-ln2",
        "Your MLP reads the residual stream as it is.",
        "It should read `self.ln2(resid_mid)`, a copy with mean 0 and variance 1.",
        {"norm_2": None},
        "what does `self.ln2` do in your forward?",
    ),
    Known(
        "no-first-residual",
        "You do not add attention's output to the stream: it takes the stream's place.",
        "Everything written earlier would be lost: `resid_mid = resid_pre + attn_out`.",
        {"keeps_1": "nothing"},
        "what is left of `resid_pre` after your first step?",
    ),
    Known(
        "no-second-residual",
        "You do not add the MLP's output to the stream: it takes the stream's place.",
        "Everything written earlier would be lost: `resid_post = resid_mid + mlp_out`.",
        {"keeps_2": "nothing"},
        "what is left of `resid_mid` in what you return?",
    ),
    Known(
        "no-residual",
        "Each sublayer's output takes the stream's place: nothing is added.",
        "Everything written earlier would be lost; both outputs are added to the "
        "stream.",
        {"keeps_1": "nothing", "keeps_2": "nothing"},
        "`resid_mid = resid_pre + attn_out`, and the same again for the MLP",
    ),
    Known(
        "one-residual-around-both",
        "You add once, around attention and MLP together: the MLP reads attention's "
        "output alone, and that output itself is not added.",
        "Each sublayer adds its own output: `resid_mid = resid_pre + attn_out`, then "
        "`resid_mid + mlp_out`.",
        {"keeps_1": "nothing", "keeps_2": "resid_pre"},
        "two sublayers, two plus signs",
    ),
    Known(
        "normalized-kept-in-first-residual",
        "You add attention's output to `ln1`'s output.",
        "LayerNorm's output is read and thrown away; attention's output is added to "
        "the stream itself, `resid_pre`.",
        {"keeps_1": "normalized"},
        "keep `resid_pre` under its own name; do not assign `ln1`'s output to it",
    ),
    Known(
        "normalized-kept-in-second-residual",
        "You add the MLP's output to `ln2`'s output.",
        "LayerNorm's output is read and thrown away; the MLP's output is added to the "
        "stream itself, `resid_mid`.",
        {"keeps_2": "normalized"},
        "keep `resid_mid` under its own name; do not assign `ln2`'s output to it",
    ),
    Known(
        "second-residual-from-the-start",
        "You add the MLP's output to `resid_pre`: attention's write is lost.",
        "The stream has moved on since: `resid_post = resid_mid + mlp_out`.",
        {"keeps_2": "resid_pre"},
        "which variable holds the stream after attention has written to it?",
    ),
    Known(
        "post-norm",
        "You normalize after each sum: LayerNorm(x + sublayer(x)).",
        "That is the first Transformer of 2017 (post-norm). GPT-2 normalizes what a "
        "sublayer reads, x + sublayer(LayerNorm(x)), and leaves the stream alone.",
        {"place_1": "sum", "place_2": "sum"},
        "LayerNorm goes inside the call: `self.attn(self.ln1(resid_pre))`",
    ),
    Known(
        "norm-after-attention",
        "You normalize what attention writes.",
        "LayerNorm stands before attention, on what it reads.",
        {"place_1": "write"},
        "`self.attn(self.ln1(x))`, not `self.ln1(self.attn(x))`",
    ),
    Known(
        "norm-after-mlp",
        "You normalize what the MLP writes.",
        "LayerNorm stands before the MLP, on what it reads.",
        {"place_2": "write"},
        "`self.mlp(self.ln2(x))`, not `self.ln2(self.mlp(x))`",
    ),
    Known(
        "parallel",
        "Your MLP reads `resid_pre`, from before attention has written.",
        "In GPT-2 they come one after the other: the MLP reads `resid_mid`, and so "
        "sees what attention has fetched. (GPT-J runs them side by side.)",
        {"mlp_reads": "resid_pre"},
        "which variable goes into `self.ln2`?",
    ),
    Known(
        "mlp-reads-attention-only",
        "Your MLP reads attention's output alone.",
        "It should read the whole stream after attention's write, "
        "`resid_mid = resid_pre + attn_out`.",
        {"mlp_reads": "write"},
        "which variable goes into `self.ln2`?",
    ),
    Known(
        "mlp-before-attention",
        "Your MLP comes first, then attention.",
        "GPT-2's order is attention, then MLP: first fetch, then think it over.",
        {"mlp_first": True},
        "which of the two reads `resid_pre`?",
    ),
    Known(
        "mlp-write-lost",
        "You return the stream as attention left it: the MLP's output is not in it.",
        "The block returns `resid_mid + mlp_out`.",
        {"returns": "resid_mid"},
        "where does the result of `self.mlp(...)` go?",
    ),
    Known(
        "only-attention-returned",
        "You return attention's output alone: neither the stream nor the MLP is in it.",
        "The block returns `resid_mid + mlp_out`, with "
        "`resid_mid = resid_pre + attn_out`.",
        {"keeps_1": "nothing", "returns": "resid_mid"},
        "two sublayers, two plus signs",
    ),
    Known(
        "attention-write-lost",
        "Attention's output is nowhere in the result, and the MLP has not seen it.",
        "Attention writes first: `resid_mid = resid_pre + attn_out`; the MLP reads "
        "and adds to that.",
        {"returns": "without attention", "mlp_reads": "resid_pre"},
        "where does the result of `self.attn(...)` go?",
    ),
    Known(
        "stream-added-twice",
        "`resid_pre` is in your result twice.",
        "`resid_mid` holds it already: return `resid_mid + mlp_out`.",
        {"returns": "resid_pre again"},
        "write the sum out in full: the stream, attention's write, the MLP's write",
    ),
    Known(
        "resid-mid-added-twice",
        "`resid_mid` is in your result twice.",
        "Each write is added once: `resid_mid + mlp_out`.",
        {"returns": "resid_mid again"},
        "write the sum out in full: the stream, attention's write, the MLP's write",
    ),
    Known(
        "attention-added-twice",
        "Attention's output is in your result twice.",
        "`resid_mid` holds it already: return `resid_mid + mlp_out`.",
        {"returns": "first write again"},
        "write the sum out in full: the stream, attention's write, the MLP's write",
    ),
    Known(
        "mlp-added-twice",
        "The MLP's output is in your result twice.",
        "Each write is added once: `resid_mid + mlp_out`.",
        {"returns": "second write again"},
        "write the sum out in full: the stream, attention's write, the MLP's write",
    ),
    Known(
        "output-normalized",
        "You pass the sum through `ln2` before you return it.",
        "The stream leaves the block as it is; the next block normalizes its own copy.",
        {"returns": "normalized"},
        "return `resid_mid + mlp_out` itself",
    ),
)


def _case(source: Source, layer: int, tokens: Tensor, detail: str = "", grad=False):
    _, cache = source.reference.run_with_cache(tokens)
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(cache[f"blocks.{layer}.hook_resid_pre"],),
        params=source.part(f"blocks.{layer}."),
        expected=cache[f"blocks.{layer}.hook_resid_post"],
        grad=grad,
    )


def make_cases() -> list[Case]:
    """What the second block of both models reads, and what it leaves."""
    small, big = stirred(), loaded()
    c = small.cfg
    # token ids from noise: any will do
    full = (noise(2, c.n_ctx, seed=21).abs() * 1e4).long() % c.d_vocab
    return [
        _case(small, 1, small.tokens, grad=True),
        _case(small, 1, full[:1, :5], "on a batch of one"),
        _case(small, 1, full[:, :1], "on a single position"),
        _case(small, 2, full, "on the full context"),
        _case(big, min(1, big.cfg.n_layers - 1), big.tokens, grad=True),
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """What the block makes on its way, by the names that the notebook uses."""
    (x,) = case.inputs
    p, cfg = case.params, case.cfg
    normalized_pre = _norm("ln1", x, p, cfg)
    attn_out = attention(normalized_pre, _part(p, "attn"))
    resid_mid = x + attn_out
    normalized_mid = _norm("ln2", resid_mid, p, cfg)
    mlp_out = compute_mlp(normalized_mid, p=_part(p, "mlp"))
    return {
        "the output of `ln1`": normalized_pre,
        "the output of `attn`": attn_out,
        "`resid_mid = resid_pre + attn_out`": resid_mid,
        "the output of `ln2`": normalized_mid,
        "the output of `mlp`": mlp_out,
        "`resid_post = resid_mid + mlp_out`": resid_mid + mlp_out,
    }


transformer_block = Check(
    name="transformer_block",
    answer="TransformerBlock",
    compute=compute,
    make_cases=make_cases,
    known=KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "A block writes to the stream twice. What does each sublayer read, and what "
        "happens to its output?",
        "Attention reads `ln1` of the stream and its output is added to the stream; "
        "then the MLP reads `ln2` of the new stream and its output is added to that.",
        "`resid_mid = resid_pre + self.attn(self.ln1(resid_pre))`; the second line has "
        "the same form, with `self.ln2` and `self.mlp`.",
    ),
    lesson="06_transformer_block.ipynb#TransformerBlock",
    pairs=True,
    stages=stages,
    built_of_parts=True,
    causal=True,
    may_be_unused={"attn.b_K": "`b_K` is not used, and no output can show that"},
)
