"""A known mistake, and finding the ones that explain an answer exactly."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from helpers.checks.cases import Case
from helpers.checks.observe import Seen, same
from helpers.checks.report import Mistake


@dataclass(frozen=True, eq=False)
class Known:
    """One entry of a catalogue.

    Attributes:
        name: its slug.
        does: a sentence: what the code does now.
        should: a sentence: what it should do, and why.
        switches: keyword arguments that make the reference computation wrong so.
        hint: where to look.
        gradient: the output is right and only the gradient tells.
        alone: not tried in pairs: rare, and every pair costs time.
    """

    name: str
    does: str
    should: str
    switches: dict = field(default_factory=dict)
    hint: str = ""
    gradient: bool = False
    alone: bool = False

    def as_mistake(self) -> Mistake:
        return Mistake(self.name, f"{self.does} {self.should}", self.hint, exact=True)


Explanation = tuple[Known, ...]
Compute = Callable[[Case, dict], Seen]  # the reference computation, with switches


def explain(
    catalogue: Sequence[Known],
    compute: Compute,
    cases: Sequence[Case],
    seen: Sequence[Seen],
    pairs: bool,
    equal: Callable[[Seen, Seen], bool],
) -> list[Explanation]:
    """The mistakes, or pairs of them, whose output equals the answer's everywhere.

    Several explanations are several truths: on these inputs nobody can tell them
    apart. A pair is only tried when no single mistake fits.
    """
    if not any(_tells(one) for one in seen):
        return []
    right = [compute(case, {}) for case in cases]

    def fits(explanation: Explanation) -> bool:
        switches = {}
        for known in explanation:
            switches |= known.switches
        differs = False
        for case, mine, good in zip(cases, seen, right, strict=True):
            wrong = compute(case, switches)
            if not equal(mine, wrong):
                return False
            differs = differs or not equal(good, wrong)
        return differs

    singles = [(known,) for known in catalogue if fits((known,))]
    if singles or not pairs:
        return singles
    return [
        pair
        for pair in itertools.combinations([k for k in catalogue if not k.alone], 2)
        if not pair[0].switches.keys() & pair[1].switches.keys() and fits(pair)
    ]


def names_of(found: Sequence[Explanation]) -> tuple[list[Mistake], bool]:
    """Each mistake once, and whether several explanations are left.

    Entries of one name are ways in which one mistake comes out, no alternatives.
    """
    ways = {frozenset(known.name for known in one): one for one in found}
    named = {known.name: known for one in ways.values() for known in one}
    return [known.as_mistake() for known in named.values()], len(ways) > 1


def _tells(seen: Seen) -> bool:
    """Whether an output can be recognised: one that is NaN all over could be any."""
    output = seen.output
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return True
    return bool(output.isfinite().any())


def outputs_equal(view: Callable[[Tensor], Tensor], tolerance: float):
    """Whether two runs came to the same thing: the same output, or the same error."""

    def equal(a: Seen, b: Seen) -> bool:
        if a.error is not None or b.error is not None:
            # einsum and broadcasting errors name the sizes, so that two mistakes
            # that fail differently have different words
            return type(a.error) is type(b.error) and str(a.error) == str(b.error)
        if not isinstance(a.output, Tensor) or not isinstance(b.output, Tensor):
            return a.output is b.output
        return a.output.dtype == b.output.dtype and same(
            view(a.output), view(b.output), tolerance
        )

    return equal


def gradients_equal(tolerance: float):
    """Whether two backward passes gave the same gradients; None equals only None."""

    def equal(a: Seen, b: Seen) -> bool:
        if a.error is not None or b.error is not None:
            return type(a.error) is type(b.error) and str(a.error) == str(b.error)
        shared = a.gradients.keys() & b.gradients.keys()
        for name in shared:
            mine, other = a.gradients[name], b.gradients[name]
            if (mine is None) != (other is None):
                return False
            if mine is not None and not same(mine, other, tolerance):
                return False
        return True

    return equal
