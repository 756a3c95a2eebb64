"""The checks of notebook 05: gelu_new and the MLP."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from helpers.checks.cases import Case, loaded, noise, stirred
from helpers.checks.catalogue import Known
from helpers.checks.check import Check
from helpers.checks.report import Mistake
from helpers.config import Config

ROOT = math.sqrt(2 / math.pi)

# Exact GELU and the tanh form are 4.7e-4 apart at most, near |x| = 2.7, and a
# constant of 0.0447 instead of 0.044715 moves the result by 8e-6. float32's own noise
# is near 2e-7 of the scale here: no sums, a handful of roundings.
GELU_TOLERANCE = 2e-6


def compute_gelu(
    x: Tensor,
    *,
    p: dict[str, Tensor] | None = None,
    cfg: Config | None = None,
    constant: float = 0.044715,
    factor: float | None = ROOT,
    power: int = 3,
    inner: str = "x + c x³",
    bend: str = "tanh",
    half: float = 0.5,
    one: float = 1.0,
    times_x: bool = True,
    instead: str = "",
) -> Tensor:
    """GPT-2's GELU of x, any shape, with switches for each mistake."""
    if instead:
        return OTHERS[instead](x)
    root = 1.0 if factor is None else factor
    c = constant
    u = {
        "x + c x³": lambda: root * (x + c * x.pow(power)),
        "factor on x only": lambda: root * x + c * x.pow(power),
        "power around the sum": lambda: root * (x + c * x).pow(power),
        "no x": lambda: root * c * x.pow(power),
        "minus": lambda: root * (x - c * x.pow(power)),
    }[inner]()
    bent = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "none": lambda v: v}[bend](u)
    return half * (x if times_x else 1.0) * (one + bent)


OTHERS = {
    "exact": functional.gelu,
    "erf without √2": lambda x: 0.5 * x * (1 + torch.erf(x)),
    "relu": functional.relu,
    "sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}

GELU_KNOWN = (
    Known(
        "exact-gelu",
        "This is the exact GELU, x·Φ(x), with the error function.",
        "GPT-2 was trained with the tanh approximation. They differ by at most 0.0005, "
        "but through twelve layers that shows.",
        {"instead": "exact"},
        "`F.gelu` takes `approximate='tanh'`; or write the formula out",
    ),
    Known(
        "erf-without-root-two",
        "This is 0.5·x·(1 + erf(x)).",
        "Even the exact GELU has erf(x / √2); and GPT-2 uses the tanh approximation.",
        {"instead": "erf without √2"},
        "write out the equation with tanh",
    ),
    Known(
        "relu",
        "This is ReLU: max(x, 0).",
        "GPT-2 uses a smooth curve that dips below 0 for small negative x.",
        {"instead": "relu"},
        "write out the equation with tanh",
    ),
    Known(
        "sigmoid-approximation",
        "This is x·σ(1.702·x), the sigmoid approximation of GELU.",
        "GPT-2 was trained with the tanh approximation, a different curve (they are "
        "up to 0.02 apart).",
        {"instead": "sigmoid"},
        "write out the equation with tanh",
    ),
    Known(
        "silu",
        "This is SiLU: x·σ(x).",
        "Llama uses that; GPT-2 uses the tanh approximation of GELU.",
        {"instead": "silu"},
        "write out the equation with tanh",
    ),
    Known(
        "no-half",
        "The factor 0.5 in front is missing.",
        "1 + tanh runs from 0 to 2; half of it is a gate between 0 and 1.",
        {"half": 1.0},
        "for large x the result should be close to x: what is yours?",
    ),
    Known(
        "no-x-factor",
        "The factor x in front is missing: this is the gate alone.",
        "The gate, between 0 and 1, says how much of x passes: multiply it by x.",
        {"times_x": False},
        "for large x the result should be close to x: what is yours?",
    ),
    Known(
        "square-instead-of-cube",
        "You square x inside the tanh.",
        "It is x³: odd, as tanh is, so that the gate of −x is 1 minus that of x.",
        {"power": 2},
        "`x.pow(3)` or `x**3`",
    ),
    Known(
        "no-cube",
        "Your second term inside is 0.044715·x, without a power.",
        "It is 0.044715·x³: the cube corrects the curve where |x| is large.",
        {"power": 1},
        "`x.pow(3)` or `x**3`",
    ),
    Known(
        "fourth-power",
        "You take x to the fourth power inside the tanh.",
        "It is x³.",
        {"power": 4},
        "`x.pow(3)` or `x**3`",
    ),
    Known(
        "power-around-the-sum",
        "The power stands around the whole bracket: (x + 0.044715·x)³.",
        "Only the second term is cubed: x + 0.044715·x³.",
        {"inner": "power around the sum"},
        "look at your brackets",
    ),
    Known(
        "no-linear-term",
        "Inside the tanh there is only 0.044715·x³.",
        "It is x + 0.044715·x³.",
        {"inner": "no x"},
        "the cube is a small correction to x",
    ),
    Known(
        "cube-subtracted",
        "You subtract 0.044715·x³.",
        "It is added: x + 0.044715·x³.",
        {"inner": "minus"},
        "look at the sign in front of 0.044715",
    ),
    Known(
        "factor-on-x-only",
        "√(2/π) multiplies only the first term inside the tanh.",
        "It multiplies the whole bracket: √(2/π)·(x + 0.044715·x³).",
        {"inner": "factor on x only"},
        "look at your brackets",
    ),
    Known(
        "factor-missing",
        "√(2/π) is missing.",
        "tanh's argument is √(2/π)·(x + 0.044715·x³).",
        {"factor": None},
        "it sets the slope at 0 to that of the normal distribution",
    ),
    Known(
        "factor-inverted",
        "Your factor is √(π/2).",
        "It is √(2/π), about 0.798.",
        {"factor": 1 / ROOT},
        "print it: is it less than 1?",
    ),
    Known(
        "factor-unrooted",
        "Your factor is 2/π, without the root.",
        "It is √(2/π), about 0.798.",
        {"factor": 2 / math.pi},
        "`math.sqrt(2 / math.pi)`",
    ),
    Known(
        "root-of-two-only",
        "Your factor is √2/π: the root covers the 2 only.",
        "It is √(2/π), about 0.798.",
        {"factor": math.sqrt(2) / math.pi},
        "`math.sqrt(2 / math.pi)`: look at the brackets",
    ),
    Known(
        "root-of-pi-only",
        "Your factor is 2/√π: the root covers π only.",
        "It is √(2/π), about 0.798.",
        {"factor": 2 / math.sqrt(math.pi)},
        "`math.sqrt(2 / math.pi)`: look at the brackets",
    ),
    Known(
        "factor-times-pi",
        "Your factor is √(2π).",
        "It is √(2/π), about 0.798.",
        {"factor": math.sqrt(2 * math.pi)},
        "divide by π",
    ),
    *(
        Known(
            f"constant-{wrong}",
            f"Your constant is {wrong}.",
            "It is 0.044715.",
            {"constant": wrong},
            "compare it with the equation, digit by digit",
        )
        for wrong in (0.44715, 0.04715, 0.4715, 0.0044715, 0.044175, 0.047715)
    ),
    Known(
        "no-tanh",
        "There is no tanh in it.",
        "tanh bends the bracket into the range from −1 to 1, which makes it a gate.",
        {"bend": "none"},
        "`torch.tanh(...)` around the bracket",
    ),
    Known(
        "sigmoid-for-tanh",
        "You use a sigmoid where the tanh belongs.",
        "tanh runs from −1 to 1, so that 0.5·(1 + tanh) runs from 0 to 1.",
        {"bend": "sigmoid"},
        "`torch.tanh(...)` around the bracket",
    ),
    Known(
        "no-one",
        "The 1 beside the tanh is missing.",
        "tanh alone is negative for negative x, so x·tanh would be positive again.",
        {"one": 0.0},
        "0.5·x·(1 + tanh(...))",
    ),
    Known(
        "minus-tanh",
        "You compute 1 − tanh.",
        "It is 1 + tanh: large positive x pass, large negative ones do not.",
        {"half": -0.5, "one": -1.0},
        "for large x the result should be close to x: what is yours?",
    ),
    Known(
        "input-unchanged",
        "Your function gives x back as it was.",
        "It should bend it: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).",
        {"instead": "none"},
        "what do you return?",
    ),
)


def gelu_cases() -> list[Case]:
    """A fine grid where the wrong curves part, large numbers, real activations."""
    small, big = stirred(), loaded()
    act = small.reference.model.transformer.h[1].mlp.act
    grid, real = "a grid of numbers", f"activations of {big.label}"
    inputs = [
        # the scale of the output is 3 here, so the tolerance is 6e-6
        (grid, "", torch.linspace(-6, 3, 181).reshape(1, -1)),
        (grid, "on a single number", torch.tensor([1.5])),
        (grid, "on numbers up to 20", 20 * torch.linspace(-1, 1, 80).reshape(2, 5, 8)),
        (grid, "on random activations", small.cache["blocks.1.mlp.hook_pre"]),
        (real, "", big.cache["blocks.0.mlp.hook_pre"]),
    ]
    with torch.no_grad():
        return [
            Case(
                source=source,
                detail=detail,
                cfg=small.cfg,
                inputs=(x,),
                expected=act(x),
                grad=not detail,
            )
            for source, detail, x in inputs
        ]


def gelu_stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,) = case.inputs
    inner = ROOT * (x + 0.044715 * x.pow(3))
    return {
        "x³": x.pow(3),
        "the bracket x + 0.044715·x³": x + 0.044715 * x.pow(3),
        "tanh's argument": inner,
        "the tanh": inner.tanh(),
        "the result": 0.5 * x * (1 + inner.tanh()),
    }


def gelu_facts(output: Tensor, case: Case) -> list[Mistake]:
    """The constant that an otherwise right curve was drawn with."""
    x = case.inputs[0].double()
    inner = torch.atanh(2 * output.double() / x - 1) / math.sqrt(2 / math.pi)
    found = ((inner - x) / x**3)[(x.abs() > 0.5) & (x.abs() < 1.5)]
    if not found.numel() or not found.isfinite().all():
        return []
    c = found.median().item()
    if (found - c).abs().max() > 1e-4:
        return []
    told = f"Your curve is GELU's with the constant {c:.4g}; GPT-2's is 0.044715."
    return [Mistake("another-constant", told, "0.044715 · x³: look at each digit")]


gelu = Check(
    name="gelu",
    answer="gelu_new",
    compute=compute_gelu,
    make_cases=gelu_cases,
    known=GELU_KNOWN,
    axes=("batch", "position", "d_mlp"),
    hints=(
        "Build it from the inside: what stands in the bracket, what around it?",
        "The bracket is x + 0.044715·x³; times √(2/π); tanh of that; plus 1; times "
        "0.5·x.",
        "`inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)`, and then one line "
        "with `torch.tanh(inner)`.",
    ),
    lesson="05_mlp.ipynb#gelu_new",
    stages=gelu_stages,
    facts=gelu_facts,
    tolerance=GELU_TOLERANCE,
)


def compute_mlp(
    x: Tensor,
    *,
    p: dict[str, Tensor],
    cfg: Config | None = None,
    activation: str = "",
    times: int = 1,
    place: str = "between",
    b_in: str = "before",
    b_out: bool = True,
    residual: bool = False,
    into: str = "W_in",
    tied: str = "both",
) -> Tensor:
    """The MLP of x [batch, position, d_model], with switches for each mistake."""

    def act(v: Tensor) -> Tensor:
        for _ in range(times):
            v = compute_gelu(v, instead=activation)
        return v

    W_in, W_out = p["W_in"], p["W_out"]
    if into == "W_out":  # the two have changed places, and are transposed to fit
        W_in, W_out = W_out.T, W_in.T
    bias = 0 if b_in == "none" else p["b_in"]
    x_in = act(x) if place == "before W_in" else x
    if tied == "not d_model":
        pre = x_in.sum(-1, keepdim=True) * W_in.sum(0)
    else:
        pre = x_in @ W_in
    pre = pre if b_in == "after" else pre + bias
    post = act(pre) if place in ("between", "both") else pre
    post = post + bias if b_in == "after" else post
    if tied == "not d_mlp":
        out = post.sum(-1, keepdim=True) * W_out.sum(0)
    else:
        out = post @ W_out
    if place == "after W_out, before b_out":
        out = act(out)
    out = out + p["b_out"] if b_out else out
    out = act(out) if place in ("at the end", "both") else out
    return out + x if residual else out


KNOWN = (
    Known(
        "no-activation",
        "There is no activation between the two matrices.",
        "Without it the two collapse into one matrix, and the MLP can bend nothing.",
        {"place": "nowhere"},
        "`gelu_new(pre)` between the two steps",
    ),
    Known(
        "activation-at-the-end",
        "Your activation comes after `W_out` instead of before it.",
        "It bends the d_mlp hidden neurons; what is written to the stream may have "
        "any sign.",
        {"place": "at the end"},
        "`W_in`, activation, `W_out`",
    ),
    Known(
        "activation-before-b-out",
        "Your activation comes between `W_out` and `b_out`.",
        "It belongs between the two matrices, on the d_mlp hidden neurons.",
        {"place": "after W_out, before b_out"},
        "`W_in`, activation, `W_out`",
    ),
    Known(
        "activation-on-the-output-too",
        "Your output goes through the activation as well.",
        "Only the d_mlp hidden neurons are bent; what is written to the stream may "
        "have any sign.",
        {"place": "both"},
        "the last line has no activation",
    ),
    Known(
        "activation-before-w-in",
        "Your activation bends the input, before `W_in`.",
        "It belongs between the two matrices, on the d_mlp hidden neurons.",
        {"place": "before W_in"},
        "`W_in`, activation, `W_out`",
    ),
    Known(
        "activation-twice",
        "The activation is applied twice in a row.",
        "Once is enough.",
        {"times": 2},
        "does a line repeat what an earlier one has done?",
    ),
    Known(
        "exact-gelu",
        "You use the exact GELU.",
        "GPT-2 was trained with the tanh form: your `gelu_new`.",
        {"activation": "exact"},
        "`gelu_new(pre)`, or `F.gelu(pre, approximate='tanh')`",
    ),
    Known(
        "relu",
        "You use ReLU.",
        "GPT-2 was trained with the tanh form of GELU: your `gelu_new`.",
        {"activation": "relu"},
        "`gelu_new(pre)`",
    ),
    Known(
        "silu",
        "You use SiLU, x·σ(x).",
        "GPT-2 was trained with the tanh form of GELU: your `gelu_new`.",
        {"activation": "silu"},
        "`gelu_new(pre)`",
    ),
    Known(
        "sigmoid-approximation",
        "You use x·σ(1.702·x), the sigmoid approximation of GELU.",
        "GPT-2 was trained with the tanh form: your `gelu_new`.",
        {"activation": "sigmoid"},
        "`gelu_new(pre)`",
    ),
    Known(
        "tanh",
        "You use tanh itself as the activation.",
        "GPT-2 was trained with the tanh form of GELU: your `gelu_new`.",
        {"activation": "tanh"},
        "`gelu_new(pre)`",
    ),
    Known(
        "b-in-unused",
        "The bias `b_in` is not used.",
        "It shifts each hidden neuron before the activation: that sets where the "
        "neuron begins to fire.",
        {"b_in": "none"},
        "`... @ self.W_in + self.b_in`",
    ),
    Known(
        "b-out-unused",
        "The bias `b_out` is not used.",
        "It is added to what the MLP writes.",
        {"b_out": False},
        "`... @ self.W_out + self.b_out`",
    ),
    Known(
        "b-in-after-the-activation",
        "You add `b_in` after the activation.",
        "It comes before: that sets where each neuron begins to fire.",
        {"b_in": "after"},
        "`gelu_new(x @ W_in + b_in)`",
    ),
    Known(
        "residual-inside",
        "You add the input to the output inside the MLP.",
        "The MLP returns only what it writes. The block adds it to the stream, and "
        "not to this input, which LayerNorm has been over.",
        {"residual": True},
        "return `post @ W_out + b_out` alone",
    ),
    Known(
        "weights-swapped",
        "You go in through `W_out` transposed, and out through `W_in` transposed.",
        "`W_in` [d_model, d_mlp] comes first, `W_out` [d_mlp, d_model] second; "
        "neither is transposed.",
        {"into": "W_out"},
        "take out the `.T`",
    ),
    Known(
        "d-model-not-tied",
        "Your first product sums the input by itself and `W_in` by itself over "
        "d_model: the two axes have different names.",
        "Each input feature meets its own row of `W_in`: one name for both axes.",
        {"tied": "not d_model"},
        "the letter of d_model must be the same in both",
    ),
    Known(
        "d-mlp-not-tied",
        "Your second product sums the neurons by themselves and `W_out` by itself over "
        "d_mlp: the two axes have different names.",
        "Each neuron meets its own row of `W_out`: one name for both axes.",
        {"tied": "not d_mlp"},
        "the letter of d_mlp must be the same in both",
    ),
)


def make_cases() -> list[Case]:
    """What the MLP of a middle block of both models reads."""
    small, big = stirred(), loaded()
    width, module = small.cfg.d_model, small.reference.model.transformer.h[1].mlp
    inputs = {
        "": small.cache["blocks.1.ln2.hook_normalized"],
        "on a batch of one": noise(1, 5, width, seed=33),
        "on a single position": noise(2, 1, width, seed=34),
        "on the full context": noise(2, small.cfg.n_ctx, width, seed=35),
        # the pre-activations lie within ±3 here, where the two GELUs part most
        "on a faint input": noise(1, 6, width, seed=36, scale=0.4),
    }
    with torch.no_grad():
        cases = [
            Case(
                source=small.label,
                detail=what,
                cfg=small.cfg,
                inputs=(x,),
                params=small.part("blocks.1.mlp."),
                expected=module(x),
                grad=what == "",
            )
            for what, x in inputs.items()
        ]
    layer = big.cfg.n_layers // 2
    cases.append(
        Case(
            source=big.label,
            cfg=big.cfg,
            inputs=(big.cache[f"blocks.{layer}.ln2.hook_normalized"],),
            params=big.part(f"blocks.{layer}.mlp."),
            expected=big.cache[f"blocks.{layer}.hook_mlp_out"],
            grad=True,
        )
    )
    return cases


def stages(case: Case) -> dict[str, Tensor]:
    """The steps of the equation, in order."""
    (x,) = case.inputs
    p = case.params
    product = x @ p["W_in"]
    post = compute_gelu(product + p["b_in"])
    return {
        "the product with W_in": product,
        "pre (b_in added)": product + p["b_in"],
        "post (after the activation)": post,
        "the product with W_out": post @ p["W_out"],
        "the output": post @ p["W_out"] + p["b_out"],
    }


mlp = Check(
    name="mlp",
    answer="MLP",
    compute=compute_mlp,
    make_cases=make_cases,
    known=KNOWN,
    axes=("batch", "position", "d_model"),
    hints=(
        "Two matrices with something between them. What are the shapes before, "
        "between and after?",
        "Times `W_in`, plus `b_in`, through `gelu_new`, times `W_out`, plus `b_out`.",
        "`pre = x @ self.W_in + self.b_in`; then the activation; the last line has "
        "the same form as the first, with `W_out` and `b_out`.",
    ),
    lesson="05_mlp.ipynb#MLP",
    pairs=True,
    stages=stages,
)
