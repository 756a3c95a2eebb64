"""What validity costs: several methods, strengths and seeds, at the same compute.

    python -m helpers.frontier              # less than an hour on 2 cores
    python -m helpers.frontier --resume     # goes on after a kill

Every run begins with notebook 13's start. Each of its steps draws the same number of
stories, and takes one step down its loss. For each run is noted how many of its stories
are valid in the end, and what that cost. Notebook 13 draws the result,
`assets/frontier.json`.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers import reward, training
from helpers.reward import Batch, Teller, picked

RESULT = Path(__file__).parent / "assets" / "frontier.json"
STEPS, STORIES, SEEDS = 60, 64, 5
# DPO's is the best of four that were tried: 3e-5, 1e-4, 2e-4 and 7e-4
RATES = {"GRPO": 7e-4, "DPO": 1e-4, "own valid stories": 7e-4}
RUNS = (  # a method, and the strength with which it is held to the start
    ("GRPO", 0.02),
    ("GRPO", 0.1),
    ("GRPO", 0.3),
    ("GRPO", 1.0),
    ("DPO", 0.03),
    ("DPO", 0.1),
    ("DPO", 0.3),
    ("DPO", 1.0),
    ("own valid stories", 0.0),
)


def grpo(model: nn.Module, batch: Batch, beta: float) -> Tensor:
    """The clipped policy gradient of one group, and beta times the KL of a story."""
    logits = model(batch.tokens)
    now = picked(logits, batch.targets)
    gain = reward.group_advantages(batch.rewards[None])[0]  # one group
    won = reward.clipped_loss(now, batch.old_log_probs, batch.targets, gain)
    return won + beta * reward.exact_kl(logits, batch.start_logits, batch.targets)


def dpo(model: nn.Module, batch: Batch, beta: float) -> Tensor:
    """DPO's loss of pairs of the start's stories."""
    both = reward.pairs(batch.rewards)  # [2, pair]
    targets, start = batch.targets[both], batch.old_log_probs[both]
    now = picked(model(batch.tokens[both.flatten()]), targets.flatten(0, 1))
    return reward.dpo_loss(now.view(start.shape), start, targets, beta)


def imitate(model: nn.Module, batch: Batch, beta: float = 0.0) -> Tensor:
    """The usual loss, on those of the model's own stories that are valid."""
    good = batch.rewards > 0
    return training.batch_loss(model(batch.tokens[good]), batch.targets[good])


LOSSES = {"GRPO": grpo, "DPO": dpo, "own valid stories": imitate}


def learned(
    method: str,
    beta: float,
    seed: int,
    steps: int = STEPS,
    look: Callable[[int, Batch], None] = lambda step, batch: None,
) -> Teller:
    """A teller after its run.

    Args:
        method: of `LOSSES`.
        beta: the strength with which it is held to the start.
        seed: of all that is drawn.
        steps: batches.
        look: called after each step.
    """
    start, tokenizer = reward.load_start()
    teller = Teller(start, tokenizer, seed)
    source = Teller(start, tokenizer, seed) if method == "DPO" else None
    loss = partial(LOSSES[method], beta=beta)
    reward.learn(teller, loss, steps, STORIES, RATES[method], source=source, look=look)
    return teller


def measured(method: str, beta: float, seed: int, steps: int, n: int) -> dict:
    """One run, and all that is noted of it, by `n` stories of its own."""
    torch.set_num_threads(1)
    began = time.process_time()
    teller = learned(method, beta, seed, steps)
    seconds = time.process_time() - began
    held_out = training.HeldOut.of_stories(teller.tokenizer, min(512, n))
    run = {"method": method, "beta": beta, "seed": seed, "seconds": round(seconds, 1)}
    run |= reward.costs(teller, held_out, n)
    run["story"] = teller.tokenizer.decode(teller.tell(1)[0])
    return run


def _order(run: dict) -> tuple[int, int]:
    return run["seed"], RUNS.index((run["method"], run["beta"]))


def main(argv: list[str] | None = None) -> None:
    """Make all runs, several at a time, and write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=RESULT)
    add("--resume", action="store_true", help="keep the runs that --out has")
    add("--steps", type=int, default=STEPS)
    add("--seeds", type=int, default=SEEDS)
    add("--stories", type=int, default=1024, help="to measure on")
    add("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    args = parser.parse_args(argv)
    settings = {"steps": args.steps, "stories_a_step": STORIES, "rates": RATES}
    settings["measured_on"] = args.stories
    runs = []
    if args.resume and args.out.exists():
        before = json.loads(args.out.read_text(encoding="utf-8"))
        if before["settings"] != settings:
            parser.error(f"{args.out} was made with other settings; give another --out")
        runs = before["runs"]
    done = {(run["method"], run["beta"], run["seed"]) for run in runs}
    todo = [(*run, s) for s in range(args.seeds) for run in RUNS]
    todo = [run for run in todo if run not in done]
    context = multiprocessing.get_context("spawn")  # PyTorch's threads do not fork
    pool = concurrent.futures.ProcessPoolExecutor(args.workers, mp_context=context)
    with tqdm(total=len(done) + len(todo), initial=len(done)) as bar, pool:
        futures = [
            pool.submit(measured, *run, args.steps, args.stories) for run in todo
        ]
        try:
            for future in concurrent.futures.as_completed(futures):
                runs.append(future.result())
                runs.sort(key=_order)
                text = json.dumps({"settings": settings, "runs": runs}, indent=1)
                aside = args.out.with_suffix(".tmp")
                aside.write_text(text + "\n", encoding="utf-8")
                os.replace(aside, args.out)
                bar.set_postfix(valid=f"{runs[-1]['valid']:.2f}")
                bar.update()
        finally:  # after an error, or Ctrl-C, start no further run
            pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
