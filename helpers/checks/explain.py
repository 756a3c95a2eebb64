"""Which wrong answers explain an answer: those that come to the same thing."""

import contextlib
import io
import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from helpers.checks.mutant import Mutant
from helpers.checks.report import Findings, Mistake
from helpers.checks.run import Seen, same

Attempt = Callable[[object, object], Seen]  # (answer, case): what comes of it
Equal = Callable[[Seen, Seen], bool]
ENOUGH = 2  # numbers that must be finite before equality proves anything


def explained(
    check,
    attempt: Attempt,
    cases: Sequence,
    seen: Sequence[Seen],
    equal: Equal,
    in_pairs: Attempt | None = None,
    gradient: bool = False,
) -> list[Mutant]:
    """The check's wrong answers, or pairs of them, that explain somebody's.

    Args:
        in_pairs: runs a pair on a case; without it none is tried.
        gradient: try those of which only the gradient tells, in place of the others.
    """
    own, singles = check.own, check.mutants
    singles = [m for m in singles if m.entries[0].gradient is gradient]
    # what no case tells from the right answer explains nothing
    found = [
        mutant
        for mutant in explain(singles, attempt, cases, seen, equal)
        if not all(equal(attempt(own, c), attempt(mutant.answer, c)) for c in cases)
    ]
    if not found and check.pairs and in_pairs:
        found = explain(check.pairs_of_mutants(), in_pairs, cases, seen, equal)
    return found


def explain(
    wrong: Iterable[Mutant],
    attempt: Attempt,
    cases: Sequence,
    seen: Sequence[Seen],
    equal: Equal,
) -> list[Mutant]:
    """The wrong answers that come to the same as somebody's on every case.

    Several are several truths: on these inputs nobody can tell them apart.

    Args:
        wrong: made one after the other, so that pairs cost nothing until they count.
        attempt: runs an answer on a case.
        seen: what somebody's answer made of each case.
        equal: whether two runs came to the same thing.
    """
    if not any(_tells(one) for one in seen):
        return []
    # A case that tells something first: it rules out most of them at once.
    order = sorted(range(len(cases)), key=lambda i: not _tells(seen[i]))
    with quietly():
        return [
            mutant
            for mutant in wrong
            if all(equal(seen[i], attempt(mutant.answer, cases[i])) for i in order)
        ]


@contextlib.contextmanager
def quietly():
    """Nobody hears what code says that nobody here has typed."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def pairs_of(singles: Sequence[Mutant], together: Callable) -> Iterable[Mutant]:
    """Two mistakes at once, where their edits go together."""
    usual = [m for m in singles if not m.entries[0].alone]
    for one, other in itertools.combinations(usual, 2):
        both = together(one, other)
        if both is not None:
            yield both


def told(found: Sequence[Mutant], link: Callable[[str], str]) -> Findings | None:
    """Each mistake once; they are one of several where more than one way is left.

    Mutants of one name are ways in which one mistake comes out, no alternatives.
    """
    ways = {frozenset(e.slug for e in mutant.entries): mutant for mutant in found[::-1]}
    named = {}
    for mutant in [*ways.values()][::-1]:
        for entry, does in zip(mutant.entries, mutant.does, strict=True):
            said = f"{does} {entry.should}".strip()
            known = Mistake(entry.slug, said, entry.hint, True, page=link(entry.slug))
            named.setdefault(entry.slug, known)
    return Findings(tuple(named.values()), len(ways) > 1) if named else None


def _tells(seen: Seen) -> bool:
    """Whether an output can be recognised: one that is all NaN could be any."""
    output = seen.output
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return True
    return int(output.isfinite().sum()) >= min(ENOUGH, output.numel())


def outputs_equal(view: Callable[[Tensor], Tensor], tolerance: float) -> Equal:
    """Whether two runs came to the same output, or to the same error."""

    def equal(a: Seen, b: Seen) -> bool:
        if a.error is not None or b.error is not None:
            return same_error(a, b)
        if not isinstance(a.output, Tensor) or not isinstance(b.output, Tensor):
            return a.output is b.output
        return a.output.dtype == b.output.dtype and same(
            view(a.output), view(b.output), tolerance
        )

    return equal


def gradients_equal(tolerance: float) -> Equal:
    """Whether two backward passes gave the same gradients; None equals only None."""

    def equal(a: Seen, b: Seen) -> bool:
        if a.error is not None or b.error is not None:
            return same_error(a, b)
        for name in a.gradients.keys() & b.gradients.keys():
            mine, other = a.gradients[name], b.gradients[name]
            if (mine is None) != (other is None):
                return False
            if mine is not None and not same(mine, other, tolerance):
                return False
        return True

    return equal


def same_error(a: Seen, b: Seen) -> bool:
    """einsum's and broadcasting's errors name the sizes, so that two mistakes that
    fail differently have different words."""
    return type(a.error) is type(b.error) and str(a.error) == str(b.error)
