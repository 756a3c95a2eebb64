"""Making an object of a class, and giving it a case's weights, name by name."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from helpers.checks import structure
from helpers.checks.case import Case
from helpers.checks.devices import NotDrawn, OnCPU
from helpers.checks.own_code import global_cfg
from helpers.checks.place import Watched
from helpers.checks.report import Mistake, mistake
from helpers.checks.settings import settings_kept

Runner = Callable[..., object]


@dataclass
class Built:
    """A class made into a runner, or the reason why not."""

    runner: Runner | None = None
    module: nn.Module | None = None
    mistakes: tuple[Mistake, ...] = ()
    error: BaseException | None = None
    gpu_line: str | None = None  # which asked for a GPU in __init__; "" if unknown
    fresh: dict[str, Tensor] = field(default_factory=dict)  # before loading

    @cached_property
    def params(self) -> dict[str, nn.Parameter]:
        """The parameters by name."""
        return dict(self.module.named_parameters()) if self.module else {}


def build(
    candidate, case: Case, own=None, keep_fresh: bool = False, share: bool = False
) -> Built:
    """A class gets `cfg` and the case's weights; a function is a runner already.

    Args:
        own: the course's class, which tells what belongs in each place.
        keep_fresh: also keep a copy of the weights with which it began.
        share: the weights themselves, no copies: for answers that do not write to them.
    """
    if not isinstance(candidate, type):
        return Built(runner=_with_cfg(candidate, case))
    drawn = contextlib.nullcontext() if keep_fresh else NotDrawn()
    try:
        with drawn, OnCPU(candidate) as device:
            # a copy of cfg: it may be written to
            module = _with_cfg(candidate, case)(replace(case.cfg))
    except Exception as error:
        return Built(error=error)
    if not isinstance(module, nn.Module):
        return Built(mistakes=(mistake("not-a-module", name=candidate.__name__),))
    wrong = [_buffer_wrong(module, *buffer) for buffer in case.buffers.items()]
    wrong = [told for told in wrong if told]
    wrong += structure.wrong(module, case.params, lambda: own and built_once(own, case))
    wrong = wrong or _parameters_wrong(module, case)
    if wrong:
        return Built(mistakes=tuple(wrong))
    built = Built(_with_cfg(module, case), module, gpu_line=device.line)
    if keep_fresh:
        built.fresh = {name: p.detach().clone() for name, p in built.params.items()}
    with torch.no_grad():
        for name, p in built.params.items():
            if share:
                p.data = case.params[name]
            else:
                p.copy_(case.params[name])
        for name, value in case.buffers.items():
            module.get_buffer(name).copy_(value)
    return built


def built_once(own, case: Case) -> nn.Module | None:
    """The course's class with a case's weights, which nobody writes to."""
    if "module" not in case.made:
        case.made["module"] = build(own, case, share=True).module
    return case.made["module"]


def _with_cfg(callable_, case: Case) -> Runner:
    def runner(*args, **kwargs):
        with settings_kept(), global_cfg(callable_, case.cfg), Watched():
            return callable_(*args, **kwargs)

    return runner


def _buffer_wrong(module: nn.Module, name: str, value: Tensor) -> Mistake | None:
    """A buffer that is missing, learned, not saved, or of another shape."""
    tell = partial(mistake, name=name)
    parameter = dict(module.named_parameters()).get(name)
    buffer = dict(module.named_buffers()).get(name)
    if parameter is not None:
        frozen = "buffer-is-learned" if parameter.requires_grad else "frozen-parameter"
        return tell(frozen, "buffer-is-learned")
    if buffer is not None and buffer.shape != value.shape:
        got, want = list(buffer.shape), list(value.shape)
        return tell("misshapen-buffer", got=got, want=want)
    if buffer is not None:
        return None if name in module.state_dict() else tell("buffer-not-saved")
    if isinstance(getattr(module, name, None), Tensor):
        return tell("not-a-buffer")
    if name in module._buffers:
        return tell("buffer-is-none", "missing-buffer")
    return tell("missing-buffer", want=list(value.shape))


def _parameters_wrong(module: nn.Module, case: Case) -> list[Mistake]:
    """Missing, renamed, misshapen or additional parameters, each by name.

    Of a class that stands in several places, each of its mistakes is told once.
    """
    have = {name: p.shape for name, p in module.named_parameters()}
    known = case.params.keys() | case.buffers.keys()
    spare = {name: shape for name, shape in have.items() if name not in known}
    found = {}
    for name, p in case.params.items():
        owner, leaf = _owner(module, name)
        if name not in have:
            told = _missing(module, name, p.shape, spare)
        elif have[name] != p.shape:
            told = _misshapen(name, have[name], p.shape, case)
        else:
            continue
        found.setdefault((type(owner), leaf), told)
    for name in spare:
        owner, leaf = _owner(module, name)
        told = mistake("extra-parameter", name=name, kind=type(owner).__name__)
        found.setdefault((type(owner), leaf), told)
    return list(found.values())


def _owner(module: nn.Module, name: str) -> tuple[nn.Module | None, str]:
    """The module that has, or lacks, a parameter, and its name there."""
    path, _, leaf = name.rpartition(".")
    with contextlib.suppress(AttributeError):
        return module.get_submodule(path), leaf
    return None, leaf


def _missing(module, name: str, shape: torch.Size, spare: dict) -> Mistake:
    """A parameter that is not there; its other name is taken out of the spare ones."""
    owner, leaf = _owner(module, name)
    plain = getattr(owner, leaf, None)
    within = "" if owner is module else f" of `{type(owner).__name__}`"
    tell = partial(mistake, name=name, leaf=leaf, within=within)
    if isinstance(plain, nn.Parameter):
        first = next(n for n, p in module.named_parameters() if p is plain)
        return tell("shared-parameter", other=first)
    if isinstance(plain, Tensor):
        text = "buffer-for-a-parameter" if leaf in owner._buffers else "not-a-parameter"
        return tell(text, "not-a-parameter")
    alike = [other.rpartition(".") for other, s in spare.items() if s == shape]
    # a part's own before another's; then `weight` for `w`, `bias` for `b`
    beside = [n for n in alike if n[0] == name.rpartition(".")[0]] or alike
    first = [n for n in beside if n[2][:1].lower() == leaf[:1].lower()]
    for (one,) in [names for names in (first, beside) if len(names) == 1][:1]:
        other = "".join(one)
        del spare[other]
        return tell("renamed-parameter", other=other)
    return tell("missing-parameter", shape=list(shape))


def _misshapen(name: str, have: torch.Size, want: torch.Size, case: Case) -> Mistake:
    if have == want[::-1]:
        hint = "the axes stand in the opposite order"
    elif sorted(have) == sorted(want):
        hint = "the axes stand in another order"
    else:
        hint = "take each size from `cfg`, so that the class fits every GPT-2"
    axes = ("d_model", "n_heads", "d_head", "d_mlp", "d_vocab", "n_ctx")
    sizes = {getattr(case.cfg, axis): axis for axis in reversed(axes)}
    words = {"got": list(have), "want": list(want), "hint": hint}
    named = ", ".join(sizes.get(size, str(size)) for size in want)
    return mistake("misshapen-parameter", name=name, axes=named, **words)
