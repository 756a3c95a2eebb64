"""Which part of a model built from earlier classes is wrong.

Each part (`ln1`, `attn`, `blocks.0.mlp`, ...) is given the input that it should get,
and its output is compared with that of the course's part under the same weights. The
first that departs is named. Where all parts are right, what is wrong is how they are
put together, and the first part that reads the wrong thing is named.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import helpers.checks as checks
from helpers.checks import crash
from helpers.checks.again import line_that_writes
from helpers.checks.case import Case
from helpers.checks.explain import gradients_equal
from helpers.checks.own_code import files_of, global_cfg, line_of, running
from helpers.checks.report import Mistake, mistake
from helpers.checks.run import TOLERANCE, Seen, run, run_backward, same


@dataclass(frozen=True)
class Call:
    """One call of a part: its name in the model, its input, its output, the line."""

    name: str
    given: object
    gives: object
    line: str = ""


def parts_of(course: nn.Module) -> list[str]:
    """The names of the course's parts; containers such as ModuleList are none."""
    containers = (nn.ModuleList, nn.ModuleDict)
    return [
        name
        for name, part in course.named_modules()
        if name and not isinstance(part, containers)
    ]


@contextlib.contextmanager
def recorded(
    module: nn.Module, names: list[str], files: Set[str] = frozenset()
) -> Iterator[list[Call]]:
    """Keep every call of these parts, in the order in which they finish.

    `forward` itself is wrapped, not hooked: some people call `self.attn.forward(x)`.
    """
    calls: list[Call] = []
    wrapped = []
    for name in names:
        with contextlib.suppress(AttributeError):
            part = module.get_submodule(name)
            if "forward" not in vars(part):  # a shared part is wrapped once
                part.forward = _recording(part.forward, name, calls, files)
                wrapped.append(part)
    try:
        yield calls
    finally:
        for part in wrapped:
            del part.forward


def _recording(forward: Callable, name: str, calls: list[Call], files: Set[str]):
    def wrapper(*args, **kwargs):
        given = _copy(next(iter((*args, *kwargs.values())), None))
        line = line_of(running(files))
        output = forward(*args, **kwargs)
        calls.append(Call(name, given, _copy(output), line))
        return output

    return wrapper


def _copy(value):
    return value.detach().clone() if isinstance(value, Tensor) else value


def right_calls(course: nn.Module, inputs: tuple[Tensor, ...]) -> list[Call]:
    """What each part of the course's model is given and gives, innermost first."""
    with recorded(course, parts_of(course)) as calls, torch.no_grad():
        course(*(x.clone() for x in inputs))
    return calls


def wrong_part(
    module: nn.Module, course: nn.Module, case: Case, backward: bool = False
) -> list[Mistake]:
    """The first part that is wrong on its right input; empty when all are right.

    Args:
        module: the person's, with the case's weights loaded.
        course: the course's, with the same weights.
        case: its inputs are handed to the whole model.
        backward: compare gradients as well.
    """
    calls = right_calls(course, case.inputs)
    for call in calls:
        try:
            part = module.get_submodule(call.name)
        except AttributeError:
            continue
        target = course.get_submodule(call.name)
        if type(part) is type(target):
            continue  # the course's own class, used while an exercise was blank
        told = _compare(part, target, call, case, backward)
        if told is not None:
            inner = [c for c in calls if c.name.startswith(call.name + ".")]
            if inner:  # its own parts came before it and were right
                step = Case(case.source, case.cfg, (call.given,))
                return [told, *wrong_wiring(part, target, step)]
            return [told]
    return []


def _compare(part, target, call: Call, case: Case, backward: bool) -> Mistake | None:
    """What is wrong with one part on its right input, or None."""
    step = Case(case.source, case.cfg, (call.given,))
    kind = type(part).__name__
    place = f"`{kind}` (as `{call.name}`)"
    slug = "wrong-in-" + call.name.replace(".", "-").replace("_", "-")
    own = checks.titles().get(type(target).__name__)
    again = f"`checks.{own}({kind})` tells more" if own else f"look at your `{kind}`"

    def runner(x):
        with global_cfg(part, case.cfg):
            return part(x)

    with torch.no_grad():
        seen = run(runner, step)
    if seen.error is not None:
        told = crash.describe(seen.error, type(part), f" in your {place}")
        return Mistake(slug, told.message, f"{told.hint}; {again}", line=told.line)
    if seen.changed:
        files = files_of(type(part))
        told = crash.writes(line_that_writes(runner, step, files))
        message = told.message.replace("Your code", f"Your {place}", 1)
        return Mistake(slug, message, f"{told.hint}; {again}", line=told.line)
    told = functools.partial(mistake, slug=slug, place=place, again=again)
    if not isinstance(seen.output, Tensor):
        what = type(seen.output).__name__.replace("NoneType", "None")
        return told("part-returns-no-tensor", what=what)
    if seen.output.shape != call.gives.shape:
        got, want = list(seen.output.shape), list(call.gives.shape)
        return told("part-of-another-shape", got=got, want=want)
    if not same(seen.output, call.gives):
        return told("part-is-wrong")
    if backward and not _gradients_agree(part, target, step):
        return told("part-without-its-gradient")
    return None


def _gradients_agree(part: nn.Module, target: nn.Module, step: Case) -> bool:
    def gradients(module) -> Seen:
        with global_cfg(module, step.cfg):
            parameters = dict(module.named_parameters())
            return run_backward(module, parameters, step, lambda x: x)

    mine, right = gradients(part), gradients(target)
    for name in [n for n in mine.gradients if n.endswith("b_K")]:
        del mine.gradients[name]  # 0 but for rounding, which no two answers share
    return gradients_equal(10 * TOLERANCE)(mine, right)


def wrong_wiring(
    module: nn.Module,
    course: nn.Module,
    case: Case,
    files: Set[str] = frozenset(),
    named: dict[str, Tensor] | None = None,
) -> list[Mistake]:
    """The first part that is not called once, or not on its right input.

    Only for modules whose parts are all right.

    Args:
        module: the person's, with the case's weights loaded.
        course: the course's, with the same weights.
        case: its inputs are handed to both.
        files: the person's files or cells, to name the line.
        named: further tensors by name, to say what a part reads instead.
    """
    names = parts_of(course)
    direct = [n for n in names if not any(n.startswith(m + ".") for m in names)]
    right = [call for call in right_calls(course, case.inputs) if call.name in direct]
    with (
        recorded(module, direct, files) as calls,
        global_cfg(module, case.cfg),
        torch.no_grad(),
        contextlib.suppress(Exception),  # what was called until then still tells
    ):
        module(*(x.clone() for x in case.inputs))
    known = {"the input": case.inputs[0]}
    known |= {f"the output of `{call.name}`": call.gives for call in right}
    known |= named or {}
    for i, call in enumerate(right):
        mine = [c for c in calls if c.name == call.name]
        slug = "wiring-at-" + call.name.replace(".", "-").replace("_", "-")
        told = functools.partial(mistake, slug=slug, part=call.name)
        if not mine:
            return [told("part-never-used")]
        if not _equal(mine[0].given, call.given):
            got = _name(mine[0].given, known) or "something else"
            want = _name(call.given, known)
            want = want or f"what comes after `{right[i - 1].name}`"
            line = mine[0].line
            return [told("part-reads-another-thing", line=line, got=got, want=want)]
        if len(mine) > 1:
            return [told("part-called-again", line=mine[1].line, times=len(mine))]
    last = right[-1].name
    slug = "wiring-after-" + last.replace(".", "-").replace("_", "-")
    return [mistake("wrong-after-the-parts", slug, part=last)]


def _equal(a: object, b: object) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor) and same(a, b)


def _name(value: object, known: dict[str, Tensor]) -> str | None:
    return next((name for name, x in known.items() if _equal(value, x)), None)
