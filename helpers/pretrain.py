"""Trains the shipped references: a tokenizer and a small model that tells stories.

    python -m helpers.pretrain                         # less than an hour on 2 cores
    python -m helpers.pretrain --family llama          # stories-llama, in about as long
    python -m helpers.pretrain --resume                # goes on after a kill
    torchrun --nproc-per-node 2 -m helpers.pretrain    # the same on 2 processes
    python -m helpers.pretrain --evaluate              # measures the shipped model

The shipped models come of the first two commands. Resuming with more `--steps` follows
the longer schedule.

Every step sees stories that no step saw before. Story `i` of step `s` depends on the
seed, `s` and `i` alone: so a resumed run, and a run on several processes, see the same.
"""

import argparse
import json
import math
import os
import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from helpers import stories, training
from helpers.reference import ASSETS
from helpers.reference import SHIPPED as NAMES
from helpers.training import IGNORED, encode

SHIPPED = ASSETS / "stories"
STEPS = {"gpt2": 6000, "llama": 10_500}
END = "<|endoftext|>"  # stands before and after a story, and pads


def train_tokenizer(folder: Path, d_vocab=1024, n_ctx=128, n=20_000):
    """Train a byte-level BPE on `n` stories, save it to `folder` and return it."""
    texts = training.write("tokenizer", n)
    bpe = training.train_tokenizer(texts, d_vocab, special_tokens=[END])
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / "tokenizer.json"))
    ends = dict.fromkeys(["bos_token", "eos_token", "pad_token", "unk_token"], END)
    config = {  # written by hand: transformers 4 and 5 name the class differently
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": n_ctx,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(config | ends, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in `folder`."""
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def summed_loss(model, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-log_prob of each story in nats: [batch]."""
    logits = model(input_ids=tokens, use_cache=False).logits
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )  # [batch * position]
    return losses.view(targets.shape).sum(-1)


# ---------------------------------------------------------------- how good is it


class Gap(NamedTuple):
    """Nats per token, end token counted."""

    gap: float  # the model's loss minus the grammar's own, on the same stories
    error: float  # the standard error of `gap`
    loss: float  # the model's loss on those stories
    floor: float  # the exact entropy, over all stories


@torch.no_grad()
def evaluate_gap(model, tokenizer, n: int = 2000, seed: str = "held-out") -> Gap:
    """How far `model` is above the entropy floor, on `n` stories kept out of training.

    Both losses are taken on the same stories, so their luck cancels.
    """
    texts = training.write(seed, n)
    losses, lengths = [], []
    for at in range(0, n, 100):
        tokens, targets = encode(texts[at : at + 100], tokenizer)
        tokens, targets = tokens.to(model.device), targets.to(model.device)
        losses += summed_loss(model, tokens, targets).tolist()
        lengths += (targets != IGNORED).sum(-1).tolist()
    excess = [loss + stories.log_prob(text) for loss, text in zip(losses, texts)]
    gap = sum(excess) / sum(lengths)
    spread = statistics.stdev(e - gap * m for e, m in zip(excess, lengths))
    error = spread / math.sqrt(n) / statistics.mean(lengths)
    floor = stories.entropy_per_token(tokenizer)
    return Gap(gap, error, sum(losses) / sum(lengths), floor)


def sample_stories(
    model, tokenizer, n: int, temperature: float = 1.0, seed: int = 0
) -> list[str]:
    """Let `model` write `n` stories, from the end token to the end token, full softmax.

    One that the context cannot hold ends in "…", which no valid story does.
    """
    end, rows = tokenizer.eos_token_id, []
    longest = model.config.max_position_embeddings + 1
    other = int(end == 0)  # pads what is finished; `end` would make the start padding
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        while len(rows) < n:
            start = torch.full((min(250, n - len(rows)), 1), end, device=model.device)
            rows += model.eval().generate(
                start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0,
                temperature=temperature, max_length=longest,
                eos_token_id=end, pad_token_id=other,
            ).tolist()  # fmt: skip
    texts = [tokenizer.decode(row).split(END) for row in rows]
    return [text if ended else f"{text}…" for _, text, *ended in texts]


def evaluate(folder: Path, n: int = 1000) -> None:
    """Print the gap to the floor, and the share of valid stories among `n`."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    result = evaluate_gap(model.eval(), tokenizer)
    print(f"on 2000 held-out stories: {result.loss:.4f} nats per token")
    print(f"floor, over all stories: {result.floor:.4f} nats per token")
    print(f"gap to the floor {result.gap:.5f} ± {result.error:.5f} nats per token")
    texts = sample_stories(model, tokenizer, n)
    wrong = [text for text in texts if not stories.valid(text)]
    print(f"valid: {n - len(wrong)} of {n} sampled stories ({1 - len(wrong) / n:.1%})")
    for text in wrong[:5]:
        print(f"  not valid: {stories.explain(text)}")


# ---------------------------------------------------------------- training


def save_checkpoint(folder: Path, state: dict, keep: int = 2) -> None:
    """Write `state` so that a kill leaves whole files only; keep the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "unfinished.tmp"
    with aside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, folder / f"step_{state['step']:07d}.pt")
    for old in sorted(folder.glob("step_*.pt"))[:-keep]:
        old.unlink()


def load_checkpoint(folder: Path) -> dict | None:
    """The newest checkpoint in `folder` that can be read, or None."""
    for path in sorted(folder.glob("step_*.pt"), reverse=True):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # a cut file can raise a dozen kinds of error
            kind = type(problem).__name__
            print(f"{path.name} cannot be read ({kind}); trying the one before it.")
    return None


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """As in notebook 09, down to 0; the peak comes twice, so the last step still has
    something to give."""
    return training.learning_rate(step - (step >= warmup), steps, peak, 0.0, warmup)


def train(args: argparse.Namespace) -> list[float]:
    """Train as `args` say; return the loss of every step, in nats per token."""
    # torchrun sets these three; without it there is one process.
    names = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1}
    rank, local, world = (int(os.environ.get(key, names[key])) for key in names)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        return _train(args, device, rank, world)
    finally:
        if world > 1:
            dist.destroy_process_group()


def _new_model(args, tokenizer, device: torch.device):
    """The model at its start, and its optimizer."""
    end = tokenizer.eos_token_id
    torch.manual_seed(args.seed)
    make = {"gpt2": _gpt2, "llama": _llama}[args.family]
    config = make(args, vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end)
    model = AutoModelForCausalLM.from_config(config).to(device)
    # The tied table is pulled about by the output: all names get the same pull, until
    # they can be copied. Rows that begin far apart stay apart, so copying comes sooner.
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.1)
    # Only generate() needs it: in the config, every batch would warn of a missing mask.
    model.generation_config.pad_token_id = end
    if args.family == "gpt2":  # trained as the same function in fewer operations
        config.activation_function = "gelu_new"
    # Decay pulls on matrices only: gains should stay near 1, biases where they help.
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    how = {"lr": args.lr, "betas": (0.9, 0.99), "weight_decay": args.weight_decay}
    return model, torch.optim.AdamW(groups, **how)


def _gpt2(args, **ends) -> GPT2Config:
    return GPT2Config(
        n_positions=args.n_ctx, n_embd=args.d_model, n_layer=args.n_layers,
        n_head=args.d_model // 32, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        # "gelu_new" is the same function in seven operations, and 15% slower here.
        activation_function="gelu_pytorch_tanh", **ends,
    )  # fmt: skip


def _llama(args, **ends) -> Qwen3Config:
    """About as many parameters as the GPT-2 of the same width."""
    return Qwen3Config(
        max_position_embeddings=args.n_ctx, hidden_size=args.d_model,
        num_hidden_layers=args.n_layers, num_attention_heads=args.d_model // 32,
        num_key_value_heads=args.d_model // 64, head_dim=32,
        intermediate_size=3 * args.d_model, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0}, **ends,
    )  # fmt: skip


def _train(args, device: torch.device, rank: int, world: int) -> list[float]:
    if rank == 0 and not (args.resume and (args.out / "tokenizer.json").exists()):
        train_tokenizer(args.out, args.d_vocab, args.n_ctx, args.tokenizer_stories)
    if world > 1:
        dist.barrier()
    tokenizer = load_tokenizer(args.out)
    model, optimizer = _new_model(args, tokenizer, device)
    step, losses, checkpoints = 0, [], args.out / "checkpoints"
    state = load_checkpoint(checkpoints) if args.resume else None
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, losses = state["step"], state["losses"]
    elif rank == 0:
        for old in checkpoints.glob("step_*.pt"):  # of an earlier run
            old.unlink()
    runner = DistributedDataParallel(model) if world > 1 else model

    floor, started = stories.entropy_per_token(tokenizer), time.monotonic()
    bar = tqdm(total=args.steps, initial=step, disable=rank > 0, mininterval=1)
    late = False
    while step < args.steps and not late:
        # A process takes every world-th story, so that all of them share one batch.
        mine = range(rank, args.batch, world)
        seeds = [f"{args.seed}/{step}/{i}" for i in mine]
        texts = [stories.sample(random.Random(seed)) for seed in seeds]
        tokens, targets = (part.to(device) for part in encode(texts, tokenizer))
        total = summed_loss(runner, tokens, targets).sum()
        many = (targets != IGNORED).sum()
        late = total.new_tensor(time.monotonic() - started > args.seconds)
        sums = torch.stack([total.detach(), many, late])
        if world > 1:
            dist.all_reduce(sums)
        # The mean over the tokens of all processes; DDP divides gradients by `world`.
        optimizer.zero_grad()
        (total * world / sums[1]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.lr, args.warmup)
        optimizer.step()
        losses.append((sums[0] / sums[1]).item())
        late = bool(sums[2])  # for all processes, as soon as it is for one
        step += 1
        bar.update()
        bar.set_postfix(loss=f"{losses[-1]:.4f}", floor=f"{floor:.4f}", refresh=False)
        if rank == 0 and (step % args.save_every == 0 or step == args.steps or late):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoints, state | {"step": step, "losses": losses})
    bar.close()
    if rank == 0:
        model.save_pretrained(args.out)
        curve = json.dumps([round(loss, 6) for loss in losses])
        (args.out / "curve.json").write_text(curve, encoding="utf-8")
        seconds = time.monotonic() - started
        print(f"step {step} after {seconds:.0f} s; the model is in {args.out}")
    return losses


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; `argv` None means the real one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    say = "measure the model in FOLDER (default: the shipped one); train nothing"
    add("--evaluate", nargs="?", const=SHIPPED, type=Path, metavar="FOLDER", help=say)
    add("--family", choices=tuple(NAMES), default="gpt2", help="what it is built like")
    add("--out", type=Path, help="where the model goes (default: below runs)")
    add("--resume", action="store_true", help="go on from the last checkpoint in --out")
    add("--steps", type=int, help="default: 6,000; for a Llama 10,500")
    add("--seconds", type=float, default=math.inf, help="stop (and save) after so long")
    add("--batch", type=int, default=32, help="stories a step, over all processes")
    add("--lr", type=float, default=3e-3, help="highest learning rate")
    add("--warmup", type=int, default=50, help="steps")
    add("--weight-decay", type=float, default=0.01)
    add("--seed", type=int, default=0)
    add("--save-every", type=int, default=100, help="steps between checkpoints")
    add("--d-vocab", type=int, default=1024, help="tokens, at most")
    add("--tokenizer-stories", type=int, default=20_000, help="to learn tokens from")
    add("--d-model", type=int, default=128)
    add("--n-layers", type=int, default=4)
    add("--n-ctx", type=int, default=128)
    args = parser.parse_args(argv)
    args.out = args.out or Path("runs") / NAMES[args.family]
    args.steps = args.steps or STEPS[args.family]
    return args


def main(argv: list[str] | None = None) -> None:
    """Train, or measure with `--evaluate`."""
    args = parse_arguments(argv)
    evaluate(args.evaluate) if args.evaluate else train(args)


if __name__ == "__main__":
    main()
