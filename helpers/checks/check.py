"""A check: judge an answer, say what is wrong with it, keep what passes."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from helpers.checks import crash, mutant, page
from helpers.checks.explain import pairs_of
from helpers.checks.limits import SECONDS, Hang, time_limit
from helpers.checks.own_code import files_of, functions_of, is_blank
from helpers.checks.place import place_of
from helpers.checks.report import (
    CheckFailed,
    Findings,
    Mistake,
    Report,
    Text,
    mistake,
    show,
)
from helpers.checks.surroundings import Untouched, Waits, undisturbed


@dataclass(frozen=True)
class Course:
    """What all exercises of a course share. The engine knows no course but by this.

    Attributes:
        models: the models that no answer may change.
        reference: what the cases are made from; another one makes them anew.
        around: a context in which that is as it was loaded, whatever a person did.
        keep: saves what passed, given its name, the answer, and what says whether the
            saved text passes too; returns the file, or None.
        link: where an entry of a page can be read, given the page's path and a slug.
        scope: names at hand in the wrong code of a page.
    """

    models: Callable[[], list[nn.Module]]
    reference: Callable[[], object]
    around: Callable[[], AbstractContextManager]
    keep: Callable[[str, object, Callable], Path | None]
    link: Callable[[Path, str], str]
    scope: Mapping[str, object]


@dataclass(eq=False)
class Check:
    """The check of one exercise. Beside the file that makes it stands its page.

    Attributes:
        file: `__file__` of the exercise; `layer_norm.py` makes `checks.layer_norm`.
        answer: the course's own class or function; its name, where only the page has
            it.
        kind: how an answer is looked at: Tensors, Trials, Draws, or the exercise's own.
        course: what the exercises share.
        steps: earlier exercises that the answer calls; their mistakes count here too.
        scope: further names that the solution needs.
        pairs: also try two mistakes at a time.
        keep: save what passes; warm-ups are no part of a GPT-2.
    """

    file: str
    answer: object
    kind: object
    course: Course
    steps: tuple["Check", ...] = ()
    scope: Mapping[str, object] = field(default_factory=dict)
    pairs: bool = False
    keep: bool = True
    _hints_shown: int = field(default=0, init=False, repr=False)
    _kept: tuple | None = field(default=None, init=False, repr=False)

    # What a notebook uses

    def __call__(self, candidate):
        """Show a report, and return the answer, or the course's while it is blank.

        Raises:
            CheckFailed: when the answer is wrong; its `.report` says how.
        """
        report = self._still_the_course(candidate) or self.examine(candidate)
        if report.status == "passed" and self.keep:
            kept = self.course.keep(self.title, candidate, self._passes)
            if kept:
                saved = f"{report.summary} Saved in {kept.name}."
                report = replace(report, summary=saved)
        show(report)
        if report.status == "failed":
            raise CheckFailed(report)
        return candidate if report.status == "passed" else self.own

    def hint(self) -> Text:
        """The next of three hints; the third is shown again after that."""
        hints = self.page.hints
        self._hints_shown = min(self._hints_shown + 1, len(hints))
        n = self._hints_shown
        return Text(f"**Hint {n} of {len(hints)}.** {hints[n - 1]}")

    def solution(self) -> Text:
        """The course's own code."""
        return Text(f"```python\n{self.page.solution.rstrip()}\n```")

    def examine(self, candidate) -> Report:
        """The same judgement without showing, raising or saving anything."""
        theirs = self.course.models()  # as they are, and as they were loaded
        with undisturbed(candidate, self.course.around) as prints:
            # Made before the clock starts: imports and a large model may be slow.
            both = {id(model): model for model in (*theirs, *self.course.models())}
            models = [Untouched(model) for model in both.values()]
            try:
                with time_limit(SECONDS, files_of(candidate)):
                    found = self._judged(candidate)
            except (Hang, Waits, SystemExit, KeyboardInterrupt) as error:
                found = Findings((_stopped(error, candidate),))
            except Exception as error:  # of the check's own lines, not the person's
                found = Findings((crash.of_the_check(error),))
            if prints.waited is not None:  # whatever the answer made of it
                found = Findings((_stopped(prints.waited, candidate),))
            if any([model.put_back() for model in models]):
                found = Findings((mistake("changes-the-reference"),))
        return self._report(found, prints.kept)

    def _passes(self, candidate) -> bool:
        return self.examine(candidate).status == "passed"

    # What it is made of

    @property
    def name(self) -> str:
        """ "layer_norm": the check, its page and its file have one name."""
        return Path(self.file).stem

    @property
    def title(self) -> str:
        """ "LayerNorm": the class or function, as the person calls it."""
        return self.answer if isinstance(self.answer, str) else self.answer.__name__

    @cached_property
    def page(self) -> page.Page:
        """Hints, right answers and mistakes."""
        return page.read(Path(self.file).with_suffix(".md"))

    @cached_property
    def own(self):
        """The course's own answer."""
        return self.compiled if isinstance(self.answer, str) else self.answer

    @cached_property
    def compiled(self):
        """The same, made of the page's text: as wrong answers are, to the byte."""
        return mutant.make(self.parts, self._names)

    @cached_property
    def parts(self) -> mutant.Parts:
        """The text of the steps' solutions, and the answer's own, which comes last."""
        steps = [part for step in self.steps for part in step.parts]
        return (*steps, (self.title, self.page.solution))

    @cached_property
    def _names(self) -> dict[str, object]:
        """What the solution's text finds around it."""
        home = sys.modules.get(getattr(self.answer, "__module__", ""))
        around = vars(home) if home else {}
        return {**self.course.scope, **around, **self.scope, "__name__": "errata"}

    @cached_property
    def mutants(self) -> list[mutant.Mutant]:
        """Every mistake of the page, and of the steps' pages, as a wrong answer.

        The page's own come first: where a step's has the same name, its words count.
        """
        made = []
        for check in (self, *self.steps):
            for entry in check.page.mistakes.values():
                if check is self or not entry.only_here:
                    made += mutant.mutants(self.parts, check.title, entry, self._names)
        return made

    def right_answers(self):
        """The course's own answer, and every other idiom of the pages."""
        yield self.own
        for check in (*self.steps, self):
            for _, code in check.page.right:
                with contextlib.suppress(Exception):  # a library that is not there
                    parts = mutant.changed(self.parts, check.title, code)
                    yield mutant.make(parts, self._names)

    def pairs_of_mutants(self):
        """Two mistakes at once, one pair after the other."""
        usual = [m for m in self.mutants if not m.entries[0].gradient]
        return pairs_of(usual, lambda a, b: mutant.pair(a, b, self.parts, self._names))

    def link(self, slug: str) -> str:
        """Where a mistake of this page, or of a step's, can be read."""
        for check in (self, *self.steps):
            if slug in check.page.mistakes:
                return self.course.link(check.page.path, slug)
        return ""

    def cases(self, make: Callable[[], list]) -> list:
        """Made anew, so that no answer meets what another has left in them.

        They are the same every time, and what wrong answers made of them is kept: the
        next wrong answer need not wait for it.
        """
        cases, reference = make(), self.course.reference()
        if self._kept is None or self._kept[0] is not reference:
            self._kept = reference, [case.made for case in cases]
        for case, made in zip(cases, self._kept[1], strict=True):
            case.made = made
        return cases

    # How it is judged

    def _still_the_course(self, candidate) -> Report | None:
        """What to say of the course's own, which a check hands back for a blank one.

        The name stands for it from then on; so it comes here again when the check is
        run twice, and when the person's cell has ended in an error since.
        """
        if candidate is not self.own:
            return None
        told = f"This is still the course's own {self.title}. Run the cell with yours; "
        told += "if that cell ends in an error, mend it first."
        return self._report(Findings(summary=told, todo=True))

    def _report(self, found: Findings, printed: str = "") -> Report:
        names = {"check": self.name, "title": self.title, "printed": printed}
        return Report(**vars(found), **names)

    def _judged(self, candidate) -> Findings:
        prepare = getattr(self.kind, "prepare", None)
        candidate = prepare(candidate) if prepare else candidate
        return self.not_judged(candidate) or self.kind.judge(self, candidate)

    def not_judged(self, candidate) -> Findings | None:
        """What is no answer: of another kind, or still blank."""
        odd = getattr(self.kind, "odd", wrong_kind)(self, candidate)
        if odd:
            return Findings((odd,))
        if getattr(self.kind, "blank", still_blank)(candidate):
            return self.to_do(candidate)
        return None

    def stopped(self, error: Exception, candidate, where: str = "") -> Findings:
        """What to say of an answer that raised: it may be a blank."""
        if crash.left_blank(error):
            return self.to_do(candidate)
        return Findings((crash.describe(error, candidate, where),))

    def to_do(self, candidate) -> Findings:
        """What to say of a blank."""
        which = ""
        for function in _required(candidate):
            name = function.__name__
            if "NotImplementedError" in function.__code__.co_names:
                which = f"`{name}` still has its `raise NotImplementedError`: put your "
                which += "lines in the place of that one. "
            elif is_blank(function) and not which:
                which = f"`{name}` is still blank. "
        which = which or f"`{self.title}` is not finished yet. "
        told = f"{which}Until then the notebook goes on with the course's own."
        return Findings(summary=told, todo=True)


def _stopped(error: BaseException, candidate) -> Mistake:
    """What ended the whole check, and on which of the person's lines."""
    line = place_of(error, candidate).line
    if isinstance(error, Waits):
        kind = "class" if isinstance(candidate, type) else "function"
        return mistake("waits-for-you", line=line, call=crash.words(error), kind=kind)
    if isinstance(error, Hang):
        return mistake("hangs", line=line, seconds=SECONDS)
    exits = not isinstance(error, KeyboardInterrupt)
    return mistake("exits" if exits else "interrupted", line=line)


def still_blank(candidate) -> bool:
    """Whether one of the functions that must be written is blank."""
    return any(is_blank(f) for f in _required(candidate))


def _required(candidate) -> list:
    functions = functions_of(candidate)
    if not isinstance(candidate, type):
        return functions
    return [f for f in functions if f.__name__ in ("__init__", "forward")]


def wrong_kind(check: Check, candidate) -> Mistake | None:
    """An object for a class, or a class for a function."""
    wants_class = isinstance(check.own, type)
    if wants_class and isinstance(candidate, nn.Module):
        kind = type(candidate).__name__
        return mistake("instance-not-class", kind=kind, check=check.name)
    if wants_class != isinstance(candidate, type) or not callable(candidate):
        kind = "a class" if wants_class else "a function"
        got = type(candidate).__name__
        return mistake("wrong-kind", wanted=kind, got=got, bare=kind[2:])
    return None
