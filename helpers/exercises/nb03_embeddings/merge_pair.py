"""What an answer to `merge_pair` is compared with."""

from helpers.checks.trials import Calls
from helpers.exercises.course import exercise


def arguments() -> list[tuple]:
    """Pairs that overlap, that come last, that are joined already, or are not there."""
    return [
        (list("abcabd"), ("a", "b")),
        (list("cab"), ("a", "b")),
        (list("aaaaa"), ("a", "a")),
        (list("aab ab ba"), ("a", "b")),
        (["th", "e", " ", "th", "en", "e"], ("th", "e")),
        (["ab", "c", "a", "bc", "ab", "c"], ("ab", "c")),
        (["a", "c", "b"], ("a", "b")),
        (["a"], ("a", "b")),
    ]


kind = Calls(arguments, "lists of tokens")
check = exercise(__file__, "merge_pair", kind, keep=False)
