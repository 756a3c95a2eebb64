"""Running somebody's code without letting it hurt: time, prints, globals, devices."""

import contextlib
import ctypes
import dis
import io
import sys
import threading
import time
import types
from collections.abc import Callable

import torch
from torch.overrides import TorchFunctionMode

from helpers.config import Config

SECONDS = 20.0  # a check of ours takes under 2 s; a hang is not worth more than this
PRINT_LINES = 12  # of the person's prints, enough to see what they wanted to see


_insist: frozenset[str] = frozenset()  # files of the code that is being timed


class Hang(BaseException):
    """Raised in the person's code when time is up; `except Exception` lets it pass.

    A bare `except:` does not let it pass, and in a loop would swallow it for ever. So
    whoever makes one, and that is the thread in which it is raised, from then on
    traces the person's frames: their next line, in the handler, raises another.
    """

    def __init__(self, *args):
        super().__init__(*args)
        frame = sys._getframe(1) if _insist else None
        while frame is not None:
            if frame.f_code.co_filename in _insist:
                frame.f_trace = _raise_again
            frame = frame.f_back
        if _insist:
            sys.settrace(_raise_again)


def _raise_again(frame, event, arg):
    if frame.f_code.co_filename not in _insist:
        return None
    if event == "line":
        raise Hang
    return _raise_again


@contextlib.contextmanager
def time_limit(seconds: float = SECONDS, files: frozenset[str] = frozenset()):
    """Raise Hang in this thread after it has run for so many seconds.

    What counts is the time that the machine gave to this thread, so that a busy one
    stops nobody; three times as long by the clock on the wall ends it all the same.
    Works wherever CPython does, Windows too, between two steps of Python: what a
    single call in C does, such as one enormous matrix product, is not interrupted.
    `files` are those of the person's code, which may not swallow it.
    """
    global _insist
    thread, tracing, outer = threading.get_ident(), sys.gettrace(), _insist
    _insist = frozenset(files)
    lock, struck, over = threading.Lock(), threading.Event(), threading.Event()

    def strike():
        clock, began = _clock_of(thread), time.monotonic()
        started = clock()
        while not over.wait(min(0.2, seconds / 10)):
            waited = time.monotonic() - began
            if clock() - started < seconds and waited < 3 * seconds:
                continue
            with lock:
                if not over.is_set():
                    struck.set()
                    _raise_in(thread)
            # Again every second, in case a bare `except:` swallowed this one.
            if over.wait(1):
                break

    timer = threading.Thread(target=strike, daemon=True)
    timer.start()
    try:
        yield
    finally:
        _insist = frozenset()
        ended = False
        while not ended:
            try:
                over.set()
                with lock:  # a strike that has begun is over
                    pass
                # One that has not struck yet does so here. It cannot be taken back:
                # CPython 3.11 would then look for it before every step, for ever.
                for _ in range(2 if struck.is_set() else 0):
                    pass
                ended = True
            except Hang:
                pass
        _insist = outer
        if sys.gettrace() is not tracing:
            sys.settrace(tracing)


def _clock_of(thread: int) -> Callable[[], float]:
    """The seconds that a thread has run; where nobody tells, those that have passed."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    clock = time.pthread_getcpuclockid(thread)
    return lambda: time.clock_gettime(clock)


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(Hang)
    )


class Prints(io.StringIO):
    """Keeps the first lines that are printed, and counts the rest."""

    def __init__(self):
        super().__init__()
        self.lines = 0

    def write(self, text: str) -> int:
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
def undisturbed():
    """Put back what code may change for everybody after it; yields its Prints."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    prints = Prints()
    try:
        with (
            torch.random.fork_rng(),
            contextlib.redirect_stdout(prints),
            torch.enable_grad(),
        ):
            yield prints
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_default_device() != device:
            _set_device(device)


class ChangesASetting(Exception):
    """Somebody's code changed a setting that all later code would have felt."""


@contextlib.contextmanager
def settings_kept():
    """Around one call of the person's code: put settings back, and say so.

    Raises:
        ChangesASetting: naming what the code changed.
    """
    kept = [(name, get, put, get()) for name, get, put in _SETTINGS]
    changed = []
    try:
        yield
    finally:
        for name, get, put, before in kept:
            if get() != before:
                put(before)
                changed.append(name)
    if changed:
        raise ChangesASetting(" and ".join(changed))


def _set_device(device: torch.device) -> None:
    # None takes torch's mode for default devices away again; "cpu" would leave it on
    torch.set_default_device(None if device.type == "cpu" else device)


_SETTINGS = [
    ("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("default device", torch.get_default_device, _set_device),
]


class Untouched:
    """A model that nobody's code may change: its parameters, copied."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.training = model, model.training
        self.kept = [
            (module, name, p, p.detach().clone(), p.requires_grad)
            for module in model.modules()
            for name, p in module._parameters.items()
            if p is not None
        ]

    def put_back(self) -> bool:
        """Undo whatever was done to the weights; True if there was anything."""
        changed = False
        for module, name, p, copy, requires_grad in self.kept:
            if module._parameters.get(name) is not p:
                module._parameters[name], changed = p, True
            if p.shape != copy.shape or p.dtype != copy.dtype:
                p.data, changed = copy, True
            elif not torch.equal(p, copy):
                p.data.copy_(copy)
                changed = True
            p.requires_grad_(requires_grad)
        self.model.train(self.training)
        return changed


class NotDrawn(TorchFunctionMode):
    """Leaves out `nn.init.normal_`: no time for weights that are replaced at once."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


class OnCPU(TorchFunctionMode):
    """Sends everything to the CPU, and remembers that somebody asked for a GPU."""

    def __init__(self):
        super().__init__()
        self.redirected = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            self.redirected = True
            return args[0]
        if _is_gpu(kwargs.get("device")):
            self.redirected = True
            kwargs["device"] = "cpu"
        if func is torch.Tensor.to and any(_is_gpu(a) for a in args[1:]):
            self.redirected = True
            args = tuple("cpu" if _is_gpu(a) else a for a in args)
        return func(*args, **kwargs)


def _is_gpu(device) -> bool:
    return str(device).split(":")[0] in ("cuda", "mps", "xpu")


def functions_of(candidate) -> list[types.FunctionType]:
    """The functions that a class defines itself, or the function itself."""
    members = vars(candidate).values() if isinstance(candidate, type) else [candidate]
    found = []
    for member in members:
        member = getattr(member, "__func__", member)  # static and class methods
        member = getattr(member, "fget", None) or member  # properties
        while hasattr(member, "__wrapped__"):
            member = member.__wrapped__
        if isinstance(member, types.FunctionType):
            found.append(member)
    return found


def reads_global(candidate, name: str) -> bool:
    """Whether the code looks up a global of that name."""
    return any(
        instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        and instruction.argval == name
        for function in functions_of(candidate)
        for code in _codes(function.__code__)
        for instruction in dis.get_instructions(code)
    )


def _codes(code: types.CodeType):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@contextlib.contextmanager
def global_cfg(candidate, cfg: Config):
    """Let code that reads the notebook's global `cfg` see the case's, for now."""
    spaces = {id(f.__globals__): f.__globals__ for f in functions_of(candidate)}
    held = [s for s in spaces.values() if isinstance(s.get("cfg"), Config)]
    before = [space["cfg"] for space in held]
    try:
        for space in held:
            space["cfg"] = cfg
        yield
    finally:
        for space, old in zip(held, before, strict=True):
            space["cfg"] = old


_TRIVIAL = {
    "RESUME",
    "NOP",
    "CACHE",
    "COPY_FREE_VARS",
    "PUSH_NULL",
    "PRECALL",
    "CALL",
    "LOAD_CONST",
    "LOAD_GLOBAL",
    "LOAD_COMMON_CONSTANT",
    "POP_TOP",
    "RAISE_VARARGS",
    "RETURN_CONST",
    "RETURN_VALUE",
}


def is_blank(function: types.FunctionType) -> bool:
    """A body of docstring, string, `pass`, `...` or `raise NotImplementedError`."""
    before = None
    for instruction in dis.get_instructions(function.__code__):
        operation, value = instruction.opname, instruction.argval
        if operation not in _TRIVIAL:
            return False
        if operation == "LOAD_GLOBAL" and value != "NotImplementedError":
            return False
        if operation == "RETURN_CONST" and value is not None:
            return False
        if operation == "RETURN_VALUE" and before is not None:
            return False
        before = value if operation == "LOAD_CONST" else None
    return True
