"""The checks of notebook 09: batch, loss, groups, schedule, clipping and step."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import training
from helpers.checks import catalogue, crash
from helpers.checks.cases import STIRRED, Case, noise
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.guard import is_blank
from helpers.checks.observe import Seen, same
from helpers.checks.report import Mistake, Report
from helpers.model import DemoTransformer

LESSON = "09_training.ipynb#"
IGNORED = training.IGNORED

# A trial calls the function it is given, on objects made for this one call, and tells
# what came of it: values and tensors, by what a person would call them.
Outcome = dict[str, object]
Trial = Callable[[Callable], Outcome]

# Of the largest value: sums of some hundred float32 terms, in any order, agree to
# about 1e-6; torch's own clip_grad_norm_ adds 1e-6 to the norm. The smallest mistake
# here moves a rate by a hundredth.
TOLERANCE = 2e-5


@dataclass
class TrialCheck(Check):
    """A check of a function that acts on lists, gradients, a model or an optimizer.

    Attributes:
        finish: looks at a right answer once more; a note, or None.
    """

    finish: Callable[[Callable], str | Mistake | None] | None = field(default=None)

    def _examine(self, candidate) -> Report:
        wrong_kind = self._wrong_kind(candidate)
        if wrong_kind:
            return self._failed(wrong_kind)
        if any(is_blank(f) for f in self._required(candidate)):
            return self._to_do(candidate)
        trials = self.make_cases()
        seen = [attempt(trial, candidate) for trial in trials]
        if any(isinstance(one.error, NotImplementedError) for one in seen):
            return self._to_do(candidate)
        right = [self._course(trial, {}) for trial in trials]
        off = [i for i in range(len(trials)) if not equal(seen[i], right[i])]
        if off:
            found = catalogue.explain(
                self.known, self._course, trials, seen, self.pairs, equal
            )
            if len(found) > 1:  # what cannot be seen from the result may still tell
                found = self._traced(found, trials, seen) or found
            if found:
                mistakes, one_of = catalogue.names_of(found)
                return self._failed(*mistakes, one_of=one_of)
            return self._failed(self._fact(candidate, seen[off[0]], right[off[0]]))
        note = self.finish(candidate) if self.finish else None
        if isinstance(note, Mistake):
            return self._failed(note)
        return Report(
            self.name,
            self.answer,
            "passed",
            notes=(note,) if note else (),
            summary=f"Right in {len(trials)} trials.",
        )

    def _course(self, trial: Trial, switches: dict) -> Seen:
        return attempt(trial, partial(self.compute, **switches))

    def _traced(self, found, trials, seen) -> list[catalogue.Explanation]:
        """Those explanations that left the same trace as well."""
        exact = []
        for explanation in found:
            switches = {k: v for one in explanation for k, v in one.switches.items()}
            made = [self._course(trial, switches) for trial in trials]
            if all(equal(a, b, traces=True) for a, b in zip(seen, made)):
                exact.append(explanation)
        return exact

    def _fact(self, candidate, mine: Seen, good: Seen) -> Mistake:
        """The first thing that is not as it should be."""
        if mine.error is not None:
            return crash.describe(mine.error, candidate)
        for name, value in good.output.items():
            if name == TRACE:
                continue
            got = mine.output.get(name)
            if not alike(got, value):
                return Mistake(
                    "wrong-result",
                    f"At {name} yours is {told(got)}; it should be {told(value)}.",
                    "go through this one case by hand, as your code does",
                )
        return Mistake("wrong-result", "Your code does more than it should.")


class Unusable(Exception):
    """What was returned cannot be used; its text is for the learner."""


def attempt(trial: Trial, function: Callable) -> Seen:
    """One trial; an exception is a result as well."""
    try:
        with torch.random.fork_rng(devices=[]):
            return Seen(trial(function))
    except Exception as error:
        return Seen(error=error)


TRACE = "trace"  # what does not make an answer right or wrong, and tells mistakes apart


def equal(a: Seen, b: Seen, traces: bool = False) -> bool:
    """The same came of two attempts."""
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error) and str(a.error) == str(b.error)
    return a.output.keys() == b.output.keys() and all(
        alike(a.output[name], b.output[name])
        for name in b.output
        if traces or name != TRACE
    )


def alike(a, b) -> bool:
    """Equal, numbers within the tolerance; a tensor of one number is a number."""
    a, b = _plain(a), _plain(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return same(a, b, TOLERANCE)
    numbers = (int, float)
    if isinstance(a, numbers) and isinstance(b, numbers):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9) or (
            a != a and b != b
        )
    return type(a) is type(b) and bool(a == b)


def _plain(value):
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else value.detach()
    return value


def told(value) -> str:
    """A value in a sentence."""
    value = _plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Tensor):
        if value.numel() <= 24:
            whole = not value.is_floating_point()
            return str(
                value.tolist() if whole else [f"{v:.4g}" for v in value.flatten()]
            )
        return (
            f"a tensor {list(value.shape)} that starts {value.flatten()[:4].tolist()}"
        )
    return str(value)[:300]


def _returned(value, count: int, what: str) -> tuple:
    if not isinstance(value, (tuple, list)) or len(value) != count:
        kind = "None" if value is None else type(value).__name__
        raise Unusable(f"your function returns {kind}; it should return {what}")
    return tuple(value)


# ---------------------------------------------------------------- make_batch


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
        tokens, targets = _returned(function(given, end), 2, "tokens and targets")
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


# ---------------------------------------------------------------- batch_loss


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


# ---------------------------------------------------------------- parameter_groups

KINDS = {  # what a parameter is, by the last part of its name
    "W_E": "embeddings",
    "W_pos": "embeddings",
    "W_U": "unembedding",
    "w": "LayerNorm gains",
    "b": "LayerNorm biases",
    "b_Q": "attention biases",
    "b_K": "attention biases",
    "b_V": "attention biases",
}


@cache
def _tiny() -> DemoTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return DemoTransformer(STIRRED)


def _kind(name: str) -> str:
    leaf = name.split(".")[-1]
    return KINDS.get(
        leaf, "weight matrices" if leaf.startswith("W") else "other biases"
    )


def compute_groups(
    model,
    weight_decay,
    *,
    decayed=("embeddings", "unembedding", "weight matrices"),
    left_out=(),
    second=0.0,
    turned=False,
):
    """parameter_groups, with switches."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    named = [(n, p) for n, p in named if _kind(n) not in left_out]
    groups = ([], [])
    for name, p in named:
        groups[(_kind(name) in decayed) == turned].append(p)
    first = {"params": groups[0], "weight_decay": weight_decay}
    rest = {"params": groups[1]} | ({} if second is None else {"weight_decay": second})
    return [first, rest]


def _groups_trial(weight_decay: float) -> Trial:
    def trial(function) -> Outcome:
        model = _tiny()
        groups = function(model, weight_decay)
        if not isinstance(groups, (list, tuple)) or not all(
            isinstance(group, dict) for group in groups
        ):
            kind = "None" if groups is None else type(groups).__name__
            raise Unusable(
                f"your function returns {kind}; it should return a list of two "
                "dictionaries"
            )
        optimizer = torch.optim.AdamW([dict(g) for g in groups if g.get("params")])
        names = {id(p): name for name, p in model.named_parameters()}
        decay: dict[str, float] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) not in names:
                    raise Unusable(
                        "there is a tensor that is no parameter of the model"
                    )
                decay[names[id(p)]] = group["weight_decay"]
        return {
            f"the weight decay of {name}": decay.get(name, "left out")
            for name, p in model.named_parameters()
            if p.requires_grad  # a frozen one has no gradient: no optimizer moves it
        }

    return trial


MATRICES = ("embeddings", "unembedding", "weight matrices")

PARAMETER_GROUPS = TrialCheck(
    name="parameter_groups",
    answer="parameter_groups",
    course=training.parameter_groups,
    keep=False,
    compute=compute_groups,
    make_cases=lambda: [_groups_trial(0.1), _groups_trial(0.03)],
    known=(
        Known(
            "decay-on-attention-biases",
            "You decay b_Q, b_K and b_V: they are biases that happen to have two axes, "
            "[n_heads, d_head].",
            "Only matrices decay; here the name tells, not the number of axes.",
            {"decayed": (*MATRICES, "attention biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-layernorm",
            "You decay LayerNorm's gains and biases.",
            "A gain should stay near 1, and decay pulls it to 0.",
            {"decayed": (*MATRICES, "LayerNorm gains", "LayerNorm biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-layernorm",
            "You decay LayerNorm's gains, `w`: a capital and a small letter are taken "
            "for the same.",
            "A gain should stay near 1, and decay pulls it to 0.",
            {"decayed": (*MATRICES, "LayerNorm gains")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-biases",
            "You decay the biases.",
            "A bias moves a whole neuron where it is needed; decay pulls it back to 0. "
            "Only matrices decay.",
            {
                "decayed": (
                    *MATRICES,
                    "attention biases",
                    "other biases",
                    "LayerNorm biases",
                )
            },
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-biases",
            "You decay the biases of attention, MLP and unembedding.",
            "A bias moves a whole neuron where it is needed; decay pulls it back to 0. "
            "Only matrices decay.",
            {"decayed": (*MATRICES, "attention biases", "other biases")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "decay-on-everything",
            "You decay every parameter, biases and LayerNorm's gains too.",
            "Decay pulls on matrices only: a gain should stay near 1, a bias where it "
            "is needed.",
            {"decayed": tuple({*KINDS.values(), "weight matrices", "other biases"})},
            "two groups, the second with `weight_decay` 0",
        ),
        Known(
            "default-decay",
            "Your second group does not say its weight decay, so AdamW takes its own "
            "default, 0.01.",
            'Say it: `"weight_decay": 0.0`.',
            {"second": None},
            "print `optimizer.param_groups`, which shows what AdamW really took",
        ),
        Known(
            "groups-swapped",
            "The groups are swapped: biases and gains decay, matrices do not.",
            "Matrices decay.",
            {"turned": True},
            "look at the condition, or at the order of the two dictionaries",
        ),
        Known(
            "no-decay",
            "Nothing decays.",
            "The matrices' group gets the `weight_decay` that is handed in.",
            {"decayed": ()},
            "print the names that end up in each group",
        ),
        Known(
            "embeddings-not-decayed",
            "You leave the embeddings, W_E and W_pos, without decay.",
            "Some recipes do that; ours, like GPT-2's, decays every matrix, and these "
            "are matrices.",
            {"decayed": ("unembedding", "weight matrices")},
            "all matrices in the model have names that begin with `W_`",
        ),
        Known(
            "embeddings-not-decayed",
            "You leave W_E, W_pos and W_U without decay.",
            "Some recipes do that; ours, like GPT-2's, decays every matrix, and these "
            "are matrices.",
            {"decayed": ("weight matrices",)},
            '`"embed" in name` is true for "unembed" as well',
        ),
        Known(
            "embeddings-left-out",
            "The embeddings are in neither group, so they are never trained.",
            "Every parameter that needs a gradient belongs to one group.",
            {"left_out": ("embeddings",)},
        ),
        Known(
            "biases-left-out",
            "Biases and LayerNorm's parameters are in neither group, so they are never "
            "trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {
                "left_out": (
                    "LayerNorm gains",
                    "LayerNorm biases",
                    "attention biases",
                    "other biases",
                )
            },
            "a second dictionary",
        ),
        Known(
            "attention-biases-left-out",
            "b_Q, b_K and b_V are in neither group, so they are never trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {"left_out": ("attention biases",)},
            "what falls through both of your conditions?",
        ),
        Known(
            "layernorm-left-out",
            "LayerNorm's parameters are in neither group, so they are never trained.",
            "They belong to the second group, with `weight_decay` 0.",
            {"left_out": ("LayerNorm gains", "LayerNorm biases")},
            "what falls through both of your conditions?",
        ),
    ),
    axes=(),
    hints=(
        "Go through `model.named_parameters()` and look at the names. Which letter do "
        "all matrices begin with?",
        'The last part of a name: `name.split(".")[-1]`. Two lists, one for names that '
        'begin with "W_", one for all others.',
        '`[{"params": matrices, "weight_decay": weight_decay}, {"params": others, '
        '"weight_decay": 0.0}]`',
    ),
    lesson=LESSON + "adamw",
)


# ---------------------------------------------------------------- learning_rate


def compute_rate(
    step,
    steps,
    peak,
    lowest,
    warmup,
    *,
    up="straight",
    first=1,
    down="cosine",
    start="after warm-up",
    end=0,
    half=0.5,
    base="lowest",
    of="rate",
):
    """learning_rate, with switches."""
    update = step + 1
    scale = 1 / peak if of == "factor" else 1.0
    rising = update <= warmup if first == 1 else step < warmup
    if up == "straight" and rising:
        return scale * peak * (step + first) / warmup
    if up == "from the lowest" and rising:
        return scale * (lowest + (peak - lowest) * update / warmup)
    done, whole = {
        "after warm-up": (update - warmup, steps - warmup),
        "one late": (step - warmup, steps - warmup),
        "at the first step": (update, steps),
        "at step 0": (step, steps),
        "not shortened": (update - warmup, steps),
    }[start]
    progress = done / (whole + end)
    if down == "constant":
        return scale * peak
    part = {
        "cosine": lambda x: half * (1 + math.cos(math.pi * x)),
        "line": lambda x: 1 - x,
        "whole wave": lambda x: half * (1 + math.cos(2 * math.pi * x)),
        "quarter": lambda x: math.cos(0.5 * math.pi * x),
        "no pi": lambda x: half * (1 + math.cos(x)),
        "degrees": lambda x: half * (1 + math.cos(180 * x)),
        "rising": lambda x: half * (1 - math.cos(math.pi * x)),
        "no one": lambda x: half * math.cos(math.pi * x),
    }[down](progress)
    return (
        scale
        * {
            "lowest": lambda: lowest + (peak - lowest) * part,
            "zero": lambda: peak * part,
            "added": lambda: lowest + peak * part,
            "floored": lambda: max(lowest, peak * part),
        }[base]()
    )


def _rate_trial(steps: int, peak: float, lowest: float, warmup: int) -> Trial:
    def trial(function) -> Outcome:
        rates = {}
        for step in range(steps):
            rate = function(step, steps, peak, lowest, warmup)
            if isinstance(rate, Tensor):
                rate = rate.item()
            if not isinstance(rate, (int, float)):
                kind = "None" if rate is None else type(rate).__name__
                raise Unusable(f"at step {step} your function returns {kind}")
            call = f"learning_rate({step}, {steps}, {peak}, {lowest}, {warmup})"
            rates[call] = float(rate)
        return rates

    return trial


LEARNING_RATE = TrialCheck(
    name="learning_rate",
    answer="learning_rate",
    course=training.learning_rate,
    keep=False,
    compute=compute_rate,
    make_cases=lambda: [
        _rate_trial(20, 1.0, 0.1, 5),
        _rate_trial(37, 2e-3, 1e-4, 10),
    ],
    pairs=True,
    known=(
        Known(
            "starts-at-zero",
            "Your warm-up is off by one: step 0 has rate 0, so it teaches nothing, and "
            "the peak comes a step late.",
            "Count updates from 1: step 0 has peak / warmup, step warmup − 1 the peak.",
            {"first": 0, "start": "one late"},
            "`(step + 1) / warmup`",
        ),
        Known(
            "starts-at-zero",
            "Your warm-up is off by one: step 0 has rate 0, so it teaches nothing.",
            "Count updates from 1: step 0 has peak / warmup, step warmup − 1 the peak.",
            {"first": 0},
            "`(step + 1) / warmup`",
        ),
        Known(
            "never-quite-lowest",
            "Your cosine is off by one: the last step, steps − 1, is not at the lowest "
            "rate.",
            "Progress is 0 at step warmup − 1, the peak, and 1 at step steps − 1.",
            {"start": "one late"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        Known(
            "never-quite-lowest",
            "Your cosine does not reach the lowest rate: it divides by all steps, "
            "warm-up included.",
            "It has steps − warmup steps to come down.",
            {"start": "not shortened"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        Known(
            "jump-after-warm-up",
            "Your cosine counts from the first step of all, so that the rate jumps "
            "down where the warm-up ends.",
            "It starts at the peak: its progress is 0 where the warm-up ends.",
            {"start": "at the first step"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        Known(
            "jump-after-warm-up",
            "Your cosine counts from the first step of all, so that the rate jumps "
            "down where the warm-up ends.",
            "It starts at the peak: its progress is 0 where the warm-up ends.",
            {"start": "at step 0"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        Known(
            "lowest-ignored",
            "Your cosine goes down to 0.",
            "It goes down to `lowest`: the part between is peak − lowest.",
            {"base": "zero"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "lowest-added",
            "You add `lowest` to a curve that starts at the peak already: yours starts "
            "at peak + lowest.",
            "What the cosine scales is the difference, peak − lowest.",
            {"base": "added"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "cut-off-at-lowest",
            "Your cosine goes to 0 and is cut off at `lowest`, so its end is flat.",
            "The whole curve lies between peak and lowest.",
            {"base": "floored"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "no-warm-up",
            "There is no warm-up: the first steps get a high rate.",
            "AdamW's averages are poor at first, so the first steps must be small: "
            "peak × (step + 1) / warmup.",
            {"up": "none"},
            "an `if` before the cosine",
        ),
        Known(
            "warm-up-from-lowest",
            "Your warm-up starts from `lowest`.",
            "It starts from 0, so step 0 has peak / warmup; `lowest` is where the "
            "cosine ends.",
            {"up": "from the lowest"},
            "`peak * (step + 1) / warmup`",
        ),
        Known(
            "stays-at-the-peak",
            "After the warm-up your rate stays at the peak.",
            "It comes down a cosine: small steps at the end let the model settle.",
            {"down": "constant"},
        ),
        Known(
            "straight-line",
            "You come down a straight line.",
            "Half a cosine stays high for longer, then settles gently.",
            {"down": "line"},
            "`0.5 * (1 + math.cos(math.pi * progress))`",
        ),
        Known(
            "whole-wave",
            "Your cosine runs a whole wave: down, and up again.",
            "Half a wave: the angle goes from 0 to pi.",
            {"down": "whole wave"},
            "`math.pi * progress`, without a 2",
        ),
        Known(
            "quarter-wave",
            "Your cosine runs a quarter of a wave.",
            "Half a wave, moved up and halved: `0.5 * (1 + cos(pi * progress))`.",
            {"down": "quarter"},
        ),
        Known(
            "no-pi",
            "Your angle goes from 0 to 1: the cosine hardly moves.",
            "From 0 to pi.",
            {"down": "no pi"},
            "`math.cos(math.pi * progress)`",
        ),
        Known(
            "degrees",
            "You count in degrees; `math.cos` takes radians.",
            "The angle goes from 0 to pi.",
            {"down": "degrees"},
            "`math.cos(math.pi * progress)`",
        ),
        Known(
            "goes-up",
            "Your rate falls to the lowest at once and then rises.",
            "1 *plus* the cosine: it is 1 at first and −1 at the end.",
            {"down": "rising"},
        ),
        Known(
            "one-forgotten",
            "You forgot the 1 in 1 + cos, so the rate becomes negative.",
            "The cosine goes from 1 to −1; 0.5 × (1 + cos) goes from 1 to 0.",
            {"down": "no one"},
        ),
        Known(
            "half-forgotten",
            "You forgot the ½: after the warm-up the rate jumps to nearly twice the "
            "peak.",
            "1 + cos goes from 2 to 0; half of it from 1 to 0.",
            {"half": 1.0},
        ),
        Known(
            "factor-not-rate",
            "You return a factor of the peak.",
            "Return the rate itself, which goes up to `peak`.",
            {"of": "factor"},
            "LambdaLR wants a factor; here it is the rate",
        ),
    ),
    axes=("step",),
    hints=(
        "Write the rates of 8 steps down, with peak 1, lowest 0 and a warm-up of 4. "
        "Which step has the peak? Which has 0?",
        "With update = step + 1: up to `warmup` the rate is peak × update / warmup. "
        "After that, progress goes from 0 to 1 while update goes from warmup to steps.",
        "`progress = (update - warmup) / (steps - warmup)` and "
        "`lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))`",
    ),
    lesson=LESSON + "schedule",
)


# ---------------------------------------------------------------- clip_gradients


def compute_clip(
    parameters,
    max_norm,
    *,
    over="all",
    power=2,
    root=True,
    how="scale",
    when="too long",
    gives="before",
    of="grad",
):
    """clip_gradients, with switches."""
    used = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in used]

    def length(tensors: Iterable[Tensor]) -> Tensor:
        if power == 1:
            return sum(t.abs().sum() for t in tensors)
        if power == math.inf:
            return torch.stack([t.abs().max() for t in tensors]).max()
        total = sum(t.pow(2).sum() for t in tensors)
        return total.sqrt() if root else total

    total = length(gradients)
    if over == "sum of lengths":
        total = sum(length([g]) for g in gradients)
    if over == "last":
        total = length(gradients[-1:])
    for p in used:
        part = length([p.grad]) if over == "each" else total
        with torch.no_grad():
            if how == "by value":
                p.grad.clamp_(-max_norm, max_norm)
            elif how == "nothing":
                pass
            elif when == "always" or part > max_norm:
                target = p.grad if of == "grad" else p.data
                factor = {
                    "scale": max_norm / part,
                    "divided by the length": 1 / part,
                    "times the limit": max_norm,
                    "inverted": part / max_norm,
                }[how]
                target.mul_(factor)
    after = length([p.grad for p in used])
    return {"before": total, "after": after, "none": None}[gives]


def _parameters(scale: float) -> list[nn.Parameter]:
    shapes = ((4, 3), (5,), (2, 3, 2), (3,))
    parameters = [
        nn.Parameter(noise(*shape, seed=60 + i)) for i, shape in enumerate(shapes)
    ]
    for i, p in enumerate(parameters[:3]):  # the fourth has no gradient
        p.grad = scale * (i + 1) * noise(*p.shape, seed=70 + i)
    return parameters


def _clip_trial(scale: float, max_norm: float, once: bool = False) -> Trial:
    def trial(function) -> Outcome:
        parameters = _parameters(scale)
        given = iter(parameters) if once else parameters
        norm = function(given, max_norm)
        joint = "the joint length of all gradients"
        before = math.sqrt(
            sum(float(p.grad.pow(2).sum()) for p in _parameters(scale)[:3])
        )
        situation = f"with {joint} {before:.3g} and max_norm {max_norm:g}"
        outcome = {
            f"{situation}, gradient {i} afterwards": p.grad
            for i, p in enumerate(parameters)
        }
        outcome[f"{situation}, the length that you return"] = norm
        outcome |= {f"parameter {i} itself": p.data for i, p in enumerate(parameters)}
        return outcome

    return trial


def _takes_a_generator(function) -> Mistake | None:
    """`model.parameters()` can be gone through once only."""
    trial = _clip_trial(1.0, 2.0, once=True)
    mine, good = attempt(trial, function), attempt(trial, training.clip_gradients)
    if equal(mine, good):
        return None
    return Mistake(
        "generator-used-up",
        "It works on a list and not on `model.parameters()`, which is a generator: "
        "after your first loop it is used up, and the second sees nothing.",
        "make a list first: `gradients = [p.grad for p in parameters if ...]`",
    )


CLIP_GRADIENTS = TrialCheck(
    name="clip_gradients",
    answer="clip_gradients",
    course=training.clip_gradients,
    keep=False,
    compute=compute_clip,
    pairs=True,
    make_cases=lambda: [
        _clip_trial(1.0, 2.0),
        _clip_trial(0.01, 2.0),
        _clip_trial(0.7, 0.5),
        _clip_trial(0.02, 0.5),
        _clip_trial(0.15, 1.0),
    ],
    known=(
        Known(
            "clips-by-value",
            "You cut off every entry at ±max_norm.",
            "That bends the direction of the step. Scale all gradients by one factor "
            "where their joint *length* exceeds max_norm.",
            {"how": "by value", "gives": "before"},
            "`clamp` and `clip_grad_value_` work by value",
        ),
        Known(
            "clips-by-value",
            "You cut off every entry at ±max_norm, and return nothing.",
            "That bends the direction of the step. Scale all gradients by one factor "
            "where their joint *length* exceeds max_norm, and return that length.",
            {"how": "by value", "gives": "none"},
            "`clamp` and `clip_grad_value_` work by value",
        ),
        Known(
            "each-by-itself",
            "You clip each parameter's gradient by its own length.",
            "The limit is for all of them together: one length, one factor, so that "
            "the direction of the step stays.",
            {"over": "each"},
            "first a loop that adds up, then a loop that scales",
        ),
        Known(
            "scales-up-too",
            "You scale always: short gradients are made longer.",
            "Only scale down: leave gradients alone whose length is below max_norm.",
            {"when": "always"},
            "an `if`, or `min(1, max_norm / norm)`",
        ),
        Known(
            "no-root",
            "Your length is the sum of squares, without the root.",
            "A length is the square root of the sum of squares.",
            {"root": False},
        ),
        Known(
            "sum-of-lengths",
            "You add up the lengths of the gradients.",
            "Squares add up, lengths do not: the root comes after the sum.",
            {"over": "sum of lengths"},
        ),
        Known(
            "absolute-values",
            "Your length is the sum of absolute values.",
            "The usual length: the square root of the sum of squares.",
            {"power": 1},
        ),
        Known(
            "largest-entry",
            "Your length is the largest entry.",
            "The usual length: the square root of the sum of squares.",
            {"power": math.inf},
        ),
        Known(
            "last-gradient-only",
            "Your length is that of the last gradient alone.",
            "Add up the squares of all of them.",
            {"over": "last"},
            "does your loop set the total anew each time?",
        ),
        Known(
            "scaled-to-one",
            "You scale the gradients to length 1.",
            "Scale to length max_norm: the factor is max_norm / norm.",
            {"how": "divided by the length"},
        ),
        Known(
            "times-the-limit",
            "You multiply by max_norm.",
            "The factor is max_norm / norm.",
            {"how": "times the limit"},
        ),
        Known(
            "factor-inverted",
            "Your factor is upside down: long gradients become longer.",
            "The factor is max_norm / norm, which is below 1.",
            {"how": "inverted"},
        ),
        Known(
            "clips-the-parameters",
            "You scale the parameters themselves.",
            "Scale their gradients, `p.grad`.",
            {"of": "data"},
        ),
        Known(
            "nothing-happens",
            "The gradients stay as they are.",
            "Write into them: `p.grad.mul_(factor)` or `p.grad *= factor`; "
            "`grad = grad * factor` makes a new tensor and forgets it.",
            {"how": "nothing"},
        ),
        Known(
            "length-not-returned",
            "You return nothing.",
            "Return the length that the gradients had: it is worth a plot.",
            {"gives": "none"},
            "end with `return norm`",
        ),
        Known(
            "length-afterwards",
            "You return the length after clipping.",
            "Return the one before, which tells whether anything was clipped.",
            {"gives": "after"},
        ),
    ),
    finish=_takes_a_generator,
    axes=(),
    hints=(
        "All gradients together are one long vector. What is its length?",
        "The square root of the sum of all squares, over all parameters that have a "
        "gradient. If it is above max_norm, every gradient gets the same factor.",
        "`norm = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))`, then "
        "`g.mul_(max_norm / norm)` for each, if `norm > max_norm`.",
    ),
    lesson=LESSON + "clipping",
)


# ---------------------------------------------------------------- train_step


def compute_step(
    model,
    optimizer,
    tokens,
    targets,
    lr,
    max_norm=1.0,
    *,
    order="train lr forward zero backward clip step",
    clip="norm",
    rate="all groups",
    loss="mean",
    gives="number",
):
    """train_step as a list of what is done, in order; a mistake is another list."""
    value = None
    for action in order.split():
        if action == "train":
            model.train()
        elif action == "eval":
            model.eval()
        elif action == "lr":
            groups = optimizer.param_groups
            for group in groups[:1] if rate == "first group" else groups:
                group["lr"] = lr
        elif action == "forward":
            value = training.batch_loss(model(tokens), targets)
            if loss == "sum":
                value = value * (targets != IGNORED).sum()
            elif loss == "padding":
                ends = targets.masked_fill(targets == IGNORED, int(tokens[0, 0]))
                value = training.batch_loss(model(tokens), ends)
        elif action == "zero":
            optimizer.zero_grad()
        elif action == "backward":
            value.backward()
        elif action == "clip":
            used = [p for p in model.parameters() if p.grad is not None]
            if clip == "value":
                torch.nn.utils.clip_grad_value_(used, max_norm)
            elif clip == "each":
                for p in used:
                    training.clip_gradients([p], max_norm)
            else:
                limit = 1.0 if clip == "always 1" else max_norm
                training.clip_gradients(used, limit)
        elif action == "step":
            optimizer.step()
    return {"number": value.item(), "tensor": value, "none": None}[gives]


class _Probe(nn.Module):
    """A small next-token model that behaves differently in evaluation mode.

    GPT-2 without dropout does not care about the mode; one with dropout does, and this
    stands for it without chance.
    """

    def __init__(self):
        super().__init__()
        self.W_E = nn.Parameter(noise(11, 6, seed=81))
        self.W_U = nn.Parameter(noise(6, 11, seed=82))
        self.b = nn.Parameter(noise(11, seed=83))
        self.frozen = nn.Parameter(torch.zeros(11), requires_grad=False)
        self.asked = set()  # were there gradients when somebody asked for parameters?

    def parameters(self, recurse=True):
        self.asked.add(self.b.grad is not None)
        return super().parameters(recurse)

    def forward(self, tokens):
        logits = 2 * self.W_E[tokens] @ self.W_U + self.b + self.frozen
        return logits if self.training else 0.8 * logits


class _Watched(torch.optim.SGD):
    """Counts its steps, and those without any gradient."""

    taken = empty = 0

    def step(self, closure=None):
        self.taken += 1
        groups = self.param_groups
        self.empty += all(p.grad is None for g in groups for p in g["params"])
        return super().step(closure)


def _step_trial(max_norm: float, evaluated: bool = True) -> Trial:
    def trial(function) -> Outcome:
        model = _Probe().train(not evaluated)
        matrices = {"params": [model.W_E, model.W_U], "weight_decay": 0.1}
        biases = {"params": [model.b], "weight_decay": 0.0}
        # Not AdamW: its steps hardly depend on the gradients' length, so that a sum in
        # the place of a mean, or a clip that is forgotten, would show little.
        optimizer = _Watched([matrices, biases], lr=0.3, momentum=0.5)
        outcome: Outcome = {}
        for i, lr in enumerate((0.05, 0.1, 0.02)):
            drawn = torch.Generator().manual_seed(90 + i)
            rows = [torch.randint(11, (n,), generator=drawn).tolist() for n in (5, 3)]
            tokens, targets = training.make_batch(rows, 0)
            loss = function(model, optimizer, tokens, targets, lr, max_norm)
            kind = "a number" if isinstance(loss, (float, Tensor)) else str(type(loss))
            kind = "a tensor with its graph" if _has_graph(loss) else kind
            outcome[f"the kind of loss that step {i} returns"] = kind
            outcome[f"the loss that step {i} returns"] = loss
            for name, p in model.named_parameters():
                outcome[f"`{name}` after step {i}"] = p.detach().clone()
        outcome["in training mode"] = model.training
        left = model.b.grad is not None
        outcome[TRACE] = (
            f"{optimizer.taken} {optimizer.empty} {left} {sorted(model.asked)}"
        )
        return outcome

    return trial


def _has_graph(loss) -> bool:
    return isinstance(loss, Tensor) and loss.requires_grad


def _order(text: str) -> dict:
    return {"order": text}


TRAIN_STEP = TrialCheck(
    name="train_step",
    answer="train_step",
    course=training.train_step,
    keep=False,
    compute=compute_step,
    pairs=True,
    make_cases=lambda: [_step_trial(1.0), _step_trial(0.3), _step_trial(1e9, False)],
    known=(
        Known(
            "no-zero-grad",
            "You never call `zero_grad`: each batch's gradients are added to those of "
            "all batches before.",
            "Clear them before `backward`.",
            _order("train lr forward backward clip step"),
            "`optimizer.zero_grad()`",
        ),
        Known(
            "step-before-backward",
            "You call `step` before `backward`: it uses the gradients of the batch "
            "before, and in the first step there are none.",
            "First `backward`, which computes the gradients, then `step`, which uses "
            "them.",
            _order("train lr forward step zero backward clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "step-before-backward",
            "You call `step` after `zero_grad` and before `backward`: there are no "
            "gradients, so nothing is learned.",
            "First `backward`, which computes the gradients, then `step`, which uses "
            "them.",
            _order("train lr forward zero step backward clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "zeroed-after-backward",
            "You call `zero_grad` between `backward` and `step`: the gradients are "
            "gone before they are used.",
            "Clear them before `backward`.",
            _order("train lr forward backward clip zero step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "zeroed-after-backward",
            "You call `zero_grad` right after `backward`: the gradients are gone "
            "before they are used.",
            "Clear them before `backward`.",
            _order("train lr forward backward zero clip step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clip-before-backward",
            "You clip before `backward`, when there is nothing to clip.",
            "Clip between `backward` and `step`.",
            _order("train lr forward zero clip backward step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "no-clip",
            "You do not clip the gradients.",
            "Call `clip_gradients` between `backward` and `step`.",
            _order("train lr forward zero backward step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clip-after-step",
            "You clip after `step`, when the gradients have been used.",
            "Clip between `backward` and `step`.",
            _order("train lr forward zero backward step clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clips-by-value",
            "You clip by value.",
            "Clip by norm: it keeps the direction of the step.",
            {"clip": "value"},
            "`clip_gradients`, or torch's `clip_grad_norm_`",
        ),
        Known(
            "clips-each-by-itself",
            "You clip each parameter by itself.",
            "One call with all parameters: the limit is for their joint length.",
            {"clip": "each"},
        ),
        Known(
            "limit-ignored",
            "You clip at 1, whatever `max_norm` says.",
            "Hand on the argument.",
            {"clip": "always 1"},
        ),
        Known(
            "no-step",
            "You never call `step`: nothing is learned.",
            "`optimizer.step()` moves the parameters along the gradients.",
            _order("train lr forward zero backward clip"),
        ),
        Known(
            "no-train-mode",
            "You leave the model in evaluation mode, in which it came from measuring "
            "the held-out loss.",
            "Call `model.train()` first: dropout works in training mode only.",
            _order("lr forward zero backward clip step"),
        ),
        Known(
            "eval-mode",
            "You put the model into evaluation mode.",
            "Call `model.train()`: dropout works in training mode only.",
            _order("eval lr forward zero backward clip step"),
        ),
        Known(
            "train-mode-too-late",
            "You call `model.train()` after the model has run.",
            "Call it first.",
            _order("lr forward train zero backward clip step"),
        ),
        Known(
            "rate-not-set",
            "You do not use `lr`: the optimizer keeps the rate it was made with.",
            'Set it in every group: `group["lr"] = lr`.',
            _order("train forward zero backward clip step"),
        ),
        Known(
            "rate-too-late",
            "You set the rate after `step`, so that each step takes the one before.",
            "Set it before `step`.",
            _order("train forward zero backward clip step lr"),
        ),
        Known(
            "first-group-only",
            "You set the rate of the first group only.",
            "There are two, and biases learn as well: loop over "
            "`optimizer.param_groups`.",
            {"rate": "first group"},
        ),
        Known(
            "sum-not-mean",
            "You use the sum of the losses.",
            "Use their mean, `batch_loss`: a sum grows with the batch.",
            {"loss": "sum"},
        ),
        Known(
            "padding-counted",
            "You count the padding.",
            "`batch_loss` leaves it out.",
            {"loss": "padding"},
        ),
        Known(
            "returns-a-tensor",
            "You return the loss as a tensor, which keeps the whole graph of the batch "
            "in memory as long as it lives.",
            "Return a number: `loss.item()`.",
            {"gives": "tensor"},
        ),
        Known(
            "no-return",
            "You return nothing.",
            "Return the loss, so that it can be watched.",
            {"gives": "none"},
            "`return loss.item()`",
        ),
    ),
    axes=(),
    hints=(
        "Five things happen in a step of training. Which must come before which?",
        "Set mode and rate; run the model; then zero_grad, backward, clip, step.",
        "`loss = batch_loss(model(tokens), targets)`, `optimizer.zero_grad()`, "
        "`loss.backward()`, `clip_gradients(list(model.parameters()), max_norm)`, "
        "`optimizer.step()`, `return loss.item()`; before them `model.train()` and the "
        "loop that sets `lr`.",
    ),
    lesson=LESSON + "loop",
)
