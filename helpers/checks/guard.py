"""Running somebody's code without letting it hurt: time, prints, globals, devices."""

import contextlib
import copy
import ctypes
import dis
import functools
import linecache
import sys
import threading
import time
import types
from collections.abc import Callable

import torch
from torch import overrides
from torch.overrides import TorchFunctionMode

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
        for module, name, p, kept, requires_grad in self.kept:
            if module._parameters.get(name) is not p:
                module._parameters[name], changed = p, True
            if p.shape != kept.shape or p.dtype != kept.dtype:
                p.data, changed = kept, True
            elif not torch.equal(p, kept):
                p.data.copy_(kept)
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
    """Sends everything to the CPU, and remembers who asked for a GPU.

    Args:
        candidate: whose line is looked for.
        lacking: send only what asks for a device that this machine lacks.

    Attributes:
        redirected: whether somebody asked for a GPU.
        line: the first of the candidate's lines that did, or "".
    """

    def __init__(self, candidate=None, lacking: bool = False):
        super().__init__()
        self.candidate, self.lacking = candidate, lacking
        self.redirected, self.line = False, ""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda and self._redirects("cuda"):
            return args[0]
        if self._redirects(kwargs.get("device")):
            kwargs["device"] = "cpu"
        if func is torch.Tensor.to:
            args = tuple(
                "cpu" if i and self._redirects(a) else a for i, a in enumerate(args)
            )
        return func(*args, **kwargs)

    def _redirects(self, device) -> bool:
        if not _is_gpu(device) or (self.lacking and is_here(device)):
            return False
        if not self.redirected and self.candidate is not None:
            files, frame = files_of(self.candidate), sys._getframe(2)
            while frame is not None and frame.f_code.co_filename not in files:
                frame = frame.f_back
            if frame is not None:
                self.line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        self.redirected = True
        return True


def _is_gpu(device) -> bool:
    if isinstance(device, int) and not isinstance(device, bool):
        return True  # torch takes a number for a GPU's
    if not isinstance(device, (str, torch.device)):
        return False
    return str(device).split(":")[0] in ("cuda", "mps", "xpu")


def is_here(device) -> bool:
    """Whether this machine has a GPU of that name."""
    kind = "cuda" if isinstance(device, int) else str(device).split(":")[0]
    there = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    return there[kind].is_available()


class MadeHere:
    """An `__init__` that makes on the CPU what asks for a GPU that is not there.

    No function, so that what looks for the person's code finds theirs, `__wrapped__`.
    """

    def __init__(self, init: Callable):
        self.__wrapped__ = init
        self.__name__, self.__doc__ = "__init__", init.__doc__

    def __get__(self, instance, owner=None):
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args, **kwargs):
        modes = overrides._get_current_function_mode_stack()
        if any(isinstance(mode, OnCPU) for mode in modes):  # a check is looking
            return self.__wrapped__(*args, **kwargs)
        with OnCPU(lacking=True):
            return self.__wrapped__(*args, **kwargs)


def make_here(candidate: type) -> None:
    """Let a class that asks for a GPU be made on this machine, wherever it is used."""
    if not isinstance(candidate.__init__, MadeHere):
        candidate.__init__ = MadeHere(candidate.__init__)


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


def files_of(candidate) -> set[str]:
    """The files or notebook cells in which a class or function was written."""
    files = {f.__code__.co_filename for f in functions_of(candidate)}
    # helper functions of the same notebook count as the person's own code too
    for function in functions_of(candidate):
        for value in list(function.__globals__.values()):
            if isinstance(value, (types.FunctionType, type)):
                if getattr(value, "__module__", None) == function.__module__:
                    files |= {f.__code__.co_filename for f in functions_of(value)}
    return files


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


def _own(value) -> bool:
    """Whether a class, function or module is no library's, nor the course's."""
    if isinstance(value, types.ModuleType):
        return not is_library(value.__name__.split(".")[0])
    if not isinstance(value, (type, types.FunctionType)):
        return False
    return not is_library(str(value.__module__).split(".")[0])


@functools.cache
def is_library(home: str) -> bool:
    """Whether a package of that name is no person's own."""
    if home == "__main__":
        return False
    file = str(getattr(sys.modules.get(home), "__file__", ""))
    installed = "site-packages" in file or "dist-packages" in file
    return installed or home == "helpers" or home in sys.stdlib_module_names


def spaces_of(candidate) -> list[dict]:
    """The globals that somebody's code sees: its own, its parts' and its helpers'.

    Args:
        candidate: a class, a function, or a module that was made of one.
    """
    made = isinstance(candidate, torch.nn.Module)
    todo = [type(m) for m in candidate.modules()] if made else [candidate]
    seen, spaces = set(), {}
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, type):
            todo += [base for base in value.__mro__[1:] if _own(base)]
        for function in functions_of(value):
            space = function.__globals__
            spaces[id(space)] = space
            names = {n for code in _codes(function.__code__) for n in code.co_names}
            found = [space[name] for name in names if name in space]
            for value in filter(_own, found):
                if isinstance(value, types.ModuleType):  # `my_gpt2.LayerNorm`
                    inside = vars(value)
                    todo += [inside[n] for n in names if _own(inside.get(n))]
                else:
                    todo.append(value)
    return list(spaces.values())


@contextlib.contextmanager
def global_cfg(candidate, cfg):
    """Let code that reads a global `cfg` see the case's sizes, for now.

    Wherever the code was written, in a notebook or in a file, and whatever class its
    `cfg` is of. `candidate` is a class, a function, or a module made of one.
    """
    held = [s for s in spaces_of(candidate) if hasattr(s.get("cfg"), "d_model")]
    before = [space["cfg"] for space in held]
    try:
        for space in held:
            space["cfg"] = _of_these_sizes(space["cfg"], cfg)
        yield
    finally:
        for space, old in zip(held, before, strict=True):
            space["cfg"] = old


def _of_these_sizes(own, cfg):
    """A copy of somebody's own configuration, with other numbers in it."""
    if isinstance(own, (type(cfg), type)):
        return cfg
    new = copy.copy(own)
    for name in vars(cfg).keys() - {"debug"}:
        with contextlib.suppress(AttributeError):  # computed from the others
            object.__setattr__(new, name, getattr(cfg, name))
    return new if new.d_model == cfg.d_model else cfg


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
