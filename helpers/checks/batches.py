"""The checks of notebook 09 on its data: make_batch and batch_loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers import training
from helpers.checks.cases import STIRRED, Case, noise
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.trials import Outcome, Trial, TrialCheck, Unusable, returned

LESSON = "09_training.ipynb#"
IGNORED = training.IGNORED


def compute_batch(
    rows,
    end,
    *,
    start=True,
    last=True,
    shift=1,
    padding="ignored",
    side="right",
    swapped=False,
):
    """make_batch, with switches."""
    tokens, targets = [], []
    for row in rows:
        whole = [end] * start + [*row] + [end] * last
        pairs = {
            1: (whole[:-1], whole[1:]),
            0: (whole[:-1], whole[:-1]),
            -1: (whole[1:], whole[:-1]),
            2: (whole[:-1], whole[2:] + [IGNORED]),
        }[shift]
        tokens.append(list(pairs[0]))
        targets.append(list(pairs[1]))
    longest = max(map(len, tokens))
    for row, wanted in zip(tokens, targets):
        short = longest - len(row)
        fill = {"ignored": IGNORED, "counted": end, "zero": 0, "ends": IGNORED}[padding]
        if padding == "ends":  # every end token is taken for padding
            wanted[:] = [IGNORED if t == end else t for t in wanted]
        if side == "right":
            row += [end] * short
            wanted += [fill] * short
        else:
            row[:0] = [end] * short
            wanted[:0] = [fill] * short
    both = torch.tensor(tokens), torch.tensor(targets)
    return both[::-1] if swapped else both


def _batch_trial(rows: list[list[int]], end: int) -> Trial:
    def trial(function) -> Outcome:
        given = [list(row) for row in rows]
        tokens, targets = returned(function(given, end), 2, "tokens and targets")
        for name, value in (("tokens", tokens), ("targets", targets)):
            if not isinstance(value, Tensor):
                raise Unusable(f"{name} is {type(value).__name__}, not a tensor")
            if value.ndim != 2:
                raise Unusable(
                    f"{name} has shape {list(value.shape)}; it should be "
                    "[batch, position]"
                )
        # Padding beyond the longest row is harmless, and so is what stands in padding.
        width = max(map(len, rows)) + 1
        if targets.shape == tokens.shape and (targets[:, width:] == IGNORED).all():
            tokens, targets = tokens[:, :width], targets[:, :width]
        if tokens.shape == targets.shape:
            padded = torch.arange(tokens.shape[1]) >= torch.tensor(
                [[len(row) + 1] for row in rows]
            )
            if padded.shape == tokens.shape:
                tokens = tokens.masked_fill(padded, end)
        return {
            "the kind of numbers": f"{tokens.dtype}, {targets.dtype}",
            "targets": targets,
            "tokens": tokens,
            "the rows that you were given, afterwards": given,
        }

    return trial


def _batch_finish(function) -> str | None:
    tokens, _ = function([[3, 4], [5]], 0)
    if tokens.shape[1] > 3:
        return (
            "your rows are longer than the longest story needs; padding is computed "
            "like any token, so it costs time"
        )
    return None


MAKE_BATCH = TrialCheck(
    name="make_batch",
    answer="make_batch",
    course=training.make_batch,
    keep=False,
    compute=compute_batch,
    make_cases=lambda: [
        _batch_trial([[5, 3, 8, 2], [7, 9], [4, 6, 1]], 0),
        _batch_trial([[1, 2], [2, 3, 1, 4, 6]], 7),
        _batch_trial([[4, 4, 2]], 9),
    ],
    finish=_batch_finish,
    known=(
        Known(
            "padding-counted",
            "Your targets at padded positions are the end token.",
            "There is nothing to predict there: put −100, or the model is graded, "
            "again and again, on writing end tokens after the end.",
            {"padding": "counted"},
            "start from a tensor full of −100",
        ),
        Known(
            "padding-zero",
            "Your targets at padded positions are 0, which is a token like any other.",
            "Only −100 is left out of the loss.",
            {"padding": "zero"},
            "`torch.full(shape, -100)` instead of `torch.zeros`",
        ),
        Known(
            "end-never-learned",
            "Your targets leave the end token out, also right after a story.",
            "The model must learn when to stop: only the padding after that is −100.",
            {"padding": "ends"},
            "padding and end look alike in `tokens`; go by the length of the row",
        ),
        Known(
            "end-missing",
            "Your rows end with the story's last token, so nobody predicts the end.",
            "The target at the story's last token is the end token.",
            {"last": False},
            "a story of n tokens makes n + 1 predictions",
        ),
        Known(
            "start-missing",
            "Your rows begin with the story's first token.",
            "The end token stands in front, as it will when the model writes a story; "
            "otherwise nobody predicts the first word.",
            {"start": False},
            "a story of n tokens makes n + 1 predictions",
        ),
        Known(
            "no-shift",
            "Your targets are the tokens themselves.",
            "A target is the token that comes *next*: the model has read the other.",
            {"shift": 0},
            "targets are tokens, moved one place to the left",
        ),
        Known(
            "shifted-backwards",
            "Your targets are the tokens *before*: the shift goes the wrong way.",
            "Position 0 holds the end token; its target is the story's first token.",
            {"shift": -1},
            "write one row of each down, one above the other",
        ),
        Known(
            "shifted-twice",
            "Your targets are two places ahead.",
            "A target is the very next token.",
            {"shift": 2},
            "write one row of each down, one above the other",
        ),
        Known(
            "padded-on-the-left",
            "You pad on the left.",
            "Stories start at position 0: the model learns what belongs where, and "
            "without a mask for padding it would read it as part of the story.",
            {"side": "left"},
            "fill from the left: `tokens[i, 1 : len(row) + 1]`",
        ),
        Known(
            "swapped",
            "You return targets first.",
            "Return tokens, then targets.",
            {"swapped": True},
        ),
    ),
    axes=("batch", "position"),
    hints=(
        "Take the story [5, 3] and the end token 0. What does the model see at each "
        "position, and what should it say there?",
        "It sees 0 5 3 and should say 5 3 0. So both rows have one place more than "
        "the story.",
        "`torch.full((len(rows), longest + 1), end)` for tokens, the same with −100 "
        "for targets; then fill row by row: `targets[i, : len(row) + 1] = "
        "torch.tensor([*row, end])`.",
    ),
    lesson=LESSON + "batches",
)


def compute_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    p=None,
    cfg=None,
    shift="none",
    padding="ignored",
    reduce="mean",
    scale="log_softmax",
    sign=1.0,
) -> Tensor:
    """batch_loss, with switches."""
    if shift == "again":
        logits, targets = logits[:, :-1], targets[:, 1:]
    elif shift == "back":
        logits, targets = logits[:, 1:], targets[:, :-1]
    log_probs = {
        "log_softmax": lambda x: x.log_softmax(-1),
        "softmax first": lambda x: x.softmax(-1).log_softmax(-1),
        "raw": lambda x: x,
        "softmax": lambda x: x.softmax(-1),
        "over positions": lambda x: x.log_softmax(1),
    }[scale](logits)
    counted = targets != IGNORED
    index = targets if padding == "from the end" else targets.clamp(min=0)
    if padding == "from the end":
        index = targets % logits.shape[-1]
    losses = -log_probs.gather(-1, index[..., None])[..., 0]  # [batch, position]
    weights = counted if padding == "ignored" else torch.ones_like(counted)
    losses = torch.where(weights, losses, torch.zeros_like(losses))
    many = weights.sum()
    return (
        sign
        * {
            "mean": lambda: losses.sum() / many,
            "sum": lambda: losses.sum(),
            "all positions": lambda: losses.mean(),
            "mean of rows": lambda: (losses.sum(1) / weights.sum(1)).mean(),
            "per story": lambda: losses.sum(1).mean(),
            "none": lambda: losses,
            "none, flat": lambda: losses.flatten(),
            "counted only": lambda: losses[weights],
        }[reduce]()
    )


def _loss_case(batch: int, lengths: list[int], seed: int, detail: str) -> Case:
    d_vocab, width = 131, max(lengths)  # over 100, so that -100 could be an index
    targets = torch.randint(
        d_vocab, (batch, width), generator=torch.Generator().manual_seed(seed)
    )
    beyond = torch.arange(width) >= torch.tensor(lengths)[:, None]
    targets = targets.masked_fill(beyond, IGNORED)
    logits = 2 * noise(batch, width, d_vocab, seed=seed)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return Case(detail, STIRRED, (logits, targets), expected=expected, grad=True)


BATCH_LOSS = Check(
    name="batch_loss",
    answer="batch_loss",
    course=training.batch_loss,
    keep=False,
    compute=compute_loss,
    make_cases=lambda: [
        _loss_case(3, [7, 3, 5], 1, "three stories with padding"),
        _loss_case(1, [6], 2, "one story without padding"),
        _loss_case(2, [2, 11], 3, "a short story beside a long one"),
    ],
    known=(
        Known(
            "padding-counted",
            "You count the padding: its −100 is taken for token 0.",
            "Leave positions whose target is −100 out of the sum and out of the count.",
            {"padding": "token 0"},
            "`ignore_index=-100` does that, and it is the default",
        ),
        Known(
            "padding-counted",
            "You count the padding: −100 picks a token from the end of the vocabulary.",
            "Leave positions whose target is −100 out of the sum and out of the count.",
            {"padding": "from the end"},
            "`ignore_index=-100` does that, and it is the default",
        ),
        Known(
            "divided-by-all-positions",
            "You leave the padding out of the sum and divide by all positions.",
            "Divide by the number of targets that count: otherwise a batch with much "
            "padding seems easier than it is.",
            {"reduce": "all positions"},
            "`(targets != -100).sum()`",
        ),
        Known(
            "sum-not-mean",
            "You return the sum over all tokens.",
            "Return the mean: a sum grows with the batch, and the size of a step with "
            "it.",
            {"reduce": "sum"},
            'reduction="mean" is the default',
        ),
        Known(
            "mean-of-rows",
            "You take each story's mean, then the mean of those.",
            "Every token counts the same; in yours, those of short stories count more.",
            {"reduce": "mean of rows"},
            "flatten batch and position before the mean",
        ),
        Known(
            "sum-per-story",
            "You return nats per story: summed over positions, a mean over the batch.",
            "The mean over all tokens is wanted: nats per token.",
            {"reduce": "per story"},
            "flatten batch and position before the mean",
        ),
        Known(
            "not-reduced",
            "You return the losses one by one.",
            "`backward` needs one number: their mean.",
            {"reduce": "none"},
            'leave `reduction="none"` out',
        ),
        Known(
            "not-reduced",
            "You return the losses one by one.",
            "`backward` needs one number: their mean.",
            {"reduce": "none, flat"},
            'leave `reduction="none"` out',
        ),
        Known(
            "not-reduced",
            "You return the losses one by one.",
            "`backward` needs one number: their mean.",
            {"reduce": "counted only"},
            "one `.mean()` more",
        ),
        Known(
            "shifted-again",
            "You shift: the logits are compared with the target one place further on.",
            "The targets are shifted already: they say what comes next.",
            {"shift": "again"},
            "logits and targets belong together, position by position",
        ),
        Known(
            "shifted-backwards",
            "You shift the wrong way: logits are compared with the target before.",
            "The targets are shifted already: compare position by position.",
            {"shift": "back"},
            "logits and targets belong together, position by position",
        ),
        Known(
            "softmax-twice",
            "You take a softmax of the logits, and cross_entropy takes another.",
            "`F.cross_entropy` wants logits: it does the log_softmax itself.",
            {"scale": "softmax first"},
            "hand it the logits as they are",
        ),
        Known(
            "raw-logits",
            "You take the logits for log probabilities.",
            "They become that by `log_softmax` over the vocabulary.",
            {"scale": "raw"},
            "`F.cross_entropy` does both steps; `nll_loss` only the second",
        ),
        Known(
            "no-logarithm",
            "You average probabilities, not their logarithms.",
            "The loss is minus the mean *log* probability.",
            {"scale": "softmax"},
            "log_softmax in the place of softmax",
        ),
        Known(
            "over-positions",
            "Your softmax runs over positions.",
            "The vocabulary is the last axis of the logits.",
            {"scale": "over positions"},
            "`dim=-1`",
        ),
        Known(
            "sign-lost",
            "Your loss has the wrong sign: training would make the text less likely.",
            "The loss is *minus* the mean log probability.",
            {"sign": -1.0},
        ),
    ),
    axes=(),
    hints=(
        "How many predictions are there in this batch? Padding makes none.",
        "`F.cross_entropy` wants [n, d_vocab] and [n], so flatten batch and position "
        "first. It leaves out targets of −100.",
        "`F.cross_entropy(logits.flatten(0, 1), targets.flatten())`",
    ),
    lesson=LESSON + "loss",
    pairs=True,
    against="torch's cross_entropy",
)
