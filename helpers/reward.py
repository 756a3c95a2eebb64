"""Learning from reward, in the code of notebook 13.

    python -m helpers.reward --out runs/stories-small    # the start: some minutes

The start, `assets/stories-small`, is a GPT-2 of notebook 09's size that has not learned
for long: less than two in five of the stories that it tells are valid. The reward is
exact: 1 if the grammar could have written the story, from first word to last, else 0.
"""

import argparse
import copy
import math
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from tqdm.auto import tqdm

from helpers import loading, pretrain, stories, training
from helpers.config import Config
from helpers.fast import Cache, FastTransformer
from helpers.reference import ASSETS, Reference

SHIPPED = ASSETS / "stories-small"
STEPS, BATCH = 800, 32  # of the start's training


def best_of_n(p, n):
    """The chance that at least one of n stories is valid, if each one is with p."""
    return 1 - (1 - p) ** n


def policy_gradient_loss(logits, targets, advantages):
    """Minus advantage times log-probability of a text, as a mean over the texts.

    logits: [batch, position, d_vocab]; targets: [batch, position], -100 where there is
    nothing to predict; advantages: [batch].
    """
    # [batch, position, d_vocab] -> [batch, position]; 0 where the target is -100
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    log_probs = -losses.sum(dim=1)  # -> [batch], of whole texts
    return -(advantages * log_probs).mean()


def group_advantages(rewards, eps=1e-4):
    """How much better than its group each sample is, in standard deviations.

    rewards: [group, sample]. The deviation divides by the number of samples.
    """
    mean = rewards.mean(dim=1, keepdim=True)  # -> [group, 1]
    std = rewards.std(dim=1, keepdim=True, correction=0)
    return (rewards - mean) / (std + eps)


def clipped_loss(log_probs, old_log_probs, targets, advantages, clip=0.2):
    """The clipped policy gradient: summed over a text's tokens, a mean over texts.

    log_probs: of the tokens that were drawn, [batch, position], now and when they were
    drawn. No gradient goes through the old ones.
    """
    ratio = (log_probs - old_log_probs.detach()).exp()  # [batch, position]
    gain = advantages[:, None]  # [batch] -> [batch, 1]
    surrogate = torch.min(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    return -(surrogate * (targets != -100)).sum(dim=1).mean()


def exact_kl(logits, start_logits, targets):
    """KL from the start's distribution, in nats per text.

    At each position over the whole vocabulary; then summed over a text's positions, a
    mean over texts. Both logits: [batch, position, d_vocab].
    """
    now, start = logits.log_softmax(dim=-1), start_logits.log_softmax(dim=-1)
    kl = (now.exp() * (now - start)).sum(dim=-1)  # -> [batch, position]
    return (kl * (targets != -100)).sum(dim=1).mean()


def kl_estimates(log_probs, start_log_probs):
    """k1, k2, k3 of each sampled token, stacked: [3, batch, position]."""
    log_ratio = log_probs - start_log_probs
    k1 = log_ratio
    k2 = log_ratio**2 / 2
    k3 = (-log_ratio).exp() - 1 + log_ratio
    return torch.stack([k1, k2, k3])


def dpo_loss(log_probs, start_log_probs, targets, beta):
    """DPO's loss, a mean over pairs: all are [2, pair, position], chosen ones first."""
    log_ratio = (log_probs - start_log_probs) * (targets != -100)
    chosen, rejected = log_ratio.sum(dim=-1)  # -> [2, pair] -> each [pair]
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


class LoRA(nn.Module):
    """A frozen matrix W [d_in, d_out], and a small one beside it that learns."""

    def __init__(self, W, rank, alpha):
        super().__init__()
        d_in, d_out = W.shape
        self.register_buffer("W", W.detach())  # kept, and never trained
        self.A = nn.Parameter(torch.randn(d_in, rank) / math.sqrt(d_in))
        self.B = nn.Parameter(torch.zeros(rank, d_out))
        self.scale = alpha / rank

    def forward(self, x):
        # x: [..., d_in] -> [..., rank] -> [..., d_out]
        return x @ self.W + (x @ self.A) @ self.B * self.scale

    def merged(self):
        """The one matrix that does the same."""
        return self.W + self.A @ self.B * self.scale


# What the notebook uses ready-made


@torch.no_grad()
def sample_rows(model, n: int, end: int, generator=None, longest: int = 127):
    """`n` texts that the model makes up, all at once: a list of lists of token ids.

    A text ends before its end token; one that has none after `longest` tokens is cut.
    """
    cache = Cache.of(model, n, longest)
    tokens = torch.full((n, 1), end)
    drawn, done = [], torch.zeros(n, 1, dtype=torch.bool)
    for _ in range(longest):
        logits = model(tokens, cache, last_only=True)[:, -1]  # [batch, d_vocab]
        tokens = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)
        drawn.append(tokens)
        done |= tokens == end
        if done.all():
            break
    rows = torch.cat(drawn, dim=1).tolist()  # [batch, position]
    return [row[: row.index(end)] if end in row else row for row in rows]


def exact_reward(texts: list[str]) -> Tensor:
    """1 for a story that the grammar could have written, else 0: [text]."""
    return torch.tensor([float(stories.valid(text)) for text in texts])


def picked(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of the targets, 0 where there is none: [batch, position]."""
    return -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


@dataclass(frozen=True)
class Batch:
    """Stories that were drawn, and what came of them.

    Attributes:
        texts: as words.
        rewards: of each: [batch].
        tokens: what the model reads: [batch, position].
        targets: what it should say: [batch, position].
        start_logits: the start's: [batch, position, d_vocab].
        old_log_probs: of the targets, by the model that drew them: [batch, position].
    """

    texts: list[str]
    rewards: Tensor
    tokens: Tensor
    targets: Tensor
    start_logits: Tensor
    old_log_probs: Tensor


class Teller:
    """A model that tells stories, where it started, and its luck.

    Args:
        start: where the model starts; it stays as it is.
        tokenizer: the stories' own.
        seed: of all that it draws.
    """

    def __init__(self, start: nn.Module, tokenizer, seed: int = 0):
        self.start, self.tokenizer = start, tokenizer
        self.model = copy.deepcopy(start)
        self.generator = torch.Generator().manual_seed(seed)

    def tell(self, n: int) -> list[list[int]]:
        """`n` stories of the model's, as token ids."""
        end = self.tokenizer.eos_token_id
        return sample_rows(self.model, n, end, self.generator)

    @torch.no_grad()
    def batch(self, n: int, reward: Callable = exact_reward) -> Batch:
        """`n` stories with their rewards, and all that a loss may want of them."""
        rows = self.tell(n)
        texts = self.tokenizer.batch_decode(rows)
        tokens, targets = training.make_batch(rows, self.tokenizer.eos_token_id)
        tokens, targets = tokens[:, : self.n_ctx], targets[:, : self.n_ctx]
        return Batch(
            texts,
            reward(texts),
            tokens,
            targets,
            self.start(tokens),
            picked(self.model(tokens), targets),
        )

    @property
    def n_ctx(self) -> int:
        return self.start.cfg.n_ctx


def learn(
    teller: Teller,
    loss: Callable[[nn.Module, Batch], Tensor],
    steps: int,
    n: int = 64,
    lr: float = 5e-4,
    updates: int = 1,
    reward: Callable = exact_reward,
    source: Teller | None = None,
    look: Callable[[int, Batch], None] = lambda step, batch: None,
) -> None:
    """Draw stories, score them, lower the loss; again and again.

    Args:
        teller: whose model learns.
        loss: of the model and a batch.
        steps: batches.
        n: stories in a batch.
        lr: the first learning rate; it falls in a straight line to a tenth of that.
        updates: how often each batch is used.
        reward: of texts; [text].
        source: who tells the stories; by default the teller itself.
        look: called after each step.
    """
    learned = [p for p in teller.model.parameters() if p.requires_grad]
    optimizer = adamw(learned, lr)
    with torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - 0.9 * step / steps)
            batch = (source or teller).batch(n, reward)
            for _ in range(updates):
                update(optimizer, learned, loss(teller.model.train(), batch))
            look(step + 1, batch)


def pairs(rewards: Tensor) -> Tensor:
    """Each valid story beside one that is not, while there are any: [2, pair]."""
    chosen, rejected = (rewards > 0).nonzero()[:, 0], (rewards == 0).nonzero()[:, 0]
    many = min(len(chosen), len(rejected))
    return torch.stack([chosen[:many], rejected[:many]])


def adamw(learned: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The optimizer of all runs here."""
    return torch.optim.AdamW(learned, lr, (0.9, 0.99), weight_decay=0.0, fused=True)


def update(optimizer, learned: list[nn.Parameter], loss: Tensor) -> None:
    """One step down a loss in nats per text; a huge gradient is cut."""
    optimizer.zero_grad()
    loss.backward()
    training.clip_gradients(learned, 50.0)
    optimizer.step()


@torch.no_grad()
def costs(teller: Teller, held_out: training.HeldOut, n: int = 512) -> dict:
    """What was won and what was lost, by `n` stories of the model's own.

    Returns:
        valid: share of stories; kl: exact, position by position, nats per story;
        entropy: nats per story; gap: of grammar's stories, nats per token;
        distinct: different ones among the stories; mean_log_prob: the grammar's own, of
        those that are valid; plots, names, things: how often each is in a valid one.
    """
    teller.model.eval()
    texts, kl, entropy = [], 0.0, 0.0
    for _ in range(n // 64):
        batch = teller.batch(64)
        texts += batch.texts
        logits = teller.model(batch.tokens)
        kl += exact_kl(logits, batch.start_logits, batch.targets).item()
        entropy -= picked(logits, batch.targets).sum(1).mean().item()
    told = list(filter(None, map(stories.parse, texts)))
    bound = [one.bound for one in told]
    return {
        "valid": len(told) / len(texts),
        "kl": kl / (n // 64),
        "entropy": entropy / (n // 64),
        "gap": held_out.loss(teller.model) - held_out.own,
        "distinct": len(set(texts)),
        "mean_log_prob": sum(one.log_prob for one in told) / max(1, len(told)),
        "plots": dict(Counter(one.plot for one in told).most_common()),
        "names": dict(Counter(some["A"][0] for some in bound).most_common()),
        "things": dict(Counter(some["x"] for some in bound if "x" in some)),
    }


def spread(counts: dict[str, int]) -> float:
    """How many there would be, were all as frequent: e to the entropy of the shares."""
    total = sum(counts.values())
    shares = [count / total for count in counts.values()]
    return math.exp(-sum(share * math.log(share) for share in shares))


def least_kl(valid: float, at_start: float) -> float:
    """The least KL, nats per story, at which a share `valid` of stories is valid.

    Take the start's own valid stories more often, and its others less, and leave all
    else as it is: no distribution that has this share is nearer to the start.
    """
    shares = ((valid, at_start), (1 - valid, 1 - at_start))
    return sum(now * math.log(now / start) for now, start in shares if now > 0)


def with_lora(model: nn.Module, make: type[nn.Module], rank: int, alpha: float) -> None:
    """Freeze a model; beside each matrix of its MLPs a small one learns.

    Args:
        model: changed in place.
        make: the class LoRA.
        rank: of the small matrix.
        alpha: its scale is alpha / rank.
    """

    class Merged(nn.Module):
        def __init__(self, W: Tensor):
            super().__init__()
            self.lora = make(W, rank, alpha)

        def forward(self, W: Tensor) -> Tensor:
            return self.lora.merged()

    model.requires_grad_(False)
    for block in model.blocks:
        for name in ("W_in", "W_out"):
            merged = Merged(getattr(block.mlp, name).detach())
            merged.lora.requires_grad_(True)
            parametrize.register_parametrization(block.mlp, name, merged, unsafe=True)


def load_start(folder: Path = SHIPPED) -> tuple[nn.Module, object]:
    """The start, in fused operations, and its tokenizer."""
    reference = Reference(loading.load_model(folder.name, folder), name=folder.name)
    model = FastTransformer(reference.cfg)
    model.load_state_dict(reference.state_dict(), strict=False)
    model.unembed.b_U.requires_grad_(False)
    return model.eval(), reference.tokenizer


def make_start(tokenizer, steps: int = STEPS, seed: int = 0) -> nn.Module:
    """A model of notebook 09's size after `steps` of its recipe, on all seven plots."""
    cfg = Config(
        d_model=128, n_heads=8, d_head=16, d_mlp=512, n_layers=2,
        d_vocab=len(tokenizer), n_ctx=128,
    )  # fmt: skip
    model = training.new_model(cfg, seed, FastTransformer)
    groups = training.parameter_groups(model, 0.01)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    for step in tqdm(range(steps)):
        if step % 8 == 0:  # those of similar length in one batch, as in notebook 09
            rng = random.Random(f"start/{seed}/{step // 8}")
            texts = [stories.sample(rng) for _ in range(8 * BATCH)]
            rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
            rows.sort(key=len)
            groups = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
            rng.shuffle(groups)
        batch = training.make_batch(groups[step % 8], tokenizer.eos_token_id)
        rate = training.learning_rate(step, steps, 6e-3, 3e-5, min(50, steps // 2))
        training.train_step(model, optimizer, *batch, rate)
    return model


def main(argv: list[str] | None = None) -> None:
    """Make the start, and save it in transformers' format, in half precision."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs") / SHIPPED.name)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    model = make_start(tokenizer, args.steps)
    hf = training.to_transformers(model, tokenizer.eos_token_id).half()
    hf.save_pretrained(args.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(pretrain.SHIPPED / name, args.out / name)


if __name__ == "__main__":
    main()
