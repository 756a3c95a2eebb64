"""A check: judge an answer, name its mistakes, say so, keep what passes."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from helpers import model, my_code
from helpers.checks import catalogue, crash, narrow, walk
from helpers.checks.cases import Case, loaded, stirred
from helpers.checks.catalogue import Known
from helpers.checks.guard import (
    SECONDS,
    Hang,
    Untouched,
    functions_of,
    is_blank,
    make_here,
    reads_global,
    time_limit,
)
from helpers.checks.observe import (
    TOLERANCE,
    Built,
    Seen,
    build,
    line_that_writes,
    run,
    run_backward,
    same,
)
from helpers.checks.report import CheckFailed, Mistake, Report, Text, show
from helpers.checks.surroundings import Waits, undisturbed
from helpers.checks.trace import Recorder, first_departure
from helpers.reference import current_reference


def as_it_is(output):
    """The default view: outputs are compared as they come."""
    return output


@dataclass
class Check:
    """The check of one exercise.

    Attributes:
        name: "layer_norm"; the check is `checks.layer_norm`.
        answer: "LayerNorm", the name of the class or function.
        compute: the reference computation, `compute(*inputs, p=params, cfg=cfg,
            **switches)`; without switches it is right.
        make_cases: makes the inputs; called anew for each examination, since another
            reference may have been loaded in between.
        known: the catalogue of mistakes.
        axes: names of the output's axes.
        hints: three, from a question to nearly the answer.
        lesson: notebook and section, for the link: "02_layernorm.ipynb#LayerNorm".
        course: the course's own answer, where it is not in helpers.model.
        pairs: also try two mistakes at a time.
        view: what of an output counts (masked scores count after a softmax).
        adapt: makes an accepted variant of an output the usual one, with a note.
        prepare: makes an accepted variant of an answer the usual one.
        stages: names and values of the right computation's steps, in order.
        built_of_parts: the answer is built of earlier classes: when it is wrong, look
            for the first part that is wrong on its right input, then at the wiring.
        causal: the output at a position must not depend on later positions.
        facts: what a look at an unexplained output, of the right shape, shows for
            certain: a property that fails.
        in_place: the answer may write into its input; it always gets a clone.
        may_be_unused: parameters whose absence no output shows, with a note.
        fresh: looks at the starting values of the parameters; returns a note or, where
            they are part of the exercise, a Mistake.
        tolerance: relative to the output's scale.
        against: what a passing answer equals.
        keep: save it to my_gpt2.py; False for warm-ups, which are no part of a GPT-2.
    """

    name: str
    answer: str
    compute: Callable[..., Tensor]
    make_cases: Callable[[], list[Case]]
    known: Sequence[Known]
    axes: tuple[str, ...]
    hints: tuple[str, str, str]
    lesson: str
    course: object = None
    pairs: bool = False
    view: Callable[[Tensor], Tensor] = as_it_is
    adapt: Callable[[Tensor, Case], tuple[Tensor, str | None]] | None = None
    prepare: Callable | None = None
    stages: Callable[[Case], dict[str, Tensor]] | None = None
    built_of_parts: bool = False
    causal: bool = False
    facts: Callable[[Tensor, Case], list[Mistake]] | None = None
    in_place: bool = False
    may_be_unused: dict[str, str] = field(default_factory=dict)
    fresh: Callable[[dict[str, Tensor]], str | Mistake | None] | None = None
    tolerance: float = TOLERANCE
    against: str = "Hugging Face's GPT-2"
    keep: bool = True
    _hints_shown: int = field(default=0, init=False, repr=False)
    _kept: tuple | None = field(default=None, init=False, repr=False)

    def __post_init__(self):
        if self.course is None:
            self.course = getattr(model, self.answer)

    # What a notebook uses

    def __call__(self, candidate):
        """Show a report, and return the answer, or the course's while it is blank.

        Raises:
            CheckFailed: when the answer is wrong; its `.report` says how.
        """
        report = self._still_the_course(candidate) or self.examine(candidate)
        if report.status == "passed" and self.keep:
            kept = my_code.save(self.answer, candidate, judge=self._passes)
            if kept:
                saved = f"{report.summary} Saved in {kept.name}."
                report = replace(report, summary=saved)
        show(report)
        if report.status == "failed":
            raise CheckFailed(report)
        return candidate if report.status == "passed" else self.course

    def hint(self) -> Text:
        """The next of three hints; the third is shown again after that."""
        self._hints_shown = min(self._hints_shown + 1, len(self.hints))
        n = self._hints_shown
        return Text(f"**Hint {n} of {len(self.hints)}.** {self.hints[n - 1]}")

    def solution(self) -> Text:
        """The course's own code."""
        source = inspect.getsource(self.course)
        return Text(f"```python\n{source.rstrip()}\n```")

    def examine(self, candidate) -> Report:
        """The same judgement without showing, raising or saving anything."""
        with undisturbed(candidate) as prints:
            # Made before the clock starts: imports and a large model may be slow.
            models = [Untouched(s.reference.model) for s in (stirred(), loaded())]
            try:
                with time_limit(SECONDS, crash.files_of(candidate)):
                    report = self._examine(candidate)
            except (Hang, Waits, SystemExit, KeyboardInterrupt) as error:
                report = self._failed(_stopped(error, candidate))
            except Exception as error:  # of the check's own lines, not the person's
                report = self._failed(crash.of_the_check(error))
            if prints.waited is not None:  # whatever the answer made of it
                report = self._failed(_stopped(prints.waited, candidate))
            if any([model.put_back() for model in models]):
                report = self._failed(_CHANGES_THE_REFERENCE)
        return replace(report, printed=prints.kept)

    def _passes(self, candidate) -> bool:
        return self.examine(candidate).status == "passed"

    # How it is judged

    def _still_the_course(self, candidate) -> Report | None:
        """What to say of the course's own, which a check hands back for a blank one.

        The name stands for it from then on; so it comes here again when the check is
        run twice, and when the person's cell has ended in an error since.
        """
        if candidate is not self.course:
            return None
        told = (
            f"This is still the course's own {self.answer}. Run the cell with yours; "
        )
        told += "if that cell ends in an error, mend it first."
        return Report(self.name, self.answer, "todo", summary=told)

    def _failed(self, *mistakes: Mistake, **more) -> Report:
        told = tuple(dict.fromkeys(mistakes))  # two ways may lead to one of them
        return Report(self.name, self.answer, "failed", told, **more)

    def _examine(self, candidate) -> Report:
        if self.prepare is not None:
            candidate = self.prepare(candidate)
        early = self._not_judged(candidate)
        if early:
            return early
        return _Judgement(self, candidate, self._cases()).report()

    def _not_judged(self, candidate) -> Report | None:
        """The report on what is no answer: of another kind, or still blank."""
        wrong_kind = self._wrong_kind(candidate)
        if wrong_kind:
            return self._failed(wrong_kind)
        if any(is_blank(f) for f in self._required(candidate)):
            return self._to_do(candidate)
        return None

    def _to_do(self, candidate) -> Report:
        which = ""
        for function in self._required(candidate):
            name = function.__name__
            if "NotImplementedError" in function.__code__.co_names:
                which = f"`{name}` still has its `raise NotImplementedError`: put your "
                which += "lines in the place of that one. "
            elif is_blank(function) and not which:
                which = f"`{name}` is still blank. "
        return Report(
            self.name,
            self.answer,
            "todo",
            summary=f"{which}Until then the notebook goes on with the course's own.",
        )

    def _required(self, candidate) -> list:
        functions = functions_of(candidate)
        if not isinstance(candidate, type):
            return functions
        return [f for f in functions if f.__name__ in ("__init__", "forward")]

    def _wrong_kind(self, candidate) -> Mistake | None:
        wants_class = isinstance(self.course, type)
        if wants_class and isinstance(candidate, nn.Module):
            return Mistake(
                "instance-not-class",
                f"This is a {type(candidate).__name__} object; the check makes its own "
                "objects, with several configurations.",
                f"pass the class: `checks.{self.name}({type(candidate).__name__})`",
            )
        if wants_class != isinstance(candidate, type) or not callable(candidate):
            kind = "a class" if wants_class else "a function"
            return Mistake(
                "wrong-kind",
                f"The check wants {kind}; it got {type(candidate).__name__}.",
                f"pass the {kind[2:]} itself, without calling it",
            )
        return None

    def _cases(self) -> list[Case]:
        """Made anew, so that no answer meets what another has left in them.

        They are the same every time, and what the reference computation made of them
        is kept: the next wrong answer need not wait for it.
        """
        cases, reference = self.make_cases(), current_reference()
        if self._kept is None or self._kept[0] is not reference:
            self._kept = reference, [case.known for case in cases]
        for case, known in zip(cases, self._kept[1], strict=True):
            case.known = known
        return cases

    def reference_run(self, case: Case, switches: dict) -> Seen:
        """The reference computation on a case, with some switches set."""
        return self._once(self._run, case, switches)

    def reference_backward(self, case: Case, switches: dict) -> Seen:
        """The same, with gradients."""
        return self._once(self._run_backward, case, switches)

    def _once(self, compute: Callable, case: Case, switches: dict) -> Seen:
        """It comes out the same every time, so it is computed once."""
        key = (self.name, compute.__name__, frozenset(switches.items()))
        if key not in case.known:
            case.known[key] = compute(case, switches)
        return case.known[key]

    def _run(self, case: Case, switches: dict) -> Seen:
        with torch.no_grad():
            return run(
                lambda *xs, **extra: self.compute(
                    *xs,
                    p=case.params | case.buffers,
                    cfg=case.cfg,
                    **extra,
                    **switches,
                ),
                case,
            )

    def _run_backward(self, case: Case, switches: dict) -> Seen:
        params = {
            name: nn.Parameter(p.clone(), requires_grad=p.is_floating_point())
            for name, p in case.params.items()
        }
        return run_backward(
            lambda *xs, **extra: self.compute(
                *xs, p=params | case.buffers, cfg=case.cfg, **extra, **switches
            ),
            params,
            case,
            self.view,
        )


def _stopped(error: BaseException, candidate) -> Mistake:
    """What ended the whole check, and on which of the person's lines."""
    line = crash.own_line(error, candidate)
    kind = "class" if isinstance(candidate, type) else "function"
    name, told, hint = {
        Waits: (
            "waits-for-you",
            f"Your code waits for you (`{crash.words(error)}`), and nobody answers it "
            "inside a check.",
            f"take that line out, or call your {kind} yourself, outside of the check",
        ),
        Hang: (
            "hangs",
            f"Your code was still running after {SECONDS:.0f} s and was stopped.",
            "look for a loop that never ends",
        ),
        KeyboardInterrupt: (
            "interrupted",
            "The check was interrupted, so it cannot tell.",
            "run the cell again, and look at the line if that was slow",
        ),
    }.get(
        type(error),
        (
            "exits",
            "Your code calls `exit()`, which would end Python itself.",
            "leave a function with `return`",
        ),
    )
    return Mistake(name, told, hint, line=line)


_CHANGES_THE_REFERENCE = Mistake(
    "changes-the-reference",
    "Your code writes into the weights of the reference model. The check has put them "
    "back; nothing more can be told of the answer.",
    "use your own parameters, and leave `reference.model` alone",
)

_RANDOM = Mistake(
    "random",
    "The same input gives another output the second time.",
    "look for dropout, random numbers, or something kept from the first call",
)


def _some(names: list[str]) -> str:
    """The first few of many, in a sentence."""
    more = [f"{len(names) - 3} more"] if len(names) > 4 else []
    return " and ".join([*names[: 3 if more else 4], *more])


class _Judgement:
    """One answer on all cases: first what it returns, then its gradients."""

    def __init__(self, check: Check, candidate, cases: list[Case]):
        self.check, self.candidate, self.cases = check, candidate, cases
        self.notes: list[str] = []
        self.right = [check.reference_run(case, {}) for case in cases]

    def target(self, i: int) -> Tensor:
        """transformers' own output, or the reference computation's."""
        expected = self.cases[i].expected
        return self.right[i].output if expected is None else expected

    def report(self) -> Report:
        fresh = self.check.fresh is not None  # looked at in the first build alone
        builds = [
            build(self.candidate, case, keep_fresh=fresh and i == 0)
            for i, case in enumerate(self.cases)
        ]
        wrong = self._wrong_build(builds)
        if wrong:
            return wrong
        if reads_global(self.candidate, "cfg"):
            self.notes.append(
                "it reads the global `cfg`; `self.cfg`, handed to `__init__`, makes it "
                "work for any model"
            )
        redirected = next((b for b in builds if b.redirected), None)
        if redirected:
            self.notes.append(crash.asks_for_a_gpu(redirected.gpu_line))
        seen = [run(b.runner, c) for b, c in zip(builds, self.cases, strict=True)]
        if any(crash.left_blank(s.error) for s in seen):
            return self.check._to_do(self.candidate)
        moved = self._changed_parameters(builds)
        moved = moved or self._on_another_device(seen)
        if moved:
            return self.check._failed(moved)
        seen = [self._adapted(s, c) for s, c in zip(seen, self.cases, strict=True)]
        mistakes = self._changed_inputs(seen)
        if mistakes:
            part = self._wrong_part(builds[0], self.cases[0])
            mistakes = part or mistakes  # which of its parts does that
        bad = [i for i, s in enumerate(seen) if not self._right(i, s)]
        if bad:
            return self._wrong_values(builds, seen, bad, mistakes)
        if mistakes:
            return self.check._failed(*mistakes)
        again = run(builds[0].runner, self.cases[0])
        if not self._right(0, self._adapted(again, self.cases[0])):
            return self.check._failed(_RANDOM)
        wrong = self._wrong_gradients(builds)
        if wrong:
            return wrong
        if self.check.fresh and builds[0].fresh:
            note = self.check.fresh(builds[0].fresh)
            if isinstance(note, Mistake):
                return self.check._failed(note)
            self.notes += [note] if note else []
        if redirected:
            make_here(self.candidate)
        sources = " and ".join(dict.fromkeys(case.source for case in self.cases))
        what = ", outputs and gradients" if any(c.grad for c in self.cases) else ""
        return Report(
            self.check.name,
            self.check.answer,
            "passed",
            notes=tuple(dict.fromkeys(self.notes)),
            summary=f"Equal to {self.check.against} on {sources}{what}.",
        )

    def _adapted(self, seen: Seen, case: Case) -> Seen:
        if self.check.adapt is None or not isinstance(seen.output, Tensor):
            return seen
        output, note = self.check.adapt(seen.output, case)
        self.notes += [note] if note else []
        return replace(seen, output=output)

    def _right(self, i: int, seen: Seen) -> bool:
        target = self.target(i)
        return (
            seen.error is None
            and isinstance(seen.output, Tensor)
            and seen.output.dtype == target.dtype
            and same(
                self.check.view(seen.output),
                self.check.view(target),
                self.check.tolerance,
            )
        )

    def _wrong_build(self, builds: list[Built]) -> Report | None:
        for built, case in zip(builds, self.cases, strict=True):
            if crash.left_blank(built.error):
                return self.check._to_do(self.candidate)
            if built.error is not None:
                where = f" while it is made for {case.label}"
                return self.check._failed(
                    crash.describe(built.error, self.candidate, where)
                )
        wrong = next((b for b in builds if b.mistakes), None)
        if wrong is None:
            return None
        if any(not b.mistakes for b in builds):
            # right for one configuration and wrong for another
            message = wrong.mistakes[0].message
            fixed = Mistake(
                "literal-size",
                f"It fits one configuration only. {message}",
                "take every size from `cfg`",
            )
            return self.check._failed(fixed)
        return self.check._failed(*wrong.mistakes)

    def _changed_parameters(self, builds: list[Built]) -> Mistake | None:
        """Whether running the answer left its own weights as they were."""
        for built, case in zip(builds, self.cases, strict=True):
            for name, p in built.params.items():
                if p.shape != case.params[name].shape or not torch.equal(
                    p, case.params[name]
                ):
                    return Mistake(
                        "changes-its-parameters",
                        f"Running your code changes its own parameter `{name}`, so "
                        "that the next run is another function.",
                        "weights are for the optimizer to change; `forward` reads "
                        "them and makes new tensors",
                    )
        return None

    def _on_another_device(self, seen: list[Seen]) -> Mistake | None:
        outputs = [s.output for s in seen if isinstance(s.output, Tensor)]
        away = next((x.device for x in outputs if x.device.type != "cpu"), None)
        return away and Mistake(
            "wrong-device",
            f"Your output is on {away}; what you were given is on the CPU.",
            "make new tensors where the others are, with `device=x.device`",
        )

    def _changed_inputs(self, seen: list[Seen]) -> list[Mistake]:
        changed = [c for c, s in zip(self.cases, seen, strict=True) if s.changed]
        if self.check.in_place or not changed:
            return []
        built = build(self.candidate, changed[0])
        files = crash.files_of(self.candidate)
        return [crash.writes(line_that_writes(built.runner, changed[0], files))]

    def _wrong_values(self, builds, seen, bad, mistakes) -> Report:
        check = self.check
        used = [i for i, case in enumerate(self.cases) if case.explains]
        found = catalogue.explain(
            [k for k in check.known if not k.gradient],
            check.reference_run,
            [self.cases[i] for i in used],
            [seen[i] for i in used],
            check.pairs,
            catalogue.outputs_equal(check.view, check.tolerance),
        )
        picture = self._picture(seen, bad)
        if found:
            named, one_of = catalogue.names_of(found)
            return check._failed(*mistakes, *named, one_of=one_of, picture=picture)
        i = bad[0]
        narrowed = self._narrowed(builds[i], seen[i], i, bad)
        return check._failed(*mistakes, *narrowed, picture=picture)

    def _picture(self, seen, bad) -> Callable[[], bytes] | None:
        for i in bad:
            output = seen[i].output
            if isinstance(output, Tensor) and output.is_floating_point():
                view = self.check.view
                if output.shape == self.target(i).shape:
                    return narrow.picture(
                        view(output), view(self.target(i)), self.check.axes
                    )
        return None

    def _narrowed(self, built: Built, seen: Seen, i: int, bad) -> list[Mistake]:
        """What can be said for certain of an answer that no known mistake explains."""
        case, target, output = self.cases[i], self.target(i), seen.output
        where = f" on {case.label}" if len(bad) < len(self.cases) else ""
        if seen.error is not None:
            part = self._wrong_part(built, case)
            return part or [crash.describe(seen.error, self.candidate, where)]
        if output is None:
            return [
                Mistake(
                    "no-return",
                    "Your code returns None: the result is computed and dropped.",
                    "end with `return ...`",
                )
            ]
        if not isinstance(output, Tensor):
            told, hint = type(output).__name__, "return the tensor itself"
            if type(output).__module__ == "torch.return_types":  # of `x.max(dim=-1)`
                told = f"a pair, values and indices (`{told}` along an axis gives both)"
                hint = "`.indices` says where, `.values` how much"
            told = f"Your code returns {told}, not a tensor."
            return [Mistake("not-a-tensor", told, hint)]
        if output.shape != target.shape:
            return [
                *self._returns_a_step(case, output, target),
                *narrow.right_numbers(output, target, self.check.axes),
                Mistake(
                    "wrong-shape",
                    f"Your output has shape {list(output.shape)}{where}; it should be "
                    f"{list(target.shape)}, which is [{', '.join(self.check.axes)}].",
                    "print the shape after each line and see where it leaves the plan",
                ),
                *self._departure(built, case),
            ]
        if output.dtype != target.dtype:
            return [
                Mistake(
                    "wrong-dtype",
                    f"Your output is {output.dtype}; it should be {target.dtype}.",
                    "look for a conversion such as `.double()` or `.long()`",
                )
            ]
        return self._value_facts(built, case, output, target, where)

    def _value_facts(self, built, case, output, target, where) -> list[Mistake]:
        view = self.check.view
        mine, goal = view(output.detach()), view(target)
        facts = []
        if mine.isnan().any() and not goal.isnan().any():
            facts.append("it contains NaN")
        factor = narrow.ratio(mine, goal)
        if factor is not None and abs(factor - 1) > 2e-3:
            facts.append(f"it is {factor:.4g} times the target everywhere")
        place = narrow.where(mine, goal, self.check.axes, self.check.tolerance)
        if place:
            facts.append(f"it differs at {place}")
        found = self.check.facts(output.detach(), case) if self.check.facts else []
        if any(fact.exact for fact in found):
            return found
        found += self._returns_a_step(case, output, target) or self._departure(
            built, case
        )
        if self.check.causal and self._sees_the_future(built, case):
            found.append(
                Mistake(
                    "sees-the-future",
                    "When only the last position's input changes, earlier outputs "
                    "change too: a position sees what comes after it.",
                    "look at the causal mask",
                )
            )
        again = self._adapted(run(built.runner, case), case).output
        if isinstance(again, Tensor) and not same(again, output):
            return [_RANDOM]
        if found and not facts:
            return found
        told = "; ".join(facts) or "it differs everywhere"
        return [
            *found,
            Mistake(
                "wrong-values",
                f"The shape is right and the values are not{where}: {told}.",
                "compare your lines with the equation, one symbol at a time",
            ),
        ]

    def _departure(self, built: Built, case: Case) -> list[Mistake]:
        """The first stage that the answer does not make, with the line."""
        walked = self._wrong_part(built, case) or self._wrong_wiring(built, case)
        if walked or self.check.stages is None:
            return walked
        recorder = Recorder(crash.files_of(self.candidate))
        with recorder:
            run(built.runner, case)
        departure = first_departure(self.check.stages(case), recorder.steps)
        if departure is None:
            return []
        if departure.first is None:
            return [
                Mistake(
                    "changes-the-right-result",
                    "Your code makes the right result and then does something more "
                    "to it.",
                    "the equation ends one step earlier",
                    line=departure.line,
                )
            ]
        told = f"Your computation is right up to {departure.last}; it departs at "
        if not departure.last:
            told = "None of the usual steps is found in your computation, not even "
        return [
            Mistake(
                "departs-at-" + departure.first.replace(" ", "-").replace("_", "-"),
                f"{told}{departure.first}.",
                line=departure.line or None,
            )
        ]

    def _returns_a_step(self, case: Case, output, target) -> list[Mistake]:
        """An answer that hands back its input, or a right result of an earlier step."""
        steps = {"what it was given": case.inputs[0]}
        for name, value in (
            self.check.stages(case) if self.check.stages else {}
        ).items():
            steps |= value if isinstance(value, dict) else {name: value}
        for name, value in steps.items():
            several = value if isinstance(value, tuple) else (value,)
            if any(same(output, v) and not same(v, target) for v in several):
                return [
                    Mistake(
                        "returns-an-earlier-step",
                        f"Your code returns {name}; what should follow is not in it.",
                        "look at the name in your `return`",
                    )
                ]
        return []

    def _wrong_part(self, built: Built, case: Case, backward=False) -> list[Mistake]:
        """The first of the answer's own parts that is wrong on its right input."""
        if not self.check.built_of_parts:
            return []
        course = build(self.check.course, case).module
        return walk.wrong_part(built.module, course, case, backward)

    def _wrong_wiring(self, built: Built, case: Case) -> list[Mistake]:
        """The first part that is not given what it should get."""
        if not self.check.built_of_parts:
            return []
        course = build(self.check.course, case).module
        named = self.check.stages(case) if self.check.stages else {}
        files = crash.files_of(self.candidate)
        return walk.wrong_wiring(built.module, course, case, files, named)

    def _sees_the_future(self, built: Built, case: Case) -> bool:
        first = case.inputs[0]
        if first.ndim < 2 or first.shape[1] < 2:
            return False
        other = first.clone()
        other[:, -1] = first[:, 0] + 1 if first.is_floating_point() else first[:, 0]
        a = run(built.runner, case).output
        b = run(built.runner, replace(case, inputs=(other, *case.inputs[1:]))).output
        if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape):
            return False
        return not same(a[:, :-1], b[:, :-1], self.check.tolerance)

    def _wrong_gradients(self, builds: list[Built]) -> Report | None:
        check = self.check
        cases = [c for c in self.cases if c.grad]
        used = [b for b, c in zip(builds, self.cases, strict=True) if c.grad]
        if not cases:
            return None
        seen = [
            run_backward(b.runner, b.params, c, self._viewed(c))
            for b, c in zip(used, cases, strict=True)
        ]
        equal = catalogue.gradients_equal(10 * check.tolerance)
        right = [check.reference_backward(c, {}) for c in cases]
        for mine, good in zip(seen, right, strict=True):
            self._forgive_unused(mine, good)
        bad = [i for i in range(len(cases)) if not equal(seen[i], right[i])]
        if not bad:
            return None
        found = catalogue.explain(
            [k for k in check.known if k.gradient],
            check.reference_backward,
            cases,
            seen,
            False,
            equal,
        )
        if found:
            named, one_of = catalogue.names_of(found)
            return check._failed(*named, one_of=one_of)
        i = bad[0]
        part = self._wrong_part(used[i], cases[i], backward=True)
        return check._failed(*part, self._gradient_fact(seen[i], right[i]))

    def _viewed(self, case: Case):
        def view(output):
            if self.check.adapt is not None:
                output = self.check.adapt(output, case)[0]
            return self.check.view(output)

        return view

    def _forgive_unused(self, mine: Seen, good: Seen) -> None:
        for name, note in self.check.may_be_unused.items():
            if name in mine.gradients and mine.gradients[name] is None:
                self.notes.append(note)
            # Its gradient is 0 but for rounding, which no two answers share.
            mine.gradients.pop(name, None)

    def _gradient_fact(self, mine: Seen, good: Seen) -> Mistake:
        if mine.error is not None:
            where = " when gradients are asked for"
            return crash.describe(mine.error, self.candidate, where)
        names = {f"input {i}": "the input" for i in range(9)}
        none = [n for n, g in mine.gradients.items() if g is None]
        none = [n for n in none if good.gradients.get(n) is not None]
        if none and len(none) == len(mine.gradients):
            return Mistake(
                "not-differentiable",
                "The output is right, but no gradient flows through it: the model "
                "could not be trained.",
                "look for `detach`, `no_grad`, `.data`, `.item()` or numpy",
            )
        if none:
            told = _some([names.get(n, f"`{n}`") for n in none])
            return Mistake(
                "without-a-gradient",
                f"The output is right, but no gradient reaches {told}.",
                "look for `detach`, `.data`, or a tensor copied into a new one",
            )
        equal = catalogue.gradients_equal(10 * self.check.tolerance)
        off = [
            names.get(n, f"`{n}`")
            for n in mine.gradients.keys() & good.gradients.keys()
            if not equal(
                Seen(gradients={n: mine.gradients[n]}),
                Seen(gradients={n: good.gradients[n]}),
            )
        ]
        return Mistake(
            "wrong-gradient",
            f"The output is right, but the gradient of {_some(sorted(off))} is not: "
            "part of the computation is hidden from autograd.",
            "look for `detach`, `no_grad`, `.data` or numpy in the middle",
        )
