"""Where somebody's computation goes wrong, in any idiom, and on which line.

Every tensor that their code makes is recorded, with the tensors it was made of. A value
is right when a right answer makes it too: the solution, or one of the page's other
idioms, whose every step is recorded in the same way. What leads to right values alone
is right as well. The first value of the rest, on the way to what is returned, is where
the computation departs, and its line is the one to look at.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.own_code import line_of, running
from helpers.checks.place import flat
from helpers.checks.run import TOLERANCE

_MOST = 4000  # operations kept: a loop over heads and positions stays below that
_FAR = 1e4  # masked scores may hold -1e5 as well as -inf


@dataclass(eq=False)
class Step:
    """One tensor that the person's code made.

    Attributes:
        value: a copy, as it was then.
        line: the person's line that made it; "" for none of theirs.
        parents: the steps that it was made of.
        fixed: it hangs on no input and no parameter, as a mask does.
        place: the spot in their code; in a loop, many steps have the same.
    """

    value: Tensor
    line: str
    place: tuple
    parents: list["Step"] = field(default_factory=list)
    fixed: bool = False


class Recorder(TorchFunctionMode):
    """Keeps every tensor that torch makes under it, in order.

    Args:
        files: the person's files or cells, to name lines of.
    """

    def __init__(self, files: Set[str] = frozenset()):
        super().__init__()
        self.files, self.steps = files, []
        self._made: dict[int, Step] = {}  # by storage: who wrote there last
        self._alive: list[Tensor] = []  # so that no storage's address is used again

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if len(self.steps) < _MOST:
            self._keep(func, out, [*args, *(kwargs or {}).values()])
        return out

    def _keep(self, func: Callable, out, args: list) -> None:
        name = getattr(func, "__name__", "")
        only_its_shape = name.endswith("_like") or name.startswith("new_")
        used = [x for x in flat(args) if isinstance(x, Tensor) and not only_its_shape]
        parents = [self._made[k] for x in used if (k := _key(x)) in self._made]
        # a tensor that nobody made here: an input, or a parameter
        fixed = all(_key(x) in self._made for x in used)
        fixed = fixed and all(step.fixed for step in parents)
        if name == "__setitem__":
            out = args[0]
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, Tensor):
                copy = value.detach().clone()
                frame = running(self.files)
                place = (frame.f_code, frame.f_lasti) if frame else ()
                step = Step(copy, line_of(frame), place, parents, fixed)
                self.steps.append(step)
                self._alive.append(value)
                self._made[_key(value)] = step

    def step_of(self, value) -> Step | None:
        """The step that made a tensor, or wrote to it last."""
        return self._made.get(_key(value)) if isinstance(value, Tensor) else None


def _key(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


class RightValues:
    """The values that right answers make on the way, to be recognised by."""

    def __init__(self, values: Iterable[Tensor]):
        rows: dict[int, dict[tuple, Tensor]] = {}
        open_ = list(values)
        while open_:
            sizes: dict[tuple, list[Tensor]] = {}  # each at once: there are thousands
            for value in open_:
                key = value.numel(), value.is_complex()
                sizes.setdefault(key, []).append(value)
            open_ = []
            for group in sizes.values():
                for value, (told, print_) in zip(group, _fingerprints(group)):
                    seen = rows.setdefault(len(print_), {})
                    if len(print_) and told not in seen:
                        seen[told] = print_
                        open_ += _slices(value)
        self._tables = {n: torch.stack([*r.values()]) for n, r in rows.items() if r}

    def has(self, value: Tensor) -> bool:
        """Whether a right answer makes these numbers, in whatever order of axes."""
        print_ = _fingerprint(value)
        if len(print_) not in self._tables:
            return False
        return bool(_equal_rows(self._tables[len(print_)], print_).any())


def _slices(value: Tensor) -> Iterator[Tensor]:
    """What a loop over one axis makes: each head, each text, each position apart."""
    for axis, size in enumerate(value.shape[:-1]):
        if 1 < size <= 16 and value.numel() // size > 3:
            yield from value.unbind(axis)


def _fingerprint(value: Tensor) -> Tensor:
    """The numbers in ascending order.

    One number repeated says nothing: its fingerprint is empty. Of two different
    numbers, as in a mask, it is the share of the rarer one, whatever their names; but
    two token ids are themselves.
    """
    return _fingerprints([value])[0][1]


def says_something(value: Tensor) -> bool:
    """Whether a value can be recognised: one number repeated could be anything."""
    return _fingerprint(value).numel() > 0


def _fingerprints(values: list[Tensor]) -> list[tuple[tuple, Tensor]]:
    """The same of several values of one size; with a key that equal ones share."""
    if values[0].is_complex() or not values[0].numel():
        values = [torch.zeros(1)] * len(values)  # says nothing either
    rows = torch.stack([value.detach().flatten().double() for value in values])
    rows = rows.nan_to_num(nan=_FAR, posinf=_FAR, neginf=-_FAR).clamp(-_FAR, _FAR)
    rows = rows.sort(1).values
    low, high = rows == rows[:, :1], rows == rows[:, -1:]
    ids = (rows == rows.round()).all(1) & (rows[:, 0] >= 0) & (rows[:, -1] > 1)
    ids &= (rows[:, -1] < _FAR) & ~low.all(1)
    two = ((low | high).all(1) & ~ids).tolist()
    share = low.double().mean(1).tolist()
    moments = torch.stack([rows.mean(1), rows.square().mean(1)], 1).tolist()
    made = []
    for row, is_two, s, (mean, square) in zip(rows, two, share, moments, strict=True):
        key, rare = (f"{mean:.5g}", f"{square:.5g}"), min(s, 1 - s)
        if is_two and len(row) > 1:
            key, row = (rare,), row.new_tensor([-1.0, rare] if rare else [])
        made.append((key, row))
    return made


def _equal_rows(table: Tensor, row: Tensor) -> Tensor:
    near = table.abs() < _FAR
    same_place = (near == (row.abs() < _FAR)).all(1)
    scale = torch.where(near, table.abs(), 0.0).amax(1).clamp_min(1e-30)
    off = torch.where(near, (table - row).abs(), 0.0).amax(1)
    return same_place & (off <= TOLERANCE * scale)


@dataclass(frozen=True)
class Departure:
    """How far an answer is right.

    Attributes:
        last: the last stage that its result is made of, or None.
        first: the first stage that its result lacks; None where none is lacking, and
            something more was done at the end.
        line: the person's line where the two part, or "".
    """

    last: str | None
    first: str | None
    line: str


Values = Tensor | tuple[Tensor, ...]  # several: each is as good as the others


def first_departure(
    stages: dict[str, Values | dict[str, Values]],
    recorder: Recorder,
    output: object,
    right: RightValues,
) -> Departure:
    """Compare what somebody's result is made of with the right computation.

    Args:
        stages: names and values of its steps, in order. Those in a dictionary of their
            own are made side by side (q, k and v): all of them should be there. Others
            a right answer may well skip: one fused call makes none of them.
        recorder: what was recorded.
        output: what was returned; where it is no tensor, or made of plain numbers, all
            that was made counts.
        right: what right answers make.
    """
    used = _used(recorder, output)
    wrong = _first_wrong(used, right)
    line = wrong.line if wrong else ""
    groups = [v if isinstance(v, dict) else {name: v} for name, v in stages.items()]
    names = [name for group in groups for name in group]
    values = {name: value for group in groups for name, value in group.items()}
    made = [name for name in names if _made(values[name], used)]
    if made[-1:] == names[-1:]:
        return Departure(names[-1], None, line)
    for group in groups:
        lacking = [name for name in group if name not in made]
        if lacking and len(lacking) < len(group):
            there = " and ".join(name for name in group if name in made)
            return Departure(there, lacking[0], line)
    elsewhere = made
    if wrong:  # what stands beside the wrong line, as v may, says nothing of it
        behind = _ancestors(wrong) - {id(wrong)}
        # `mean = 1.1 * x.mean(-1)` makes a right mean, and does not go on with it
        behind -= {id(step) for step in wrong.parents if step.line == line}
        behind = [step for step in used if id(step) in behind]
        others = [step for step in used if step.line != line]
        elsewhere = [name for name in made if _made(values[name], others)]
        made = [name for name in made if _made(values[name], behind)] or elsewhere
    if not made:
        return Departure(None, names[0], line)
    last = made[-1]
    later = [n for n in names[names.index(last) + 1 :] if n not in elsewhere]
    return Departure(last, later[0] if later else names[-1], line)


def first_wrong_line(recorder: Recorder, output: object, right: RightValues) -> str:
    """The first line whose result no right answer makes; "" where there is none."""
    wrong = _first_wrong(_used(recorder, output), right)
    return wrong.line if wrong else ""


def _used(recorder: Recorder, output: object) -> list[Step]:
    """The steps that a result is made of, in order."""
    end = recorder.step_of(output)
    known = end and not end.fixed
    before = _ancestors(end) if known else {id(step) for step in recorder.steps}
    return [step for step in recorder.steps if id(step) in before]


def _ancestors(step: Step) -> set[int]:
    """The identities of the steps that a step was made of, its own included."""
    found, open_ = set(), [step]
    while open_:
        one = open_.pop()
        if id(one) not in found:
            found.add(id(one))
            open_ += one.parents
    return found


def _made(value: Values, used: list[Step]) -> bool:
    several = RightValues(value if isinstance(value, tuple) else (value,))
    return any(several.has(step.value) for step in used)


def _first_wrong(used: list[Step], right: RightValues) -> Step | None:
    """The first step of the person's that is not right, nor leads to what is."""
    rounds: dict[tuple, list[Step]] = {}  # a loop makes a value piece by piece
    for step in used:
        rounds.setdefault(step.place or (id(step),), []).append(step)
    good, silent = set(), set()
    for steps in rounds.values():
        whole = torch.cat([step.value.flatten().double() for step in steps])
        if not len(_fingerprint(whole)):
            silent |= {id(step) for step in steps}
        each_right = [step for step in steps if right.has(step.value)]
        good |= {id(step) for step in (steps if right.has(whole) else each_right)}
    uses: dict[int, list[int]] = {}
    for step in reversed(used):  # what leads to right values alone is right
        mine = uses.get(id(step), [])
        if mine and all(use in good for use in mine):
            good.add(id(step))
        for parent in step.parents:
            uses.setdefault(id(parent), []).append(id(step))
    for step in used:
        no_mask = step.fixed and not _two_valued(step.value)
        if step.line and id(step) not in good | silent and not no_mask:
            return step
    return None


def _two_valued(value: Tensor) -> bool:
    print_ = _fingerprint(value)
    return len(print_) == 2 and print_[0] == -1
