"""What an answer to `most_common_pair` is compared with."""

from helpers.checks.trials import Calls
from helpers.exercises.course import exercise


def arguments() -> list[tuple]:
    """Each has one winner: where two pairs occur equally often, either is right."""
    return [
        (list("abcabd"),),
        (list("the cat sat on the mat, the fat cat"),),
        (["x", "ab", "ab", "x", "ab", "c", "x", "ab", "b", "a", "b", "a"],),
        (list("zazbzczdzezazbeza"),),
    ]


kind = Calls(arguments, "lists of tokens")
check = exercise(__file__, "most_common_pair", kind, keep=False)
