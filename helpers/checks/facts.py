"""What is certain of an answer that no mistake explains: facts, no guesses."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from helpers.checks import again, crash, walk
from helpers.checks.case import Case
from helpers.checks.explain import quietly
from helpers.checks.own_code import files_of
from helpers.checks.parameters import Built, build
from helpers.checks.picture import picture
from helpers.checks.report import Mistake, mistake
from helpers.checks.run import TOLERANCE, Seen, mutant_run, run, same
from helpers.checks.trace import (
    Recorder,
    RightValues,
    first_departure,
    first_wrong_line,
    says_something,
)


@dataclass
class Look:
    """One answer on one case, under the lens."""

    judgement: object
    built: Built
    case: Case
    seen: Seen

    def __post_init__(self):
        self.kind, self.candidate = self.judgement.kind, self.judgement.candidate

    @property
    def target(self) -> Tensor:
        return self.judgement.target(self.case)

    @cached_property
    def stages(self) -> dict:
        return self.kind.stages(self.case) if self.kind.stages else {}

    @cached_property
    def files(self) -> set[str]:
        """The person's files or cells."""
        return files_of(self.candidate)

    @cached_property
    def course(self) -> nn.Module:
        """The course's own, with the same weights."""
        return build(self.judgement.own, self.case).module

    def right(self) -> bool:
        """Whether the output is as it should be."""
        output, target, view = self.seen.output, self.target, self.kind.view
        return (
            self.seen.error is None
            and isinstance(output, Tensor)
            and output.dtype == target.dtype
            and same(view(output), view(target), self.kind.tolerance)
        )

    def tells(self) -> bool:
        """Whether a wrong output differs from the right one where it is a number."""
        mine, target = self.seen.output, self.target
        if not isinstance(mine, Tensor) or mine.shape != target.shape:
            return True
        mine, target = self.kind.view(mine), self.kind.view(target)
        a_number = ~mine.isnan()
        return not same(mine[a_number], target[a_number], self.kind.tolerance)

    def picture(self) -> Callable[[], bytes] | None:
        """What draws target, yours and their difference."""
        output, view = self.seen.output, self.kind.view
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        return picture(view(output), view(self.target), self.kind.axes)

    def wrong_part(self, backward: bool = False) -> list[Mistake]:
        """The first of the answer's own parts that is wrong on its right input."""
        if not self.kind.made_of_parts:
            return []
        return walk.wrong_part(self.built.module, self.course, self.case, backward)

    def writes(self) -> Mistake:
        """The line that writes into what the answer was given."""
        runner = build(self.candidate, self.case).runner
        return crash.writes(again.line_that_writes(runner, self.case, self.files))

    def random(self) -> Mistake:
        """What makes other numbers from one call to the next."""
        return again.random(self.built.runner, self.case, self.files)

    def again(self) -> "Look":
        """The same answer, run once more."""
        seen = run(self.built.runner, self.case)
        return replace(self, seen=self.judgement.adapted(seen, self.case))


def changed_parameters(looks: list[Look]) -> Mistake | None:
    """Whether running the answer left its own weights as they were."""
    for look in looks:
        for name, p in look.built.params.items():
            before = look.case.params[name]
            if p.shape != before.shape or not torch.equal(p, before):
                return mistake("changes-its-parameters", name=name)
    return None


def on_another_device(looks: list[Look]) -> Mistake | None:
    """Whether an output has left the CPU, where the inputs are."""
    outputs = [s.seen.output for s in looks if isinstance(s.seen.output, Tensor)]
    away = next((x.device for x in outputs if x.device.type != "cpu"), None)
    return away and mistake("wrong-device", device=away)


def narrowed(look: Look, where: str) -> list[Mistake]:
    """What can be said for certain of a wrong output.

    Args:
        where: " on {the case}" where only some of them are wrong.
    """
    output, target, axes = look.seen.output, look.target, look.kind.axes
    if look.seen.error is not None:
        told = crash.describe(look.seen.error, look.candidate, where)
        return look.wrong_part() or [told]
    if output is None:
        return [mistake("no-return")]
    if not isinstance(output, Tensor):
        return [_not_a_tensor(output)]
    if output.shape != target.shape:
        step = _returns_a_step(look)
        departs = [] if step else _departure(look)
        if where and departs:  # right in the other cases
            lines = [departs[0].line or "", *crash.lines_of(look.candidate)]
            spelt = spelt_out(output.shape, target.shape, axes, lines)
            departs = spelt or departs
        return [
            *step,
            *right_numbers(output, target, axes),
            mistake(
                "wrong-shape",
                got=list(output.shape),
                where=where,
                want=list(target.shape),
                axes=", ".join(axes),
            ),
            *departs,
        ]
    if output.dtype != target.dtype:
        return [mistake("wrong-dtype", got=output.dtype, want=target.dtype)]
    return _wrong_values(look, where)


def _not_a_tensor(output) -> Mistake:
    what = type(output).__name__
    if type(output).__module__ == "torch.return_types":  # of `x.max(dim=-1)`
        return mistake("a-pair-for-a-tensor", "not-a-tensor", what=what)
    return mistake("not-a-tensor", what=what)


def _wrong_values(look: Look, where: str) -> list[Mistake]:
    kind, output = look.kind, look.seen.output.detach()
    mine, goal = kind.view(output), kind.view(look.target)
    if mine.dtype == torch.bool:  # True less False is no number
        mine, goal = mine.float(), goal.float()
    told = []
    if mine.isnan().any() and not goal.isnan().any():
        born = again.first_nan(look.built.runner, look.case, look.files)
        if born:
            return [born]
        told.append("it contains NaN")
    factor = ratio(mine, goal)
    if factor is not None and abs(factor - 1) > 2e-3:
        told.append(f"it is {factor:.4g} times the target everywhere")
    place = places(mine, goal, kind.axes, kind.tolerance)
    if place:
        told.append(f"it differs at {place}")
    found = kind.facts(output, look.case) if kind.facts else []
    if any(fact.exact for fact in found):
        return found
    departs = _returns_a_step(look) or _departure(look)
    at = departs[0].stage if departs else ""
    found = [fact for fact in found if fact.stage in ("", at)] + departs
    if kind.causal and _sees_the_future(look):
        found.append(mistake("sees-the-future"))
    second = look.again().seen.output
    if isinstance(second, Tensor) and not same(second, output):
        return [look.random()]
    if found and not told:
        return found
    how = "; ".join(told) or "it differs everywhere"
    how += f" ({example(mine, goal, kind.axes)})"
    return [*found, mistake("wrong-values", where=where, how=how)]


def _departure(look: Look) -> list[Mistake]:
    """Where the answer leaves the right computation, with the line."""
    part = look.wrong_part()
    if part:
        return part
    recorder = Recorder(look.files)
    with recorder:
        output = run(look.built.runner, look.case).output
    if not look.kind.made_of_parts and look.kind.stages is None:
        line = first_wrong_line(recorder, output, _right_values(look))
        return [mistake("first-wrong-line", line=line)] if line else []
    found = first_departure(look.stages, recorder, output, _right_values(look))
    wired = look.kind.made_of_parts and walk.wrong_wiring(
        look.built.module, look.course, look.case, look.files, look.stages
    )
    if wired:
        return [replace(wired[0], line=found.line or wired[0].line), *wired[1:]]
    if look.kind.stages is None:
        return []
    if found.first is None:
        fact = mistake("changes-the-right-result", line=found.line)
        return [fact] if found.line else []
    slug = "departs-at-" + found.first.replace(" ", "-").replace("_", "-")
    fact = mistake(
        "departs" if found.last else "departs-at-once",
        slug,
        line=found.line,
        last=found.last,
        first=found.first,
        hint="compare this line with the equation, one symbol at a time"
        if found.line
        else "is each line's result used by the next?",
    )
    return [replace(fact, stage=found.first)]


def _right_values(look: Look) -> RightValues:
    """What the course's answer and the page's other right ones make on the way."""
    if "right values" not in look.case.made:
        recorder = Recorder()
        with quietly(), torch.no_grad(), recorder:
            for answer in look.judgement.right_answers():
                mutant_run(answer, look.judgement.own, look.case)
        values = [*look.case.inputs, *(step.value for step in recorder.steps)]
        look.case.made["right values"] = RightValues(values)
    return look.case.made["right values"]


def of_equal_values(look: Look, found: list) -> list:
    """Those wrong answers that make one of the same wrong numbers on the way.

    Where an output is right but for NaN, NaN proves nothing: many roads lead there.
    """

    def numbers(run: Callable) -> list[Tensor]:
        with quietly(), torch.no_grad(), Recorder() as recorder:
            run()
        return [step.value for step in recorder.steps if not step.value.isnan().any()]

    right, case = _right_values(look), look.case
    mine = numbers(lambda: run(look.built.runner, case))
    wrong = [value for value in mine if says_something(value) and not right.has(value)]

    def makes_one(mutant) -> bool:
        answer = look.judgement.prepared(mutant.answer)
        theirs = numbers(lambda: mutant_run(answer, look.judgement.own, case))
        theirs = RightValues(theirs)
        return any(theirs.has(value) for value in wrong)

    return [mutant for mutant in found if not wrong or makes_one(mutant)]


def _returns_a_step(look: Look) -> list[Mistake]:
    """An answer that hands back its input, or a right result of an earlier step."""
    steps, output = {"what it was given": look.case.inputs[0]}, look.seen.output
    for name, value in look.stages.items():
        steps |= value if isinstance(value, dict) else {name: value}
    for name, value in steps.items():
        several = value if isinstance(value, tuple) else (value,)
        if any(same(output, v) and not same(v, look.target) for v in several):
            return [mistake("returns-an-earlier-step", step=name)]
    return []


def _sees_the_future(look: Look) -> bool:
    first = look.case.inputs[0]
    if first.ndim < 2 or first.shape[1] < 2:
        return False
    other = first.clone()
    other[:, -1] = first[:, 0] + 1 if first.is_floating_point() else first[:, 0]
    cases = look.case, replace(look.case, inputs=(other, *look.case.inputs[1:]))
    a, b = (run(look.built.runner, case).output for case in cases)
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape):
        return False
    return not same(a[:, :-1], b[:, :-1], look.kind.tolerance)


def wrong_gradient(look: Look, good: Seen, equal) -> Mistake:
    """Which gradients are missing or wrong, where the output is right."""
    mine, names = look.seen, {f"input {i}": "the input" for i in range(9)}
    if mine.error is not None:
        where = " when gradients are asked for"
        return crash.describe(mine.error, look.candidate, where)
    none = [n for n, g in mine.gradients.items() if g is None]
    none = [n for n in none if good.gradients.get(n) is not None]
    if none and len(none) == len(mine.gradients):
        return mistake("not-differentiable")
    if none:
        what = _some([names.get(n, f"`{n}`") for n in none])
        return mistake("without-a-gradient", what=what)
    off = [
        names.get(n, f"`{n}`")
        for n in mine.gradients.keys() & good.gradients.keys()
        if not equal(
            Seen(gradients={n: mine.gradients[n]}),
            Seen(gradients={n: good.gradients[n]}),
        )
    ]
    return mistake("wrong-gradient", what=_some(sorted(off)))


def _some(names: list[str]) -> str:
    """The first few of many, in a sentence."""
    more = [f"{len(names) - 3} more"] if len(names) > 4 else []
    return " and ".join([*names[: 3 if more else 4], *more])


def places(
    mine: Tensor, target: Tensor, axes: tuple[str, ...], tolerance: float = TOLERANCE
) -> str:
    """Which positions, heads or features differ; empty when all of them do."""
    scale = target[target.isfinite()].abs().max().clamp_min(1e-12)
    wrong = (mine - target).abs() > tolerance * scale
    wrong |= mine.isnan() != target.isnan()
    told = []
    for axis, name in enumerate(axes):
        others = [i for i in range(wrong.ndim) if i != axis]
        touched = wrong.any(dim=others) if others else wrong
        right = (~touched).nonzero().flatten().tolist()
        off = touched.nonzero().flatten().tolist()
        if off and right:
            part = off if len(off) <= len(right) else right
            listed = ", ".join(map(str, part[:5])) + (", …" if len(part) > 5 else "")
            told.append(
                f"only {name} {listed}"
                if part is off
                else f"every {name} except {listed}"
            )
    return "; ".join(told)


def spelt_out(
    got: torch.Size, want: torch.Size, axes: tuple[str, ...], lines: list[str]
) -> list[Mistake]:
    """A Mistake where a size that is wrong in this case is a number of the code.

    Args:
        lines: the one where the shape goes wrong, then all others.
    """
    for axis, mine, size in zip(axes, got, want, strict=False):
        if mine == size or len(got) != len(want):
            continue
        number = rf"(?<![\w.])(?<!\*\* )(?<!dim=){mine}(?![\w.])"
        shape = rf"(empty|expand|full|ones|repeat|reshape|view|zeros)\(.*{number}"
        for line, pattern in zip(lines, [number, *[shape] * len(lines)], strict=False):
            if re.search(pattern, line):
                words = {"number": mine, "axis": axis, "size": size}
                return [mistake("size-written-down", line=line, **words)]
    return []


def right_numbers(mine: Tensor, target: Tensor, axes: tuple[str, ...]) -> list[Mistake]:
    """A Mistake where only the shape is wrong: axes in another order, or merged."""
    if mine.numel() != target.numel() or target.numel() < 2:
        return []
    if same(mine.flatten(), target.flatten()):
        hint = "look for a squeeze, flatten or reshape too many, or one too few"
        if mine.ndim == target.ndim:
            hint = "is a size written down as a number? Take it from what you are given"
        return [mistake("right-numbers-wrong-shape", hint=hint)]
    for order in itertools.permutations(range(target.ndim)):
        turned = target.permute(order)
        if turned.shape == mine.shape and same(mine, turned):
            stand = ", ".join(axes[i] for i in order)
            return [mistake("axes-in-another-order", stand=stand, want=", ".join(axes))]
    return []


def ratio(mine: Tensor, target: Tensor) -> float | None:
    """The constant factor between two tensors, if there is one."""
    used = target.abs() > 1e-3 * target.abs().max()
    quotient = (mine[used] / target[used]).double()
    if not used.any() or not quotient.isfinite().all():
        return None
    middle = quotient.median().item()
    if torch.allclose(quotient, torch.tensor(middle).double(), rtol=1e-3, atol=0):
        if torch.allclose(mine, target * middle, atol=1e-4 * mine.abs().max().item()):
            return middle
    return None


def example(mine: Tensor, target: Tensor, axes: tuple[str, ...]) -> str:
    """The place where two tensors differ most, in numbers."""
    off = (mine - target).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
    off[mine == target] = 0  # two infinities are alike
    at = torch.unravel_index(off.argmax(), off.shape)
    place = ", ".join(f"{name} {int(i)}" for name, i in zip(axes, at))
    return (
        f"at {place} yours is {mine[at].item():.4g}, the target {target[at].item():.4g}"
    )
