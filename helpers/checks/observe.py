"""Running an answer, or the reference computation, on a case, and comparing."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from helpers.checks import structure
from helpers.checks.case import Case
from helpers.checks.general import mistake
from helpers.checks.guard import NotDrawn, OnCPU, global_cfg, settings_kept
from helpers.checks.place import Watched
from helpers.checks.report import Mistake

# Of the output's largest value. float32 carries 6e-8 of each number; sums over
# d_model and d_mlp terms, in whatever order an answer adds them, lose about 1e-6 of
# the scale. The smallest catalogued mistake (n - 1 at d_model 768) shifts the output
# by 6.5e-4 of it, so 2e-5 stands well clear of both.
TOLERANCE = 2e-5


@dataclass
class Seen:
    """What came of one run.

    Attributes:
        output: what was returned, whatever it is.
        error: the exception, if one was raised.
        changed: names of the inputs that were changed in place.
        gradients: by name, after a backward pass; None where there is none.
    """

    output: object = None
    error: BaseException | None = None
    changed: tuple[int, ...] = ()
    gradients: dict[str, Tensor | None] = field(default_factory=dict)


Runner = Callable[..., object]


def same(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Equal shapes, and values within a tolerance relative to the largest finite one.

    NaN equals NaN and an infinity its like, so that a mistake that makes NaN is
    recognised by it.
    """
    if a.shape != b.shape or a.device != b.device:
        return False
    if not (a.is_floating_point() or b.is_floating_point()):
        return torch.equal(a, b)
    a, b = a.detach().double(), b.detach().double()
    finite = b[b.isfinite()].abs()
    scale = finite.max().item() if finite.numel() else 1.0
    return torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)


def seeded(shape: torch.Size) -> Tensor:
    """A fixed random direction for the backward pass."""
    generator = torch.Generator().manual_seed(11)
    return torch.randn(shape, generator=generator)


def _cloned(extra: dict) -> dict:
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in extra.items()}


def run(runner: Runner, case: Case) -> Seen:
    """Call with clones of the case's inputs; an exception is a result as well."""
    inputs = tuple(x.clone() for x in case.inputs)
    try:
        output = runner(*inputs, **_cloned(case.extra))
    except Exception as error:  # Hang is not an Exception: it ends the check
        return Seen(error=error)
    changed = tuple(
        i
        for i, (x, before) in enumerate(zip(inputs, case.inputs, strict=True))
        if not _unchanged(x, before)
    )
    return Seen(output=output, changed=changed)


def line_that_writes(runner: Runner, case: Case, files: set[str]) -> tuple:
    """The frame and number of the line that first writes into an input, or ().

    After each line of these files the inputs are looked at: they are changed by
    torch, by numpy or through `.data`, and only their values tell of all three.
    """
    inputs = tuple(x.clone() for x in case.inputs)
    last, found = [], []

    def look(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        if last and not found and not all(map(_unchanged, inputs, case.inputs)):
            found.extend(last)
        last[:] = (frame, frame.f_lineno)
        return look

    tracing = sys.gettrace()
    sys.settrace(look)
    try:
        with contextlib.suppress(Exception):
            runner(*inputs, **_cloned(case.extra))
    finally:
        if sys.gettrace() is look:
            sys.settrace(tracing)
    return tuple(found)


def _unchanged(x: Tensor, before: Tensor) -> bool:
    return x.shape == before.shape and torch.equal(x.nan_to_num(), before.nan_to_num())


def run_backward(
    runner: Runner,
    params: dict[str, nn.Parameter],
    case: Case,
    view: Callable[[Tensor], Tensor],
) -> Seen:
    """The same, and gradients of a fixed random projection of the output."""
    inputs = tuple(
        x.clone().requires_grad_() if x.is_floating_point() else x.clone()
        for x in case.inputs
    )
    wanted = {f"input {i}": x for i, x in enumerate(inputs) if x.requires_grad}
    wanted |= {name: p for name, p in params.items() if p.requires_grad}
    try:
        # The extra 1.0 lets code that works in place do so: no leaf is touched.
        output = runner(
            *(x * 1.0 if x.requires_grad else x for x in inputs),
            **_cloned(case.extra),
        )
        seen = view(output)
        if not seen.requires_grad:
            return Seen(output, gradients=dict.fromkeys(wanted))
        finite = torch.where(seen.isfinite(), seen, 0.0)
        total = (finite * seeded(seen.shape)).sum()
        gradients = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    except Exception as error:
        return Seen(error=error)
    return Seen(output, gradients=dict(zip(wanted, gradients, strict=True)))


def mutant_run(answer, own, case: Case) -> Seen:
    """The course's own answer, or a wrong one made of it, on a case."""
    try:
        with torch.no_grad():
            return run(_assembled(answer, own, case), case)
    except Exception as error:
        return Seen(error=error)


def mutant_backward(answer, own, case: Case, view: Callable) -> Seen:
    """The same, with gradients."""
    try:
        runner = _assembled(answer, own, case)
    except Exception as error:
        return Seen(error=error)
    params = dict(runner.named_parameters()) if isinstance(answer, type) else {}
    return run_backward(runner, params, case, view)


def _assembled(answer, own, case: Case) -> Runner:
    """A wrong answer, ready to run. Where a class begins as the course's does, it
    shares that one's parameters: to build it anew takes longer than to run it."""
    if not isinstance(answer, type):
        return answer
    if "module" not in case.made:
        case.made["module"] = build(own, case, share=True).module
    base = case.made["module"]
    if answer is own:
        return base
    if base is not None and _begins_alike(answer.__init__, own.__init__):
        module = object.__new__(answer)
        module.__dict__ = dict(vars(base))
        return module
    built = build(answer, case)
    if built.module is None:
        raise built.error or TypeError(built.mistakes[0].message)
    return built.module


def _begins_alike(a, b) -> bool:
    """Whether two `__init__` have the same code, and lean on nothing around it."""
    if a is b:
        return True
    if not (hasattr(a, "__code__") and hasattr(b, "__code__")):
        return False
    a, b = a.__code__, b.__code__
    alike = ("co_code", "co_names", "co_consts", "co_freevars")
    return set(a.co_freevars) <= {"__class__"} and all(
        getattr(a, part) == getattr(b, part) for part in alike
    )


@dataclass
class Built:
    """A class made into a runner, with its parameters, or the reason why not."""

    runner: Runner | None = None
    module: nn.Module | None = None
    params: dict[str, nn.Parameter] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    error: BaseException | None = None
    redirected: bool = False  # it asked for a GPU in __init__
    gpu_line: str = ""  # on this line
    fresh: dict[str, Tensor] = field(default_factory=dict)  # before loading


def build(
    candidate, case: Case, keep_fresh: bool = False, share: bool = False
) -> Built:
    """A class gets `cfg` and the case's weights; a function is a runner already.

    Args:
        keep_fresh: also keep a copy of the weights with which it began.
        share: the weights themselves, no copies: for answers that do not write to them.
    """
    if not isinstance(candidate, type):
        return Built(runner=_with_cfg(candidate, case))
    undrawn = contextlib.nullcontext() if keep_fresh else NotDrawn()
    try:
        with (
            settings_kept(),
            undrawn,
            OnCPU(candidate) as device,
            global_cfg(candidate, case.cfg),
            Watched(),
        ):
            module = candidate(replace(case.cfg))  # a copy: it may be written to
    except Exception as error:
        return Built(error=error)
    if not isinstance(module, nn.Module):
        return Built(mistakes=(mistake("not-a-module", name=candidate.__name__),))
    fresh = {}
    if keep_fresh:
        fresh = {name: p.detach().clone() for name, p in module.named_parameters()}
    wrong = (*_buffers_wrong(module, case), *structure.wrong(module, case.params))
    wrong = wrong or _parameters_wrong(module, case)
    if wrong:
        return Built(mistakes=wrong)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if share:
                p.data = case.params[name]
            else:
                p.copy_(case.params[name])
        for name, value in case.buffers.items():
            module.get_buffer(name).copy_(value)
    return Built(
        runner=_with_cfg(module, case),
        module=module,
        params=dict(module.named_parameters()),
        redirected=device.redirected,
        gpu_line=device.line,
        fresh=fresh,
    )


def _with_cfg(callable_, case: Case) -> Runner:
    def runner(*args, **kwargs):
        with settings_kept(), global_cfg(callable_, case.cfg), Watched():
            return callable_(*args, **kwargs)

    return runner


def _parameters_wrong(module: nn.Module, case: Case) -> tuple[Mistake, ...]:
    """Missing, renamed, misshapen or additional parameters, each by name.

    Of a class that stands in several places, each of its mistakes is told once.
    """
    have = {name: tuple(p.shape) for name, p in module.named_parameters()}
    want = {name: tuple(p.shape) for name, p in case.params.items()}
    known = want.keys() | case.buffers.keys()
    spare = {name: shape for name, shape in have.items() if name not in known}
    wrong, seen = [], set()

    def tell(name: str, mistake: Mistake) -> None:
        owner, leaf = _owner(module, name)
        place = (type(owner), leaf) if owner is not None else name
        if place not in seen:
            wrong.append(mistake)
        seen.add(place)

    for name, shape in want.items():
        if name not in have:
            tell(name, _missing(module, name, shape, spare))
        elif have[name] != shape:
            tell(name, _misshapen(name, have[name], shape, case))
    for name in spare:
        kind = type(_owner(module, name)[0]).__name__
        tell(name, mistake("extra-parameter", name=name, kind=kind))
    return tuple(wrong)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module | None, str]:
    """The module that has, or lacks, a parameter, and its name there."""
    path, _, leaf = name.rpartition(".")
    try:
        return module.get_submodule(path), leaf
    except AttributeError:
        return None, leaf


def _buffers_wrong(module: nn.Module, case: Case) -> tuple[Mistake, ...]:
    """Buffers that are missing, learned, not saved, or of another shape."""
    buffers, saved = dict(module.named_buffers()), module.state_dict()
    parameters = dict(module.named_parameters())
    wrong = []
    for name, value in case.buffers.items():
        register = f'`self.register_buffer("{name}", ...)`'
        if name in parameters:
            slug, told = "buffer-is-learned", "is a parameter, so it would be learned"
            if not parameters[name].requires_grad:
                told = "is a parameter, one that is not learned, and not a buffer"
        elif name in buffers and buffers[name].shape != value.shape:
            slug = "misshapen-buffer"
            told = f"has shape {list(buffers[name].shape)}, not {list(value.shape)}"
            register = "take each size from `cfg`, so that the class fits every GPT-2"
        elif name in buffers and name not in saved:
            slug, told = "buffer-not-saved", "is not in `state_dict()`, so not saved"
            register = "leave out `persistent=False`"
        elif name in buffers:
            continue
        elif isinstance(getattr(module, name, None), Tensor):
            slug = "not-a-buffer"
            told = "is a plain tensor: not in `state_dict()`, and `.to(device)` leaves "
            told += "it behind"
        elif name in module._buffers:
            slug, told = "missing-buffer", "is None, as `register_buffer` returns"
            register += f", without `self.{name} =` in front of it"
        else:
            slug = "missing-buffer"
            told = f"is missing; it should be a buffer of shape {list(value.shape)}"
        wrong.append(Mistake(slug, f"`{name}` {told}.", register))
    return tuple(wrong)


def _missing(module, name: str, shape: tuple, spare: dict) -> Mistake:
    owner, leaf = _owner(module, name)
    plain = getattr(owner, leaf, None)
    within = "" if owner is module else f" of `{type(owner).__name__}`"
    if isinstance(plain, nn.Parameter):
        first = next(n for n, p in module.named_parameters() if p is plain)
        return mistake("shared-parameter", name=name, other=first)
    if isinstance(plain, Tensor):
        text = "buffer-for-a-parameter" if leaf in owner._buffers else "not-a-parameter"
        return mistake(text, "not-a-parameter", name=name, leaf=leaf)
    alike = [other for other, s in spare.items() if s == shape]
    beside = [n for n in alike if n.rpartition(".")[0] == name.rpartition(".")[0]]
    alike = beside or alike  # a part's own before another's
    first = [n for n in alike if n.rpartition(".")[2][:1].lower() == leaf[:1].lower()]
    alike = first if len(first) == 1 else alike  # `weight` for `w`, `bias` for `b`
    if len(alike) == 1:
        other = alike[0]
        del spare[other]
        words = {"name": name, "other": other, "leaf": leaf, "within": within}
        return mistake("renamed-parameter", **words)
    words = {"name": name, "shape": list(shape), "leaf": leaf, "within": within}
    return mistake("missing-parameter", **words)


def _misshapen(name: str, have: tuple, want: tuple, case: Case) -> Mistake:
    if have == want[::-1]:
        hint = "the axes stand in the opposite order"
    elif sorted(have) == sorted(want):
        hint = "the axes stand in another order"
    else:
        hint = "take each size from `cfg`, so that the class fits every GPT-2"
    words = {"name": name, "got": list(have), "want": list(want), "hint": hint}
    return mistake("misshapen-parameter", axes=_symbols(want, case), **words)


def _symbols(shape: tuple, case: Case) -> str:
    names = ("d_model", "n_heads", "d_head", "d_mlp", "d_vocab", "n_ctx")
    size_names = {getattr(case.cfg, name): name for name in reversed(names)}
    return ", ".join(size_names.get(size, str(size)) for size in shape)
