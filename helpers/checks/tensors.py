"""The usual kind of exercise: a function or class that makes one tensor of others.

The order of the questions: can it be built, does it run, does it leave its inputs and
parameters alone, is the output right, is it the same again, are the gradients right.
The first that is answered with no ends the judgement.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from helpers.checks import crash, facts
from helpers.checks.again import line_that_writes
from helpers.checks.case import Case
from helpers.checks.devices import make_here
from helpers.checks.explain import explained, gradients_equal, outputs_equal, told
from helpers.checks.own_code import files_of, reads_global
from helpers.checks.parameters import Built, build
from helpers.checks.picture import picture
from helpers.checks.report import Findings, Mistake, mistake
from helpers.checks.run import TOLERANCE, Seen, mutant_run, run, run_backward, same

Step = Tensor | tuple[Tensor, ...]  # several: each is as good as the others


def as_it_is(output):
    """The default view: outputs are compared as they come."""
    return output


@dataclass(frozen=True)
class Tensors:
    """Answers whose output is compared, on several inputs, with the right one.

    Attributes:
        cases: makes the inputs; called anew for each examination, since another
            reference may have been loaded in between.
        axes: names of the output's axes.
        stages: names and values of the right computation's steps, in order.
        facts: what a look at an unexplained output, of the right shape, shows for
            certain: a property that fails.
        fresh: looks at the starting values of the parameters; returns a note or, where
            they are part of the exercise, a Mistake.
        made_of_parts: the answer is made of earlier classes: when it is wrong, look
            for the first part that is wrong on its right input, then at the wiring.
        causal: the output at a position must not depend on later positions.
        prepare: makes an accepted variant of an answer the usual one.
        adapt: makes an accepted variant of an output the usual one, with a note.
        view: what of an output counts (masked scores count after a softmax).
        in_place: the answer may write into its input; it always gets a clone.
        may_be_unused: parameters whose absence no output shows, with a note.
        tolerance: relative to the output's scale.
        against: what a passing answer equals.
    """

    cases: Callable[[], list[Case]]
    axes: tuple[str, ...]
    stages: Callable[[Case], dict[str, Step | dict[str, Step]]] | None = None
    facts: Callable[[Tensor, Case], list[Mistake]] | None = None
    fresh: Callable[[dict[str, Tensor]], str | Mistake | None] | None = None
    made_of_parts: bool = False
    causal: bool = False
    prepare: Callable | None = None
    adapt: Callable[[Tensor, Case], tuple[Tensor, str | None]] | None = None
    view: Callable[[Tensor], Tensor] = as_it_is
    in_place: bool = False
    may_be_unused: dict[str, str] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    against: str = "Hugging Face's GPT-2"

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        return Judgement(self, check, candidate).findings()


class Judgement:
    """One answer on all cases: first what it returns, then its gradients."""

    def __init__(self, kind: Tensors, check, candidate):
        self.kind, self.check, self.candidate = kind, check, candidate
        self.cases = check.cases(kind.cases)
        self.notes: list[str] = []

    @cached_property
    def own(self):
        """The course's answer, as a person's would be handed in."""
        return self.prepared(self.check.compiled)

    def prepared(self, answer):
        return self.kind.prepare(answer) if self.kind.prepare else answer

    def right_answers(self) -> Iterator:
        """The course's answer, and the page's in other idioms."""
        return map(self.prepared, self.check.right_answers())

    def target(self, case: Case) -> Tensor:
        """transformers' own output, or the course's."""
        if case.expected is not None:
            return case.expected
        return self.attempt(self.check.own, case).output

    def attempt(self, answer, case: Case) -> Seen:
        """The course's answer, or a wrong one, on a case: computed once."""
        return self._once(answer, case)

    def attempt_backward(self, answer, case: Case) -> Seen:
        """The same, with gradients."""
        return self._once(answer, case, self.kind.view)

    def _once(self, answer, case: Case, *view: Callable) -> Seen:
        key = answer, *view  # keeps the answer alive, so that no other takes its place
        if key not in case.made:
            seen = mutant_run(self.prepared(answer), self.own, case, *view)
            case.made[key] = self._adapted(seen, case)
        return case.made[key]

    def findings(self) -> Findings:
        """The questions, in order."""
        fresh = self.kind.fresh is not None  # looked at in the first build alone
        builds = [
            build(self.candidate, case, self.own, keep_fresh=fresh and i == 0)
            for i, case in enumerate(self.cases)
        ]
        wrong = self._wrong_build(builds)
        if wrong:
            return wrong
        self._remarks(builds)
        seen = [run(b.runner, c) for b, c in zip(builds, self.cases, strict=True)]
        if any(crash.left_blank(s.error) for s in seen):
            return self.check.to_do(self.candidate)
        moved = facts.changed_parameters(builds, self.cases)
        moved = moved or facts.on_another_device(seen)
        if moved:
            return Findings((moved,))
        seen = [self._adapted(s, c, True) for s, c in zip(seen, self.cases)]
        first = facts.Look(self, builds[0], self.cases[0], seen[0])
        mistakes = []
        if not self.kind.in_place and any(s.changed for s in seen):
            # which of its parts does that
            mistakes = first.wrong_part() or [self._writes(seen)]
        bad = [i for i, s in enumerate(seen) if not self._right(self.cases[i], s)]
        if bad:
            return self._wrong_values(builds, seen, bad, mistakes)
        if mistakes:
            return Findings(tuple(mistakes))
        again = self._adapted(run(builds[0].runner, self.cases[0]), self.cases[0])
        if not self._right(self.cases[0], again):
            return Findings((first.random(),))
        return self._wrong_gradients(builds) or self._passed(builds[0])

    def _writes(self, seen: list[Seen]) -> Mistake:
        """The line that writes into what the answer was given."""
        case = next(c for c, s in zip(self.cases, seen) if s.changed)
        runner, files = (
            build(self.candidate, case).runner,
            files_of(self.candidate),
        )
        return crash.writes(line_that_writes(runner, case, files))

    def _passed(self, built: Built) -> Findings:
        if self.kind.fresh and built.fresh:
            note = self.kind.fresh(built.fresh)
            if isinstance(note, Mistake):
                return Findings((note,))
            self.notes += [note] if note else []
        if built.gpu_line is not None:
            make_here(self.candidate)
        sources = " and ".join(dict.fromkeys(case.source for case in self.cases))
        what = ", outputs and gradients" if any(c.grad for c in self.cases) else ""
        summary = f"Equal to {self.kind.against} on {sources}{what}."
        return Findings(notes=tuple(self.notes), summary=summary)

    def _remarks(self, builds: list[Built]) -> None:
        if reads_global(self.candidate, "cfg"):
            self.notes.append(
                "it reads the global `cfg`; `self.cfg`, handed to `__init__`, makes it "
                "work for any model"
            )
        lines = [b.gpu_line for b in builds if b.gpu_line is not None]
        self.notes += [crash.asks_for_a_gpu(line) for line in lines[:1]]

    def _adapted(self, seen: Seen, case: Case, remark: bool = False) -> Seen:
        if self.kind.adapt is None or not isinstance(seen.output, Tensor):
            return seen
        output, note = self.kind.adapt(seen.output, case)
        self.notes += [note] if note and remark else []
        return replace(seen, output=output)

    def _right(self, case: Case, seen: Seen) -> bool:
        target, view = self.target(case), self.kind.view
        return (
            seen.error is None
            and isinstance(seen.output, Tensor)
            and seen.output.dtype == target.dtype
            and same(view(seen.output), view(target), self.kind.tolerance)
        )

    def _wrong_build(self, builds: list[Built]) -> Findings | None:
        for built, case in zip(builds, self.cases, strict=True):
            if crash.left_blank(built.error):
                return self.check.to_do(self.candidate)
            if built.error is not None:
                where = f" while it is made for {case.label}"
                told = crash.describe(built.error, self.candidate, where)
                return Findings((told,))
        wrong = next((b for b in builds if b.mistakes), None)
        if wrong is None:
            return None
        if all(b.mistakes for b in builds):
            return Findings(wrong.mistakes)
        # right for one configuration and wrong for another
        first = wrong.mistakes[0].message
        return Findings((mistake("literal-size", first=first),))

    def _explained(self, cases, seen, equal, backward=False) -> Findings | None:
        """The mistakes, or pairs of them, that come to the same everywhere."""
        attempt = self.attempt_backward if backward else self.attempt
        crashed = all(s.error is not None for s in seen)  # of which one line tells more
        in_pairs = None if backward or crashed else self._unkept
        found = explained(self.check, attempt, cases, seen, equal, in_pairs, backward)
        bad = [i for i, c in enumerate(cases) if not self._right(c, seen[i])]
        if found and bad and not any(self._tells(cases[i], seen[i]) for i in bad):
            case = cases[bad[0]]
            built = build(self.candidate, case)
            look = facts.Look(self, built, case, seen[bad[0]])
            found = facts.of_equal_values(look, found)
        return told(found, self.check.link)

    def _tells(self, case: Case, seen: Seen) -> bool:
        """Whether a wrong output differs from the right one where it is a number."""
        mine, target = seen.output, self.target(case)
        if not isinstance(mine, Tensor) or mine.shape != target.shape:
            return True
        mine, target = self.kind.view(mine), self.kind.view(target)
        a_number = ~mine.isnan()
        return not same(mine[a_number], target[a_number], self.kind.tolerance)

    def _unkept(self, answer, case: Case) -> Seen:
        """A pair on a case; there are too many of them to keep what they make."""
        return self._adapted(mutant_run(self.prepared(answer), self.own, case), case)

    def _wrong_values(self, builds, seen, bad, mistakes) -> Findings:
        used = [i for i, case in enumerate(self.cases) if case.explains]
        found = self._explained(
            [self.cases[i] for i in used],
            [seen[i] for i in used],
            outputs_equal(self.kind.view, self.kind.tolerance),
        )
        if found is None:
            i = bad[0]
            where = f" on {self.cases[i].label}" if len(bad) < len(seen) else ""
            look = facts.Look(self, builds[i], self.cases[i], seen[i])
            found = Findings(tuple(facts.narrowed(look, where)))
        told = (*mistakes, *found.mistakes)  # two ways may lead to one of them
        return replace(
            found,
            mistakes=tuple(dict.fromkeys(told)),
            picture=self._picture(seen, bad),
        )

    def _picture(self, seen, bad) -> Callable[[], bytes] | None:
        for i in bad:
            output, target = seen[i].output, self.target(self.cases[i])
            if isinstance(output, Tensor) and output.is_floating_point():
                view = self.kind.view
                return picture(view(output), view(target), self.kind.axes)
        return None

    def _wrong_gradients(self, builds: list[Built]) -> Findings | None:
        used = [(b, c) for b, c in zip(builds, self.cases, strict=True) if c.grad]
        if not used:
            return None
        cases = [case for _, case in used]
        seen = [run_backward(b.runner, b.params, c, self._viewed(c)) for b, c in used]
        right = [self.attempt_backward(self.check.own, case) for case in cases]
        for mine in seen:
            self._forgive_unused(mine)
        equal = gradients_equal(10 * self.kind.tolerance)
        bad = [i for i in range(len(cases)) if not equal(seen[i], right[i])]
        if not bad:
            return None
        found = self._explained(cases, seen, equal, backward=True)
        if found:
            return found
        look = facts.Look(self, used[bad[0]][0], cases[bad[0]], seen[bad[0]])
        told = look.wrong_part(backward=True)
        return Findings((*told, facts.wrong_gradient(look, right[bad[0]], equal)))

    def _viewed(self, case: Case):
        def view(output):
            if self.kind.adapt is not None:
                output = self.kind.adapt(output, case)[0]
            return self.kind.view(output)

        return view

    def _forgive_unused(self, mine: Seen) -> None:
        for name, note in self.kind.may_be_unused.items():
            if name in mine.gradients and mine.gradients[name] is None:
                self.notes.append(note)
            # Its gradient is 0 but for rounding, which no two answers share.
            mine.gradients.pop(name, None)
