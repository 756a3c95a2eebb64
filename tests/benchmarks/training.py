"""Speed of a training step: the course's classes beside transformers' GPT-2.

    python tests/benchmarks/training.py            # about a minute on 2 cores

The clear classes of notebooks 02 to 07, the fused ones of helpers/fast.py, and
transformers, all of the size of notebook 09's model. They get the same batches,
AdamW and clipping, and take turns, so that whatever else the machine does hits all.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from helpers import Config, pretrain, training  # noqa: E402
from helpers.fast import FastTransformer  # noqa: E402


class Transformers(nn.Module):
    """A GPT2LMHeadModel without dropout, called as the course's models are."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits


def main() -> None:
    """Print tokens per second of the three, and two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="timed steps of each")
    parser.add_argument("--batch", type=int, default=32, help="stories a step")
    args = parser.parse_args()
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    cfg = Config(
        d_model=128, n_heads=8, d_head=16, d_mlp=512, n_layers=2,
        d_vocab=len(tokenizer), n_ctx=160,
    )  # fmt: skip
    clear = training.new_model(cfg)
    models = {
        "clear": clear,
        "fast": training.new_model(cfg, cls=FastTransformer),
        "transformers": Transformers(training.to_transformers(clear, 0)),
    }
    optimizers = {n: torch.optim.AdamW(m.parameters(), 1e-3) for n, m in models.items()}
    seconds = {name: [] for name in models}
    speeds = {name: [] for name in models}
    for step in range(args.steps + 3):
        texts = training.write(f"benchmark/{step}", args.batch)
        batch = training.encode(texts, tokenizer)
        names = list(models)
        for name in names[step % 3 :] + names[: step % 3]:
            started = time.perf_counter()
            training.train_step(models[name], optimizers[name], *batch, lr=1e-3)
            if step >= 3:  # the first ones warm up
                seconds[name].append(time.perf_counter() - started)
                speeds[name].append(batch[0].numel() / seconds[name][-1])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in models:
        middle = statistics.median(speeds[name])
        print(f"{name:13} {middle:8.0f} tokens/s")
    for name, bar in (("clear", "0.9, or the fast ones train"), ("fast", "0.9")):
        ratios = [b / a for a, b in zip(seconds[name], seconds["transformers"])]
        middle = statistics.median(ratios)
        print(f"ratio, {name} / transformers: {middle:.2f} (bar: {bar})")


if __name__ == "__main__":
    main()
