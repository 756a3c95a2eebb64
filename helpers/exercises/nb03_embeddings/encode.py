"""What an answer to `encode` is compared with: Hugging Face's `tokenizers`."""

import random
from functools import cache

from tokenizers import Tokenizer
from tokenizers.models import BPE

from helpers import stories
from helpers.checks.trials import Calls
from helpers.exercises.course import exercise
from helpers.exercises.nb03_embeddings import merge_pair, most_common_pair

MERGES = 60
Merges = list[tuple[str, str]]


def encode(text: str, merges: Merges) -> list[str]:
    """The tokens that `tokenizers` makes of a text with these merges."""
    pieces = [*text, *(piece for a, b in merges for piece in (a, b, a + b))]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return Tokenizer(BPE(vocabulary, merges)).encode(text).tokens


@cache
def learned() -> tuple[tuple[str, str], ...]:
    """Merges learned from a few stories."""
    text = " ".join(stories.sample(random.Random(seed)) for seed in range(4))
    tokens, merges = list(text), []
    for _ in range(MERGES):
        merges.append(most_common_pair.check.own(tokens))
        tokens = merge_pair.check.own(tokens, merges[-1])
    return tuple(merges)


def arguments() -> list[tuple[str, Merges]]:
    """By hand, where one mistake each shows; then stories that no merge has seen."""
    of_the_cat = [("a", "t"), ("at", " "), ("t", "h"), ("th", "e"), ("the", " ")]
    by_hand = [
        ("that rat", of_the_cat),
        ("the theatre hat", of_the_cat),
        ("abcbc", [("b", "c"), ("a", "b"), ("ab", "c")]),
        ("aaaaaaa", [("a", "a"), ("aa", "aa"), ("aa", "a")]),
        ("abab cdcdcd", [("a", "b"), ("c", "d"), ("ab", "ab")]),
        ("hot cat", [("c", "a"), ("o", "t")]),
        ("xyz", of_the_cat),
        ("cat", []),
    ]
    new = [stories.sample(random.Random(seed)) for seed in range(100, 125)]
    return by_hand + [(text, list(learned())) for text in new]


what = "texts, cut as Hugging Face's `tokenizers` cuts them"
used = {check.title: check.own for check in (merge_pair.check, most_common_pair.check)}
check = exercise(__file__, encode, Calls(arguments, what), scope=used, keep=False)
