"""The check of notebook 09 on the schedule: learning_rate."""

import math

from torch import Tensor

from helpers import training
from helpers.checks.catalogue import Known
from helpers.checks.trials import (
    Outcome,
    Trial,
    TrialCheck,
    Unusable,
)

LESSON = "09_training.ipynb#"


def compute_rate(
    step,
    steps,
    peak,
    lowest,
    warmup,
    *,
    up="straight",
    first=1,
    down="cosine",
    start="after warm-up",
    end=0,
    half=0.5,
    base="lowest",
    of="rate",
):
    """learning_rate, with switches."""
    update = step + 1
    scale = 1 / peak if of == "factor" else 1.0
    rising = update <= warmup if first == 1 else step < warmup
    if up == "straight" and rising:
        return scale * peak * (step + first) / warmup
    if up == "from the lowest" and rising:
        return scale * (lowest + (peak - lowest) * update / warmup)
    done, whole = {
        "after warm-up": (update - warmup, steps - warmup),
        "one late": (step - warmup, steps - warmup),
        "at the first step": (update, steps),
        "at step 0": (step, steps),
        "not shortened": (update - warmup, steps),
    }[start]
    progress = done / (whole + end)
    if down == "constant":
        return scale * peak
    part = {
        "cosine": lambda x: half * (1 + math.cos(math.pi * x)),
        "line": lambda x: 1 - x,
        "whole wave": lambda x: half * (1 + math.cos(2 * math.pi * x)),
        "quarter": lambda x: math.cos(0.5 * math.pi * x),
        "no pi": lambda x: half * (1 + math.cos(x)),
        "degrees": lambda x: half * (1 + math.cos(180 * x)),
        "rising": lambda x: half * (1 - math.cos(math.pi * x)),
        "no one": lambda x: half * math.cos(math.pi * x),
    }[down](progress)
    return (
        scale
        * {
            "lowest": lambda: lowest + (peak - lowest) * part,
            "zero": lambda: peak * part,
            "added": lambda: lowest + peak * part,
            "floored": lambda: max(lowest, peak * part),
        }[base]()
    )


def _rate_trial(steps: int, peak: float, lowest: float, warmup: int) -> Trial:
    def trial(function) -> Outcome:
        rates = {}
        for step in range(steps):
            rate = function(step, steps, peak, lowest, warmup)
            if isinstance(rate, Tensor):
                rate = rate.item()
            if not isinstance(rate, (int, float)):
                kind = "None" if rate is None else type(rate).__name__
                raise Unusable(f"at step {step} your function returns {kind}")
            call = f"learning_rate({step}, {steps}, {peak}, {lowest}, {warmup})"
            rates[call] = float(rate)
        return rates

    return trial


LEARNING_RATE = TrialCheck(
    name="learning_rate",
    answer="learning_rate",
    course=training.learning_rate,
    keep=False,
    compute=compute_rate,
    make_cases=lambda: [
        _rate_trial(20, 1.0, 0.1, 5),
        _rate_trial(37, 2e-3, 1e-4, 10),
    ],
    pairs=True,
    known=(
        Known(
            "starts-at-zero",
            "Your warm-up is off by one: step 0 has rate 0, so it teaches nothing, and "
            "the peak comes a step late.",
            "Count updates from 1: step 0 has peak / warmup, step warmup − 1 the peak.",
            {"first": 0, "start": "one late"},
            "`(step + 1) / warmup`",
        ),
        Known(
            "starts-at-zero",
            "Your warm-up is off by one: step 0 has rate 0, so it teaches nothing.",
            "Count updates from 1: step 0 has peak / warmup, step warmup − 1 the peak.",
            {"first": 0},
            "`(step + 1) / warmup`",
        ),
        Known(
            "never-quite-lowest",
            "Your cosine is off by one: the last step, steps − 1, is not at the lowest "
            "rate.",
            "Progress is 0 at step warmup − 1, the peak, and 1 at step steps − 1.",
            {"start": "one late"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        Known(
            "never-quite-lowest",
            "Your cosine does not reach the lowest rate: it divides by all steps, "
            "warm-up included.",
            "It has steps − warmup steps to come down.",
            {"start": "not shortened"},
            "`(step + 1 - warmup) / (steps - warmup)`",
        ),
        *[
            Known(
                "jump-after-warm-up",
                "Your cosine counts from the first step of all, so that the rate jumps "
                "down where the warm-up ends.",
                "It starts at the peak: its progress is 0 where the warm-up ends.",
                {"start": start},
                "`(step + 1 - warmup) / (steps - warmup)`",
            )
            for start in ("at the first step", "at step 0")
        ],
        Known(
            "lowest-ignored",
            "Your cosine goes down to 0.",
            "It goes down to `lowest`: the part between is peak − lowest.",
            {"base": "zero"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "lowest-added",
            "You add `lowest` to a curve that starts at the peak already: yours starts "
            "at peak + lowest.",
            "What the cosine scales is the difference, peak − lowest.",
            {"base": "added"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "cut-off-at-lowest",
            "Your cosine goes to 0 and is cut off at `lowest`, so its end is flat.",
            "The whole curve lies between peak and lowest.",
            {"base": "floored"},
            "`lowest + (peak - lowest) * ...`",
        ),
        Known(
            "no-warm-up",
            "There is no warm-up: the first steps get a high rate.",
            "AdamW's averages are poor at first, so the first steps must be small: "
            "peak × (step + 1) / warmup.",
            {"up": "none"},
            "an `if` before the cosine",
        ),
        Known(
            "warm-up-from-lowest",
            "Your warm-up starts from `lowest`.",
            "It starts from 0, so step 0 has peak / warmup; `lowest` is where the "
            "cosine ends.",
            {"up": "from the lowest"},
            "`peak * (step + 1) / warmup`",
        ),
        Known(
            "stays-at-the-peak",
            "After the warm-up your rate stays at the peak.",
            "It comes down a cosine: small steps at the end let the model settle.",
            {"down": "constant"},
        ),
        Known(
            "straight-line",
            "You come down a straight line.",
            "Half a cosine stays high for longer, then settles gently.",
            {"down": "line"},
            "`0.5 * (1 + math.cos(math.pi * progress))`",
        ),
        Known(
            "whole-wave",
            "Your cosine runs a whole wave: down, and up again.",
            "Half a wave: the angle goes from 0 to pi.",
            {"down": "whole wave"},
            "`math.pi * progress`, without a 2",
        ),
        Known(
            "quarter-wave",
            "Your cosine runs a quarter of a wave.",
            "Half a wave, moved up and halved: `0.5 * (1 + cos(pi * progress))`.",
            {"down": "quarter"},
        ),
        Known(
            "no-pi",
            "Your angle goes from 0 to 1: the cosine hardly moves.",
            "From 0 to pi.",
            {"down": "no pi"},
            "`math.cos(math.pi * progress)`",
        ),
        Known(
            "degrees",
            "You count in degrees; `math.cos` takes radians.",
            "The angle goes from 0 to pi.",
            {"down": "degrees"},
            "`math.cos(math.pi * progress)`",
        ),
        Known(
            "goes-up",
            "Your rate falls to the lowest at once and then rises.",
            "1 *plus* the cosine: it is 1 at first and −1 at the end.",
            {"down": "rising"},
        ),
        Known(
            "one-forgotten",
            "You forgot the 1 in 1 + cos, so the rate becomes negative.",
            "The cosine goes from 1 to −1; 0.5 × (1 + cos) goes from 1 to 0.",
            {"down": "no one"},
        ),
        Known(
            "half-forgotten",
            "You forgot the ½: after the warm-up the rate jumps to nearly twice the "
            "peak.",
            "1 + cos goes from 2 to 0; half of it from 1 to 0.",
            {"half": 1.0},
        ),
        Known(
            "factor-not-rate",
            "You return a factor of the peak.",
            "Return the rate itself, which goes up to `peak`.",
            {"of": "factor"},
            "LambdaLR wants a factor; here it is the rate",
        ),
    ),
    axes=("step",),
    hints=(
        "Write the rates of 8 steps down, with peak 1, lowest 0 and a warm-up of 4. "
        "Which step has the peak? Which has 0?",
        "With update = step + 1: up to `warmup` the rate is peak × update / warmup. "
        "After that, progress goes from 0 to 1 while update goes from warmup to steps.",
        "`progress = (update - warmup) / (steps - warmup)` and "
        "`lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))`",
    ),
    lesson=LESSON + "schedule",
)
