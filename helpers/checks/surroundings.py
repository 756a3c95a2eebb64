"""What is around an examination: its prints, an untouched model, nobody who answers."""

import builtins
import code
import contextlib
import getpass
import io
import pdb
import sys
import threading
from collections.abc import Callable, Iterator

import torch

from helpers.checks.own_code import spaces_of
from helpers.checks.settings import neutral

PRINT_LINES = 12  # of the person's prints, enough to see what they wanted to see

# stdout, warnings and torch's defaults belong to the whole process. Re-entrant: an
# answer may call a check itself.
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def undisturbed(
    candidate, around: Callable = contextlib.nullcontext
) -> Iterator["Prints"]:
    """Around one examination: all settings neutral inside, the person's again after.

    Yields what takes the prints of this thread.
    """
    with (
        _one_at_a_time,
        neutral(),
        around(),
        contextlib.redirect_stdout(Prints(sys.stdout)) as prints,
        _nobody_answers(candidate, prints),
    ):
        yield prints


class Prints(io.StringIO):
    """Keeps the first lines that are printed, and counts the rest.

    Args:
        outer: where the prints of other threads go.

    Attributes:
        waited: the first `Waits` that was raised, even if the person's code caught it.
    """

    def __init__(self, outer):
        super().__init__()
        self.lines, self.outer = 0, outer
        self.thread, self.waited = threading.get_ident(), None

    def write(self, text: str) -> int:
        if threading.get_ident() != self.thread:
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
    spaces = spaces_of(candidate)

    def refusing(told: str, original) -> Callable:
        def refuse(*args, **kwargs):
            if threading.get_ident() != prints.thread:
                return original(*args, **kwargs)
            error = Waits(told)
            prints.waited = prints.waited or error
            raise error

        return refuse

    with contextlib.ExitStack() as stack:
        for owner, name, told in _asking():
            original = getattr(owner, name)
            refuse = refusing(told, original)
            for space in spaces:
                for known, value in list(space.items()):
                    # equal, for a kernel's `getpass` is a method, made anew each time
                    if type(value) is type(original) and value == original:
                        stack.callback(space.__setitem__, known, value)
                        space[known] = refuse
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, refuse)
        refuse = refusing("sys.stdin", getattr(sys.stdin, "readline", None))
        stack.callback(setattr, sys, "stdin", sys.stdin)
        sys.stdin = _NoOneTypes(refuse)
        yield


def _asking() -> list[tuple[object, str, str]]:
    """What waits for a person: where it is, its name there, and what it is called."""
    places = [
        (builtins, "input", "input()"),
        (getpass, "getpass", "getpass()"),
        (sys, "breakpointhook", "breakpoint()"),
        (pdb, "set_trace", "pdb.set_trace()"),
        (pdb.Pdb, "__init__", "a debugger"),  # IPython's and others build on it
        (code, "interact", "code.interact()"),
        (sys.modules.get("IPython"), "embed", "embed()"),
        (sys.modules.get("IPython.core.debugger"), "set_trace", "set_trace()"),
    ]
    return [place for place in places if hasattr(*place[:2])]


class Untouched:
    """A model that nobody's code may change: its parameters, copied."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.training = model, model.training
        self.kept = [
            (module, name, p, p.detach().clone(), p.requires_grad)
            for module in model.modules()
            for name, p in module._parameters.items()
            if p is not None and p.device.type != "meta" and not p.is_inference()
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
