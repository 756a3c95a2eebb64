"""Code that asks for a GPU, on a machine that may have none."""

import contextlib
import functools

import torch
from torch import overrides
from torch.overrides import TorchFunctionMode

from helpers.checks.own_code import files_of, line_of, running

_GPUS = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}


class OnCPU(TorchFunctionMode):
    """Sends everything to the CPU, and remembers who asked for a GPU.

    Args:
        candidate: whose line is looked for.
        lacking: send only what asks for a device that this machine lacks.

    Attributes:
        line: the first of the candidate's lines that asked for a GPU; "" where it was
            none of theirs, None where nobody did.
    """

    def __init__(self, candidate=None, lacking: bool = False):
        super().__init__()
        self.candidate, self.lacking, self.line = candidate, lacking, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda and self._redirects("cuda"):
            return args[0]
        if self._redirects(kwargs.get("device")):
            kwargs["device"] = "cpu"
        if func is torch.Tensor.to:
            to = ("cpu" if self._redirects(a) else a for a in args[1:])
            args = args[0], *to
        return func(*args, **kwargs)

    def _redirects(self, device) -> bool:
        gpu = _gpu(device)
        if gpu is None or (self.lacking and gpu.is_available()):
            return False
        if self.line is None:
            self.line = line_of(running(files_of(self.candidate)))
        return True


def _gpu(device):
    """torch's part for the GPU that is asked for, or None."""
    if isinstance(device, int) and not isinstance(device, bool):
        return torch.cuda  # torch takes a number for a GPU's
    named = isinstance(device, (str, torch.device))
    return _GPUS.get(str(device).split(":")[0]) if named else None


def make_here(candidate: type) -> None:
    """Let a class that asks for a GPU be made on this machine, wherever it is used."""
    init = candidate.__init__
    if getattr(init, "made_here", False):
        return

    @functools.wraps(init)
    def on_what_there_is(self, *args, **kwargs):
        modes = overrides._get_current_function_mode_stack()
        checked = any(isinstance(mode, OnCPU) for mode in modes)  # it wants to know
        with contextlib.nullcontext() if checked else OnCPU(lacking=True):
            init(self, *args, **kwargs)

    on_what_there_is.made_here = True
    candidate.__init__ = on_what_there_is


class NotDrawn(TorchFunctionMode):
    """Leaves out `nn.init.normal_`: no time for weights that are replaced at once."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))
