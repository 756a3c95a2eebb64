"""The checks of the exercises: `checks.layer_norm(LayerNorm)` and its like.

An exercise is found by its name: `checks.layer_norm` is what `layer_norm.py` in one of
the folders of a shelf makes, beside its page `layer_norm.md`.
"""

import importlib.util
import re
from pathlib import Path

from helpers.checks.report import CheckFailed

__all__ = ["CheckFailed", "names", "shelve", "titles"]

_shelves: list[str] = []  # packages whose folders hold exercises


def shelve(package: str) -> None:
    """Look for exercises in the folders of a package, too."""
    if package not in _shelves:
        _shelves.append(package)


def _found() -> dict[str, str]:
    """The modules of all exercises, by the exercises' names, in the course's order."""
    found = {}
    for package in _shelves:
        (root,) = importlib.import_module(package).__path__
        for page in sorted(Path(root).glob("*/*.md")):
            if page.with_suffix(".py").exists():
                found[page.stem] = f"{package}.{page.parent.name}.{page.stem}"
    return found


def names() -> list[str]:
    """The names of all exercises, notebook by notebook."""
    return list(_found())


def titles() -> dict[str, str]:
    """The exercises' names by the class or function that their pages ask for."""
    found = {}
    for name, module in _found().items():
        path = Path(importlib.util.find_spec(module).origin).with_suffix(".md")
        text = path.read_text(encoding="utf-8")
        asked = re.search(r"```python\n(?:@.*\n)*(?:class|def) (\w+)", text)
        if asked:
            found.setdefault(asked[1], name)
    return found


def __getattr__(name: str):
    module = _found().get(name) if not name.startswith("_") else None
    if module is None:
        raise AttributeError(f"there is no check of the name {name!r}")
    return importlib.import_module(module).check


def __dir__():
    return sorted([*globals(), *_found()])
