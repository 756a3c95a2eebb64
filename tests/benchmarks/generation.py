"""Tokens per second: the course's KV cache beside transformers' `generate`.

    python tests/benchmarks/generation.py

Greedy, batch 1, float32, on the CPU, on the shipped model and on a GPT-2 of full size
with random weights. The two take turns in one run; medians, and their ratio, whose bar
is 1.0 on the shipped model and 0.8 on the full size.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers.generation import CachedTransformer, greedy_cached  # noqa: E402
from helpers.reference import Reference, load_reference  # noqa: E402


def full_size() -> Reference:
    """GPT-2 small's configuration, random weights, transformers' fastest attention."""
    torch.manual_seed(0)
    config = transformers.GPT2Config()
    return Reference(transformers.GPT2LMHeadModel(config), name="full-size GPT-2")


def contestants(reference: Reference, tokens, n_new: int) -> dict[str, Callable]:
    """Both ways to add n_new tokens, by name."""
    with torch.device("meta"):  # random weights would only be replaced
        ours = CachedTransformer(reference.cfg).eval()
    ours.load_state_dict(reference.state_dict(), assign=True)
    theirs, nothing = reference.model, reference.cfg.d_vocab
    everything = torch.ones_like(tokens)

    def generate():
        return theirs.generate(
            tokens,
            attention_mask=everything,
            max_new_tokens=n_new,
            do_sample=False,
            eos_token_id=nothing,  # never said, so that both add as many
            pad_token_id=0,
        )

    return {
        "course": lambda: greedy_cached(ours, tokens, n_new),
        "transformers": generate,
    }


def measure(reference: Reference, prompt: int, n_new: int, rounds: int) -> float:
    """Print tokens per second of both, and return the ratio of their medians."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(reference.cfg.d_vocab, (1, prompt), generator=generator)
    runs = contestants(reference, tokens, n_new)
    results = {name: run() for name, run in runs.items()}  # warm-up, and the answers
    same = torch.equal(results["course"], results["transformers"])
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    speed = {name: n_new / statistics.median(s) for name, s in seconds.items()}
    ratio = speed["course"] / speed["transformers"]
    print(
        f"{reference.name}: course {speed['course']:.1f} tokens/s, transformers "
        f"{speed['transformers']:.1f} tokens/s, ratio {ratio:.2f}; "
        f"same tokens: {'yes' if same else 'no'}"
    )
    return ratio


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["stories", "full"], help="one of the two")
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if chosen.only != "full":
        measure(load_reference("stories"), prompt=8, n_new=100, rounds=chosen.rounds)
    if chosen.only != "stories":
        measure(full_size(), prompt=8, n_new=40, rounds=chosen.rounds)


if __name__ == "__main__":
    main()
