"""The checks of notebook 03: Embed, PosEmbed and Unembed."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.checks.cases import STIRRED, Case, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check, as_it_is
from helpers.config import Config

# Comparing gradients of a table as large as GPT-2's, 39 million numbers, takes longer
# than a check may; the small model's gradients have the same story to tell.
_LARGE = 20_000  # tokens
LOOK_UP = "`self.W_E[tokens]` looks up one row for every token, in one step"


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    return table[ids]


def embed_compute(
    tokens: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    ids=as_it_is,
    look_up=_rows,
    then=as_it_is,
) -> Tensor:
    """W_E's rows for tokens [batch, position]; a switch replaces one of the steps."""
    return then(look_up(p["W_E"], ids(tokens)))


EMBED_KNOWN = (
    Known(
        "transposed-table",
        "You look the tokens up in W_E transposed.",
        "A token's vector is a *row* of W_E: [d_vocab, d_model] is already the right "
        "way round.",
        {"look_up": lambda W_E, ids: W_E.T[ids]},
        LOOK_UP,
    ),
    Known(
        "looks-up-columns",
        "You take columns of W_E: one number of every token of the vocabulary.",
        "A token's vector is a *row* of W_E, so the ids belong in front of the comma.",
        {"look_up": lambda W_E, ids: W_E[:, ids]},
        LOOK_UP,
    ),
    Known(
        "product-with-token-id",
        "You multiply by the token ids.",
        "An id is a name and not an amount: token 20 is not twice token 10. It says "
        "which row to look up.",
        {"look_up": lambda W_E, ids: ids[..., None].float() * W_E.sum(0)},
        LOOK_UP,
    ),
    Known(
        "vocabulary-axis-not-tied",
        "You add up all rows of W_E, so that every token gets the same vector.",
        "In a one-hot product the vocabulary axis of both tensors must carry the same "
        "name: then only the row of the token survives.",
        {"look_up": lambda W_E, ids: W_E.sum(0).expand(*ids.shape, -1)},
        '`"batch position d_vocab, d_vocab d_model -> batch position d_model"`',
    ),
    Known(
        "one-hot-kept",
        "You return the one-hot vectors.",
        "They only pick the row: multiply them by W_E.",
        {"look_up": lambda W_E, ids: functional.one_hot(ids, len(W_E)).to(W_E.dtype)},
        "`one_hot @ self.W_E`, or the short form: `self.W_E[tokens]`",
    ),
    Known(
        "looked-up-by-position",
        "You take the first rows of W_E, whatever the tokens are.",
        "That is what PosEmbed does with its own table. Here the token decides: the "
        "same token gets the same row wherever it stands.",
        {"ids": lambda t: torch.arange(t.shape[1]).expand(t.shape)},
        LOOK_UP,
    ),
    Known(
        "one-row-too-far",
        "You look up the row after each token's own.",
        "Ids count from 0, and so do the rows of W_E: there is nothing to add.",
        {"ids": lambda t: t + 1},
        LOOK_UP,
    ),
    Known(
        "one-row-short",
        "You look up the row before each token's own.",
        "Ids count from 0, and so do the rows of W_E: there is nothing to take off.",
        {"ids": lambda t: t - 1},
        LOOK_UP,
    ),
    Known(
        "batch-and-position-swapped",
        "Your output is [position, batch, d_model].",
        "The axes of `tokens` come first and keep their order: "
        "[batch, position, d_model].",
        {"ids": lambda t: t.T},
        LOOK_UP,
    ),
    Known(
        "batch-and-position-merged",
        "Your output is [batch · position, d_model]: the texts of the batch have run "
        "into one.",
        "Every layer that follows expects [batch, position, d_model].",
        {"then": lambda y: y.flatten(0, 1)},
        "no `flatten` or `view` is needed: indexing keeps the shape of the index",
    ),
    Known(
        "first-text-only",
        "You look up the first text of the batch and drop the others.",
        "Every text in the batch gets its vectors: [batch, position, d_model].",
        {"ids": lambda t: t[0]},
        "index with all of `tokens`, not with `tokens[0]`",
    ),
    Known(
        "first-text-repeated",
        "Every text of the batch gets the vectors of the first one.",
        "Each text has tokens of its own, so look each of them up.",
        {"ids": lambda t: t[:1].expand(t.shape)},
        "index with all of `tokens`, not with `tokens[0]`",
    ),
    Known(
        "last-position-only",
        "You look up only the last token of each text.",
        "Every position gets its vector: [batch, position, d_model].",
        {"ids": lambda t: t[:, -1]},
        "index with all of `tokens`",
    ),
    Known(
        "positions-added-up",
        "You add up the vectors of all tokens in a text.",
        "Every position keeps its own vector: nothing is summed here.",
        {"then": lambda y: y.sum(1)},
        "keep `position` on the right of the arrow",
    ),
    Known(
        "positions-averaged",
        "You average the vectors of all tokens in a text.",
        "Every position keeps its own vector: nothing is averaged here.",
        {"then": lambda y: y.mean(1)},
        "take the mean out",
    ),
    Known(
        "scaled-by-sqrt-d-model",
        "You multiply the vectors by sqrt(d_model).",
        "The Transformer of 2017 does so; GPT-2 takes the rows of W_E as they are.",
        {"then": lambda y: y * y.shape[-1] ** 0.5},
        "take the factor out",
    ),
    Known(
        "divided-by-sqrt-d-model",
        "You divide the vectors by sqrt(d_model).",
        "GPT-2 takes the rows of W_E as they are.",
        {"then": lambda y: y / y.shape[-1] ** 0.5},
        "take the factor out",
    ),
    Known(
        "position-numbers-added",
        "You add the number of the position to each vector.",
        "Where a token stands is PosEmbed's business, with learned vectors. Embed "
        "depends on the token alone.",
        {"then": lambda y: y + torch.arange(y.shape[1]).to(y.dtype)[:, None]},
        LOOK_UP,
    ),
    Known(
        "positions-added",
        "You add the first rows of W_E as if they were positions.",
        "Positions have a table of their own, in PosEmbed; the model adds the two "
        "later. Embed depends on the token alone.",
        {"look_up": lambda W_E, ids: W_E[ids] + W_E[: ids.shape[1]]},
        LOOK_UP,
    ),
    Known(
        "normalized",
        "You normalize each vector to mean 0 and variance 1.",
        "LayerNorm comes later, inside the blocks; here the rows go out as they are.",
        {"then": lambda y: functional.layer_norm(y, y.shape[-1:])},
        LOOK_UP,
    ),
)


def pos_embed_compute(
    tokens: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    positions=lambda t, n_ctx: torch.arange(t.shape[1]).expand(t.shape),
    then=lambda y, t: y,
) -> Tensor:
    """W_pos's rows for the positions of tokens [batch, position], with switches."""
    return then(p["W_pos"][positions(tokens, cfg.n_ctx)], tokens)


POS_KNOWN = (
    Known(
        "runs-on-across-the-batch",
        "Your positions run on from one text of the batch to the next.",
        "Each text starts at position 0 again: the texts of a batch know nothing of "
        "one another.",
        {"positions": lambda t, n: torch.arange(t.numel()).reshape(t.shape)},
        "count along one text (`tokens.shape[1]`) and give every text the same rows",
    ),
    Known(
        "indexed-by-token",
        "You look W_pos up with the token ids.",
        "W_pos has a row for each *position*, 0, 1, 2, …; which token stands there "
        "does not matter.",
        {"positions": lambda t, n: t},
        "of `tokens` you only need the shape",
    ),
    Known(
        "batch-and-position-merged",
        "Your output is [batch · position, d_model]: the texts of the batch stand one "
        "below the other.",
        "The batch keeps an axis of its own: [batch, position, d_model].",
        {"then": lambda y, t: y.flatten(0, 1) if len(t) > 1 else y},
        '`einops.repeat(rows, "position d_model -> batch position d_model", '
        "batch=batch)`, without brackets on the right",
    ),
    Known(
        "starts-at-1",
        "Your positions start at 1.",
        "The first token stands at position 0 and gets the first row of W_pos.",
        {"positions": lambda t, n: torch.arange(1, t.shape[1] + 1).expand(t.shape)},
        "`self.W_pos[:position]` begins with row 0",
    ),
    Known(
        "reversed",
        "Your positions count down.",
        "The first token gets row 0, the next one row 1, and so on.",
        {"positions": lambda t, n: torch.arange(t.shape[1]).flip(0).expand(t.shape)},
        "`self.W_pos[:position]` is in the right order",
    ),
    Known(
        "last-rows",
        "You take the last rows of W_pos.",
        "A text starts at position 0, so take the *first* rows, as many as there are "
        "tokens.",
        {
            "positions": lambda t, n: torch.arange(n - t.shape[1], n).expand(t.shape),
        },
        "`self.W_pos[:position]`",
    ),
    Known(
        "all-rows",
        "You return all n_ctx rows of W_pos, whatever the length of the text.",
        "Take as many rows as there are tokens, or they cannot be added to the token "
        "vectors.",
        {"positions": lambda t, n: torch.arange(n).expand(len(t), n)},
        "`self.W_pos[:position]`, with `batch, position = tokens.shape`",
    ),
    Known(
        "counts-the-batch",
        "You take as many rows as there are texts in the batch.",
        "`tokens` is [batch, position], so the length of a text is `tokens.shape[1]`; "
        "`len(tokens)` and `tokens.shape[0]` are the batch.",
        {"positions": lambda t, n: torch.arange(len(t)).expand(len(t), len(t))},
        "`batch, position = tokens.shape`",
    ),
    Known(
        "position-is-the-text",
        "Each text gets one row, by its place in the batch.",
        "The row depends on the position inside the text, and is the same for all "
        "texts.",
        {"positions": lambda t, n: torch.arange(len(t))[:, None].expand(t.shape)},
        "count along axis 1 of `tokens`",
    ),
    Known(
        "batch-and-position-swapped",
        "Your output is [position, batch, d_model].",
        "The batch comes first: [batch, position, d_model].",
        {"positions": lambda t, n: torch.arange(t.shape[1])[:, None].expand(t.T.shape)},
        "name the axes: `batch, position = tokens.shape`",
    ),
    Known(
        "one-row-for-all",
        "You take the single row number `position`, for all positions.",
        "`W_pos[position]` is one row; the colon in `W_pos[:position]` makes it all "
        "rows up to there.",
        {"positions": lambda t, n: torch.tensor(t.shape[1]).expand(t.shape)},
        "`self.W_pos[:position]`",
    ),
    Known(
        "last-row-for-all",
        "Every position gets the row of the last one.",
        "Position 0 gets row 0, position 1 row 1, and so on.",
        {"positions": lambda t, n: torch.tensor(t.shape[1] - 1).expand(t.shape)},
        "`self.W_pos[:position]`",
    ),
    Known(
        "first-row-for-all",
        "Every position gets row 0.",
        "Position 0 gets row 0, position 1 row 1, and so on: otherwise the model "
        "cannot tell them apart.",
        {"positions": lambda t, n: torch.zeros_like(t)},
        "`self.W_pos[:position]`",
    ),
    Known(
        "first-position-only",
        "You return the row of position 0 and no other.",
        "Every position of the text gets its row.",
        {"positions": lambda t, n: torch.zeros_like(t[:, :1])},
        "`self.W_pos[:position]`",
    ),
    Known(
        "added-up-over-the-batch",
        "You add up the rows over the batch.",
        "Every text gets W_pos as it is; a larger batch changes nothing.",
        {"then": lambda y, t: y * len(t)},
        "`batch` must stand on the right of the arrow, or `einsum` sums over it",
    ),
    Known(
        "product-with-token-id",
        "You multiply the rows of W_pos by the token ids.",
        "Which token stands at a position does not matter here; Embed looks after "
        "that.",
        {"then": lambda y, t: y * t[..., None]},
        "of `tokens` you only need the shape",
    ),
    Known(
        "product-with-position",
        "You multiply each row by the number of its position.",
        "The position says *which* row; the row itself goes out as it is.",
        {"then": lambda y, t: y * torch.arange(t.shape[1])[:, None]},
        "`self.W_pos[:position]`",
    ),
    Known(
        "position-numbers",
        "You return the numbers of the positions.",
        "They only say which rows of W_pos to take.",
        {"then": lambda y, t: torch.arange(t.shape[1]).expand(t.shape)},
        "`self.W_pos[:position]`",
    ),
    Known(
        "scaled-by-sqrt-d-model",
        "You multiply the rows by sqrt(d_model).",
        "The Transformer of 2017 does so with its token vectors; GPT-2 takes the rows "
        "as they are.",
        {"then": lambda y, t: y * y.shape[-1] ** 0.5},
        "take the factor out",
    ),
)


def as_wide_as_the_batch(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    """Give [rows, d_model] and [1, rows, d_model] the batch axis that adding gives."""
    (tokens,) = case.inputs
    batch, position = tokens.shape
    missing = output.ndim == 3 and len(output) == 1 < batch
    if output.ndim == 2 and output.shape[1] == case.cfg.d_model:
        # batch · position rows are no table of positions, they are a mistake
        missing = len(output) != batch * position or batch == 1
    if output.ndim == 1 and len(output) == case.cfg.d_model:  # one row
        output, missing = output.expand(position, -1), True
    if not missing:
        return output, None
    note = (
        "it leaves the batch axis to broadcasting; with `.expand(batch, -1, -1)` the "
        "output has the shape that it promises, [batch, position, d_model]"
    )
    return output.expand(batch, *output.shape[-2:]), note


def unembed_compute(
    x: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    before=as_it_is,
    product=torch.matmul,
    bias=torch.add,
    then=as_it_is,
) -> Tensor:
    """Logits for x [batch, position, d_model]; a switch replaces one of the steps."""
    return then(bias(product(before(x), p["W_U"]), p["b_U"]))


UNEMBED_KNOWN = (
    Known(
        "bias-unused",
        "The bias `b_U` is not used.",
        "It is added to the logits. GPT-2's own is 0, but a model with LayerNorm's "
        "bias folded in needs it.",
        {"bias": lambda y, b: y},
        "`... @ self.W_U + self.b_U`",
    ),
    Known(
        "bias-subtracted",
        "You subtract `b_U`.",
        "A bias is added.",
        {"bias": torch.sub},
        "look at the sign in front of `self.b_U`",
    ),
    Known(
        "bias-multiplies",
        "You multiply by `b_U`.",
        "A bias is added: one number for every token of the vocabulary.",
        {"bias": torch.mul},
        "`... @ self.W_U + self.b_U`",
    ),
    Known(
        "bias-added-twice",
        "You add `b_U` twice.",
        "Once is enough.",
        {"bias": lambda y, b: y + 2 * b},
        "some calls, such as `F.linear(x, W, b)`, add the bias themselves",
    ),
    Known(
        "softmax-applied",
        "You return probabilities: a softmax has been applied.",
        "Unembed returns logits. The loss and the sampler apply the softmax "
        "themselves, and twice would be wrong.",
        {"then": lambda y: y.softmax(-1)},
        "take the softmax out",
    ),
    Known(
        "log-softmax-applied",
        "You return log-probabilities: a log_softmax has been applied.",
        "Unembed returns logits, as GPT-2 does; what follows normalizes them where it "
        "must.",
        {"then": lambda y: y.log_softmax(-1)},
        "take the log_softmax out",
    ),
    Known(
        "softmax-over-positions",
        "You apply a softmax over the positions.",
        "Unembed returns logits, without a softmax over any axis.",
        {"then": lambda y: y.softmax(1)},
        "take the softmax out",
    ),
    Known(
        "last-position-only",
        "You return the logits of the last position only, as [batch, d_vocab].",
        "Every position predicts its next token: training needs all of them.",
        {"before": lambda x: x[:, -1]},
        "use the whole input, [batch, position, d_model]",
    ),
    Known(
        "last-position-only-kept-axis",
        "You return the logits of the last position only, as [batch, 1, d_vocab].",
        "Every position predicts its next token: training needs all of them.",
        {"before": lambda x: x[:, -1:]},
        "use the whole input, [batch, position, d_model]",
    ),
    Known(
        "positions-averaged",
        "You average over the positions.",
        "Every position predicts its next token from its own vector.",
        {"before": lambda x: x.mean(1)},
        "keep `position` on the right of the arrow",
    ),
    Known(
        "positions-added-up",
        "You add up the logits of all positions.",
        "Every position predicts its next token from its own vector.",
        {"product": lambda x, W: (x @ W).sum(1)},
        "keep `position` on the right of the arrow",
    ),
    Known(
        "argmax-applied",
        "You return the best token's id instead of the logits.",
        "The choice comes later, in the sampler; argmax has no gradient, so such a "
        "model could not learn.",
        {"then": lambda y: y.argmax(-1)},
        "return all d_vocab numbers of each position",
    ),
    Known(
        "reshaped-not-transposed",
        "You reshape W_U to [d_vocab, d_model], which scrambles it.",
        "`reshape` and `view` cut the same row of numbers anew; only `.T` turns rows "
        "into columns.",
        {"product": lambda x, W: x @ W.reshape(W.shape[1], W.shape[0]).T},
        "`normalized_resid_final @ self.W_U` needs neither",
    ),
    Known(
        "d-model-axis-not-tied",
        "You add up the vector, and W_U, before you multiply them.",
        "Feature i of the vector meets row i of W_U: both d_model axes carry the same "
        "name in the einsum.",
        {"product": lambda x, W: x.sum(-1, keepdim=True) * W.sum(0)},
        '`"batch position d_model, d_model d_vocab -> batch position d_vocab"`',
    ),
    Known(
        "vocabulary-before-position",
        "Your output is [batch, d_vocab, position].",
        "The vocabulary comes last: [batch, position, d_vocab].",
        {"then": lambda y: y.transpose(1, 2)},
        "look at the order on the right of the arrow",
    ),
    Known(
        "batch-and-position-swapped",
        "Your output is [position, batch, d_vocab].",
        "The axes keep their order: [batch, position, d_vocab].",
        {"then": lambda y: y.transpose(0, 1)},
        "look at the order on the right of the arrow",
    ),
    Known(
        "batch-and-position-merged",
        "Your output is [batch · position, d_vocab].",
        "The texts of a batch stay apart: [batch, position, d_vocab].",
        {"then": lambda y: y.flatten(0, 1)},
        "no `flatten` or `view` is needed: `@` works on the last axis",
    ),
    Known(
        "normalizes-first",
        "You normalize the vector before the product.",
        "The model's final LayerNorm has done that already; Unembed only multiplies "
        "and adds.",
        {"before": lambda x: functional.layer_norm(x, x.shape[-1:])},
        "take the normalization out",
    ),
    Known(
        "divided-by-sqrt-d-model",
        "You divide the logits by sqrt(d_model).",
        "That scaling belongs to attention scores; logits go out as they are.",
        {"product": lambda x, W: x @ W / x.shape[-1] ** 0.5},
        "take the factor out",
    ),
)


def _tokens(batch: int, position: int, high: int, seed: int) -> Tensor:
    """Ids from 1 to high − 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, high, (batch, position), generator=generator)


def _through(layer: nn.Module, x: Tensor) -> Tensor:
    """What transformers' own module makes of an input."""
    with torch.no_grad():
        return layer(x)


def embed_cases() -> list[Case]:
    """Ids that no mistake's table is too short for, then every id and a real text."""
    small, big = stirred(), loaded()
    low = STIRRED.d_model - 1  # so that even W_E transposed has such rows
    every = torch.randperm(STIRRED.d_vocab, generator=torch.Generator().manual_seed(5))[
        None
    ]
    batches = {
        "": _tokens(2, 5, low, seed=1),
        "on a batch of one": _tokens(1, 4, low, seed=2),
        "on a single position": _tokens(2, 1, low, seed=3),
        "on every token of the vocabulary": every,
        "on the full context": _tokens(2, STIRRED.n_ctx, STIRRED.d_vocab, seed=4),
    }
    return [
        *_cases(small, "wte", "embed.", batches, named=3),
        *_cases(big, "wte", "embed.", {"": big.tokens}, named=0),
    ]


def pos_embed_cases() -> list[Case]:
    """Batches that fit into n_ctx even when their positions run on."""
    small, big = stirred(), loaded()
    high = STIRRED.n_ctx  # so that an id can be taken for a position
    batches = {
        "": _tokens(2, 5, high, seed=1),
        "on a batch of one": _tokens(1, 4, high, seed=2),
        "on a single position": _tokens(1, 1, high, seed=3),
        "on a batch of three, of one position each": _tokens(3, 1, high, seed=6),
        "on the full context": _tokens(2, STIRRED.n_ctx, STIRRED.d_vocab, seed=4),
    }
    return [
        *_cases(small, "wpe", "pos_embed.", batches, named=3),
        *_cases(big, "wpe", "pos_embed.", {"": big.tokens}, named=0),
    ]


def _cases(source, layer: str, prefix: str, batches: dict, named: int) -> list[Case]:
    module = getattr(source.reference.model.transformer, layer)
    cases = []
    for i, (detail, tokens) in enumerate(batches.items()):
        ids = tokens
        if layer == "wpe":  # transformers counts the positions in GPT2Model.forward
            ids = torch.arange(tokens.shape[1]).expand(tokens.shape)
        cases.append(
            Case(
                source=source.label,
                detail=detail,
                cfg=source.cfg,
                inputs=(tokens,),
                params=source.part(prefix),
                expected=_through(module, ids),
                # of every token, too: a row whose gradient is cut off shows there
                grad=(i == 0 or "every token" in detail)
                and source.cfg.d_vocab < _LARGE,
                # Beyond those, wrong code stops in many ways, and for many reasons.
                explains=i < named,
            )
        )
    return cases


def unembed_cases() -> list[Case]:
    """What the final LayerNorm hands over, in both models."""
    small, big = stirred(), loaded()
    width = STIRRED.d_model
    full = noise(2, STIRRED.n_ctx, width, seed=5, scale=2.0)
    vectors = [
        (small, "", small.cache["ln_final.hook_normalized"]),
        (small, "on a batch of one", noise(1, 5, width, seed=3)),
        (small, "on a single position", noise(2, 1, width, seed=4)),
        (small, "on the full context", full),
        (big, "", big.cache["ln_final.hook_normalized"]),
    ]
    return [
        Case(
            source=source.label,
            detail=detail,
            cfg=source.cfg,
            inputs=(x,),
            params=source.part("unembed."),
            expected=_through(source.reference.model.lm_head, x),
            grad=detail == "" and source.cfg.d_vocab < _LARGE,
        )
        for source, detail, x in vectors
    ]


def embed_stages(case: Case) -> dict[str, Tensor]:
    """One step, and nothing else."""
    return {
        "the row of each token": embed_compute(
            *case.inputs, p=case.params, cfg=case.cfg
        )
    }


def pos_embed_stages(case: Case) -> dict[str, Tensor]:
    """The rows, and their copies."""
    (tokens,) = case.inputs
    rows = case.params["W_pos"][: tokens.shape[1]]
    return {
        "the rows of the positions": rows,
        "a copy for each text": rows.expand(len(tokens), -1, -1),
    }


def unembed_stages(case: Case) -> dict[str, Tensor]:
    """The product, and the sum."""
    (x,) = case.inputs
    product = x @ case.params["W_U"]
    return {"the product with W_U": product, "the logits": product + case.params["b_U"]}


def starts_small(name: str):
    """A remark on starting values that are not GPT-2's, for the weight of a name."""

    def fresh(parameters: dict[str, Tensor]) -> str | None:
        # 24 · 11 numbers give their spread to within a few percent
        spread, wanted = parameters[name].std().item(), STIRRED.init_range
        if 0.7 * wanted < spread < 1.4 * wanted:
            return None
        return (
            f"a new `{name}` should hold small random numbers: "
            f"`nn.init.normal_(self.{name}, std=cfg.init_range)`; `torch.empty` alone "
            "holds whatever was in memory"
        )

    return fresh


embed = Check(
    name="embed",
    answer="Embed",
    compute=embed_compute,
    make_cases=embed_cases,
    known=EMBED_KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "Each row of W_E belongs to one token. What does PyTorch do when you index a "
        "tensor with a tensor of integers?",
        "`table[ids]` puts a row of the table in the place of every id, whatever the "
        "shape of `ids`.",
        "`__init__`: `self.W_E = nn.Parameter(torch.empty(cfg.d_vocab, cfg.d_model))`, "
        "then `nn.init.normal_(self.W_E, std=cfg.init_range)`. `forward` returns "
        "`self.W_E[tokens]`.",
    ),
    lesson="03_embeddings.ipynb#embed",
    pairs=True,
    stages=embed_stages,
    fresh=starts_small("W_E"),
)

pos_embed = Check(
    name="pos_embed",
    answer="PosEmbed",
    compute=pos_embed_compute,
    make_cases=pos_embed_cases,
    known=POS_KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "Does it matter which tokens come in? What of `tokens` do you need?",
        "Row 0 belongs to the first token, row 1 to the second. Take as many rows as a "
        "text has tokens, and give every text of the batch the same ones.",
        "`batch, position = tokens.shape`, then `self.W_pos[:position]`, then "
        "`.expand(batch, -1, -1)`, which puts the batch axis in front.",
    ),
    lesson="03_embeddings.ipynb#pos_embed",
    pairs=True,
    adapt=as_wide_as_the_batch,
    stages=pos_embed_stages,
    fresh=starts_small("W_pos"),
)

unembed = Check(
    name="unembed",
    answer="Unembed",
    compute=unembed_compute,
    make_cases=unembed_cases,
    known=UNEMBED_KNOWN,
    axes=("batch", "position", "d_vocab"),
    hints=(
        "Each column of W_U belongs to one token. How do you measure how well a "
        "vector fits all of them at once?",
        "One matrix product over d_model, [batch, position, d_model] with "
        "[d_model, d_vocab], and one addition.",
        "`forward` returns `normalized_resid_final @ self.W_U + self.b_U`.",
    ),
    lesson="03_embeddings.ipynb#unembed",
    pairs=True,
    stages=unembed_stages,
    fresh=starts_small("W_U"),
)
