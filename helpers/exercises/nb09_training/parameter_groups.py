"""What an answer to `parameter_groups` is tried out on."""

from functools import cache

import torch

from helpers.checks.trials import Outcome, Trial, Trials, Unusable
from helpers.exercises.course import STIRRED, exercise
from helpers.model import DemoTransformer
from helpers.training import parameter_groups


@cache
def _tiny() -> DemoTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return DemoTransformer(STIRRED)


def _trial(weight_decay: float) -> Trial:
    def act(answer) -> Outcome:
        model = _tiny()
        groups = answer(model, weight_decay)
        if not isinstance(groups, (list, tuple)) or not all(
            isinstance(group, dict) for group in groups
        ):
            kind = "None" if groups is None else type(groups).__name__
            wanted = "it should return a list of two dictionaries"
            raise Unusable(f"your function returns {kind}; {wanted}")
        optimizer = torch.optim.AdamW([dict(g) for g in groups if g.get("params")])
        decay = {
            p: group["weight_decay"]
            for group in optimizer.param_groups
            for p in group["params"]
        }
        if not decay.keys() <= set(model.parameters()):
            raise Unusable("there is a tensor that is no parameter of the model")
        return {
            f"the weight decay of {name}": decay.get(p, "left out")
            for name, p in model.named_parameters()
            if p.requires_grad  # a frozen one has no gradient: no optimizer moves it
        }

    return Trial(act)


def trials() -> list[Trial]:
    """Two weight decays, so that none can be a literal number."""
    return [_trial(0.1), _trial(0.03)]


check = exercise(__file__, parameter_groups, Trials(trials), keep=False)
