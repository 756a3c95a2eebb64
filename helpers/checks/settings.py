"""What belongs to the whole process: torch's settings and modes, warnings, seeds.

A notebook may have set anything before its check. Inside an examination all of it is
neutral, so that it decides no verdict; afterwards it is as the person left it.
"""

import contextlib
import random
import sys
import warnings
from collections.abc import Callable, Iterable

import numpy
import torch
from torch import overrides
from torch.utils import _device, _python_dispatch

Setting = tuple[Callable, Callable, object]  # reads it, sets it, and what is neutral


def _set_device(device: torch.device) -> None:
    # None takes torch's mode for default devices away again; "cpu" would leave it on
    torch.set_default_device(None if device.type == "cpu" else device)


# those that no answer may change
_SHARED: dict[str, Setting] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled, True),
    "default device": (torch.get_default_device, _set_device, torch.device("cpu")),
}
_OTHERS: dict[str, Setting] = {
    "deterministic": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        0,
    ),
    "matmul": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        "highest",
    ),
    "warn always": (torch.is_warn_always_enabled, torch.set_warn_always, False),
    # a low one stops right answers; a high one lets endless calls end Python
    "recursion": (sys.getrecursionlimit, sys.setrecursionlimit, 3000),
}


class ChangesASetting(Exception):
    """Somebody's code changed a setting that all later code would have felt."""


@contextlib.contextmanager
def settings_kept():
    """Around one call of the person's code: put settings back, and say so.

    Raises:
        ChangesASetting: naming what the code changed.
    """
    with _put_back(_SHARED) as changed:
        yield
    if changed:
        raise ChangesASetting(" and ".join(changed))


@contextlib.contextmanager
def _put_back(settings: dict[str, Setting]) -> Iterable[list[str]]:
    """Yields what will have been changed inside."""
    before = [get() for get, _, _ in settings.values()]
    changed = []
    try:
        yield changed
    finally:
        for (name, (get, put, _)), value in zip(settings.items(), before, strict=True):
            if get() != value:
                put(value)
                changed.append(name)


@contextlib.contextmanager
def neutral():
    """Inside, nothing is as the person has set it; afterwards, all of it."""
    with (
        torch.inference_mode(False),
        _without_modes(),
        torch.autocast("cpu", enabled=False),
        torch.autograd.set_detect_anomaly(False),
        _put_back(_SHARED | _OTHERS),
        _no_warning_is_an_error(),
        _random_states_kept(),
    ):
        for get, put, value in (_SHARED | _OTHERS).values():
            if get() != value:
                put(value)
        yield


@contextlib.contextmanager
def _without_modes():
    """No torch mode of the person's; the default device is one of them."""
    held = torch._GLOBAL_DEVICE_CONTEXT
    before = getattr(held, "device_context", None), _device.CURRENT_DEVICE
    modes = _popped()
    held.device_context = _device.CURRENT_DEVICE = None
    try:
        with _python_dispatch._disable_current_modes():
            yield
    finally:
        _popped()  # those that the answer has left on
        for mode in reversed(modes):
            overrides._push_mode(mode)
        held.device_context, _device.CURRENT_DEVICE = before


def _popped() -> list:
    count = overrides._len_torch_function_stack()
    return [overrides._pop_mode() for _ in range(count)]


@contextlib.contextmanager
def _no_warning_is_an_error():
    with numpy.errstate(all="warn"), contextlib.ExitStack() as stack:
        kept = [entry for entry in warnings.filters if entry[0] != "error"]
        if len(kept) < len(warnings.filters):
            stack.enter_context(warnings.catch_warnings())
            warnings.resetwarnings()
            warnings.filters.extend(kept)
        if "matplotlib" in sys.modules:
            stack.enter_context(sys.modules["matplotlib"].rc_context())
        yield


@contextlib.contextmanager
def _random_states_kept():
    """torch's, Python's and numpy's; inside, torch's is the same every time."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    python, arrays = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(48271)
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)
