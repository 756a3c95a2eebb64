"""Shared code and checks of the course; a notebook imports its names from here."""

import importlib

_HOME = {
    "Config": "helpers.config",
    "load_reference": "helpers.reference",
    "start": "helpers.session",
}
__all__ = ["checks", *_HOME]


def __getattr__(name: str):
    # Loaded when asked for: the editions command and the grammar need no torch.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'helpers' has no attribute {name!r}")
