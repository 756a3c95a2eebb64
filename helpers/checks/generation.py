"""The checks of notebook 08's ways to choose tokens: greedy, sample, beam_search."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from helpers import generation
from helpers.checks import crash
from helpers.checks.cases import Case, Source, loaded, stirred
from helpers.checks.check import Check
from helpers.checks.filters import instead_of, positional, wrong
from helpers.checks.guard import is_blank
from helpers.checks.report import Mistake, Report
from helpers.reference import Reference


class Logits(nn.Module):
    """transformers' GPT-2 as the notebook's model: tokens in, logits out.

    Args:
        reference: the model.
        scale: of the logits; below 1, the likeliest token is less often the best.
    """

    def __init__(self, reference: Reference, scale: float = 1.0):
        super().__init__()
        self.cfg, self.scale = reference.cfg, scale
        self.inner = [reference.model]  # in a list: no parameters of its own

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, position, d_vocab] of tokens [batch, position]."""
        if not isinstance(tokens, Tensor) or tokens.ndim != 2:
            shape = list(getattr(tokens, "shape", [type(tokens).__name__]))
            raise ValueError(f"the model reads [batch, position]; it got {shape}")
        everything = torch.ones_like(tokens)
        (model,) = self.inner
        out = model(tokens, attention_mask=everything, use_cache=False)
        return self.scale * out.logits


def their_tokens(source: Source, tokens: Tensor, n_new: int, n_beams: int = 1):
    """What transformers' `generate` makes of a prompt; it never ends early."""
    rows = tuple(map(tuple, tokens.tolist()))
    return _generated(source.reference, rows, n_new, n_beams).clone()


@cache
def _generated(reference: Reference, rows: tuple, n_new: int, n_beams: int) -> Tensor:
    from transformers.utils import logging

    tokens = torch.tensor(rows, device=reference.device)
    nothing = reference.cfg.d_vocab  # an end token that the model cannot say
    # Our start token is the padding token too: transformers warns, though the mask
    # says that nothing is padding.
    loudness = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return reference.model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=n_new,
            do_sample=False,
            num_beams=n_beams,
            eos_token_id=nothing,
            pad_token_id=0,
        )
    finally:
        logging.set_verbosity(loudness)


def generation_case(
    model, source: Source, tokens: Tensor, n_new: int, detail: str, **beams
) -> Case:
    """A prompt for a function that generates with `model`, and transformers' answer.

    Args:
        beams: `n_beams`, for a beam search.
    """
    return Case(
        source=source.label,
        detail=detail,
        cfg=source.cfg,
        inputs=(tokens,),
        extra={"model": model, "n_new": n_new, **beams},
        expected=their_tokens(source, tokens, n_new, **beams),
    )


# ------------------------------------------------------------------ greedy


def _steps(
    pick: Callable[[Tensor], Tensor] = lambda logits: logits[:, -1].argmax(-1),
    reads: Callable[[Tensor, Tensor], Tensor] = lambda tokens, prompt: tokens,
    gives: Callable[[Tensor, Tensor], Tensor] = lambda tokens, prompt: tokens,
    more: int = 0,
    first: bool = False,
):
    """Greedy with its knobs: what the model reads, which logits count, what is given.

    Args:
        more: how many tokens too many.
        first: put new tokens in front.
    """

    def generate(model, tokens, n_new):
        prompt = tokens
        for _ in range(n_new + more):
            new = pick(model(reads(tokens, prompt)))[:, None]
            tokens = torch.cat([new, tokens] if first else [tokens, new], 1)
        return gives(tokens, prompt)

    return generate


def _with_model(compute):
    """The model comes first, though cases carry it among the extras."""

    def call(tokens, *, p, cfg, model, **extra):
        instead = extra.pop("instead", compute)
        return instead(model, tokens, *extra.values())

    return call


def _model_first(candidate):
    """The same for the person's function: `f(model, tokens, ...)`."""
    called = positional(candidate)
    if called is candidate:
        return candidate

    def call(tokens, *, model, **extra):
        return candidate(model, tokens, *extra.values())

    call.__wrapped__ = candidate
    call.__name__ = getattr(candidate, "__name__", "answer")
    return call


def _greedy_cases() -> list[Case]:
    small, big = stirred(), loaded()
    given = [
        (small, small.tokens[:, :3], 5, ""),
        (small, small.tokens[1:, :1], 4, "from a single token"),
        (small, small.tokens[:, :6], 1, "with one new token"),
        (big, big.tokens[:, :5], 5, ""),
    ]
    return [
        generation_case(Logits(source.reference), source, tokens, n_new, detail)
        for source, tokens, n_new, detail in given
    ]


greedy = Check(
    name="greedy",
    answer="greedy",
    course=generation.greedy,
    compute=_with_model(generation.greedy),
    make_cases=_greedy_cases,
    prepare=_model_first,
    known=(
        wrong(
            "first-positions-logits",
            "You take the logits of the first position.",
            "What comes next is told at the last one: `[:, -1]`.",
            "which position has seen the whole text?",
            _steps(pick=lambda x: x[:, 0].argmax(-1)),
        ),
        wrong(
            "second-to-last-logits",
            "You take the logits of the last position but one.",
            "They predict the last token, which is there already: take `[:, -1]`.",
            "logits are about the token *after* their position",
            _steps(pick=lambda x: x[:, -2:][:, 0].argmax(-1)),
        ),
        wrong(
            "least-likely",
            "You take the least likely token.",
            "Greedy takes the likeliest.",
            "`argmax`",
            _steps(pick=lambda x: x[:, -1].argmin(-1)),
        ),
        wrong(
            "over-the-positions",
            "Your argmax runs over all positions together: the largest logit anywhere "
            "decides.",
            "The logits of the last position decide.",
            "`model(tokens)[:, -1]` first",
            _steps(pick=lambda x: x.amax(1).argmax(-1)),
        ),
        wrong(
            "one-token-for-the-batch",
            "Every text of the batch gets the token of the first one.",
            "Each row has a likeliest token of its own.",
            "`argmax(dim=-1, keepdim=True)` leaves [batch, 1]",
            _steps(pick=lambda x: x[:1, -1].argmax(-1).expand(x.shape[0])),
        ),
        wrong(
            "prompt-only",
            "The model reads the prompt every time and never its own words.",
            "Each new token joins the text before the model reads again.",
            "give the longer `tokens` to the model",
            _steps(reads=lambda tokens, prompt: prompt),
        ),
        wrong(
            "last-token-only",
            "The model reads the last token alone.",
            "Without a cache it needs the whole text each time.",
            "`model(tokens)`, all of them",
            _steps(reads=lambda tokens, prompt: tokens[:, -1:]),
        ),
        wrong(
            "prompt-dropped",
            "You return the new tokens alone.",
            "Return the whole text, prompt first: [batch, position + n_new].",
            "`torch.cat([tokens, next_tokens], dim=1)`",
            _steps(gives=lambda tokens, prompt: tokens[:, prompt.shape[1] :]),
        ),
        wrong(
            "returns-in-the-loop",
            "You add one token and return.",
            "n_new of them are wanted: the `return` belongs after the loop.",
            "look at how far the `return` is indented",
            _steps(gives=lambda tokens, prompt: tokens[:, : prompt.shape[1] + 1]),
        ),
        wrong(
            "one-too-few",
            "You add one token too few.",
            "n_new of them are wanted.",
            "count the rounds of your loop",
            _steps(more=-1),
        ),
        wrong(
            "one-too-many",
            "You add one token too many.",
            "n_new of them are wanted.",
            "count the rounds of your loop",
            _steps(more=1),
        ),
        wrong(
            "put-in-front",
            "You put new tokens in front of the text.",
            "They come at its end.",
            "`torch.cat([tokens, next_tokens], dim=1)`",
            _steps(first=True),
        ),
        wrong(
            "prompt-returned",
            "You return the prompt as it came.",
            "`torch.cat` makes a new tensor: give it the name `tokens`, and return "
            "that.",
            "`tokens = torch.cat([tokens, next_tokens], dim=1)`",
            lambda model, tokens, n_new: tokens.clone(),
        ),
    ),
    axes=("batch", "position"),
    hints=(
        "Which position's logits speak of the token that comes next?",
        "In a loop: the model reads all tokens, the last position's argmax is the new "
        "token, `torch.cat` puts it at the end.",
        "`model(tokens)[:, -1].argmax(dim=-1, keepdim=True)` is [batch, 1], ready for "
        "`torch.cat([tokens, ...], dim=1)`.",
    ),
    lesson="08_generation.ipynb#Greedy",
    against="transformers' `generate`",
)


# ------------------------------------------------------------------ sample

DRAWS = 20_000
ERROR = 1e-6  # the chance that a right answer is rejected, with honest random numbers
SEEDS = (801, 802)  # for two contests; fixed, so that a report repeats


def bound(d_vocab: int, draws: int = DRAWS, error: float = ERROR) -> float:
    """How far any token's frequency may stray from its probability.

    Hoeffding: a frequency of n draws strays by more than e with a chance of at most
    2 exp(-2 n e²). Over all tokens and contests those chances add up to `error`.
    """
    ways = 2 * d_vocab * len(SEEDS) * 2  # two rows in each contest
    return math.sqrt(math.log(ways / error) / (2 * draws))


@cache
def _contests() -> list[Tensor]:
    """Logits [2, 9] whose probabilities are far from uniform, and from each other."""
    probs = torch.tensor(
        [
            [0.36, 0.02, 0.24, 0.00, 0.12, 0.08, 0.10, 0.03, 0.05],
            [0.05, 0.30, 0.01, 0.20, 0.04, 0.06, 0.00, 0.24, 0.10],
        ]
    )
    logits = probs.log()  # a probability of 0 is a logit of -inf
    return [logits + 1.5, logits.flip(0) - 4.0]


@dataclass
class SampleCheck(Check):
    """A check of draws: by their frequencies, with a stated chance of error."""

    def _examine(self, candidate) -> Report:
        odd = self._wrong_kind(candidate)
        if odd:
            return self._failed(odd)
        if any(is_blank(f) for f in self._required(candidate)):
            return self._to_do(candidate)
        seen, notes = [], set()
        for logits, seed in zip(_contests(), SEEDS, strict=True):
            many = logits[:, None].expand(-1, DRAWS, -1).reshape(-1, logits.shape[-1])
            before = many.clone()
            torch.manual_seed(seed)
            try:
                drawn = candidate(many)
            except Exception as error:
                if crash.left_blank(error):
                    return self._to_do(candidate)
                return self._failed(crash.describe(error, candidate))
            if not torch.equal(many, before):
                return self._failed(_CHANGES)
            found = self._not_tokens(drawn, many)
            if found:
                return self._failed(found)
            if drawn.ndim == 1:
                notes.add("[batch, 1] instead of [batch] is ready for `torch.cat`")
            rows = drawn.reshape(2, DRAWS)
            one_hot = nn.functional.one_hot(rows, logits.shape[-1])
            seen.append(one_hot.float().mean(1))
        mistakes = self._by_frequency(seen)
        if mistakes:
            return self._failed(*mistakes, one_of=len(mistakes) > 1)
        if torch.equal(candidate(many), drawn):
            return self._failed(_SAME_DRAWS)
        summary = (
            f"{DRAWS} draws for each of four distributions: every token as often as "
            f"its probability says, within {bound(9):.3f}. A right answer would fail "
            "this once in a million times."
        )
        return Report(
            self.name, self.answer, "passed", notes=tuple(notes), summary=summary
        )

    def _not_tokens(self, drawn, many: Tensor) -> Mistake | None:
        batch, d_vocab = many.shape
        if drawn is None:
            return Mistake(
                "no-return",
                "Your code returns None: the result is computed and dropped.",
                "end with `return ...`",
            )
        if not isinstance(drawn, Tensor):
            kind = type(drawn).__name__
            return Mistake(
                "not-a-tensor",
                f"Your code returns {kind}, not a tensor.",
                "return the tensor of token ids itself",
            )
        if drawn.shape == many.shape and drawn.is_floating_point():
            return Mistake(
                "probabilities-returned",
                "You return a number for every token.",
                "one token a row: `torch.multinomial(probs, num_samples=1)`",
            )
        if drawn.shape not in ((batch, 1), (batch,)):
            return Mistake(
                "wrong-shape",
                f"Your output has shape {list(drawn.shape)} for {batch} rows; "
                f"it should be [{batch}, 1]: one token for each row.",
                "`num_samples=1`, and the whole batch at once",
            )
        if drawn.is_floating_point() or drawn.min() < 0 or drawn.max() >= d_vocab:
            return Mistake(
                "not-token-ids",
                "What you return are no token ids: whole numbers from 0 to "
                f"d_vocab − 1 = {d_vocab - 1}.",
                "`torch.multinomial` returns ids",
            )
        return None

    def _by_frequency(self, seen: list[Tensor]) -> list[Mistake]:
        def near(switches: dict) -> bool:
            return all(
                (mine - self.compute(logits, p={}, cfg=None, **switches)).abs().max()
                <= bound(9)
                for mine, logits in zip(seen, _contests(), strict=True)
            )

        if near({}):
            return []
        named = [k.as_mistake() for k in self.known if near(k.switches)]
        return named or [self._worst(seen[0])]

    def _worst(self, mine: Tensor) -> Mistake:
        logits = _contests()[0]
        wanted = logits.softmax(-1)
        at = (mine - wanted).abs().flatten().argmax().item()
        row, token = divmod(at, logits.shape[-1])
        return Mistake(
            "wrong-distribution",
            f"Over {DRAWS} draws a token came up {100 * mine[row, token]:.1f}% of the "
            f"time; its probability is {100 * wanted[row, token]:.1f}%. Chance alone "
            "strays that far less than once in a million times.",
            "softmax over the last axis, then `torch.multinomial`",
        )


_SAME_DRAWS = Mistake(
    "same-draws-every-time",
    "A second call on the same logits draws the same tokens, all of them.",
    "a fixed seed inside the function does that: leave `manual_seed` to the caller",
)

_CHANGES = Mistake(
    "changes-its-input",
    "Your code writes into the logits it was given.",
    "names that end in an underscore change a tensor in place",
)


def _one_hot(logits: Tensor) -> Tensor:
    return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()


def _normalized(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


sample = SampleCheck(
    name="sample",
    answer="sample",
    course=generation.sample,
    # the probabilities, not the draws: what frequencies are compared with
    compute=instead_of(lambda logits: logits.softmax(-1)),
    make_cases=list,
    known=(
        wrong(
            "greedy",
            "You always take the likeliest token.",
            "Draw: each token comes as often as its probability says.",
            "`torch.multinomial(probs, num_samples=1)`",
            _one_hot,
        ),
        wrong(
            "uniform",
            "All tokens come equally often.",
            "Each should come as often as softmax says.",
            "where do the logits enter your draw?",
            lambda x: torch.full_like(x, 1 / x.shape[-1]),
        ),
        wrong(
            "uniform-over-the-possible",
            "All tokens whose probability is not 0 come equally often.",
            "Each should come as often as softmax says.",
            "where do the logits enter your draw?",
            lambda x: _normalized(x.isfinite().float()),
        ),
        wrong(
            "softmax-twice",
            "Your frequencies are those of a softmax taken twice.",
            "Once is right: the second one takes probabilities for logits, and all "
            "tokens come nearly equally often.",
            "`Categorical(logits=...)` takes the softmax itself",
            lambda x: x.softmax(-1).softmax(-1),
        ),
        wrong(
            "sign-turned",
            "Unlikely tokens come up most: the sign is turned.",
            "The larger the logit, the likelier.",
            "is there a minus sign?",
            lambda x: (-x).nan_to_num(posinf=80).softmax(-1),
        ),
        wrong(
            "probabilities-squared",
            "Your frequencies are those of the squared probabilities.",
            "Draw from the softmax as it is.",
            "is the probability used twice, or are logits doubled?",
            lambda x: _normalized(x.softmax(-1).square()),
        ),
        wrong(
            "half-the-logits",
            "Your frequencies are those of logits halved, a temperature of 2.",
            "Draw from the softmax as it is.",
            "is there a temperature in your function?",
            lambda x: (x / 2).softmax(-1),
        ),
        wrong(
            "whole-numbers",
            "Your logits have lost what is after the point.",
            "Keep it: no `.int()`, `.round()` or `.long()`.",
            "look for a conversion",
            lambda x: x.round().softmax(-1),
        ),
    ),
    axes=("batch", "token"),
    hints=(
        "What makes probabilities of logits?",
        "`torch.multinomial` draws from rows of probabilities.",
        "`torch.multinomial(logits.softmax(dim=-1), num_samples=1)`.",
    ),
    lesson="08_generation.ipynb#Sampling",
)


# ------------------------------------------------------------------ beam search


def _beams(
    total: Callable[[Tensor, Tensor], Tensor] = lambda scores, new: (
        scores[:, None] + new
    ),
    to_score: Callable[[Tensor], Tensor] = lambda logits: logits.log_softmax(-1),
    from_beam: Callable[[Tensor], Tensor] = lambda beam: beam,
    gives: Callable[[Tensor], Tensor] = lambda beams: beams[:1],
    width: Callable[[int], int] = lambda n_beams: n_beams,
    more: int = 0,
):
    """Beam search with its knobs: what is summed, kept and given."""

    def search(model, tokens, n_new, n_beams):
        beams, scores = tokens, torch.zeros(1)
        for _ in range(n_new + more):
            new = to_score(model(beams)[:, -1])
            totals = total(scores, new)
            d_vocab = totals.shape[-1]
            scores, best = totals.flatten().topk(width(n_beams))
            beam, token = from_beam(best // d_vocab), best % d_vocab
            beams = torch.cat([beams[beam], token[:, None]], 1)
        return gives(beams)

    return search


def _apart(model, tokens, n_new, n_beams):
    """The n_beams best first tokens, each continued greedily by itself."""
    beams, scores = tokens, torch.zeros(1)
    for step in range(n_new):
        log_probs = model(beams)[:, -1].log_softmax(-1)
        if step == 0:
            scores, new = log_probs[0].topk(n_beams)
            beams = torch.cat([tokens.expand(n_beams, -1), new[:, None]], 1)
        else:
            gain, new = log_probs.max(-1)
            scores = scores + gain
            beams = torch.cat([beams, new[:, None]], 1)
    return beams[scores.argmax()][None]


@cache
def _undecided() -> Source:
    """A small random GPT-2 that is never sure, so that greedy is seldom the best."""
    import copy

    source = stirred()
    model = copy.deepcopy(source.reference.model)
    with torch.no_grad():
        model.lm_head.weight *= 0.5
        model.lm_head.bias *= 0.5
    reference = Reference(model, name="an undecided GPT-2")
    return Source(
        "a small GPT-2 with random weights",
        reference,
        source.tokens,
        source.logits * 0.5,
        {},
        {},
    )


def _beam_cases() -> list[Case]:
    small, big = _undecided(), loaded()
    # found by trying: on these prompts every catalogued mistake ends elsewhere
    given = [
        (small, torch.tensor([[9, 28]]), 4, 3, "with 3 beams"),
        (small, torch.tensor([[34, 14]]), 5, 3, "with 3 beams, five steps"),
        (small, torch.tensor([[21, 23, 5]]), 5, 4, "with 4 beams"),
        (small, torch.tensor([[36]]), 4, 2, "with 2 beams"),
        (small, torch.tensor([[9, 28]]), 2, 1, "with 1 beam"),
        (big, big.tokens[:, :5], 4, 3, "with 3 beams"),
    ]
    return [
        generation_case(
            Logits(source.reference), source, tokens, n_new, detail, n_beams=n_beams
        )
        for source, tokens, n_new, n_beams, detail in given
    ]


beam_search = Check(
    name="beam_search",
    answer="beam_search",
    course=generation.beam_search,
    compute=_with_model(generation.beam_search),
    make_cases=_beam_cases,
    prepare=_model_first,
    known=(
        wrong(
            "sorts-by-last-step-only",
            "Your beams are ranked by their last token's log probability alone.",
            "The whole text counts: add each step's log probability to the beam's "
            "score so far.",
            "`scores[:, None] + log_probs`",
            _beams(total=lambda scores, new: new),
        ),
        wrong(
            "logits-summed",
            "You add up logits.",
            "Logits of different texts cannot be compared: each row has its own "
            "constant. Log probabilities can.",
            "`log_softmax(dim=-1)` before adding",
            _beams(to_score=lambda logits: logits),
        ),
        wrong(
            "probabilities-summed",
            "You add up probabilities.",
            "The probability of a text is the *product* of its tokens'; so add up "
            "their logarithms.",
            "`log_softmax`, not `softmax`",
            _beams(to_score=lambda logits: logits.softmax(-1)),
        ),
        wrong(
            "log-probabilities-multiplied",
            "You multiply log probabilities.",
            "Probabilities are multiplied, their logarithms added.",
            "`scores[:, None] + log_probs`",
            _beams(
                total=lambda scores, new: (
                    new if not scores.any() else scores[:, None] * new
                )
            ),
        ),
        wrong(
            "greedy",
            "Your search finds what greedy finds: it keeps one beam, or n_beams that "
            "are all alike.",
            "The n_beams best texts stay at every step, and they must differ: begin "
            "with one beam, or give copies of the prompt a score of -inf.",
            "`beams = tokens`, `scores = torch.zeros(1)`, and `topk(n_beams)` over all "
            "beams and tokens",
            _beams(width=lambda n_beams: 1),
        ),
        wrong(
            "beams-do-not-compete",
            "Each beam goes its own way after the first step.",
            "All continuations of all beams compete: two of the best may come from "
            "the same beam, and another one dies out.",
            "`totals.flatten().topk(n_beams)`",
            _apart,
        ),
        wrong(
            "beams-mixed-up",
            "The new tokens are put at the end of the wrong beams.",
            "Each winner continues one certain beam: `best // d_vocab` says which.",
            "`beams[best // d_vocab]`",
            _beams(
                from_beam=lambda beam: torch.arange(len(beam)).clamp_max(
                    int(beam.max())
                )
            ),
        ),
        wrong(
            "worst-beam-returned",
            "You return the worst of the beams.",
            "`topk` sorts in descending order: the best is the first.",
            "`beams[:1]`",
            _beams(gives=lambda beams: beams[-1:]),
        ),
        wrong(
            "all-beams-returned",
            "You return all the beams.",
            "The best one is wanted: [1, position + n_new].",
            "`beams[:1]`",
            _beams(gives=lambda beams: beams),
        ),
        wrong(
            "batch-axis-dropped",
            "Your result has lost its batch axis.",
            "[1, position + n_new] is wanted.",
            "`beams[:1]`, not `beams[0]`",
            _beams(gives=lambda beams: beams[0]),
        ),
        wrong(
            "one-too-few",
            "You add one token too few.",
            "n_new of them are wanted.",
            "count the rounds of your loop",
            _beams(more=-1),
        ),
        wrong(
            "one-too-many",
            "You add one token too many.",
            "n_new of them are wanted.",
            "count the rounds of your loop",
            _beams(more=1),
        ),
    ),
    axes=("batch", "position"),
    hints=(
        "What is the score of a text, and how does it change when a token is added?",
        "Score so far plus log probability, for every beam and every token: "
        "[n_beams, d_vocab]. The n_beams best of them all are the new beams.",
        "`totals.flatten().topk(n_beams)` gives scores and places; place // d_vocab is "
        "the beam, place % d_vocab the token.",
    ),
    lesson="08_generation.ipynb#Beam-search",
    against="transformers' beam search",
)
