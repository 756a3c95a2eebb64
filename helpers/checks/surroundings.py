"""What is around an examination: settings, the loaded model, and nobody who answers.

A notebook may have set anything before its check. Inside an examination all of it is
neutral, so that it decides no verdict; afterwards it is as the person left it.
"""

import builtins
import code
import contextlib
import functools
import getpass
import io
import pdb
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import overrides
from torch.utils import _device, _python_dispatch

from helpers.checks.guard import PRINT_LINES, spaces_of

# stdout, warnings and torch's defaults belong to the whole process. Re-entrant: an
# answer may call a check itself.
_one_at_a_time = threading.RLock()


class Prints(io.StringIO):
    """Keeps the first lines that are printed, and counts the rest.

    Args:
        outer: where the prints of other threads go.

    Attributes:
        waited: the first `Waits` that was raised, even if the person's code caught it.
    """

    def __init__(self, outer=None):
        super().__init__()
        self.lines, self.outer = 0, outer
        self.thread, self.waited = threading.get_ident(), None

    def write(self, text: str) -> int:
        if self.outer is not None and threading.get_ident() != self.thread:
            return self.outer.write(text)
        if self.lines < PRINT_LINES:
            super().write(text[:4000])
        self.lines += text.count("\n")
        return len(text)

    def close(self) -> None:
        """Stays open: what was printed is still read afterwards."""

    @property
    def kept(self) -> str:
        lines = [line[:200] for line in self.getvalue().splitlines()[:PRINT_LINES]]
        if self.lines > PRINT_LINES:
            lines.append(f"… and {self.lines - PRINT_LINES} more lines")
        return "\n".join(lines)


@contextlib.contextmanager
def undisturbed(
    candidate, around: Callable = contextlib.nullcontext
) -> Iterator[Prints]:
    """Around one examination: all settings neutral inside, the person's again after.

    Yields what takes the prints of this thread.
    """
    with (
        _one_at_a_time,
        torch.inference_mode(False),
        _without_modes(),
        _settings_set(),
        _no_warning_is_an_error(),
        _random_states_kept(),
        around(),
        contextlib.redirect_stdout(Prints(sys.stdout)) as prints,
        _nobody_answers(candidate, prints),
    ):
        yield prints


def _autocast(on: bool) -> None:
    torch.set_autocast_enabled("cpu", on)


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


# what reads a setting, what sets it, and what is neutral, given how it is
_SETTINGS: list[tuple[Callable, Callable, Callable]] = [
    (torch.get_default_dtype, torch.set_default_dtype, lambda _: torch.float32),
    (torch.is_grad_enabled, torch.set_grad_enabled, lambda _: True),
    (lambda: torch.is_autocast_enabled("cpu"), _autocast, lambda _: False),
    (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        lambda _: 0,
    ),
    (_anomaly, lambda a: torch.set_anomaly_enabled(*a), lambda _: (False, True)),
    (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        lambda _: "highest",
    ),
    (torch.is_warn_always_enabled, torch.set_warn_always, lambda _: False),
    # one that is low stops right answers; a high one lets endless calls end Python
    (sys.getrecursionlimit, sys.setrecursionlimit, lambda n: min(max(n, 1000), 3000)),
]


@contextlib.contextmanager
def _settings_set():
    before = [get() for get, _, _ in _SETTINGS]
    try:
        for (_, put, neutral), value in zip(_SETTINGS, before, strict=True):
            if neutral(value) != value:
                put(neutral(value))
        yield
    finally:
        for (get, put, _), value in zip(_SETTINGS, before, strict=True):
            if get() != value:
                put(value)


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
    with contextlib.ExitStack() as stack:
        if any(entry[0] == "error" for entry in warnings.filters):
            stack.enter_context(warnings.catch_warnings())
            kept = [entry for entry in warnings.filters if entry[0] != "error"]
            warnings.resetwarnings()
            warnings.filters.extend(kept)
        if "numpy" in sys.modules:
            import numpy

            stack.enter_context(numpy.errstate(all="warn"))
        if "matplotlib" in sys.modules:
            import matplotlib

            stack.enter_context(matplotlib.rc_context())
        yield


@contextlib.contextmanager
def _random_states_kept():
    """torch's, Python's and numpy's; inside, torch's is the same every time."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    states = [(random.setstate, random.getstate())]
    if "numpy" in sys.modules:
        import numpy

        states.append((numpy.random.set_state, numpy.random.get_state()))
    try:
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(48271)
            yield
    finally:
        for put, state in states:
            put(state)


# Code that waits for a person


class Waits(BaseException):
    """Raised where code would wait for a person; its text is the call."""


class _NoOneTypes(io.TextIOBase):
    def __init__(self, refuse: Callable):
        self.read = self.readline = refuse


@contextlib.contextmanager
def _nobody_answers(candidate, prints: Prints):
    """Raise Waits where code asks for a line or starts a debugger.

    In the names of the code itself, too: `from getpass import getpass` was run before.
    """
    thread, put = threading.get_ident(), []

    def refusing(told: str, original) -> Callable:
        def refuse(*args, **kwargs):
            if threading.get_ident() != thread:
                return original(*args, **kwargs)
            error = Waits(told)
            prints.waited = prints.waited or error
            raise error

        return refuse

    places = [(*place, getattr(*place[:2])) for place in _asking()]
    for space in spaces_of(candidate):
        for name, value in list(space.items()):
            for _, _, told, original in places:
                if _is_same(value, original):
                    put.append((space.__setitem__, name, value))
                    space[name] = refusing(told, original)
    stdin = sys.stdin
    try:
        for owner, name, told, original in places:
            put.append((functools.partial(setattr, owner), name, original))
            setattr(owner, name, refusing(told, original))
        sys.stdin = _NoOneTypes(refusing("sys.stdin", getattr(stdin, "readline", None)))
        yield
    finally:
        sys.stdin = stdin
        for setter, name, value in reversed(put):
            setter(name, value)


def _asking() -> Iterator[tuple[object, str, str]]:
    """What waits for a person: where it is, its name there, and what it is called."""
    yield builtins, "input", "input()"
    yield getpass, "getpass", "getpass()"
    yield sys, "breakpointhook", "breakpoint()"
    yield pdb, "set_trace", "pdb.set_trace()"
    yield pdb.Pdb, "__init__", "a debugger"  # IPython's and others build on it
    yield code, "interact", "code.interact()"
    if "IPython" in sys.modules:
        import IPython

        yield IPython, "embed", "embed()"
    debugger = sys.modules.get("IPython.core.debugger")
    if debugger is not None:
        yield debugger, "set_trace", "set_trace()"


def _is_same(value, original) -> bool:
    """Bound methods, such as a kernel's `getpass`, are made anew each time."""
    bound = isinstance(value, types.MethodType)
    return value is original or (bound and value == original)
