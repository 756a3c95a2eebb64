"""Tokens per second, and seconds a forward pass, beside transformers' own.

    python tests/benchmarks/generation.py

Greedy, batch 1, float32, on the CPU, on the shipped model and on a GPT-2 of full size
with random weights: the cache of notebook 08, helpers/fast.py and transformers take
turns in one run. Medians, their ratios, and the share of the limit that the machine's
memory sets: every weight is read once for each token.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers.fast import FastTransformer, greedy_fast  # noqa: E402
from helpers.generation import CachedTransformer, greedy_cached  # noqa: E402
from helpers.reference import Reference, load_reference  # noqa: E402


def full_size() -> Reference:
    """GPT-2 small's configuration, random weights, transformers' fastest attention."""
    torch.manual_seed(0)
    config = transformers.GPT2Config()
    return Reference(transformers.GPT2LMHeadModel(config), name="full-size GPT-2")


def with_weights(cls: type[nn.Module], reference: Reference) -> nn.Module:
    """A model of one of the course's classes, with the reference's weights."""
    with torch.device("meta"):  # random weights would only be replaced
        model = cls(reference.cfg).eval()
    model.load_state_dict(reference.state_dict(), assign=True)
    return model


def contestants(reference: Reference, tokens, n_new: int) -> dict[str, Callable]:
    """All ways to add n_new tokens, by name."""
    cached = with_weights(CachedTransformer, reference)
    fast = with_weights(FastTransformer, reference)
    theirs, nothing = reference.model, reference.cfg.d_vocab
    everything = torch.ones_like(tokens)

    def generate():
        return theirs.generate(
            tokens,
            attention_mask=everything,
            max_new_tokens=n_new,
            do_sample=False,
            eos_token_id=nothing,  # never said, so that all add as many
            pad_token_id=0,
        )

    return {
        "notebook 08": lambda: greedy_cached(cached, tokens, n_new),
        "fast": lambda: greedy_fast(fast, tokens, n_new),
        "transformers": generate,
    }


def medians(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns, after a first call that does not count."""
    for run in runs.values():
        run()
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def weights_read(reference: Reference) -> int:
    """Bytes of float32 weights that one token needs: all but the two look-up tables."""
    tables = ("embed.W_E", "pos_embed.W_pos")
    state = reference.state_dict()
    return sum(4 * p.numel() for name, p in state.items() if name not in tables)


def measure(reference: Reference, prompt: int, n_new: int, rounds: int) -> None:
    """Print tokens per second of all, and what they are worth."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(reference.cfg.d_vocab, (1, prompt), generator=generator)
    runs = contestants(reference, tokens, n_new)
    said = [run() for run in runs.values()]
    same = all(torch.equal(said[0], other) for other in said)
    seconds = medians(runs, rounds)
    print(f"{reference.name}: same tokens: {'yes' if same else 'no'}")
    for name, took in seconds.items():
        ratio = seconds["transformers"] / took
        print(f"  {name:13} {n_new / took:7.1f} tokens/s, {ratio:.2f} of transformers'")
    large = torch.randn(2**27)
    bandwidth = 2**29 / medians({"": large.sum}, 7)[""]  # bytes a second
    limit = bandwidth / weights_read(reference)
    share = n_new / seconds["fast"] / limit
    print(f"  memory's limit {limit:7.1f} tokens/s; fast reaches {share:.0%} of it")


@torch.no_grad()
def measure_forward(reference: Reference, size: tuple[int, int], rounds: int) -> None:
    """Print the time of a forward pass as a share of transformers'."""
    tokens = torch.randint(reference.cfg.d_vocab, size)
    fast, theirs = with_weights(FastTransformer, reference), reference.model
    runs = {
        "fast": lambda: fast(tokens),
        "transformers": lambda: theirs(tokens, use_cache=False).logits,
    }
    ours, other = (run() for run in runs.values())
    off = ((ours - other).abs().max() / other.abs().max()).item()
    seconds = medians(runs, rounds)
    ratio = seconds["fast"] / seconds["transformers"]
    print(
        f"{reference.name}, forward {list(size)}: {seconds['fast']:.3f} s, "
        f"{ratio:.2f} of transformers' time; logits {off:.0e} apart"
    )


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
        reference = full_size()
        measure(reference, prompt=8, n_new=50, rounds=chosen.rounds)
        for size in ((1, 35), (4, 256)):
            measure_forward(reference, size, chosen.rounds)


if __name__ == "__main__":
    main()
