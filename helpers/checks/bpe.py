"""The checks of notebook 03's two steps of byte-pair encoding.

Their answers are functions on lists of strings, so that what comes out can be told in
full: "merge_pair(['a', 'b'], ('a', 'b')) returns …; it should return …".
"""

import copy
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from helpers.checks import crash
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.report import Mistake, Report


def most_common_pair(tokens):
    """The two neighbours that stand side by side most often, as a tuple."""
    counts = Counter(pairwise(tokens))
    return counts.most_common(1)[0][0]


def merge_pair(tokens, pair):
    """Put every occurrence of the pair together into one token, left to right."""
    merged = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


@dataclass
class ListCheck(Check):
    """A check of a function on lists; `make_cases` gives tuples of arguments."""

    def _examine(self, candidate) -> Report:
        early = self._not_judged(candidate)
        if early:
            return early
        cases = self.make_cases()
        seen = []
        for arguments in cases:
            given = copy.deepcopy(arguments)
            try:
                seen.append(candidate(*given))
            except Exception as error:
                if crash.left_blank(error):
                    return self._to_do(candidate)
                where = f" on `{self._call(arguments)}`"
                return self._failed(crash.describe(error, candidate, where))
            if given != arguments:
                return self._failed(_CHANGES)
        wrong = self._wrong(cases, seen)
        if wrong:
            return self._failed(*wrong)
        return Report(
            self.name,
            self.answer,
            "passed",
            summary=f"Right on {len(cases)} lists of tokens.",
        )

    def _call(self, arguments: tuple) -> str:
        return f"{self.answer}({', '.join(map(repr, arguments))})"

    def _wrong(self, cases: list[tuple], seen: list) -> list[Mistake]:
        right = [self.compute(*arguments) for arguments in cases]
        off = [i for i, mine in enumerate(seen) if not _equal(mine, right[i])]
        if not off:
            return []
        for known in self.known:
            wrong = [self.compute(*arguments, **known.switches) for arguments in cases]
            if all(map(_equal, seen, wrong)):
                return [known.as_mistake()]
        i = off[0]
        told = f"`{self._call(cases[i])}` returns {seen[i]!r:.200}; it should return "
        hint = "go through this list by hand, as your code does"
        if seen[i] is None:
            hint = "end with `return ...`"
        return [Mistake("wrong-result", f"{told}{right[i]!r}.", hint)]


_CHANGES = Mistake(
    "changes-its-input",
    "Your code changes the list that it was given; the notebook still needs it.",
    "build a new list and return that",
)


def _equal(a, b) -> bool:
    return type(a) is type(b) and a == b


def _pairs(tokens, step=1, gap=1, ordered=True):
    pairs = list(zip(tokens, tokens[gap:], strict=False))[::step]
    return pairs if ordered else [tuple(sorted(pair)) for pair in pairs]


def _count_pairs(tokens, result=None, pick=max, **how):
    counts = Counter(_pairs(tokens, **how))
    best = pick(counts, key=counts.get)
    return result(best, counts, tokens) if result else best


def _once(tokens, pair):
    for i, neighbours in enumerate(pairwise(tokens)):
        if neighbours == pair:
            return [*tokens[:i], tokens[i] + tokens[i + 1], *tokens[i + 2 :]]
    return tokens


def _without_skipping(tokens, pair):
    following = [*tokens[1:], None]
    return [
        a + b if (a, b) == pair else a for a, b in zip(tokens, following, strict=True)
    ]


def _without_the_last(tokens, pair):
    merged, i = [], 0
    while i < len(tokens) - 1:
        both = (tokens[i], tokens[i + 1]) == pair
        merged.append(tokens[i] + tokens[i + 1] if both else tokens[i])
        i += 2 if both else 1
    return merged


def _merge(tokens, pair, how=merge_pair):
    return how(tokens, pair)


MOST_COMMON_PAIR = ListCheck(
    name="most_common_pair",
    answer="most_common_pair",
    course=most_common_pair,
    keep=False,
    compute=_count_pairs,
    # each has one winner: where two pairs occur equally often, either is right
    make_cases=lambda: [
        (list("abcabd"),),
        (list("the cat sat on the mat, the fat cat"),),
        (["x", "ab", "ab", "x", "ab", "c", "x", "ab", "b", "a", "b", "a"],),
        (list("zazbzczdzezazb") + ["e", "z", "a"],),
    ],
    known=(
        Known(
            "returns-the-count-too",
            "You return the pair together with its count.",
            "Only the pair is wanted: the next step looks for it in the text.",
            {"result": lambda best, counts, tokens: (best, counts[best])},
            "`most_common(1)[0]` is (pair, count), so one more `[0]`",
        ),
        Known(
            "returns-a-list-of-one",
            "You return a list: what `most_common(1)` gives.",
            "Only the pair is wanted: the next step looks for it in the text.",
            {"result": lambda best, counts, tokens: [(best, counts[best])]},
            "`most_common(1)[0]` is (pair, count), so `[0][0]`",
        ),
        Known(
            "returns-the-count",
            "You return how often the pair occurs.",
            "Return the pair itself.",
            {"result": lambda best, counts, tokens: counts[best]},
            "`max(counts, key=counts.get)` gives the key, here the pair",
        ),
        Known(
            "returns-the-joined-text",
            "You return the two tokens put together.",
            "Return a tuple of the two: the next step has to find them side by side.",
            {"result": lambda best, counts, tokens: "".join(best)},
            "leave the putting together to `merge_pair`",
        ),
        Known(
            "returns-a-list",
            "You return a list of two tokens.",
            "Return a tuple: `(a, b) == [a, b]` is False in Python, so the next step "
            "would find nothing.",
            {"result": lambda best, counts, tokens: list(best)},
            "`tuple(...)`, or leave the pair as `pairwise` makes it",
        ),
        Known(
            "most-common-token",
            "You return the most common token.",
            "Count pairs of neighbours, not single tokens.",
            {"result": lambda b, c, tokens: Counter(tokens).most_common(1)[0][0]},
            "`pairwise(tokens)` from itertools gives the neighbours",
        ),
        Known(
            "rarest-pair",
            "You return the pair that occurs least often.",
            "The most frequent pair saves the most tokens.",
            {"pick": min},
            "`max`, not `min`; `most_common(1)` begins with the most frequent",
        ),
        Known(
            "first-pair",
            "You return the first pair of the text.",
            "Count all pairs, and return the one with the highest count.",
            {"result": lambda best, counts, tokens: (tokens[0], tokens[1])},
            "`max(counts)` compares the pairs, `max(counts, key=counts.get)` counts",
        ),
        Known(
            "every-second-pair",
            "You cut the text into pairs, so that half of the neighbours are missed.",
            "Neighbours overlap: a b c has the pairs (a, b) and (b, c).",
            {"step": 2},
            "`zip(tokens, tokens[1:])` gives every pair of neighbours",
        ),
        Known(
            "not-neighbours",
            "You pair each token with the one after the next.",
            "Only tokens that stand side by side can be merged.",
            {"gap": 2},
            "`zip(tokens, tokens[1:])`",
        ),
        Known(
            "order-forgotten",
            "You count (a, b) and (b, a) as the same pair.",
            'The order matters: merging a b makes "ab" and never "ba".',
            {"ordered": False},
            "leave out `sorted` and `set`",
        ),
        Known(
            "largest-pair",
            "You return the pair that comes last in the alphabet.",
            "The pair with the highest count is wanted.",
            {"result": lambda best, counts, tokens: max(counts)},
            "`max(counts, key=counts.get)`",
        ),
    ),
    axes=(),
    hints=(
        "Which pairs of neighbours does `a b c` have? How would you count them?",
        "`itertools.pairwise(tokens)` gives the neighbours, `collections.Counter` "
        "counts whatever it is given.",
        "`Counter(pairwise(tokens)).most_common(1)` is a list with one "
        "(pair, count) in it.",
    ),
    lesson="03_embeddings.ipynb#bpe",
)

MERGE_PAIR = ListCheck(
    name="merge_pair",
    answer="merge_pair",
    course=merge_pair,
    keep=False,
    compute=_merge,
    make_cases=lambda: [
        (list("abcabd"), ("a", "b")),
        (list("cab"), ("a", "b")),
        (list("aaaaa"), ("a", "a")),
        (list("aab ab ba"), ("a", "b")),
        (["th", "e", " ", "th", "en", "e"], ("th", "e")),
        (["ab", "c", "a", "bc", "ab", "c"], ("ab", "c")),
        (["a", "c", "b"], ("a", "b")),
        (["a"], ("a", "b")),
    ],
    known=(
        Known(
            "second-token-kept",
            "The second token of each pair stays in the list.",
            "It is part of the merged token now, so go on after it.",
            {"how": _without_skipping},
            "after a merge the next token to look at is two further on",
        ),
        Known(
            "last-token-lost",
            "The last token of the list gets lost.",
            "It has no neighbour on its right, and belongs to the result all the same.",
            {"how": _without_the_last},
            "what does your loop do when i is at the last token?",
        ),
        Known(
            "first-occurrence-only",
            "You merge only the first occurrence.",
            "Every occurrence of the pair becomes one token.",
            {"how": _once},
            "go on through the list after a merge",
        ),
        Known(
            "nothing-merged",
            "Your list comes back as it was.",
            "Every occurrence of the pair becomes one token.",
            {"how": lambda tokens, pair: list(tokens)},
            "print what you compare: a tuple never equals a list",
        ),
        Known(
            "pair-as-a-tuple",
            "You put the pair itself into the list.",
            "The merged token is one string: the two put together.",
            {
                "how": lambda tokens, pair: [
                    pair if token == "".join(pair) and token not in tokens else token
                    for token in merge_pair(tokens, pair)
                ]
            },
            '`"".join(pair)`, or `pair[0] + pair[1]`',
        ),
        Known(
            "returns-text",
            "You return one string.",
            "Return a list of tokens: where one ends and the next begins is the point.",
            {"how": lambda tokens, pair: "".join(tokens)},
            "append to a list and return it",
        ),
        Known(
            "pairs-only",
            "Only the merged tokens are left.",
            "All other tokens stay where they are.",
            {
                "how": lambda tokens, pair: [
                    a + b for a, b in pairwise(tokens) if (a, b) == pair
                ]
            },
            "append the token itself when there is nothing to merge",
        ),
    ),
    axes=(),
    hints=(
        "Go through the tokens from left to right, a new list in your hand. When do "
        "you put two together?",
        "With an index: if tokens i and i + 1 are the pair, append both as one string "
        "and go on at i + 2; otherwise append token i and go on at i + 1.",
        "Without one: append each token, unless the last token of the new list and "
        "this one are the pair; then `merged[-1] += token`.",
    ),
    lesson="03_embeddings.ipynb#bpe",
)
