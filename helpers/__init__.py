"""Shared code and checks of the course; a notebook imports its names from here."""

import gc
import importlib

_HOME = {
    "Config": "helpers.config",
    "checks": "helpers.checks",
    "load_reference": "helpers.reference",
    "start": "helpers.session",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    # Loaded when asked for: the editions command and the grammar need no torch.
    if name not in _HOME:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}")
    # Imports make a million objects and no garbage. Looking for it all the same costs
    # a tenth of the time that PyTorch and transformers take.
    collecting = gc.isenabled()
    gc.disable()
    try:
        module = importlib.import_module(_HOME[name])
    finally:
        if collecting:
            gc.enable()
    if name == "checks":
        module.shelve("helpers.exercises")
        return module
    return getattr(module, name)
