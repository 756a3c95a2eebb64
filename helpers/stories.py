"""The stories: a small grammar that writes them, and knows how likely each one is.

The grammar is `assets/grammar.txt`, which says how it is read. `story` is the start;
`tale` is another, with two plots only: less to learn.

No option begins with the whole of another one. So a reader who goes from left to right
never has a choice: every text has at most one derivation, and `log_prob` is exact
(tests/test_stories.py proves it). Everything below comes from one function, `_options`,
and its summary over all stories, `_expect`.
"""

import math
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

GRAMMAR = Path(__file__).parent / "assets" / "grammar.txt"

FORMS = {  # how a person can be spoken of: he, she
    "he": ("he", "she"),
    "him": ("him", "her"),
    "his": ("his", "her"),
    "boy": ("boy", "girl"),
    "new": ("boy named {}", "girl named {}"),
    "brother": ("brother {}", "sister {}"),
}


class Slot(NamedTuple):
    """A mention: `lead` (a space or nothing), the slot, and the form it is said in."""

    lead: str
    name: str
    form: str

    def say(self, value) -> str:
        """The words for `value`."""
        if self.form == "in":
            return f"{self.lead}{value[0]} the {value[1]}"
        if self.name == "P":
            return self.lead + value[1]
        if KINDS[self.name] != "A B":
            return self.lead + value
        name, gender = value
        words = FORMS[self.form.lower()][gender].format(name) if self.form else name
        return self.lead + (words.capitalize() if self.form[:1].isupper() else words)


class Symbol(NamedTuple):
    """A place where one of the lines under the heading `name` stands."""

    lead: str
    name: str


Item = str | Slot | Symbol
Bound = dict[str, object]  # slot -> the value it was drawn as


def _read(grammar: str) -> tuple[dict[str, list[tuple[float, str]]], dict[str, list]]:
    """The weighted lines under each heading, and what each slot can stand for."""
    rules, values = {}, {}
    for line in filter(None, map(str.rstrip, grammar.split("\n"))):
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            lines = rules[line] = []
        else:
            weight, text = re.fullmatch(r" +(\d+ )?(.*)", line).groups()
            lines.append((float(weight or 1), text))
    for heading in [name for name in rules if name.startswith("{")]:
        words = [v for _, line in rules.pop(heading) for v in line.split(", ")]
        values |= {kind.strip("{}"): words for kind in heading.split(", ")}
    values["A B"] = [(v.split()[0], int(v.endswith(" she"))) for v in values["A B"]]
    values["P"] = [tuple(place.split()) for place in values["P"]]
    return rules, values


RULES, VALUES = _read(GRAMMAR.read_text(encoding="utf-8"))
COLOURS = VALUES["c"]
KINDS = {slot: kind for kind in VALUES for slot in kind.split()}  # "A B": one list
PLOTS = [line.strip(" <>") for _, line in RULES["plot"]]


@cache
def _lines(symbol: Symbol) -> list[tuple[float, tuple[Item, ...]]]:
    """The lines that can stand for `symbol`: probability and items.

    A space goes with the word after it, as GPT-2's tokenizer has it. So tokens never
    run across two items, and the number of tokens is a sum over items.
    """
    pieces = re.compile(r"( ?)(?:\{(\w)(?:\.(\w+))?\}|<(\w+)>)")
    lines, total = [], sum(weight for weight, _ in RULES[symbol.name])
    for weight, text in RULES[symbol.name]:
        text, items, at = symbol.lead + text, [], 0
        for piece in pieces.finditer(text):
            lead, slot, form, name = piece.groups()
            items.append(text[at : piece.start()])
            items.append(Symbol(lead, name) if name else Slot(lead, slot, form or ""))
            at = piece.end()
        items.append(text[at:])
        lines.append((weight / total, tuple(filter(None, items))))
    return lines


def _left(slot: str, bound: Bound) -> list:
    """What `slot` can still be drawn as: not a girl if the other one is, nor a boy."""
    taken = {bound[other][1] for other in "AB" if other in bound and slot in "AB"}
    values = VALUES[KINDS[slot]]
    return [value for value in values if value[1] not in taken] if taken else values


def _options(item: Slot | Symbol, bound: Bound) -> list[tuple[float, tuple, Bound]]:
    """Every way to go on at `item`: probability, what to write, what is now bound."""
    if isinstance(item, Symbol):
        return [(chance, items, bound) for chance, items in _lines(item)]
    if item.name in bound:
        return [(1.0, (item.say(bound[item.name]),), bound)]
    values = _left(item.name, bound)
    chance = 1 / len(values)
    return [
        (chance, (item.say(value),), bound | {item.name: value}) for value in values
    ]


def sample(rng: random.Random, start: str = "story") -> str:
    """Write one story. The same `rng` state gives the same story."""
    written, stack, bound = [], [Symbol("", start)], {}
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            written.append(item)
            continue
        if isinstance(item, Slot):  # the same as below, without listing the options
            if item.name not in bound:
                bound[item.name] = rng.choice(_left(item.name, bound))
            written.append(item.say(bound[item.name]))
            continue
        lines = _lines(item)
        (line,) = rng.choices(lines, [chance for chance, _ in lines])
        stack.extend(reversed(line[1]))
    return "".join(written)


class Derivation(NamedTuple):
    """How a text was written: log-probability in nats, plot, who and what is in it."""

    log_prob: float
    plot: str
    bound: Bound


def _derivations(
    text: str, start: str, failures: dict[int, set[str]]
) -> Iterator[Derivation]:
    """Every derivation of `text` from `start`, by trying all options.

    `failures` collects, for each place where a try ended, what it wanted to write.
    """

    def go_on(stack: tuple, at: int, bound: Bound, log_prob: float, plot: str):
        if not stack:
            if at == len(text):
                yield Derivation(log_prob, plot, bound)
            failures.setdefault(at, set()).add("the end of the story")
            return
        item, stack = stack[0], stack[1:]
        if isinstance(item, str):
            if text.startswith(item, at):
                yield from go_on(stack, at + len(item), bound, log_prob, plot)
            else:
                same = len(commonprefix([item, text[at:]]))
                start = item.rfind(" ", 0, same + 1) + 1  # the word that differs
                word = re.match(r"[\w']+|\W+", item[start:]).group()
                failures.setdefault(at + start, set()).add(word)
            return
        for chance, items, now in _options(item, bound):
            told = item.name if item.name in PLOTS else plot
            yield from go_on(items + stack, at, now, log_prob + math.log(chance), told)

    yield from go_on((Symbol("", start),), 0, {}, 0.0, "")


def parse(text: str, start: str = "story") -> Derivation | None:
    """The one derivation of `text`, or None where the grammar cannot write it."""
    return next(_derivations(text, start, {}), None)


def valid(text: str, start: str = "story") -> bool:
    """Could the grammar have written `text`, from the first word to the last?"""
    return parse(text, start) is not None


def log_prob(text: str, start: str = "story") -> float:
    """The exact log-probability of `text`, nats; -inf where there is no derivation."""
    derivation = parse(text, start)
    return derivation.log_prob if derivation else -math.inf


def leaves(text: str, start: str = "story") -> tuple[int, set[str]] | None:
    """Where `text` leaves the grammar, and what could come there; None if it is valid.

    Returns:
        The place of the first character of the word that cannot come, and the words
        that can.
    """
    failures: dict[int, set[str]] = {}
    if any(_derivations(text, start, failures)):
        return None
    at = max(failures)
    return at, failures[at]


def explain(text: str, start: str = "story") -> str:
    """Where `text` leaves the grammar, in one sentence; "" for a valid story."""
    left = leaves(text, start)
    if left is None:
        return ""
    at, possible = left
    word = re.match(r"[\w']+|\W+|$", text[at:]).group().strip() or "the end of the text"
    wanted = sorted(word.strip() for word in possible)
    more = f" or {len(wanted) - 6} more" if len(wanted) > 6 else ""
    before = f"after {text[max(0, at - 30) : at].strip()!r}" if at else "at the start"
    return f"{before} cannot come {word!r}; possible: {', '.join(wanted[:6])}{more}"


def _expect(
    cost: Callable[[float, list[str]], float], start: str, counting: bool = False
):
    """Sum over all stories: (total weight, total of weight * cost).

    `cost(chance, texts)` is paid at every choice and for all words: `texts` are the
    equally likely ways to say them. The weight of a story is its probability, or 1
    when `counting`. Later choices depend on which slots are bound, so that is the
    state. What they are bound to changes no chance; that is why the mean over `texts`
    is exact even where a name was drawn long before.
    """

    def merged(parts) -> dict:
        sums: dict = {}
        for bound, (mass, total) in (pair for part in parts for pair in part.items()):
            old_mass, old_total = sums.get(bound, (0, 0.0))
            sums[bound] = (old_mass + mass, old_total + total)
        return sums

    def choose(states: dict, chance: float, texts: list[str], ways=1, slot="") -> dict:
        weight, price = ways * (1 if counting else chance), cost(chance, texts)
        return merged(
            {bound.union(slot): (mass * weight, (total + mass * price) * weight)}
            for bound, (mass, total) in states.items()
        )

    def run(items: tuple, states: dict) -> dict:
        for item in items:
            if isinstance(item, str):
                states = choose(states, 1.0, [item])
            elif isinstance(item, Symbol):
                lines = _lines(item)
                states = merged(run(line, choose(states, p, [""])) for p, line in lines)
            else:
                kind, parts = KINDS[item.name], []
                texts = [item.say(value) for value in VALUES[kind]]
                for bound, sums in states.items():
                    left = len(texts) // (1 + len(bound.intersection(kind)))
                    ways = 1 if item.name in bound else left  # B: half are left
                    state = {bound: sums}
                    parts.append(choose(state, 1 / ways, texts, ways, item.name))
                states = merged(parts)
        return states

    first = (Symbol("", start),)
    sums = run(first, {frozenset(): (1, 0.0)}).values()
    return sum(mass for mass, _ in sums), sum(total for _, total in sums)


def count(start: str = "story") -> int:
    """How many different stories the grammar can write."""
    return round(_expect(lambda chance, texts: 0.0, start, counting=True)[0])


def entropy(start: str = "story") -> float:
    """The exact entropy of a story in nats: the mean of -log_prob over all stories."""
    return _expect(lambda chance, texts: -math.log(chance), start)[1]


def expected_tokens(tokenizer, start: str = "story") -> float:
    """The exact mean length of a story in tokens; the end token counted, the start not.

    Exact for a tokenizer that splits words as GPT-2's does, since no token then runs
    across two items.
    """

    @cache
    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    mean = _expect(lambda _, texts: sum(map(tokens, texts)) / len(texts), start)[1]
    return mean + 1


def entropy_per_token(tokenizer, start: str = "story") -> float:
    """The floor of the loss, nats per token: entropy over mean tokens, both exact."""
    return entropy(start) / expected_tokens(tokenizer, start)
