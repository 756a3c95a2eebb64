"""What an answer to `train_step` is tried out on."""

import torch
from torch import Tensor, nn

from helpers.checks.case import noise
from helpers.checks.trials import TRACE, Outcome, Trial, Trials
from helpers.exercises.course import exercise
from helpers.training import make_batch, train_step


class _Probe(nn.Module):
    """A small next-token model that behaves differently in evaluation mode.

    GPT-2 without dropout does not care about the mode; one with dropout does, and this
    stands for it without chance.
    """

    def __init__(self):
        super().__init__()
        self.W_E = nn.Parameter(noise(11, 6, seed=81))
        self.W_U = nn.Parameter(noise(6, 11, seed=82))
        self.b = nn.Parameter(noise(11, seed=83))
        self.frozen = nn.Parameter(torch.zeros(11), requires_grad=False)
        self.asked = set()  # were there gradients when somebody asked for parameters?

    def parameters(self, recurse=True):
        self.asked.add(self.b.grad is not None)
        return super().parameters(recurse)

    def forward(self, tokens):
        logits = 2 * self.W_E[tokens] @ self.W_U + self.b + self.frozen
        return logits if self.training else 0.8 * logits


class _Watched(torch.optim.SGD):
    """Counts its steps, and those without any gradient.

    Not AdamW: its steps hardly depend on the gradients' length, so that a sum in the
    place of a mean, or a clip that is forgotten, would show little.
    """

    taken = empty = 0

    def step(self, closure=None):
        self.taken += 1
        groups = self.param_groups
        self.empty += all(p.grad is None for g in groups for p in g["params"])
        return super().step(closure)


def _trial(max_norm: float, evaluated: bool = True) -> Trial:
    """Three steps of training, from a model in evaluation mode."""

    def act(answer) -> Outcome:
        model = _Probe().train(not evaluated)
        matrices = {"params": [model.W_E, model.W_U], "weight_decay": 0.1}
        biases = {"params": [model.b], "weight_decay": 0.0}
        optimizer = _Watched([matrices, biases], lr=0.3, momentum=0.5)
        outcome: Outcome = {}
        for i, lr in enumerate((0.05, 0.1, 0.02)):
            drawn = torch.Generator().manual_seed(90 + i)
            rows = [torch.randint(11, (n,), generator=drawn).tolist() for n in (5, 3)]
            loss = answer(model, optimizer, *make_batch(rows, 0), lr, max_norm)
            outcome[f"the kind of loss that step {i} returns"] = _kind(loss)
            outcome[f"the loss that step {i} returns"] = loss
            for name, p in model.named_parameters():
                outcome[f"`{name}` after step {i}"] = p.detach().clone()
        outcome["in training mode"] = model.training
        left = model.b.grad is not None
        asked = sorted(model.asked)
        outcome[TRACE] = f"{optimizer.taken} {optimizer.empty} {left} {asked}"
        return outcome

    return Trial(act)


def _kind(loss) -> str:
    if isinstance(loss, Tensor) and loss.requires_grad:
        return "a tensor with its graph"
    return "a number" if isinstance(loss, (float, Tensor)) else str(type(loss))


def trials() -> list[Trial]:
    """Limits that cut much, more and nothing."""
    return [_trial(1.0), _trial(0.3), _trial(1e9, evaluated=False)]


check = exercise(__file__, train_step, Trials(trials), pairs=True, keep=False)
