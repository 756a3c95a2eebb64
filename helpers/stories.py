"""The stories: a small grammar that writes them, and knows how likely each one is.

A story is written from the top of `GRAMMAR` downwards. Three things stand in a line:

* plain words, written as they are;
* `<lost>`: one of the lines listed under `lost`, drawn by the weights before them (1
  where there is none);
* `{A}`, `{x}`, `{P.in}`: a person, a thing, a place. Said for the first time, it is
  drawn from `VALUES`; said again, it is the same one. So names, pronouns, colours and
  objects have to be remembered. `A` and `B` are always a boy and a girl.

`story` is the start; `tale` is another, with two plots only: less to learn.

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
from typing import NamedTuple

GRAMMAR = """
story
    <opening> <plot>
tale
    <opening> <either>
either
    <lost>
    <gift>
plot
    4 <lost>
    4 <gift>
    3 <quarrel>
    3 <swap>
    3 <surprise>
    2 <rescue>
    2 <pet>

opening
    4 Once upon a time there was a <young> {A.new} who lived near the {P}.
    2 There once lived a <young> {A.new} who loved the {P}.
    3 One <fine> <morning> {A} went to the {P}.
    2 It was a <fine> <morning>, and {A} was {P.in}.
    1 {A} was a <young> {A.boy} who lived near the {P}.
young
    3 little
    kind
    cheerful
    brave
fine
    2 sunny
    warm
    windy
    quiet
morning
    2 morning
    2 day
    afternoon
friend
    3 {A.his} friend {B}
    {A.his} {B.brother}
    {A.his} neighbour {B}
Friend
    3 {A.His} friend {B}
    {A.His} {B.brother}
    {A.His} neighbour {B}
happy
    2 happy
    very happy
    glad
sad
    2 sad
    very sad
    unhappy

lost
    <had> <gone> <comes> <found> <thanks>
had
    2 {A.He} had a {c} {x} and took it everywhere.
    {A.His} favourite thing was a {c} {x}.
    {A.His} {G} had given {A.him} a {c} {x}.
    In {A.his} bag was a {c} {x} from {A.his} {G}.
gone
    But now the {x} was gone!
    Then, all at once, the {c} {x} was gone, and {A} began to cry.
    2 "Oh no! Where is my {c} {x}?" {A.he} cried.
    But {A.he} lost it. Because {A.he} loved the {x}, {A.he} was <sad>.
comes
    2 "Do not cry," said <friend>. "I will help you look."
    Just then {B} came by. "Why are you sad?" asked {B}. "My {x} is lost," said {A}.
    <Friend> wanted to help, so they looked together.
    "I will help you," said {B}, who was {A.his} best friend.
found
    They looked {P.in}, and {B} found the {c} {x} {S}.
    {A} looked {S} and {B} looked {T}. There was the {c} {x}!
    They ran back to the {P}. "Look {S}!" cried {B}, and there was the {x}.
    "Is it {S}?" asked {B}. {A} looked {S}, and there it was.
thanks
    "Thank you, {B}!" said {A}. {A.He} was <happy> because the {x} was back.
    {A} hugged {B} and never lost the {c} {x} again.
    {A} was so glad that {A.he} let {B} carry the {c} {x} home.
    "You are a true friend," {A} told {B}, and they took the {x} home together.

gift
    <birthday> <present> <give> <joy> <after>
birthday
    2 It was the birthday of <friend>.
    {A.He} wanted to make <friend> happy.
    "Tomorrow is {B}'s birthday," thought {A}.
present
    2 So {A.he} <made> a {c} {x} for {B.him}.
    {A.His} {G} helped {A.him} to make a {c} {x}.
    {A.He} looked for a present {P.in} and found a {c} {x}.
    {A.He} had only a {c} {x}, but {A.he} liked {B} more than the {x}.
made
    made
    bought
    chose
give
    2 "This is for you," said {A}, and gave the {c} {x} to {B}.
    {A} gave {B} the {c} {x} with a big smile.
    {A} hid the {x} {S}. "Now look {S}, {B}!" {A.he} said.
    "Close your eyes, {B}," said {A}, and put the {x} in {B.his} hands.
joy
    {B} was <happy> because {B.he} had always wanted a {x}.
    2 "A {c} {x}!" cried {B}. "Thank you, {A}!"
    "How did you know that I wanted a {x}?" asked {B}.
    {B} laughed and danced around {A} with the {x}.
after
    Then {B.he} ran home to show the {c} {x} to {B.his} {H}.
    In return {B} gave {A} a {d} {y}, and both of them were happy.
    From that day on {B} took the {c} {x} everywhere.
    They played {P.in} with the {c} {x} until it was dark.

quarrel
    <both> <mine> <angry> <sorry> <peace>
both
    2 Together with <friend> {A.he} found a {c} {x} {P.in}.
    There was only one {c} {x}, but <friend> wanted it too.
    <Friend> came to play and saw {A.his} {c} {x}.
mine
    2 "It is mine!" said {A}. "No, it is mine!" said {B}.
    "Give me the {x}!" shouted {B}, but {A} held it tight.
    {A} pulled at the {x}, {B} pulled too, and it fell to the ground.
angry
    {B} ran home because {B.he} was angry.
    {A} was so angry that {A.he} did not speak to {B}.
    {B} sat down {S} and cried because {A} did not share.
    Then both of them were angry, and the {x} was no fun any more.
sorry
    Without {B} it was no fun at all. "I am sorry," said {A}.
    After a while {A} went to find {B} and said that {A.he} was sorry.
    "I do not want to fight with you, {A}," said {B} at last.
    {A}'s {G} asked, "Who is more important, the {x} or {B}?" Then {A} was sorry.
peace
    So they shared: first {A} had the {c} {x}, and then {B} had it.
    {B} smiled, and they shared the {c} {x} until the evening.
    They made up with a hug, and {A} let {B} take the {c} {x} home.
    "Let us share the {x}," said {B}. Soon {A} and {B} were friends again.

swap
    <two> <likes> <ask> <trade> <later>
two
    2 {A.He} had a {c} {x}, and <friend> had a {d} {y}.
    {A.His} {G} gave {A.him} a {c} {x}, but <friend> got a {d} {y}.
    <Friend> came with a {d} {y}, and {A} had a {c} {x}.
likes
    {A} looked at the {y} and sighed.
    2 "I like your {d} {y}," said {A}. "And I like your {c} {x}," said {B}.
    {A} was tired of the {x} and wanted the {y}.
    {B} was <sad> because the {x} was much nicer than the {y}.
ask
    "Do you want to swap?" asked {A}.
    "Let us swap for one day," said {A}.
    "You can have my {x} if I can have your {y}," said {A}.
trade
    2 So {A} gave {B} the {c} {x}, and {B} gave {A} the {d} {y}.
    {B} said yes. Now {A} had the {d} {y}, and {B} had the {c} {x}.
    {A} took the {d} {y}, {B} took the {c} {x}, and both of them laughed.
later
    The next day {A} missed the {c} {x}, so they swapped back.
    {A} went home with the {y}, and {B} went home with the {x}.
    {A} was <happy> because {A.he} loved {A.his} new {y}.
    "The {y} is yours now," said {B}. "And the {x} is yours," said {A}.

surprise
    <hide> <secret> <seek> <discover> <laugh>
hide
    {A.He} had a surprise for <friend>. It was a {c} {x}, and {A} hid it {S}.
    2 {A.He} wanted to surprise <friend>, so {A.he} hid a {c} {x} {S}.
    "I will play a trick on {B}," thought {A}, and hid {B.his} {c} {x} {S}.
secret
    "There is something for you {P.in}," {A} told {B}.
    {A} smiled all day, but {A.he} did not tell {B} the secret.
    "What are you hiding?" asked {B}. "I will not tell you," said {A}.
seek
    2 {B} looked {T}, and then {B.he} looked {S}.
    "Is it {T}?" asked {B}. "No," said {A}. Then {B} looked {S}.
    {B} ran to the {P} and looked {S} at once.
discover
    There was the {c} {x}!
    "A {c} {x}!" cried {B}.
    "I have found the {x}!" {B} called.
laugh
    {B} was <happy> because {A} had thought of {B.him}.
    "You are so funny, {A}," said {B}, and they laughed and laughed.
    Then {B} hid the {c} {x}, and {A} had to look for it.

rescue
    <meet> <trouble> <help> <reward>
meet
    2 On the way home {A.he} met <friend>, who was crying.
    "Please help me, {A}!" called {B} one day.
    <Friend> came running and was <sad>.
trouble
    2 {B.His} {c} {x} was stuck <stuck>.
    "My {c} {x} is stuck <stuck>," said {B}.
    "I dropped my {c} {x}, and now it is stuck <stuck>!"
stuck
    in a tall tree
    on the roof
    in the mud
    between two rocks
help
    {A} took a long stick and pushed until the {x} came free.
    {A} ran to fetch {A.his} {G}, and together they got the {c} {x} back.
    "Do not worry," said {A}. {A.He} pulled and pulled until the {c} {x} was free.
    "I am not afraid," said {A}, and brought the {c} {x} back to {B}.
reward
    {B} was so happy that {B.he} gave {A} a {d} {y}.
    "Thank you, {A}!" said {B}, and hugged the {c} {x}.
    {B} was <happy> because the {x} was not broken.
    Then {A} and {B} played with the {c} {x} {P.in}.

pet
    <noise> <care> <owner> <reunion> <reward2>
noise
    2 {A.He} heard a noise and found a little {Z} {S}.
    All alone {S} sat a little {Z}.
    "Who are you?" {A} asked a little {Z} that sat {S}.
care
    The {Z} was shaking because it was <cold>.
    "Poor {Z}! You must be <cold>," said {A}.
    {A} took the {Z} home, and {A.his} {G} gave it some milk.
cold
    cold
    hungry
    afraid
owner
    2 The next day {A.he} met <friend>. "I have lost my {Z}," said {B}.
    Then {B} came to the {P}. "Have you seen my {Z}?" {B.he} asked.
    "That is {B}'s {Z}," said {A.his} {H}, so {A} went to find {B}.
reunion
    {A} smiled and gave the {Z} to {B}.
    "Is this your {Z}?" asked {A}. It was!
    At once the {Z} jumped into {B}'s arms.
reward2
    {B} was <happy> because the {Z} was safe, and gave {A} a {c} {x}.
    "Thank you, {A}!" said {B}. "You can play with the {Z} every day."
    "You may have my {c} {x}, {A}," said {B}. "You saved my {Z}!"
    From then on {A}, {B} and the {Z} played together every day.
"""

GIRLS = "Anna Mia Lily Emma Nora Ruby Clara Zoe".split()
BOYS = "Tom Ben Max Leo Sam Jack Oscar Finn".split()
COLOURS = "red blue green yellow pink purple black white".split()
RELATIVES = "grandmother grandfather mother father aunt uncle".split()
# A place is said as "the garden" or, with its own preposition, as "in the garden".
PLACES = """in garden, in park, in forest, on beach, by river, by lake, on farm,
at market, on hill, in meadow, in barn, near bridge"""
SPOTS = """under the bench, behind the fence, in the tall grass, behind the old wall,
next to the gate, under the big tree, behind the bushes, beside the well"""
VALUES: dict[str, list] = {  # what a slot can stand for; "A B" share their list
    "A B": [(name, 0) for name in BOYS] + [(name, 1) for name in GIRLS],
    "c": COLOURS,
    "d": COLOURS,
    "x": "ball kite boat drum bell book car whistle puppet rope train doll".split(),
    "y": "hat scarf cup basket lamp bag spoon ring".split(),
    "P": [tuple(place.split()) for place in PLACES.split(",")],
    "S": re.split(r",\s", SPOTS),
    "T": "in the shed, behind the house, on the roof, under the cart".split(", "),
    "G": RELATIVES,
    "H": RELATIVES,
    "Z": "kitten puppy rabbit duck lamb goat hedgehog mouse".split(),
}
KINDS = {slot: kind for kind in VALUES for slot in kind.split()}
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


def _read(grammar: str) -> dict[str, list[tuple[float, str]]]:
    rules: dict[str, list[tuple[float, str]]] = {}
    for line in filter(None, map(str.rstrip, grammar.split("\n"))):
        if not line.startswith(" "):
            lines = rules[line] = []
        else:
            weight, text = re.fullmatch(r" +(\d+ )?(.*)", line).groups()
            lines.append((float(weight or 1), text))
    return rules


RULES = _read(GRAMMAR)
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


def explain(text: str, start: str = "story") -> str:
    """Where `text` leaves the grammar, in one sentence; "" for a valid story."""
    failures: dict[int, set[str]] = {}
    if any(_derivations(text, start, failures)):
        return ""
    at = max(failures)
    word = re.match(r"[\w']+|\W+|$", text[at:]).group().strip() or "the end of the text"
    wanted = sorted(word.strip() for word in failures[at])
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
