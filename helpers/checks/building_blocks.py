"""The checks of notebooks 00 and 01: next_token, Config, ScaleAndShift."""

import dataclasses
import difflib
import inspect

import torch
from torch import Tensor, nn

from helpers.checks import crash
from helpers.checks.cases import Case, noise
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.report import Mistake, Report
from helpers.checks.warm_ups import sources
from helpers.config import Config

# ------------------------------------------------------------------ next_token


def next_token(logits):
    """The most likely next token of every text.

    [batch, position, d_vocab] -> [batch]
    """
    return logits[:, -1].argmax(dim=-1)


def compute_next_token(logits, *, p, cfg, instead=next_token) -> Tensor:
    """next_token, or a wrong function in its place."""
    return instead(logits)


def _logits_cases() -> list[Case]:
    return [
        Case(source=s.label, detail=detail, cfg=s.cfg, inputs=(s.logits,))
        for s, detail in sources()
    ]


NEXT_TOKEN_KNOWN = (
    Known(
        "all-positions",
        "You choose a token at every position.",
        "The next token of the whole text is predicted at the last position alone.",
        {"instead": lambda x: x.argmax(-1)},
        "`logits[:, -1]` is [batch, d_vocab]",
    ),
    Known(
        "first-position",
        "You look at the first position, which has seen the first token only.",
        "The last position has seen the whole text.",
        {"instead": lambda x: x[:, 0].argmax(-1)},
        "index −1 is the last one",
    ),
    Known(
        "next-to-last-position",
        "You look at the position before the last.",
        "The last position has seen the whole text.",
        {"instead": lambda x: x[:, -2:-1].argmax(-1).flatten()},
        "index −1 is the last one",
    ),
    Known(
        "last-text-only",
        "`logits[-1]` is the last text of the batch.",
        "You want the last position of every text: `logits[:, -1]`.",
        {"instead": lambda x: x[-1].argmax(-1)},
        "the first axis is the batch; a colon takes all of it",
    ),
    Known(
        "last-token-of-the-vocabulary",
        "You look at one token of the vocabulary, at all positions.",
        "The last position is wanted, with the whole vocabulary.",
        {"instead": lambda x: x[..., -1].argmax(-1)},
        "the axes are [batch, position, d_vocab]",
    ),
    Known(
        "over-positions",
        "You compare positions: argmax runs over axis 1.",
        "Compare the tokens of the vocabulary: the last axis.",
        {"instead": lambda x: x.argmax(1)},
        "`dim=-1` is the vocabulary",
    ),
    Known(
        "batch-flattened",
        "argmax without `dim` looks for one largest number in the whole batch.",
        "Each text has a next token of its own.",
        {"instead": lambda x: x[:, -1].argmax()},
        "`argmax(dim=-1)`",
    ),
    Known(
        "everything-flattened",
        "argmax without `dim` looks for one largest number in the whole tensor, and "
        "returns its place there.",
        "Take the last position, then the largest entry along the vocabulary.",
        {"instead": lambda x: x.argmax()},
        "`logits[:, -1]`, then `argmax(dim=-1)`",
    ),
    Known(
        "least-likely",
        "You choose the token with the smallest logit.",
        "The likeliest token has the largest.",
        {"instead": lambda x: x[:, -1].argmin(-1)},
        "argmax, not argmin",
    ),
    Known(
        "value-not-index",
        "You return the largest logit itself.",
        "Return its place: a token's id is its row in the vocabulary.",
        {"instead": lambda x: x[:, -1].amax(-1)},
        "argmax gives the place, max the value",
    ),
    Known(
        "axis-kept",
        "Your output is [batch, 1].",
        "One id for each text: [batch].",
        {"instead": lambda x: x[:, -1:].argmax(-1)},
        "`logits[:, -1]` drops the position and `argmax(dim=-1)` the vocabulary; "
        "`-1:` and `keepdim=True` would keep them",
    ),
    Known(
        "probabilities-not-token",
        "You return the probabilities of all tokens.",
        "Return the id of the likeliest.",
        {"instead": lambda x: x[:, -1].softmax(-1)},
        "one argmax more",
    ),
)

NEXT_TOKEN = Check(
    name="next_token",
    answer="next_token",
    compute=compute_next_token,
    make_cases=_logits_cases,
    known=NEXT_TOKEN_KNOWN,
    axes=("batch",),
    hints=(
        "Which position has read the whole text?",
        "Take the last position of every text, then the place of the largest logit.",
        "`logits[:, -1]` is [batch, d_vocab]; `argmax` over its last axis is left.",
    ),
    lesson="00_start_here.ipynb#next_token",
    course=next_token,
    against="the likeliest token",
    keep=False,
)

# --------------------------------------------------------------- ScaleAndShift


class ScaleAndShift(nn.Module):
    """Take off a fixed centre, then scale and shift every feature."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(cfg.d_model))
        self.b = nn.Parameter(torch.zeros(cfg.d_model))
        self.register_buffer("centre", torch.zeros(cfg.d_model))

    def forward(self, x):
        return (x - self.centre) * self.w + self.b  # [batch, position, d_model]


def compute_scale_and_shift(
    x: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config,
    weight: str | None = "w",
    bias: str | None = "b",
    centre: float = 1.0,
    order: str = "scale first",
) -> Tensor:
    """ScaleAndShift of x [batch, position, d_model], with switches for mistakes."""
    w = p[weight] if weight else 1.0
    b = p[bias] if bias else 0.0
    if order == "centre last":
        return x * w + b - p["centre"]
    if order == "no brackets":
        return x - p["centre"] * w + b
    y = x - centre * p["centre"]
    return (y + b) * w if order == "shift first" else y * w + b


SCALE_AND_SHIFT_KNOWN = (
    Known(
        "shift-before-scale",
        "You add `b` before you multiply by `w`.",
        "Scale first, then shift: otherwise `w` scales the shift as well.",
        {"order": "shift first"},
        "mind the brackets: `(x - centre) * w + b`",
    ),
    Known(
        "weight-unused",
        "The weight `w` is not used.",
        "Each feature is multiplied by its own weight.",
        {"weight": None},
        "`* self.w`",
    ),
    Known(
        "bias-unused",
        "The bias `b` is not used.",
        "Each feature is shifted by its own bias.",
        {"bias": None},
        "`+ self.b`",
    ),
    Known(
        "weight-and-bias-swapped",
        "The weight and the bias have changed places.",
        "`w` multiplies, `b` is added.",
        {"weight": "b", "bias": "w"},
        "`(x - self.centre) * self.w + self.b`",
    ),
    Known(
        "centre-unused",
        "The buffer `centre` is not used.",
        "It is taken off first.",
        {"centre": 0.0},
        "`x - self.centre`",
    ),
    Known(
        "centre-added",
        "You add the centre.",
        "It is taken off, so that a vector at the centre becomes 0.",
        {"centre": -1.0},
        "a minus sign",
    ),
    Known(
        "centre-taken-off-last",
        "You take the centre off at the end.",
        "It comes off before the scaling: a vector at the centre becomes `b`.",
        {"order": "centre last"},
        "`x - self.centre` comes first",
    ),
    Known(
        "missing-brackets",
        "`x - centre * w + b` multiplies the centre by `w`, and not x.",
        "The product binds first, so the difference needs brackets.",
        {"order": "no brackets"},
        "`(x - self.centre) * self.w + self.b`",
    ),
)


def _scale_and_shift_cases() -> list[Case]:
    cases = []
    for source, detail in sources():
        width = source.cfg.d_model
        cases.append(
            Case(
                source=source.label,
                detail=detail,
                cfg=source.cfg,
                inputs=(source.cache["blocks.0.hook_resid_pre"],),
                params={"w": noise(width, seed=1), "b": noise(width, seed=2)},
                buffers={"centre": noise(width, seed=3)},
                grad=detail == "",
            )
        )
    return cases


def _starts(fresh: dict[str, Tensor]) -> Mistake | None:
    """Where a new ScaleAndShift should start: w at 1, b at 0."""
    wrong = [
        f"`{name}` starts at {value}, so that a new ScaleAndShift changes nothing"
        for name, value in {"w": 1, "b": 0}.items()
        if not fresh[name].eq(value).all()
    ]
    if not wrong:
        return None
    return Mistake(
        "wrong-starting-values",
        f"The computation is right, and the starting values are not: {wrong[0]}.",
        "`nn.Parameter(torch.ones(...))` for w, `nn.Parameter(torch.zeros(...))` for b",
    )


SCALE_AND_SHIFT = Check(
    name="scale_and_shift",
    answer="ScaleAndShift",
    compute=compute_scale_and_shift,
    make_cases=_scale_and_shift_cases,
    known=SCALE_AND_SHIFT_KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "Which of the three tensors are learned, and which is only kept?",
        "After `super().__init__()`: two `nn.Parameter`s, `w` of ones and `b` of "
        'zeros, and `self.register_buffer("centre", ...)`, all [d_model].',
        "`forward` is one line: brackets around `x - self.centre`, then times "
        "`self.w`, plus `self.b`.",
    ),
    lesson="01_building_blocks.ipynb#ScaleAndShift",
    course=ScaleAndShift,
    fresh=_starts,
    against="the target",
    keep=False,
)

# ---------------------------------------------------------------------- Config


class ConfigCheck(Check):
    """Judges a dataclass by its fields: nothing is computed, so no cases are run."""

    def _examine(self, candidate) -> Report:
        kind = self._wrong_kind(candidate)
        if kind:
            return self._failed(kind)
        if not _written(candidate):
            return self._to_do(candidate)
        mistakes = _config_mistakes(candidate)
        if mistakes:
            return self._failed(*mistakes)
        return Report(
            self.name,
            self.answer,
            "passed",
            notes=tuple(_config_notes(candidate)),
            summary="Ten fields, with GPT-2 small's sizes as their defaults.",
        )

    def _to_do(self, candidate) -> Report:
        told = "The class has no fields yet. Until then the notebook goes on with the "
        return Report(self.name, self.answer, "todo", summary=f"{told}course's own.")

    def _wrong_kind(self, candidate) -> Mistake | None:
        if isinstance(candidate, type):
            return None
        if dataclasses.is_dataclass(candidate):
            return Mistake(
                "instance-not-class",
                "This is one Config, with its numbers; the check wants the class.",
                "pass the class, without brackets: `checks.config(Config)`",
            )
        return super()._wrong_kind(candidate)


def _annotations(candidate: type) -> dict[str, object]:
    """A class's own annotations; none where they cannot be evaluated."""
    try:
        return inspect.get_annotations(candidate)
    except NameError:  # from Python 3.14 they are evaluated when asked for
        return {}


def _written(candidate: type) -> set[str]:
    """The names that stand in the class's body."""
    own = {name for name in vars(candidate) if not name.startswith("_")}
    return own | _annotations(candidate).keys()


def _config_mistakes(candidate: type) -> list[Mistake]:
    if "__dataclass_fields__" not in vars(candidate):
        return [
            Mistake(
                "dataclass-forgotten",
                "`@dataclass` is missing above the class, so nothing writes an "
                f"`__init__`, and `{candidate.__name__}(d_model=24)` fails.",
                "put `@dataclass` on the line above `class Config:`",
            )
        ]
    have = {f.name: f for f in dataclasses.fields(candidate)}
    wanted = {f.name: f for f in dataclasses.fields(Config)}
    spare = [name for name in _written(candidate) | have.keys() if name not in wanted]
    found = []
    for name, field in wanted.items():
        if name not in have:
            found.append(_no_field(candidate, name, field.default, spare))
        else:
            found.append(_wrong_field(candidate, have[name], field.default))
    found = [mistake for mistake in found if mistake]
    found += [
        Mistake(
            "extra-field-without-default",
            f"The field `{name}` is not one of the ten and has no default, so "
            "`Config()` fails.",
            "give it a default, or take it out",
        )
        for name in spare
        if name in have and have[name].init and not _has_default(have[name])
    ]
    return _swapped(have, wanted) or found or _fails_in_use(candidate)


def _no_field(candidate: type, name: str, default, spare: list[str]) -> Mistake:
    """Why a name is no field: no annotation, another spelling, or not there."""
    line = f"`{name}: {type(default).__name__} = {default}`"
    if name in _annotations(candidate):
        return Mistake(
            "not-a-field",
            f"`{name}` is annotated as belonging to the class (ClassVar), so it is no "
            "field, and no argument of `__init__`.",
            f"write {line}",
        )
    if name in vars(candidate):
        return Mistake(
            "no-annotation",
            f"`{name}` has no type annotation, so @dataclass passes it by: it is no "
            "field, and no argument of `__init__`.",
            f"write {line}",
        )
    close = difflib.get_close_matches(
        name.lower(), [s.lower() for s in spare], n=1, cutoff=0.8
    )
    if close:
        other = next(s for s in spare if s.lower() == close[0])
        return Mistake(
            "renamed-field",
            f"The field that should be called `{name}` is called `{other}`.",
            f"call it `{name}`: every class of the course reads `cfg.{name}`",
        )
    return Mistake(
        "missing-field", f"There is no field `{name}`.", f"add the line {line}"
    )


def _has_default(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _wrong_field(candidate: type, field: dataclasses.Field, want) -> Mistake | None:
    """What is wrong with a field that is there: its default, or how it is set."""
    line = f"`{field.name}: {type(want).__name__} = {want}`"
    if not field.init:
        return Mistake(
            "not-an-argument",
            f"`{field.name}` has init=False, so nobody can choose it.",
            f"write {line}",
        )
    if not _has_default(field):
        annotation = _annotations(candidate).get(field.name)
        if annotation == want or annotation == str(want):
            return Mistake(
                "value-as-annotation",
                f"After the colon stands the type: `{field.name}: {want}` makes "
                f"{want} the type and sets no default.",
                f"write {line}",
            )
        return Mistake(
            "no-default",
            f"`{field.name}` has no default, so `Config()` fails.",
            f"GPT-2 small has {want}: {line}",
        )
    if field.default is dataclasses.MISSING:
        value = field.default_factory()
    else:
        value = field.default
    if type(value) is type(want) and value == want:
        return None
    if isinstance(want, bool) and not value:
        return None
    if isinstance(value, tuple) and value == (want,):
        return Mistake(
            "trailing-comma",
            f"`{field.name}` is the tuple {value}: a comma at the end of the line "
            "makes one.",
            "take out the comma",
        )
    if isinstance(value, str):
        return Mistake(
            "default-is-text",
            f"`{field.name}` is the text {value!r}; it should be the number {want}.",
            "take off the quotation marks",
        )
    if value == want:
        return Mistake(
            "default-of-another-type",
            f"`{field.name}` is {value!r}, a {type(value).__name__}; it should be "
            f"{want!r}, a {type(want).__name__}.",
            f"write {line}",
        )
    return Mistake(
        "wrong-default",
        f"`{field.name}` is {value!r}; in GPT-2 small it is {want!r}.",
        f"write {line}",
    )


def _swapped(have: dict, wanted: dict) -> list[Mistake]:
    """Two fields with each other's defaults and nothing else wrong with them."""
    value = {name: field.default for name, field in have.items()}
    want = {name: field.default for name, field in wanted.items()}
    off = [name for name in want if value.get(name) != want[name]]
    if len(off) != 2 or any(name not in value for name in off):
        return []
    a, b = off
    if value[a] != want[b] or value[b] != want[a]:
        return []
    return [
        Mistake(
            "defaults-swapped",
            f"`{a}` and `{b}` have each other's default.",
            f"{a} is {want[a]}, {b} is {want[b]}",
        )
    ]


def _fails_in_use(candidate: type) -> list[Mistake]:
    """Right fields, and still no instance can be made or keeps its values."""
    sizes = {"d_model": 24, "n_heads": 3, "layer_norm_eps": 1e-3}
    try:
        made = candidate(**sizes)
        candidate()
    except Exception as error:
        return [crash.describe(error, candidate, " while a Config is made")]
    lost = [name for name, size in sizes.items() if getattr(made, name, None) != size]
    if not lost:
        return []
    return [
        Mistake(
            "argument-ignored",
            f"`Config({lost[0]}={sizes[lost[0]]}).{lost[0]}` is "
            f"{getattr(made, lost[0], None)!r}: your `__init__` or `__post_init__` "
            "does not keep what it is given.",
            "leave `__init__` to @dataclass",
        )
    ]


def _config_notes(candidate: type) -> list[str]:
    made, notes = candidate(), []
    if candidate.__dataclass_params__.frozen:
        notes.append("frozen: its fields cannot be changed, and it has a hash")
    if made != candidate():
        notes.append("two equal configurations do not compare equal (eq=False)")
    for name, kind in _annotations(candidate).items():
        value = getattr(made, name, None)
        if kind in (int, float, bool, str) and not isinstance(value, kind):
            notes.append(
                f"`{name}` is annotated {kind.__name__} and holds {value!r}; Python "
                "does not mind, readers do"
            )
    return notes


CONFIG = ConfigCheck(
    name="config",
    answer="Config",
    compute=None,
    make_cases=list,
    known=(),
    axes=(),
    hints=(
        "What makes a name in a class body a field: its value, or its annotation?",
        "Ten lines of the form `name: type = default`, under `@dataclass`.",
        "`d_model: int = 768`, `debug: bool = False`, `layer_norm_eps: float = 1e-5`, "
        "and so on down the table.",
    ),
    lesson="01_building_blocks.ipynb#Config",
    course=Config,
)
