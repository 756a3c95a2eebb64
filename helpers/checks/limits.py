"""A limit of time for somebody's code, which it can neither outlast nor swallow."""

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Set

SECONDS = 20.0  # a check of ours takes under 2 s; a hang is not worth more than this

_insist: Set[str] = frozenset()  # files of the code that is being timed


class Hang(BaseException):
    """Raised in the person's code when time is up; `except Exception` lets it pass.

    A bare `except:` does not let it pass, and in a loop would swallow it for ever. So
    whoever makes one, and that is the thread in which it is raised, from then on
    traces the person's frames: their next line, in the handler, raises another.
    """

    def __init__(self, *args):
        super().__init__(*args)
        frame = sys._getframe(1)
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
def time_limit(seconds: float, files: Set[str]):
    """Raise Hang in this thread after it has run for so many seconds.

    What counts is the time that the machine gave to this thread, so that a busy one
    stops nobody; three times as long by the clock on the wall ends it all the same.
    Works wherever CPython does, Windows too, between two steps of Python: what a
    single call in C does, such as one enormous matrix product, is not interrupted.
    `files` are those of the person's code, which may not swallow it.
    """
    global _insist
    thread, tracing, outer = threading.get_ident(), sys.gettrace(), _insist
    _insist = files
    lock, struck, over = threading.Lock(), threading.Event(), threading.Event()

    def strike():
        clock, began = _clock_of(thread), time.monotonic()
        started, pause = clock(), min(0.2, seconds / 10)
        while not over.wait(pause):
            waited = time.monotonic() - began
            if clock() - started < seconds and waited < 3 * seconds:
                continue
            with lock:
                if not over.is_set():
                    struck.set()
                    hang = ctypes.c_ulong(thread), ctypes.py_object(Hang)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(*hang)
            pause = 1  # and again, in case a bare `except:` swallowed this one

    threading.Thread(target=strike, daemon=True).start()
    try:
        yield
    finally:
        _insist, ended = frozenset(), False
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
