"""What an answer to `run_with_edits` is compared with."""

import torch

from helpers import inside
from helpers.checks.trials import Outcome, Trial, Trials
from helpers.exercises.course import exercise
from helpers.exercises.nb10_looking_inside.models import Inside, both


class Broken(Exception):
    """Raised by an edit, on purpose."""


def hooks_on(model) -> int:
    """How many functions listen to a model's modules."""
    return sum(len(module._forward_hooks) for module in model.modules())


def trial(subject: Inside, edits: dict, name: str) -> Trial:
    """Run with edits; then look what is left of them."""

    def act(answer) -> Outcome:
        model, seen = subject.model, {}
        mine = model.hook_embed.register_forward_hook(lambda *_: None)
        given = dict(edits)
        try:
            with torch.no_grad():
                try:
                    seen[f"the logits {name}"] = answer(model, subject.tokens, given)
                except Broken:
                    seen["raises what the edit raised"] = True
                seen["hooks left on the model afterwards"] = hooks_on(model) - 1
                seen["the caller's own hook is still there"] = (
                    mine.id in model.hook_embed._forward_hooks
                )
                seen["edits in the caller's dict"] = len(given)
                seen["the logits without edits, afterwards"] = model(subject.tokens)
        finally:
            for module in model.modules():
                module._forward_hooks.clear()
        return seen

    return Trial(act)


def raising(value):
    """An edit that breaks."""
    raise Broken


def trials() -> list[Trial]:
    """No edit, one, several on several points; an edit that breaks after another."""
    made = []
    for subject in both():
        last = subject.source.cfg.n_layers - 1
        double, first = {"hook_embed": lambda x: 2 * x}, "blocks.0.attn.hook_z"
        several = {
            "hook_pos_embed": lambda x: x.flip(1),
            first: lambda z: -z,
            f"blocks.{last}.hook_mlp_out": lambda x: 0.5 * x,
        }
        made += [
            trial(subject, several, "with three edits"),
            trial(subject, double, "with one edit"),
            trial(subject, {}, "without edits"),
            trial(subject, double | {first: raising}, "with one that raises"),
        ]
    return made


check = exercise(
    __file__,
    inside.run_with_edits,
    Trials(trials, summary="Edits are put in and taken out again, in {} trials."),
    keep=False,
)
