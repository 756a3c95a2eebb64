"""Training, in the code of notebook 09: batches, schedule, step, saving.

Stories stand at the start of the window, one in a row. `helpers.pretrain` trains the
shipped model by the same recipe, and on several processes.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from helpers import model as course
from helpers import stories
from helpers.config import Config
from helpers.gpt2_names import SIZES, course_views
from helpers.heads import said_before

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
IGNORED = -100  # the target where there is nothing to predict


def make_batch(rows, end):
    """Lists of token ids as tokens and targets, both [batch, position].

    A row of tokens: the end token, the ids, padding. A row of targets: the token that
    comes next, the end token last of all, then -100 where there is only padding.
    """
    longest = max(len(row) for row in rows)
    tokens = torch.full((len(rows), longest + 1), end)  # [batch, position]
    targets = torch.full((len(rows), longest + 1), -100)
    for i, row in enumerate(rows):
        tokens[i, 1 : len(row) + 1] = torch.tensor(row)
        targets[i, : len(row) + 1] = torch.tensor([*row, end])
    return tokens, targets


def batch_loss(logits, targets):
    """Mean loss in nats over the targets that are not -100."""
    # [batch, position, d_vocab] -> [batch * position, d_vocab]
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat, targets.flatten(), ignore_index=-100)


def parameter_groups(model, weight_decay):
    """Two groups for AdamW: matrices, with weight decay, and the rest, without."""
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # The last part of a name tells: W_E, W_Q, ... are matrices; b_Q, w and b are not.
    is_matrix = {name: name.split(".")[-1].startswith("W_") for name in learned}
    matrices = [p for name, p in learned.items() if is_matrix[name]]
    others = [p for name, p in learned.items() if not is_matrix[name]]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def learning_rate(step, steps, peak, lowest, warmup):
    """The rate of one step: a straight line up to the peak, then half a cosine down.

    Step 0 has peak / warmup, step warmup - 1 the peak, step steps - 1 the lowest.
    """
    update = step + 1
    if update <= warmup:
        return peak * update / warmup
    progress = (update - warmup) / (steps - warmup)  # from 0 at the peak to 1
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))


def clip_gradients(parameters, max_norm):
    """Scale all gradients down together where their joint length exceeds max_norm.

    Returns the length that they had before.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(grad.pow(2).sum().item() for grad in gradients))
    if norm > max_norm:
        for grad in gradients:
            grad.mul_(max_norm / norm)
    return norm


def train_step(model, optimizer, tokens, targets, lr, max_norm=1.0):
    """One update of the model's parameters; returns the loss as a number."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = lr
    loss = batch_loss(model(tokens), targets)
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(list(model.parameters()), max_norm)
    optimizer.step()
    return loss.item()


# What the notebook uses ready-made


def new_model(
    cfg: Config, seed: int = 0, cls: type[nn.Module] = course.DemoTransformer
) -> nn.Module:
    """A GPT-2 at its start: matrices small and random, gains 1, biases 0.

    The same numbers whatever the class does in `__init__`. `b_U` stays frozen at 0,
    since GPT2LMHeadModel has no such bias.
    """
    model = cls(cfg)
    model.cfg = cfg  # a class of one's own may not keep it
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            last = name.split(".")[-1]
            if last.startswith("W_"):
                p.normal_(std=cfg.init_range, generator=generator)
            else:
                p.fill_(1.0 if last == "w" else 0.0)
    model.unembed.b_U.requires_grad_(False)
    return model


def write(name: str, size: int, start: str = "story") -> list[str]:
    """`size` stories; another `name`, other stories. `start`: "story" or "tale"."""
    return [stories.sample(random.Random(f"{name}/{i}"), start) for i in range(size)]


def encode(texts: list[str], tokenizer) -> tuple[Tensor, Tensor]:
    """Texts as tokens and targets, both [batch, position]; see `make_batch`."""
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return make_batch(rows, tokenizer.eos_token_id)


@dataclass(frozen=True)
class HeldOut:
    """Stories kept out of training."""

    batches: list[tuple[Tensor, Tensor]]  # tokens and targets
    own: float  # the grammar's own loss on just these stories, nats per token

    @classmethod
    def of_stories(
        cls, tokenizer, n: int = 256, size: int = 64, start: str = "story"
    ) -> "HeldOut":
        """`n` stories in batches of `size`, and how likely the grammar finds them."""
        size = min(size, n)
        parts = [write(f"held-out/{i}", size, start) for i in range(n // size)]
        batches = [encode(texts, tokenizer) for texts in parts]
        many = sum(int((targets != IGNORED).sum()) for _, targets in batches)
        own = -sum(stories.log_prob(text, start) for texts in parts for text in texts)
        return cls(batches, own / many)

    @torch.no_grad()
    def loss(self, model: nn.Module) -> float:
        """The model's loss on them, nats per token."""
        model.eval()
        total = many = 0.0
        for tokens, targets in self.batches:
            count = int((targets != IGNORED).sum())
            total += batch_loss(model(tokens), targets).item() * count
            many += count
        return total / many

    @torch.no_grad()
    def losses(self, model: nn.Module, words: Tensor) -> tuple[float, float]:
        """The loss where the coming token is one of `words`, said before; elsewhere."""
        model.eval()
        again, elsewhere = [], []
        for tokens, targets in self.batches:
            losses = F.cross_entropy(model(tokens).mT, targets, reduction="none")
            said = said_before(tokens, targets, words).any(dim=-1)
            again.append(losses[said])
            elsewhere.append(losses[~said & (targets != IGNORED)])
        return torch.cat(again).mean().item(), torch.cat(elsewhere).mean().item()


def baselines(
    tokenizer, held_out: HeldOut, n: int = 8000, start: str = "story"
) -> dict[str, float]:
    """The held-out loss of four models that only count, in nats per token.

    The last knows what follows a token at a position. Each one's counts are mixed with
    those of the one before, so that what was never seen is not impossible.
    """
    d_vocab, end = len(tokenizer), tokenizer.eos_token_id
    texts = write("counts", n, start)
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    single, pairs, before = Counter(), Counter(), Counter()
    for row in rows:
        single.update([*row, end])
        for place, (a, b) in enumerate(pairwise([end, *row, end])):
            pairs.update([(a, b), (place, a, b)])
            before.update([a, (place, a)])
    many = single.total() + 0.1 * d_vocab

    def unigram(place, a, b):
        return (single[b] + 0.1) / many

    def bigram(place, a, b):
        return (pairs[a, b] + unigram(place, a, b)) / (before[a] + 1)

    def placed(place, a, b):
        return (pairs[place, a, b] + bigram(place, a, b)) / (before[place, a] + 1)

    counted = [
        (place, int(tokens[row, place]), int(targets[row, place]))
        for tokens, targets in held_out.batches
        for row, place in (targets != IGNORED).nonzero().tolist()
    ]
    names = {"unigram": unigram, "bigram": bigram, "token + position": placed}
    losses = {
        name: -sum(math.log(p(*at)) for at in counted) / len(counted)
        for name, p in names.items()
    }
    return {"uniform": math.log(d_vocab), **losses}


def to_transformers(model: nn.Module, end: int) -> GPT2LMHeadModel:
    """The same model as transformers' GPT2LMHeadModel, its head untied.

    `end` is the id of the token before and after a text. ValueError where `b_U` is not
    0, since transformers' head has no bias.
    """
    cfg, ours = model.cfg, model.state_dict()  # by name, whatever holds the blocks
    if ours["unembed.b_U"].any():
        raise ValueError("b_U is not 0, and GPT2LMHeadModel has no bias in its head")
    sizes = {theirs: getattr(cfg, ours) for ours, theirs in SIZES.items()}
    how = {"tie_word_embeddings": False, "bos_token_id": end, "eos_token_id": end}
    config = GPT2Config(**sizes, n_inner=cfg.d_mlp, **how)
    hf = GPT2LMHeadModel(config)
    for name, view in course_views(hf).items():
        view.copy_(ours[name])
    return hf.eval()


def course_prose() -> str:
    """The text of the course's notebooks: about a hundred thousand characters."""
    cells = [
        "".join(cell["source"])
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    ]
    return "\n\n".join(cells)


def own_text(path: str | Path) -> str:
    """The text of a person's own file.

    Raises:
        ValueError: in one sentence, if it cannot be read or is not UTF-8.
    """
    try:
        # "sig": some editors put a byte-order mark in front, which is no text
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problem = "it is not UTF-8; save it as UTF-8 in an editor"
    except OSError as error:
        problem = f"{error.strerror}; check the path"
    raise ValueError(f"Cannot read {path}: {problem}.")


def train_tokenizer(
    texts: str | Iterable[str], d_vocab: int, special_tokens: Iterable[str] = ()
) -> Tokenizer:
    """A byte-level BPE of `d_vocab` tokens, at least 256, learned from texts.

    All 256 bytes are in its alphabet, so it encodes any text.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([texts] if isinstance(texts, str) else texts, trainer)
    return bpe
