"""The check of notebook 07: DemoTransformer."""

from torch import Tensor

from helpers.checks import block, cases, layernorm
from helpers.checks.cases import Case, Source, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.config import Config


def _ln_final(x: Tensor, p: dict[str, Tensor], cfg: Config) -> Tensor:
    weights = {"w": p["ln_final.w"], "b": p["ln_final.b"]}
    return layernorm.compute(x, p=weights, cfg=cfg)


def _embedded(tokens: Tensor, p: dict[str, Tensor], positions: str) -> Tensor:
    embed = p["embed.W_E"][tokens]  # [batch, position, d_model]
    pos_embed = p["pos_embed.W_pos"][: tokens.shape[1]].expand_as(embed)
    return {
        "added": lambda: embed + pos_embed,
        "unused": lambda: embed,
        "multiplied": lambda: embed * pos_embed,
        "subtracted": lambda: embed - pos_embed,
        "alone": lambda: pos_embed,
        "twice": lambda: embed + 2 * pos_embed,
        "embed twice": lambda: 2 * embed,
    }[positions]()


def _order(order: str, n_layers: int) -> list[int]:
    every = list(range(n_layers))
    return {
        "all": every,
        "none": [],
        "reverse": every[::-1],
        "first only": every[:1],
        "last only": every[-1:],
        "without the first": every[1:],
        "without the last": every[:-1],
        "first again and again": [0] * n_layers,
        "last again and again": [n_layers - 1] * n_layers,
        "each twice": [i for i in every for _ in range(2)],
        "all twice": every * 2,
    }[order]


def compute(
    tokens: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    positions: str = "added",
    normalize_first: bool = False,
    order: str = "all",
    step: str = "stream",
    norm: str = "last",
    head: str = "W_U",
    then: str = "logits",
) -> Tensor:
    """GPT-2's logits for tokens [batch, position], with switches for mistakes.

    Args:
        positions: how token and position embedding come together.
        normalize_first: `ln_final` in front of the blocks as well.
        order: which blocks run, in which order.
        step: what goes into a block, and what becomes of its output.
        norm: where `ln_final` works.
        head: the matrix that makes logits: "W_U", or "W_E" transposed.
        then: what is done to the logits.
    """
    residual = start = _embedded(tokens, p, positions)
    if normalize_first:
        residual = start = _ln_final(start, p, cfg)
    every_block = p["pos_embed.W_pos"][: tokens.shape[1]]
    total = start
    for i in _order(order, cfg.n_layers):
        weights = block._part(p, f"blocks.{i}")
        reads = start if step in ("reads the start", "side by side") else residual
        if step == "positions added again" and i > 0:
            reads = reads + every_block
        out = block.compute(reads, p=weights, cfg=cfg)
        total = total + out
        residual = residual + out if step == "added to the stream" else out
        if norm == "after each block":
            residual = _ln_final(residual, p, cfg)
    residual = {
        "side by side": lambda: total,
        "positions added after": lambda: residual + every_block,
        "start added after": lambda: residual + start,
    }.get(step, lambda: residual)()
    for _ in range({"last": 1, "twice": 2}.get(norm, 0)):
        residual = _ln_final(residual, p, cfg)
    W_U = p["unembed.W_U"] if head == "W_U" else p["embed.W_E"].T
    logits = residual @ W_U
    logits = logits if head == "W_E alone" else logits + p["unembed.b_U"]
    return {
        "logits": lambda: logits,
        "softmax": lambda: logits.softmax(-1),
        "log_softmax": lambda: logits.log_softmax(-1),
        "last position": lambda: logits[:, -1],
        "argmax": lambda: logits.argmax(-1),
        "no head": lambda: residual,
    }[then]()


EACH_BLOCK_ONCE = "each block reads what the one before it returned"

KNOWN = (
    Known(
        "no-positional-embedding",
        "The positional embedding is nowhere in your sum.",
        "Without it the model cannot tell which token comes first. The stream begins "
        "as `embed + pos_embed`.",
        {"positions": "unused"},
        "where does the output of `self.pos_embed` go?",
    ),
    Known(
        "positions-multiplied",
        "You multiply the token embedding by the positional embedding.",
        "The two are added: both write into one residual stream.",
        {"positions": "multiplied"},
        "a plus sign",
    ),
    Known(
        "positions-subtracted",
        "You take the positional embedding off.",
        "It is added.",
        {"positions": "subtracted"},
        "a plus sign",
    ),
    Known(
        "no-token-embedding",
        "Your stream begins with the positions alone: no token is in it.",
        "It begins as `embed + pos_embed`.",
        {"positions": "alone"},
        "where does the output of `self.embed` go?",
    ),
    Known(
        "positions-added-twice",
        "The positional embedding is in your sum twice.",
        "Once is right: `embed + pos_embed`.",
        {"positions": "twice"},
        "does one of your variables hold it already?",
    ),
    Known(
        "embedding-added-twice",
        "The token embedding is in your sum twice, and the positions are missing.",
        "The stream begins as `embed + pos_embed`.",
        {"positions": "embed twice"},
        "one of the two should be `self.pos_embed(tokens)`",
    ),
    Known(
        "positions-added-at-every-block",
        "You add the positional embedding again in front of every block.",
        "It is added once, at the start; the stream carries it from there.",
        {"step": "positions added again"},
        "take it out of the loop",
    ),
    Known(
        "positions-added-after-the-blocks",
        "You add the positional embedding after the blocks as well.",
        "It is added once, at the start; the stream carries it from there.",
        {"step": "positions added after"},
        "only the token embedding and the positions meet, before the loop",
    ),
    Known(
        "positions-too-late",
        "You add the positional embedding after the blocks instead of before them.",
        "The blocks need it: attention cannot tell order without it.",
        {"positions": "unused", "step": "positions added after"},
        "move the sum in front of the loop",
    ),
    Known(
        "embedding-normalized",
        "You pass the embedding through `ln_final` before the first block.",
        "Each block normalizes its own copy; the stream itself goes in as it is.",
        {"normalize_first": True},
        "`ln_final` stands after the last block, and nowhere else",
    ),
    Known(
        "ln-final-too-early",
        "`ln_final` stands before the blocks, and nothing normalizes after them.",
        "It is the last step before the unembedding.",
        {"normalize_first": True, "norm": "none"},
        "move it behind the loop",
    ),
    Known(
        "no-blocks",
        "The blocks are never used: embedding, then straight to the end.",
        "The stream goes through every block in turn.",
        {"order": "none"},
        "`for block in self.blocks: residual = block(residual)`",
    ),
    Known(
        "blocks-in-reverse",
        "The blocks run from the last to the first.",
        f"In order: {EACH_BLOCK_ONCE}, from `blocks[0]` on.",
        {"order": "reverse"},
        "`for block in self.blocks:`",
    ),
    Known(
        "first-block-only",
        "Only the first block is used.",
        "All of them run; a `return` inside the loop ends it too early.",
        {"order": "first only"},
        "look at the indentation of what follows the loop",
    ),
    Known(
        "last-block-only",
        "Only the last block counts: each block reads the embedding, and its output "
        "replaces that of the block before.",
        f"The stream is handed on: {EACH_BLOCK_ONCE}.",
        {"order": "last only"},
        "`residual = block(residual)`, with one and the same name",
    ),
    Known(
        "first-block-skipped",
        "The first block is never used.",
        "All of them run, `blocks[0]` too.",
        {"order": "without the first"},
        "does your loop begin at 1?",
    ),
    Known(
        "last-block-skipped",
        "The last block is never used.",
        "All n_layers of them run.",
        {"order": "without the last"},
        "does your loop end one too early?",
    ),
    Known(
        "same-block-reused",
        "You run the first block n_layers times.",
        "There are n_layers different blocks, each with weights of its own.",
        {"order": "first again and again"},
        "the loop variable should appear in the loop's body",
    ),
    Known(
        "last-block-reused",
        "You run the last block n_layers times.",
        "There are n_layers different blocks, each with weights of its own.",
        {"order": "last again and again"},
        "the loop variable should appear in the loop's body",
    ),
    Known(
        "each-block-twice",
        "Each block runs twice.",
        f"Once is right: {EACH_BLOCK_ONCE}.",
        {"order": "each twice"},
        "count the calls in the loop's body",
    ),
    Known(
        "all-blocks-twice",
        "You run through all the blocks, and then once more.",
        f"Once is right: {EACH_BLOCK_ONCE}.",
        {"order": "all twice"},
        "is there a loop in a loop, or `self.blocks` beside a loop?",
    ),
    Known(
        "residual-doubled",
        "You add each block's output to the stream.",
        "A block returns the whole stream, with its own writing added already: the "
        "output *is* the new stream.",
        {"step": "added to the stream"},
        "`residual = block(residual)`",
    ),
    Known(
        "blocks-side-by-side",
        "Every block reads the embedding, and you add up what they return.",
        f"They come one after the other: {EACH_BLOCK_ONCE}.",
        {"step": "side by side"},
        "`residual = block(residual)`",
    ),
    Known(
        "embedding-added-after-the-blocks",
        "You add the embedding again after the blocks.",
        "It is in the stream already: each block adds to what it reads.",
        {"step": "start added after"},
        "the output of the last block goes into `ln_final` as it is",
    ),
    Known(
        "no-final-layernorm",
        "The final LayerNorm is missing: you unembed the residual stream as it is.",
        "GPT-2 normalizes it once more: `self.unembed(self.ln_final(residual))`.",
        {"norm": "none"},
        "where is `self.ln_final` used?",
    ),
    Known(
        "layernorm-after-each-block",
        "You pass the stream through `ln_final` after each block.",
        "It works once, after the last block; in between the stream stays as it is.",
        {"norm": "after each block"},
        "look at the indentation of `self.ln_final`",
    ),
    Known(
        "final-layernorm-twice",
        "`ln_final` works twice at the end.",
        "Once is right.",
        {"norm": "twice"},
        "does a variable hold the normalized stream already?",
    ),
    Known(
        "tied-to-the-embedding",
        "Your logits come from the embedding transposed, `W_E.T`, plus `b_U`.",
        "In GPT-2's file the two are one matrix, but in this class `unembed` has its "
        "own `W_U`, and a model may well hold another one there.",
        {"head": "W_E"},
        "`self.unembed(...)`",
    ),
    Known(
        "tied-without-bias",
        "Your logits come from the embedding transposed, `W_E.T`.",
        "In GPT-2's file the two are one matrix, but in this class `unembed` has its "
        "own `W_U` and `b_U`, and a model may well hold others there.",
        {"head": "W_E alone"},
        "`self.unembed(...)`",
    ),
    Known(
        "softmax-on-top",
        "You return probabilities.",
        "The model returns logits; who needs probabilities takes the softmax. The loss "
        "takes its own, and a second one on top would flatten it.",
        {"then": "softmax"},
        "return what `self.unembed` gives",
    ),
    Known(
        "log-softmax-on-top",
        "You return log probabilities.",
        "The model returns logits, as GPT-2 does.",
        {"then": "log_softmax"},
        "return what `self.unembed` gives",
    ),
    Known(
        "last-position-only",
        "You return the logits of the last position alone.",
        "Every position predicts its next token: [batch, position, d_vocab]. Training "
        "needs them all.",
        {"then": "last position"},
        "return what `self.unembed` gives",
    ),
    Known(
        "tokens-not-logits",
        "You return the likeliest tokens.",
        "The model returns one logit for every token of the vocabulary; choosing "
        "comes later.",
        {"then": "argmax"},
        "return what `self.unembed` gives",
    ),
    Known(
        "no-unembedding",
        "You return the normalized stream, [batch, position, d_model].",
        "The last step turns it into logits, [batch, position, d_vocab].",
        {"then": "no head"},
        "`self.unembed(...)`",
    ),
    Known(
        "stream-returned",
        "You return the residual stream, [batch, position, d_model].",
        "Two steps are missing: `ln_final`, and `unembed`, which makes logits.",
        {"norm": "none", "then": "no head"},
        "`self.unembed(self.ln_final(residual))`",
    ),
)


def _case(source: Source, tokens: Tensor, detail: str = "", grad: bool = False) -> Case:
    logits, _ = source.reference.run_with_cache(tokens)
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens,),
        params=source.weights,
        expected=logits,
        grad=grad,
    )


def make_cases() -> list[Case]:
    """Tokens for both models, and for one with another number of layers."""
    small, other, big = stirred(), stirred(n_layers=2), loaded()
    c = small.cfg
    full = (noise(2, c.n_ctx, seed=31).abs() * 1e4).long() % c.d_vocab
    return [
        _case(small, small.tokens, grad=True),
        _case(small, full[:1, :5], "on a batch of one"),
        _case(small, full[:, :1], "on a single position"),
        _case(small, full, "on the full context"),
        _case(other, full[:, :6], "with 2 layers"),
        _case(big, big.tokens),
    ]


def stages(case: Case) -> dict[str, Tensor]:
    """The residual stream on its way, by the names that the notebook uses."""
    (tokens,) = case.inputs
    p, cfg = case.params, case.cfg
    residual = _embedded(tokens, p, "added")
    found = {
        "the output of `embed`": _embedded(tokens, p, "unused"),
        "the output of `pos_embed`": _embedded(tokens, p, "alone"),
        "`embed + pos_embed`": residual,
    }
    for i in range(cfg.n_layers):
        residual = block.compute(residual, p=block._part(p, f"blocks.{i}"), cfg=cfg)
        found[f"the output of `blocks[{i}]`"] = residual
    normalized = _ln_final(residual, p, cfg)
    found["the output of `ln_final`"] = normalized
    found["the logits"] = normalized @ p["unembed.W_U"] + p["unembed.b_U"]
    return found


demo_transformer = Check(
    name="demo_transformer",
    answer="DemoTransformer",
    compute=compute,
    make_cases=make_cases,
    known=KNOWN,
    axes=("batch", "position", "d_vocab"),
    hints=(
        "Which five parts does the figure show, and what does each one read?",
        "The stream begins as the sum of two embeddings, passes through every block "
        "in turn, is normalized once, and is turned into logits.",
        "`residual = self.embed(tokens) + self.pos_embed(tokens)`, then a loop with "
        "one line in it, then `self.unembed(self.ln_final(residual))`.",
    ),
    lesson="07_full_transformer.ipynb#DemoTransformer",
    stages=stages,
    built_of_parts=True,
    causal=True,
    may_be_unused={
        f"blocks.{i}.attn.b_K": "`b_K` is not used, and no output can show that"
        for i in range(cases.STIRRED.n_layers)
    },
)
