"""The check of notebook 09: one step of training."""

import torch
from torch import Tensor, nn

from helpers import training
from helpers.checks.cases import noise
from helpers.checks.catalogue import Known
from helpers.checks.trials import TRACE, Outcome, Trial, TrialCheck

LESSON = "09_training.ipynb#"
IGNORED = training.IGNORED


def compute_step(
    model,
    optimizer,
    tokens,
    targets,
    lr,
    max_norm=1.0,
    *,
    order="train lr forward zero backward clip step",
    clip="norm",
    rate="all groups",
    loss="mean",
    gives="number",
):
    """train_step as a list of what is done, in order; a mistake is another list."""
    value = None
    for action in order.split():
        if action == "train":
            model.train()
        elif action == "eval":
            model.eval()
        elif action == "lr":
            groups = optimizer.param_groups
            for group in groups[:1] if rate == "first group" else groups:
                group["lr"] = lr
        elif action == "forward":
            value = training.batch_loss(model(tokens), targets)
            if loss == "sum":
                value = value * (targets != IGNORED).sum()
            elif loss == "padding":
                ends = targets.masked_fill(targets == IGNORED, int(tokens[0, 0]))
                value = training.batch_loss(model(tokens), ends)
        elif action == "zero":
            optimizer.zero_grad()
        elif action == "backward":
            value.backward()
        elif action == "clip":
            used = [p for p in model.parameters() if p.grad is not None]
            if clip == "value":
                torch.nn.utils.clip_grad_value_(used, max_norm)
            elif clip == "each":
                for p in used:
                    training.clip_gradients([p], max_norm)
            else:
                limit = 1.0 if clip == "always 1" else max_norm
                training.clip_gradients(used, limit)
        elif action == "step":
            optimizer.step()
    return {"number": value.item(), "tensor": value, "none": None}[gives]


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
    """Counts its steps, and those without any gradient."""

    taken = empty = 0

    def step(self, closure=None):
        self.taken += 1
        groups = self.param_groups
        self.empty += all(p.grad is None for g in groups for p in g["params"])
        return super().step(closure)


def _step_trial(max_norm: float, evaluated: bool = True) -> Trial:
    def trial(function) -> Outcome:
        model = _Probe().train(not evaluated)
        matrices = {"params": [model.W_E, model.W_U], "weight_decay": 0.1}
        biases = {"params": [model.b], "weight_decay": 0.0}
        # Not AdamW: its steps hardly depend on the gradients' length, so that a sum in
        # the place of a mean, or a clip that is forgotten, would show little.
        optimizer = _Watched([matrices, biases], lr=0.3, momentum=0.5)
        outcome: Outcome = {}
        for i, lr in enumerate((0.05, 0.1, 0.02)):
            drawn = torch.Generator().manual_seed(90 + i)
            rows = [torch.randint(11, (n,), generator=drawn).tolist() for n in (5, 3)]
            tokens, targets = training.make_batch(rows, 0)
            loss = function(model, optimizer, tokens, targets, lr, max_norm)
            kind = "a number" if isinstance(loss, (float, Tensor)) else str(type(loss))
            kind = "a tensor with its graph" if _has_graph(loss) else kind
            outcome[f"the kind of loss that step {i} returns"] = kind
            outcome[f"the loss that step {i} returns"] = loss
            for name, p in model.named_parameters():
                outcome[f"`{name}` after step {i}"] = p.detach().clone()
        outcome["in training mode"] = model.training
        left = model.b.grad is not None
        outcome[TRACE] = (
            f"{optimizer.taken} {optimizer.empty} {left} {sorted(model.asked)}"
        )
        return outcome

    return trial


def _has_graph(loss) -> bool:
    return isinstance(loss, Tensor) and loss.requires_grad


def _order(text: str) -> dict:
    return {"order": text}


TRAIN_STEP = TrialCheck(
    name="train_step",
    answer="train_step",
    course=training.train_step,
    keep=False,
    compute=compute_step,
    pairs=True,
    make_cases=lambda: [_step_trial(1.0), _step_trial(0.3), _step_trial(1e9, False)],
    known=(
        Known(
            "no-zero-grad",
            "You never call `zero_grad`: each batch's gradients are added to those of "
            "all batches before.",
            "Clear them before `backward`.",
            _order("train lr forward backward clip step"),
            "`optimizer.zero_grad()`",
        ),
        Known(
            "step-before-backward",
            "You call `step` before `backward`: it uses the gradients of the batch "
            "before, and in the first step there are none.",
            "First `backward`, which computes the gradients, then `step`, which uses "
            "them.",
            _order("train lr forward step zero backward clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "step-before-backward",
            "You call `step` after `zero_grad` and before `backward`: there are no "
            "gradients, so nothing is learned.",
            "First `backward`, which computes the gradients, then `step`, which uses "
            "them.",
            _order("train lr forward zero step backward clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "zeroed-after-backward",
            "You call `zero_grad` between `backward` and `step`: the gradients are "
            "gone before they are used.",
            "Clear them before `backward`.",
            _order("train lr forward backward clip zero step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "zeroed-after-backward",
            "You call `zero_grad` right after `backward`: the gradients are gone "
            "before they are used.",
            "Clear them before `backward`.",
            _order("train lr forward backward zero clip step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clip-before-backward",
            "You clip before `backward`, when there is nothing to clip.",
            "Clip between `backward` and `step`.",
            _order("train lr forward zero clip backward step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "no-clip",
            "You do not clip the gradients.",
            "Call `clip_gradients` between `backward` and `step`.",
            _order("train lr forward zero backward step"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clip-after-step",
            "You clip after `step`, when the gradients have been used.",
            "Clip between `backward` and `step`.",
            _order("train lr forward zero backward step clip"),
            "zero_grad, backward, clip, step",
        ),
        Known(
            "clips-by-value",
            "You clip by value.",
            "Clip by norm: it keeps the direction of the step.",
            {"clip": "value"},
            "`clip_gradients`, or torch's `clip_grad_norm_`",
        ),
        Known(
            "clips-each-by-itself",
            "You clip each parameter by itself.",
            "One call with all parameters: the limit is for their joint length.",
            {"clip": "each"},
        ),
        Known(
            "limit-ignored",
            "You clip at 1, whatever `max_norm` says.",
            "Hand on the argument.",
            {"clip": "always 1"},
        ),
        Known(
            "no-step",
            "You never call `step`: nothing is learned.",
            "`optimizer.step()` moves the parameters along the gradients.",
            _order("train lr forward zero backward clip"),
        ),
        Known(
            "no-train-mode",
            "You leave the model in evaluation mode, in which it came from measuring "
            "the held-out loss.",
            "Call `model.train()` first: dropout works in training mode only.",
            _order("lr forward zero backward clip step"),
        ),
        Known(
            "eval-mode",
            "You put the model into evaluation mode.",
            "Call `model.train()`: dropout works in training mode only.",
            _order("eval lr forward zero backward clip step"),
        ),
        Known(
            "train-mode-too-late",
            "You call `model.train()` after the model has run.",
            "Call it first.",
            _order("lr forward train zero backward clip step"),
        ),
        Known(
            "rate-not-set",
            "You do not use `lr`: the optimizer keeps the rate it was made with.",
            'Set it in every group: `group["lr"] = lr`.',
            _order("train forward zero backward clip step"),
        ),
        Known(
            "rate-too-late",
            "You set the rate after `step`, so that each step takes the one before.",
            "Set it before `step`.",
            _order("train forward zero backward clip step lr"),
        ),
        Known(
            "first-group-only",
            "You set the rate of the first group only.",
            "There are two, and biases learn as well: loop over "
            "`optimizer.param_groups`.",
            {"rate": "first group"},
        ),
        Known(
            "sum-not-mean",
            "You use the sum of the losses.",
            "Use their mean, `batch_loss`: a sum grows with the batch.",
            {"loss": "sum"},
        ),
        Known(
            "padding-counted",
            "You count the padding.",
            "`batch_loss` leaves it out.",
            {"loss": "padding"},
        ),
        Known(
            "returns-a-tensor",
            "You return the loss as a tensor, which keeps the whole graph of the batch "
            "in memory as long as it lives.",
            "Return a number: `loss.item()`.",
            {"gives": "tensor"},
        ),
        Known(
            "no-return",
            "You return nothing.",
            "Return the loss, so that it can be watched.",
            {"gives": "none"},
            "`return loss.item()`",
        ),
    ),
    axes=(),
    hints=(
        "Five things happen in a step of training. Which must come before which?",
        "Set mode and rate; run the model; then zero_grad, backward, clip, step.",
        "`loss = batch_loss(model(tokens), targets)`, `optimizer.zero_grad()`, "
        "`loss.backward()`, `clip_gradients(list(model.parameters()), max_norm)`, "
        "`optimizer.step()`, `return loss.item()`; before them `model.train()` and the "
        "loop that sets `lr`.",
    ),
    lesson=LESSON + "loop",
)
