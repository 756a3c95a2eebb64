"""The grammar of the stories: one derivation, exact probabilities, a clear parser."""

import math
import random
import statistics
from itertools import combinations

import pytest

from helpers import pretrain, stories
from helpers.stories import Slot, Symbol

STARTS = Symbol("", "story"), Symbol("", "tale")
SAMPLES = [stories.sample(random.Random(f"test/{i}")) for i in range(1500)]


# ------------------------------------------------------------- one derivation a text


def clash(ours, theirs):
    """A text that both (text, stack, bound) begin with, to the end of one; or None."""
    if len(ours[0]) > len(theirs[0]):
        return clash(theirs, ours)
    (text, stack, bound), (other, _, _) = ours, theirs
    if not other.startswith(text):
        return None
    if not stack:
        return text
    if isinstance(stack[0], str):
        return clash((text + stack[0], stack[1:], bound), theirs)
    for _, items, now in stories._options(stack[0], bound):
        found = clash((text, items + stack[1:], now), theirs)
        if found is not None:
            return found
    return None


@pytest.fixture
def few_values(monkeypatch):
    """The same grammar over shorter lists, two people of each gender."""
    people = stories.VALUES["A B"]
    for kind, values in stories.VALUES.items():
        monkeypatch.setitem(stories.VALUES, kind, values[:3])
    monkeypatch.setitem(stories.VALUES, "A B", people[:2] + people[-2:])


def choice_points():
    """Every (item, bound) that the grammar can reach, with its options.

    Of the values that a slot can take, one stands for all, of people one of each
    gender: values differ in nothing but their words.
    """
    seen, ends = {}, {}

    def key(item, bound):
        return item, tuple(sorted(bound.items()))

    def walk(items, bounds):
        for item in items:
            if not isinstance(item, str):
                pairs = [pair for b in bounds.values() for pair in after(item, b)]
                bounds = dict(pairs)
        return bounds

    def after(item, bound):
        here = key(item, bound)
        if here not in ends:
            seen[here] = options = stories._options(item, bound)
            if isinstance(item, Slot):
                by_gender = {}
                for option in options:
                    value = option[2][item.name]
                    by_gender.setdefault(value[1] if item.name in "AB" else 0, option)
                options = list(by_gender.values())
            ways = [walk(line, {key("", now): now}) for _, line, now in options]
            ends[here] = [pair for way in ways for pair in way.items()]
        return ends[here]

    for start in STARTS:
        walk((start,), {key("", {}): {}})
    return seen


def test_no_option_begins_with_another(few_values):
    # Then a reader from left to right has one way at every choice, so one derivation:
    # options of which none begins with another make a prefix code, and a sequence of
    # prefix codes is one again.
    choices = choice_points()
    assert len(choices) > 500
    assert {item.name for item, _ in choices} == {*stories.RULES, *stories.KINDS}
    for (item, _), options in choices.items():
        for (_, ours, bound_a), (_, theirs, bound_b) in combinations(options, 2):
            found = clash(("", ours, bound_a), ("", theirs, bound_b))
            assert found is None, f"{item}: two options can begin {found!r}"


def test_no_value_begins_with_another():
    # The step from the short lists above to the full ones.
    first = {item for item, bound in choice_points() if item.name not in dict(bound)}
    for item in first:
        values = stories.VALUES.get(stories.KINDS.get(item.name), [])
        for one, two in combinations([item.say(value) for value in values], 2):
            assert not one.startswith(two) and not two.startswith(one)


def test_every_sample_has_exactly_one_derivation():
    for text in SAMPLES[:300]:
        assert len(list(stories._derivations(text, "story", {}))) == 1


# ------------------------------------------------------------- exact sums


@pytest.fixture
def small_grammar(monkeypatch):
    """Two plots, at most two lines, two values: small enough to write it all out."""
    both = "opening friend likes trade later meet reward".split()
    rules = {name: lines[: 1 + (name in both)] for name, lines in stories.RULES.items()}
    rules["plot"] = [(3.0, "<swap>"), (1.0, "<rescue>")]
    monkeypatch.setattr(stories, "RULES", rules)
    people = stories.VALUES["A B"]
    for kind, values in stories.VALUES.items():
        monkeypatch.setitem(stories.VALUES, kind, values[:1])
    monkeypatch.setitem(stories.VALUES, "A B", [*people[:2], *people[-2:]])
    stories._lines.cache_clear()
    yield
    monkeypatch.undo()
    stories._lines.cache_clear()


def everything(stack, bound, chance=1.0, text=""):
    """All (text, probability) that can be written from `stack`."""
    if not stack:
        yield text, chance
    elif isinstance(stack[0], str):
        yield from everything(stack[1:], bound, chance, text + stack[0])
    else:
        for p, items, now in stories._options(stack[0], bound):
            yield from everything(items + stack[1:], now, chance * p, text)


def by_letter(text, add_special_tokens):
    """A tokenizer whose tokens are single letters."""
    return {"input_ids": list(text)}


def test_small_grammar_written_out(small_grammar):
    pairs = list(everything((STARTS[0],), {}))
    chances = dict(pairs)
    assert len(chances) == len(pairs) == stories.count() > 300
    assert math.fsum(chances.values()) == pytest.approx(1, abs=1e-12)
    surprise = math.fsum(-p * math.log(p) for p in chances.values())
    assert stories.entropy() == pytest.approx(surprise, rel=1e-12)
    letters = math.fsum(p * len(text) for text, p in pairs)
    assert stories.expected_tokens(by_letter) == pytest.approx(letters + 1, rel=1e-12)
    for text, p in random.Random(0).sample(pairs, 300):
        assert stories.log_prob(text) == pytest.approx(math.log(p), rel=1e-12)
        assert len(list(stories._derivations(text, "story", {}))) == 1


def test_probabilities_sum_to_one(monkeypatch):
    # Importance sampling: stories drawn with all lines equally likely, each weighted
    # with its probability over the one it was drawn with, weigh 1 on average.
    rules = stories.RULES.items()
    lines = {name: [(1.0, text) for _, text in rule] for name, rule in rules}
    with monkeypatch.context() as patch:
        patch.setattr(stories, "RULES", lines)
        stories._lines.cache_clear()
        texts = [stories.sample(random.Random(f"flat/{i}")) for i in range(1500)]
        drawn = [stories.log_prob(text) for text in texts]
    stories._lines.cache_clear()
    ratios = [math.exp(stories.log_prob(t) - q) for t, q in zip(texts, drawn)]
    error = statistics.stdev(ratios) / math.sqrt(len(ratios))
    assert abs(statistics.mean(ratios) - 1) < 4 * error < 0.5


def test_entropy_is_the_mean_surprise():
    surprises = [-stories.log_prob(text) for text in SAMPLES]
    error = statistics.stdev(surprises) / math.sqrt(len(surprises))
    assert abs(statistics.mean(surprises) - stories.entropy()) < 4 * error


def test_expected_tokens_with_the_shipped_tokenizer():
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    lengths = [len(row) + 1 for row in tokenizer(SAMPLES)["input_ids"]]
    error = statistics.stdev(lengths) / math.sqrt(len(lengths))
    expected = stories.expected_tokens(tokenizer)
    assert abs(statistics.mean(lengths) - expected) < 4 * error
    assert stories.entropy_per_token(tokenizer) == stories.entropy() / expected


def test_tokens_of_a_text_are_those_of_its_items():
    # This is what makes the expectation exact: no token runs across two items.
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    for seed in range(200):
        rng, stack, bound, pieces = random.Random(seed), [STARTS[0]], {}, []
        while stack:
            item = stack.pop(0)
            if isinstance(item, str):
                pieces.append(item)
            else:
                _, items, bound = rng.choice(stories._options(item, bound))
                stack = [*items, *stack]
        apart = [token for row in tokenizer(pieces)["input_ids"] for token in row]
        assert tokenizer("".join(pieces))["input_ids"] == apart


def test_longest_story_fits_the_context():
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)

    def longest(item):
        if isinstance(item, Symbol):
            return max(sum(map(longest, line)) for _, line in stories._lines(item))
        texts = [item]
        if isinstance(item, Slot):
            texts = [item.say(v) for v in stories.VALUES[stories.KINDS[item.name]]]
        return max(len(tokenizer(text)["input_ids"]) for text in texts)

    assert longest(STARTS[0]) + 2 <= tokenizer.model_max_length


def test_a_tale_is_a_story_with_one_of_two_plots():
    tales = [stories.sample(random.Random(f"tale/{i}"), "tale") for i in range(1000)]
    assert {stories.parse(text).plot for text in tales} == {"lost", "gift"}
    plots = dict((line, weight) for weight, line in stories.RULES["plot"])
    likelier = math.log(1 / 2) - math.log(plots["<lost>"] / sum(plots.values()))
    surprises = []
    for text in tales:
        surprises.append(-stories.log_prob(text, "tale"))
        assert surprises[-1] == pytest.approx(-stories.log_prob(text) - likelier)
    error = statistics.stdev(surprises) / math.sqrt(len(surprises))
    assert abs(statistics.mean(surprises) - stories.entropy("tale")) < 4 * error
    quarrel = next(t for t in SAMPLES if stories.parse(t).plot == "quarrel")
    assert not stories.valid(quarrel, "tale")
    assert stories.explain(quarrel, "tale")


def test_there_are_many_stories():
    assert stories.count() >= 10**10
    assert len(set(SAMPLES)) == len(SAMPLES)


# ------------------------------------------------------------- what a story is


def test_same_seed_same_story():
    assert stories.sample(random.Random(7)) == stories.sample(random.Random(7))


def replace_last(text, old, new):
    """`text` with its last whole word `old` replaced."""
    head, _, tail = text.rpartition(f" {old}")
    assert head and not tail[:1].isalpha()
    return f"{head} {new}{tail}"


def test_remembered_things_must_stay_the_same():
    tried = 0
    for text in SAMPLES[:300]:
        bound = stories.parse(text).bound
        names = [name for name, _ in stories.VALUES["A B"]]
        for slot in "ABc":
            others = stories.VALUES["c"] if slot == "c" else names
            said = bound.get(slot)
            said = said[0] if slot in "AB" and said else said
            other = next(word for word in others if f" {word}" not in text)
            if slot == "c" and bound.get("d") == said:
                continue  # two things of one colour: the last may be the second
            if said and text.count(f" {said}") > 1:
                wrong = replace_last(text, said, other)
                assert not stories.valid(wrong), wrong
                tried += 1
    assert tried > 500


@pytest.mark.parametrize("right, wrong", [("he", "she"), ("his", "her"), ("she", "he")])
def test_pronouns_must_agree(right, wrong):
    texts = [text for text in SAMPLES if f" {right} " in text]
    assert len(texts) > 100
    for text in texts[:200]:
        assert not stories.valid(text.replace(f" {right} ", f" {wrong} ", 1))


def test_whole_stories_only():
    for text in SAMPLES[:50]:
        assert stories.parse(text)
        for wrong in (text + " ", " " + text, text[:-1], text + text, text.lower(), ""):
            assert stories.parse(wrong) is None
            assert stories.log_prob(wrong) == -math.inf
            assert stories.explain(wrong)
    assert stories.explain(SAMPLES[0]) == ""


def test_explain_points_at_the_word():
    text = (
        "One sunny day Mia went to the park. It was the birthday of her friend Tom. "
        "So she made a red kite for him. Mia gave Tom the green kite with a big smile."
    )
    said = stories.explain(text)
    assert "gave Tom the" in said and "cannot come 'green'" in said and "red" in said
    said = stories.explain("Once upon a time there was a cat.")
    assert "possible: brave, cheerful, kind, little" in said
    assert "end of the text" in stories.explain("Once upon a time there was a")


def test_all_plots_are_told():
    plots = {stories.parse(text).plot for text in SAMPLES[:200]}
    assert plots == set("lost gift quarrel swap surprise rescue pet".split())
