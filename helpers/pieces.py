"""What each of Llama's pieces buys: GPT-2 with one piece changed at a time.

    python -m helpers.pieces              # about an hour on 2 cores
    python -m helpers.pieces --resume     # goes on after a kill

Models of notebook 09's size learn its tales by its recipe, several seeds each. A model
has as many parameters as its GPT-2: the MLP's width makes up for what a piece saves or
costs. For each is noted how far above the exact floor it ends. Notebook 12 draws the
result, `assets/pieces.json`, and trains one pair of models itself.
"""

import argparse
import concurrent.futures
import functools
import json
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from helpers import pretrain, stories, training
from helpers.config import LlamaConfig
from helpers.llama import rotary_angles, rotate

RESULT = Path(__file__).parent / "assets" / "pieces.json"
TALE = "tale"
STEPS, SEEDS = 1250, 5
SIZES = {"d_model": 128, "n_heads": 8, "d_head": 16, "n_layers": 2, "n_ctx": 160}
D_MLP = 512  # GPT-2's
ROTARY = LlamaConfig(d_head=SIZES["d_head"], rope_theta=10_000.0)
PIECES = ("RMSNorm", "rotary", "SwiGLU", "grouped queries", "QK-norm")
VARIANTS = {
    "GPT-2": (),
    **{piece: (piece,) for piece in PIECES},
    "all of them": (*PIECES, "no biases"),
}


class _Attention(nn.Module):
    def __init__(self, pieces: tuple[str, ...]):
        super().__init__()
        self.pieces = pieces
        heads = SIZES["n_heads"]
        kv_heads = heads // 4 if "grouped queries" in pieces else heads
        self.split = [heads, kv_heads, kv_heads]
        bias = "no biases" not in pieces
        width, inner = SIZES["d_model"], heads * SIZES["d_head"]
        self.qkv = nn.Linear(width, sum(self.split) * SIZES["d_head"], bias)
        self.out = nn.Linear(inner, width, bias)
        if "QK-norm" in pieces:
            self.q_norm = nn.RMSNorm(SIZES["d_head"], eps=1e-5)
            self.k_norm = nn.RMSNorm(SIZES["d_head"], eps=1e-5)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        # -> [batch, position, all heads, d_head] -> three, each with its heads
        qkv = self.qkv(x).unflatten(-1, (-1, SIZES["d_head"]))
        q, k, v = qkv.split(self.split, dim=2)
        if "QK-norm" in self.pieces:
            q, k = self.q_norm(q), self.k_norm(k)
        if "rotary" in self.pieces:
            q, k = rotate(q, angles), rotate(k, angles)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        # [batch, n_heads, position, d_head] -> [batch, position, n_heads * d_head]
        return self.out(z.transpose(1, 2).flatten(2))


class _MLP(nn.Module):
    def __init__(self, pieces: tuple[str, ...], d_mlp: int):
        super().__init__()
        self.gated, bias = "SwiGLU" in pieces, "no biases" not in pieces
        self.into = nn.Linear(SIZES["d_model"], (1 + self.gated) * d_mlp, bias)
        self.out = nn.Linear(d_mlp, SIZES["d_model"], bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self.gated:
            return self.out(F.gelu(self.into(x), approximate="tanh"))
        gate, up = self.into(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * up)


class Mixture(nn.Module):
    """GPT-2 with some of Llama's pieces: tokens -> logits [batch, position, d_vocab].

    Args:
        pieces: of `PIECES`, and "no biases".
        d_vocab: number of tokens.
        d_mlp: width of the MLP; by default, as many parameters as GPT-2 has.
    """

    def __init__(self, pieces: tuple[str, ...], d_vocab: int, d_mlp: int | None = None):
        super().__init__()
        d_mlp = d_mlp or width_of(pieces, d_vocab)
        norm = nn.RMSNorm if "RMSNorm" in pieces else nn.LayerNorm
        width, self.rotary = SIZES["d_model"], "rotary" in pieces
        self.embed = nn.Embedding(d_vocab, width)
        if not self.rotary:
            self.pos_embed = nn.Embedding(SIZES["n_ctx"], width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "ln1": norm(width, eps=1e-5),
                    "attn": _Attention(pieces),
                    "ln2": norm(width, eps=1e-5),
                    "mlp": _MLP(pieces, d_mlp),
                }
            )
            for _ in range(SIZES["n_layers"])
        )
        self.ln_final = norm(width, eps=1e-5)
        self.unembed = nn.Linear(width, d_vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1])
        angles, residual = rotary_angles(positions, ROTARY), self.embed(tokens)
        if not self.rotary:
            residual = residual + self.pos_embed(positions)
        for block in self.blocks:
            residual = residual + block["attn"](block["ln1"](residual), angles)
            residual = residual + block["mlp"](block["ln2"](residual))
        return self.unembed(self.ln_final(residual))


def parameters_of(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_of(pieces: tuple[str, ...], d_vocab: int) -> int:
    """The width of the MLP at which a model has about as many parameters as GPT-2."""
    wanted = parameters_of(Mixture((), d_vocab, D_MLP))
    one, two = (parameters_of(Mixture(pieces, d_vocab, n)) for n in (1, 2))
    return round((wanted - one) / (two - one)) + 1


def start(pieces: tuple[str, ...], d_vocab: int, seed: int) -> Mixture:
    """A model at its start: matrices small and random, gains 1, biases 0."""
    model, generator = Mixture(pieces, d_vocab), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim > 1:
                p.normal_(std=0.02, generator=generator)
            else:
                p.fill_(0.0 if name.endswith("bias") else 1.0)
    return model


@functools.lru_cache(maxsize=200)  # of one seed, which all variants read
def _pool(seed: int, number: int, tokenizer, size: int = 32, many: int = 8) -> list:
    """Fresh tales, those of similar length in one batch, as in notebook 09."""
    rng = random.Random(f"pieces/{seed}/{number}")
    texts = [stories.sample(rng, TALE) for _ in range(size * many)]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    rows.sort(key=len)
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    rng.shuffle(groups)
    return [training.make_batch(group, tokenizer.eos_token_id) for group in groups]


def train(
    pieces: tuple[str, ...],
    seed: int,
    tokenizer,
    steps: int = STEPS,
    look: Callable[[float], None] = lambda loss: None,
) -> tuple[Mixture, float]:
    """A model after its training, and the median of the CPU seconds of a step.

    Args:
        pieces: what it has of Llama.
        seed: of its first weights, and of the tales that it reads.
        tokenizer: the stories' own.
        steps: of notebook 09's schedule.
        look: called after each step with its loss, nats per token.
    """
    model = start(pieces, len(tokenizer), seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}]
    groups += [{"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    seconds = []
    for step in range(steps):
        batch = _pool(seed, step // 8, tokenizer)[step % 8]
        rate = training.learning_rate(step, steps, 6e-3, 3e-5, min(50, steps // 2))
        began = time.process_time()
        loss = training.train_step(model, optimizer, *batch, rate)
        seconds.append(time.process_time() - began)
        look(loss)
    return model, statistics.median(seconds)


@torch.no_grad()
def loss_of_second(model: nn.Module, tokenizer, n: int = 128) -> tuple[float, float]:
    """Two tales in one row, and no model has seen a second one in training.

    Returns:
        The mean loss on the first and on the second, nats per token.
    """
    end, losses = tokenizer.eos_token_id, ([], [])
    texts = training.write("two in a row", 12 * n, TALE)  # not all fit
    ids = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    while len(losses[0]) < n:
        first, second = next(ids), next(ids)
        row = [end, *first, end, *second, end]
        if len(row) > SIZES["n_ctx"]:
            continue
        tokens = torch.tensor([row])
        each = F.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:], reduction="none")
        losses[0].append(each[: len(first) + 1].mean())
        losses[1].append(each[len(first) + 1 :].mean())
    return tuple(torch.stack(part).mean().item() for part in losses)


def cache_bytes(pieces: tuple[str, ...]) -> int:
    """What a cache weighs in float32 for each token: keys and values of all layers."""
    kv_heads = SIZES["n_heads"] // (4 if "grouped queries" in pieces else 1)
    return SIZES["n_layers"] * 2 * kv_heads * SIZES["d_head"] * 4


def measured(variant: str, seed: int, steps: int, n: int = 1024) -> dict:
    """One run, and all that is noted of it, on `n` tales that it has not read."""
    torch.set_num_threads(1)
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    pieces = VARIANTS[variant]
    model, seconds = train(pieces, seed, tokenizer, steps)
    held_out = training.HeldOut.of_stories(tokenizer, n=n, start=TALE)
    first, second = loss_of_second(model.eval(), tokenizer, n // 8)
    return {
        "variant": variant,
        "seed": seed,
        "gap": held_out.loss(model) - held_out.own,
        "seconds": seconds,
        "first": first,
        "second": second,
        "parameters": parameters_of(model),
        "d_mlp": width_of(pieces, len(tokenizer)),
        "cache_bytes": cache_bytes(pieces),
    }


def _order(run: dict) -> tuple[int, int]:
    return run["seed"], list(VARIANTS).index(run["variant"])


def main(argv: list[str] | None = None) -> None:
    """Train all, several at a time, and write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=RESULT)
    add("--resume", action="store_true", help="keep the runs that --out has")
    add("--steps", type=int, default=STEPS)
    add("--seeds", type=int, default=SEEDS)
    add("--held-out", type=int, default=1024, help="tales to measure on")
    add("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    args = parser.parse_args(argv)
    settings = {"steps": args.steps, "text": TALE, "batch": 32} | SIZES
    settings["held_out"] = args.held_out
    runs = []
    if args.resume and args.out.exists():
        before = json.loads(args.out.read_text(encoding="utf-8"))
        if before["settings"] != settings:
            parser.error(f"{args.out} was made with other settings; give another --out")
        runs = before["runs"]
    done = {(run["variant"], run["seed"]) for run in runs}
    todo = [(v, s) for s in range(args.seeds) for v in VARIANTS if (v, s) not in done]
    context = multiprocessing.get_context("spawn")  # PyTorch's threads do not fork
    pool = concurrent.futures.ProcessPoolExecutor(args.workers, mp_context=context)
    with tqdm(total=len(done) + len(todo), initial=len(done)) as bar, pool:
        futures = [
            pool.submit(measured, *run, args.steps, args.held_out) for run in todo
        ]
        try:
            for future in concurrent.futures.as_completed(futures):
                runs.append(future.result())
                runs.sort(key=_order)
                text = json.dumps({"settings": settings, "runs": runs}, indent=1)
                aside = args.out.with_suffix(".tmp")
                aside.write_text(text + "\n", encoding="utf-8")
                os.replace(aside, args.out)
                bar.set_postfix(gap=f"{runs[-1]['gap']:.4f}")
                bar.update()
        finally:  # after an error, or Ctrl-C, start no further run
            pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
