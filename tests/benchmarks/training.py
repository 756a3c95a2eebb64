"""Speed of a training step: the course's clean classes beside transformers' GPT-2.

    python tests/benchmarks/training.py            # about a minute on 2 cores

Both have the size of notebook 09's model and get the same batches, AdamW and clipping;
they take turns, so that whatever else the machine does hits both.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from helpers import Config, pretrain, training  # noqa: E402


def main() -> None:
    """Print tokens per second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each")
    parser.add_argument("--batch", type=int, default=32, help="stories a step")
    args = parser.parse_args()
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    cfg = Config(
        d_model=128, n_heads=4, d_head=32, d_mlp=512, n_layers=2,
        d_vocab=len(tokenizer), n_ctx=160,
    )  # fmt: skip
    ours = training.new_model(cfg)
    theirs = training.to_transformers(ours, tokenizer.eos_token_id)
    for module in theirs.modules():  # ours has no dropout
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def their_logits(tokens):
        return theirs(input_ids=tokens, use_cache=False).logits

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = theirs

        def forward(self, tokens):
            return their_logits(tokens)

    models = {"course": ours, "transformers": Theirs()}
    optimizers = {n: torch.optim.AdamW(m.parameters(), 1e-3) for n, m in models.items()}
    seconds = {name: [] for name in models}
    speeds = {name: [] for name in models}
    for step in range(args.steps + 3):
        batch = training.story_batch(tokenizer, f"benchmark/{step}", args.batch)
        order = list(models) if step % 2 else list(models)[::-1]
        for name in order:
            started = time.perf_counter()
            training.train_step(models[name], optimizers[name], *batch, lr=1e-3)
            if step >= 3:  # the first ones warm up
                seconds[name].append(time.perf_counter() - started)
                speeds[name].append(batch[0].numel() / seconds[name][-1])
    for name in models:
        middle = statistics.median(speeds[name])
        print(f"{name:13} {middle:8.0f} tokens/s ({torch.get_num_threads()} threads)")
    ratios = [b / a for a, b in zip(seconds["course"], seconds["transformers"])]
    print(f"ratio, course / transformers: {statistics.median(ratios):.2f} (bar: 0.9)")


if __name__ == "__main__":
    main()
