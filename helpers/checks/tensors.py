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
from helpers.checks.case import Case
from helpers.checks.devices import make_here
from helpers.checks.explain import explained, gradients_equal, outputs_equal, told
from helpers.checks.facts import Look
from helpers.checks.own_code import reads_global
from helpers.checks.parameters import Built, build
from helpers.checks.report import Findings, Mistake, mistake
from helpers.checks.run import TOLERANCE, Seen, mutant_run, run, run_backward

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

    def attempt(self, answer, case: Case, *view: Callable) -> Seen:
        """The course's answer, or a wrong one, on a case: computed once.

        With a view, of which gradients are to be taken, a backward pass too.
        """
        key = answer, *view  # keeps the answer alive, so that no other takes its place
        if key not in case.made:
            case.made[key] = self._unkept(answer, case, *view)
        return case.made[key]

    def _unkept(self, answer, case: Case, *view: Callable) -> Seen:
        """The same, of a pair: there are too many to keep what they make."""
        seen = mutant_run(self.prepared(answer), self.own, case, *view)
        return self.adapted(seen, case)

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
        pairs = zip(builds, self.cases, strict=True)
        looks = [Look(self, b, c, run(b.runner, c)) for b, c in pairs]
        if any(crash.left_blank(look.seen.error) for look in looks):
            return self.check.to_do(self.candidate)
        moved = facts.changed_parameters(looks) or facts.on_another_device(looks)
        if moved:
            return Findings((moved,))
        for look in looks:
            look.seen = self.adapted(look.seen, look.case, True)
        mistakes, first = [], looks[0]
        writing = [look for look in looks if look.seen.changed]
        if writing and not self.kind.in_place:
            # which of its parts does that
            mistakes = first.wrong_part() or [writing[0].writes()]
        bad = [look for look in looks if not look.right()]
        if bad:
            return self._wrong_values(looks, bad, mistakes)
        if mistakes:
            return Findings(tuple(mistakes))
        if not first.again().right():
            return Findings((first.random(),))
        return self._wrong_gradients(looks) or self._passed(builds[0])

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
        return Findings(notes=tuple(dict.fromkeys(self.notes)), summary=summary)

    def _remarks(self, builds: list[Built]) -> None:
        if reads_global(self.candidate, "cfg"):
            self.notes.append(
                "it reads the global `cfg`; `self.cfg`, handed to `__init__`, makes it "
                "work for any model"
            )
        lines = [b.gpu_line for b in builds if b.gpu_line is not None]
        self.notes += [crash.asks_for_a_gpu(line) for line in lines[:1]]

    def adapted(self, seen: Seen, case: Case, remark: bool = False) -> Seen:
        """An accepted variant of an output, made the usual one."""
        if self.kind.adapt is None or not isinstance(seen.output, Tensor):
            return seen
        output, note = self.kind.adapt(seen.output, case)
        self.notes += [note] if note and remark else []
        return replace(seen, output=output)

    def _wrong_build(self, builds: list[Built]) -> Findings | None:
        for built, case in zip(builds, self.cases, strict=True):
            if built.error is not None:
                where = f" while it is made for {case.label}"
                return self.check.stopped(built.error, self.candidate, where)
        wrong = next((b for b in builds if b.mistakes), None)
        if wrong is None:
            return None
        if all(b.mistakes for b in builds):
            return Findings(wrong.mistakes)
        # right for one configuration and wrong for another
        first = wrong.mistakes[0].message
        return Findings((mistake("literal-size", first=first),))

    def _explained(self, looks: list[Look], equal, *view) -> Findings | None:
        """The mistakes, or pairs of them, that come to the same everywhere."""

        def attempt(answer, case: Case) -> Seen:
            return self.attempt(answer, case, *view)

        cases, seen = [look.case for look in looks], [look.seen for look in looks]
        crashed = all(s.error is not None for s in seen)  # of which one line tells more
        in_pairs = None if view or crashed else self._unkept
        found = explained(self.check, attempt, cases, seen, equal, in_pairs, bool(view))
        bad = [look for look in looks if not look.right()]
        if found and bad and not any(look.tells() for look in bad):
            found = facts.of_equal_values(bad[0], found)
        return told(found, self.check.link)

    def _wrong_values(self, looks, bad: list[Look], mistakes) -> Findings:
        used = [look for look in looks if look.case.explains]
        equal = outputs_equal(self.kind.view, self.kind.tolerance)
        found = self._explained(used, equal)
        if found is None:
            where = f" on {bad[0].case.label}" if len(bad) < len(looks) else ""
            found = Findings(tuple(facts.narrowed(bad[0], where)))
        told = (*mistakes, *found.mistakes)  # two ways may lead to one of them
        drawn = next(filter(None, (look.picture() for look in bad)), None)
        return replace(found, mistakes=tuple(dict.fromkeys(told)), picture=drawn)

    def _wrong_gradients(self, looks: list[Look]) -> Findings | None:
        looks, bad = [look for look in looks if look.case.grad], []
        equal = gradients_equal(10 * self.kind.tolerance)
        for look in looks:
            view, built = self._viewed(look.case), look.built
            look.seen = run_backward(built.runner, built.params, look.case, view)
            self._forgive_unused(look.seen)
            right = self.attempt(self.check.own, look.case, self.kind.view)
            bad += [] if equal(look.seen, right) else [(look, right)]
        if not bad:
            return None
        found = self._explained(looks, equal, self.kind.view)
        if found:
            return found
        look, right = bad[0]
        told = look.wrong_part(backward=True)
        return Findings((*told, facts.wrong_gradient(look, right, equal)))

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
