"""Learning from reward: every identity that notebook 13 relies on, in float64."""

import copy
import itertools
import json
import math

import pytest
import torch
from torch import Tensor, nn

from helpers import frontier, reward, stories, training
from helpers.reward import SHIPPED, Teller, picked

LONGEST, D_VOCAB = 3, 3


@pytest.fixture(scope="module")
def start() -> tuple:
    """The shipped start and its tokenizer."""
    return reward.load_start()


class Language:
    """All texts of at most three tokens; 0 ends one. A token depends on the one before.

    Attributes:
        tokens, targets: [text, position].
        rewards: [text].
        table: logits by the token before: [3, 3].
    """

    def __init__(self, seed: int):
        texts = {
            text[: text.index(0) + 1] if 0 in text else text
            for text in itertools.product(range(D_VOCAB), repeat=LONGEST)
        }
        self.targets = torch.full((len(texts), LONGEST), -100)
        for row, text in zip(self.targets, sorted(texts), strict=True):
            row[: len(text)] = torch.tensor(text)
        begin = torch.zeros(len(texts), 1, dtype=torch.long)
        self.tokens = torch.cat([begin, self.targets[:, :-1]], dim=1).clamp(min=0)
        drawn = torch.Generator().manual_seed(seed)
        self.rewards = torch.randn(len(texts), generator=drawn).double()
        self.table = torch.randn(D_VOCAB, D_VOCAB, generator=drawn).double()
        self.table.requires_grad_()

    def log_probs(self, table: Tensor) -> Tensor:
        """Of each text's tokens: [text, position]."""
        return picked(table[self.tokens], self.targets)

    def chances(self) -> Tensor:
        """Of the texts: [text]."""
        return self.log_probs(self.table).sum(dim=1).exp()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("baseline", [0.0, 0.7, -5.0])
def test_the_mean_of_the_policy_gradient_is_that_of_the_expected_reward(seed, baseline):
    language = Language(seed)
    chances = language.chances()
    assert math.isclose(chances.sum().item(), 1.0, abs_tol=1e-14)
    expected = chances @ language.rewards
    (exact,) = torch.autograd.grad(-expected, language.table)
    mean = torch.zeros_like(exact)
    for i, chance in enumerate(language.chances().detach()):
        logits = language.table[language.tokens[[i]]]
        advantage = language.rewards[[i]] - baseline
        loss = reward.policy_gradient_loss(logits, language.targets[[i]], advantage)
        mean += chance * torch.autograd.grad(loss, language.table)[0]
    assert (mean - exact).abs().max() < 1e-14


def test_the_first_clipped_step_is_the_policy_gradient():
    language = Language(5)
    log_probs = language.log_probs(language.table)
    given = log_probs, log_probs, language.targets, language.rewards
    logits = language.table[language.tokens]
    plain = reward.policy_gradient_loss(logits, language.targets, language.rewards)
    both = [
        torch.autograd.grad(loss, language.table)[0]
        for loss in (reward.clipped_loss(*given), plain)
    ]
    assert (both[0] - both[1]).abs().max() < 1e-14


def test_what_is_clipped_has_no_gradient_and_the_rest_has():
    now = torch.log(torch.tensor([[1.5, 0.5, 1.1]])).double().requires_grad_()
    old, targets = torch.zeros(1, 3).double(), torch.ones(1, 3).long()
    for gain, pushed in ((1.0, [False, True, True]), (-1.0, [True, False, True])):
        gains = torch.tensor([gain]).double()
        loss = reward.clipped_loss(now, old, targets, gains)
        (gradient,) = torch.autograd.grad(loss, now)
        assert (gradient != 0)[0].tolist() == pushed


def test_the_loss_is_that_of_a_public_implementation():
    """The numbers are TRL 1.16.0's own, run once apart from this course.

    They are GRPOTrainer._compute_loss's of the same tensors with loss_type "dr_grpo",
    without and with a KL of 0.3 (k3), times the longest length by which it divides.
    Its gradients agreed to 1e-16.
    """
    drawn = torch.Generator().manual_seed(0)
    beyond = torch.arange(7) >= torch.tensor([[7], [3], [5], [2], [6]])
    targets = torch.randint(11, (5, 7), generator=drawn).masked_fill(beyond, -100)
    now = -2 * torch.rand(5, 7, generator=drawn).double()
    old = now + 0.4 * torch.randn(5, 7, generator=drawn).double()
    start = now + 0.5 * torch.randn(5, 7, generator=drawn).double()
    gains = reward.group_advantages(torch.tensor([[1.0, 0, 0, 1, 0]]).double())[0]
    loss = reward.clipped_loss(now, old, targets, gains)
    k3 = (reward.kl_estimates(now, start)[2] * ~beyond).sum(dim=1).mean()
    assert loss.item() == pytest.approx(0.6392001309395567, rel=1e-12)
    assert (loss + 0.3 * k3).item() == pytest.approx(0.7207795677539349, rel=1e-12)


def test_advantages_of_a_group_have_mean_0_and_deviation_1():
    rewards = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).double()
    advantages = reward.group_advantages(rewards, eps=0.0)
    assert advantages.mean(dim=1).abs().max() < 1e-14
    assert (advantages.std(dim=1, correction=0) - 1).abs().max() < 1e-14
    alike = reward.group_advantages(torch.ones(1, 5))
    assert not alike.any()


def test_the_kl_of_texts_is_the_mean_sum_of_that_of_positions():
    """The chain rule: exact over all texts."""
    language, begin = Language(1), Language(2).table.detach()
    chances = language.chances()
    at_start = language.log_probs(begin).sum(dim=1)
    of_texts = (chances * (chances.log() - at_start)).sum()
    by_position = sum(
        chance
        * reward.exact_kl(
            language.table[language.tokens[[i]]],
            begin[language.tokens[[i]]],
            language.targets[[i]],
        )
        for i, chance in enumerate(chances)
    )
    assert math.isclose(of_texts.item(), by_position.item(), rel_tol=1e-12)


def test_values_and_gradients_of_the_three_estimates():
    """k1 and k3 are right on average, and k2's gradient is: the others' are not."""
    drawn = torch.Generator().manual_seed(3)
    begin = torch.randn(1, 7, generator=drawn).double().log_softmax(dim=-1)
    theta = torch.randn(1, 7, generator=drawn).double().requires_grad_()
    now = theta.log_softmax(dim=-1)
    kl = (now.exp() * (now - begin)).sum()
    turned = (begin.exp() * (begin - now)).sum()
    means = (now.detach().exp() * reward.kl_estimates(now, begin)).sum(dim=(1, 2))
    slope, slope_turned, *slopes = (
        torch.autograd.grad(x, theta, retain_graph=True)[0]
        for x in (kl, turned, *means)
    )
    assert math.isclose(means[0].item(), kl.item(), rel_tol=1e-12)
    assert math.isclose(means[2].item(), kl.item(), rel_tol=1e-12)
    assert abs(means[1].item() - kl.item()) > 0.05 * kl.item()
    assert slopes[0].abs().max() < 1e-14
    assert (slopes[1] - slope).abs().max() < 1e-14
    assert (slopes[2] - slope_turned).abs().max() < 1e-14
    assert (slope - slope_turned).abs().max() > 0.01


def test_no_distribution_is_nearer_than_the_least_kl():
    drawn = torch.Generator().manual_seed(0)
    begin = torch.rand(9, generator=drawn).double()
    begin /= begin.sum()
    good = torch.arange(9) < 4
    p = begin[good].sum().item()
    for _ in range(100):
        now = torch.rand(9, generator=drawn).double() ** 3
        now /= now.sum()
        least = reward.least_kl(now[good].sum().item(), p)
        assert (now * (now / begin).log()).sum() >= least - 1e-12
    kept = torch.where(good, begin, 0.0) / p  # invalid ones thrown away
    kl = (kept[good] * (kept[good] / begin[good]).log()).sum().item()
    assert math.isclose(kl, reward.least_kl(1.0, p), rel_tol=1e-12)
    assert math.isclose(kl, -math.log(p), rel_tol=1e-12)


def test_best_of_n_is_the_sum_over_the_first_valid_draw():
    p = 0.3
    first = [p * (1 - p) ** k for k in range(9)]
    assert math.isclose(reward.best_of_n(p, 9), sum(first), rel_tol=1e-14)


def test_dpo_begins_at_the_log_of_2_and_pushes_both_ways_alike():
    now = torch.full((2, 3, 4), -1.0).double().requires_grad_()
    targets = torch.ones(2, 3, 4).long()
    loss = reward.dpo_loss(now, now.detach(), targets, beta=0.4)
    assert math.isclose(loss.item(), math.log(2), rel_tol=1e-14)
    (gradient,) = torch.autograd.grad(loss, now)
    assert (gradient[0] + 0.4 / 2 / 3).abs().max() < 1e-14
    assert (gradient[1] - 0.4 / 2 / 3).abs().max() < 1e-14


def test_dpos_optimum_is_that_of_reward_minus_beta_kl():
    """Where preferences come of rewards, and all pairs are seen: no slope is left."""
    drawn, beta = torch.Generator().manual_seed(4), 0.7
    begin = torch.randn(5, generator=drawn).double().log_softmax(dim=-1)
    rewards = torch.randn(5, generator=drawn).double()
    theta = (begin + rewards / beta).requires_grad_()  # the optimum of reward - beta KL
    now = theta.log_softmax(dim=-1)
    objective = (now.exp() * (rewards - beta * (now - begin))).sum()
    (slope,) = torch.autograd.grad(objective, theta, retain_graph=True)
    assert slope.abs().max() < 1e-14
    total = 0.0
    for good, bad in itertools.permutations(range(5), 2):
        preferred = (rewards[good] - rewards[bad]).sigmoid()
        both = torch.tensor([good, bad])
        given = now[both].view(2, 1, 1), begin[both].view(2, 1, 1)
        targets = both.view(2, 1, 1)
        total = total + preferred * reward.dpo_loss(*given, targets, beta)
    (slope,) = torch.autograd.grad(total, theta)
    assert slope.abs().max() < 1e-14


def test_lora_changes_nothing_at_first_and_merges_exactly():
    W = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
    lora, x = reward.LoRA(W, rank=2, alpha=3.0).double(), torch.randn(4, 6).double()
    assert torch.equal(lora(x), x @ W) and torch.equal(lora.merged(), W)
    nn.init.normal_(lora.B)
    assert (lora(x) - x @ lora.merged()).abs().max() < 1e-13
    assert {name for name, _ in lora.named_parameters()} == {"A", "B"}


def test_a_model_with_lora_begins_as_it_was_and_trains_little(start):
    model = copy.deepcopy(start[0])
    reward.with_lora(model, reward.LoRA, rank=4, alpha=8)
    tokens = torch.arange(24).view(2, 12)
    with torch.no_grad():
        assert torch.equal(model(tokens), start[0](tokens))
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    width, inner = start[0].cfg.d_model, start[0].cfg.d_mlp
    count = start[0].cfg.n_layers * 2 * 4 * (width + inner)
    assert sum(p.numel() for p in learned.values()) == count
    model(tokens).sum().backward()
    assert all(p.grad is not None for p in learned.values())


# ------------------------------------------------------------------ the start, its loop


def test_the_start_is_small_and_right_one_time_in_three(start):
    size = sum(path.stat().st_size for path in SHIPPED.iterdir())
    assert size < 2_000_000
    teller = Teller(*start, seed=11)
    again = Teller(*start, seed=11)
    rows = teller.tell(256)
    assert rows == again.tell(256), "the same seed, other stories"
    texts = start[1].batch_decode(rows)
    assert 0.2 < reward.exact_reward(texts).mean() < 0.35
    place, possible = next(filter(None, map(stories.leaves, texts)))
    assert place >= 0 and possible


def test_learning_moves_the_model_and_not_the_start(start):
    before = copy.deepcopy(start[0].state_dict())
    teller, looks = Teller(*start, seed=1), []

    def look(step, batch):
        looks.append((step, batch.rewards.shape, batch.start_logits.shape[:2]))

    def loss(model, batch):
        return frontier.grpo(model, batch, 0.1)

    reward.learn(teller, loss, 2, n=8, updates=2, look=look)
    assert [look[0] for look in looks] == [1, 2] and looks[0][1] == (8,)
    after = teller.model.state_dict()
    assert all(torch.equal(start[0].state_dict()[n], w) for n, w in before.items())
    moved = {name for name, w in before.items() if not torch.equal(after[name], w)}
    assert moved == set(before) - {"unembed.b_U"}


def test_pairs_are_a_valid_and_an_invalid_story():
    both = reward.pairs(torch.tensor([0.0, 1, 0, 1, 0, 1]))
    assert both.tolist() == [[1, 3, 5], [0, 2, 4]]
    assert reward.pairs(torch.ones(3)).shape == (2, 0)


def test_the_start_is_made_again_and_loads(tmp_path):
    reward.main(["--out", str(tmp_path / "small"), "--steps", "2"])
    model, tokenizer = reward.load_start(tmp_path / "small")
    assert model.cfg.n_layers == 2 and len(tokenizer) == model.cfg.d_vocab


def test_the_shipped_frontier_is_that_of_its_command():
    table = json.loads(frontier.RESULT.read_text(encoding="utf-8"))
    settings = table["settings"]
    assert (settings["steps"], settings["rates"]) == (frontier.STEPS, frontier.RATES)
    runs = {(run["method"], run["beta"], run["seed"]) for run in table["runs"]}
    every = {(*run, seed) for run in frontier.RUNS for seed in range(frontier.SEEDS)}
    assert runs == every


def test_the_frontier_goes_on_after_a_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(frontier, "RUNS", frontier.RUNS[3:5])
    out = tmp_path / "frontier.json"
    few = ["--out", str(out), "--steps", "1", "--seeds", "1", "--stories", "64"]
    frontier.main([*few, "--workers", "1"])
    table = json.loads(out.read_text(encoding="utf-8"))
    assert len(table["runs"]) == 2
    first = table["runs"].pop()
    out.write_text(json.dumps(table), encoding="utf-8")
    frontier.main([*few, "--workers", "1", "--resume"])
    again = json.loads(out.read_text(encoding="utf-8"))["runs"][-1]
    assert again | {"seconds": 0} == first | {"seconds": 0}


def test_costs_of_the_start(start):
    teller = Teller(*start, seed=2)
    held_out = training.HeldOut.of_stories(start[1], 64)
    found = reward.costs(teller, held_out, 64)
    assert found["kl"] == pytest.approx(0, abs=1e-4) and 0 < found["gap"] < 0.1
    assert sum(found["plots"].values()) == round(64 * found["valid"])
    assert reward.spread({"a": 2, "b": 2}) == pytest.approx(2)
