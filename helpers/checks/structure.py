"""Whether a model's modules are there, each once, under the right names.

Before its parameters are looked at one by one: a plain list in the place of a
ModuleList loses a hundred of them, and one sentence says it better than a hundred.
"""

import difflib
from collections.abc import Callable, Iterable
from functools import partial

from torch import nn

import helpers.checks as checks
from helpers.checks.report import Mistake, mistake

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
_CONTAINERS += (nn.ParameterList, nn.ParameterDict)


def wrong(
    module: nn.Module, want: Iterable[str], right: Callable[[], nn.Module | None]
) -> list[Mistake]:
    """What is wrong with the modules.

    Says nothing of parameters that a module has or lacks by itself.

    Args:
        want: names of the parameters that must be there.
        right: makes the course's own module, which tells what belongs in each place.
    """
    have = dict(module.named_parameters())
    lost = [name for name in want if name not in have]
    inner = [name for name in want if "." in name]
    if inner and have.keys() >= set(inner):
        return _one_memory(have) or _names(module, inner, have)
    kinds = _kinds(right()) if lost else {}
    spare = [name for name in have if name not in want]
    torchs = _torch_layers(module, spare, lost, kinds)
    if not inner:
        return torchs
    return (
        _plain_lists(module)
        or _shared_blocks(module)
        or torchs
        or _other_classes(module, lost, kinds)
        or _names(module, inner, have)
    )


def _kinds(right: nn.Module | None) -> dict[str, str]:
    """The classes of the course's that belong in its places, by path."""
    parts = right.named_modules() if right else ()
    kinds = {path: type(part).__name__ for path, part in parts if path}
    return {path: kind for path, kind in kinds.items() if kind in checks.titles()}


def _below(path: str, names: Iterable[str]) -> list[str]:
    """What of these names lies in a module, as it is called there."""
    start = f"{path}." if path else ""
    return [name[len(start) :] for name in names if name.startswith(start)]


def _torch_layers(
    module: nn.Module, spare: list[str], lost: list[str], kinds: dict[str, str]
) -> list[Mistake]:
    """torch's own layers in the place of what the person should have made."""
    layers: dict[str, list[str]] = {}
    for name in spare if lost else ():
        path, layer = _torch_layer(module, name, lost, kinds)
        if layer and path not in layers.setdefault(layer, []):
            layers[layer].append(path)
    if not layers:
        return []
    told = [
        f"{_listed(paths)} {'are' if paths[1:] else 'is'} torch's `nn.{layer}`"
        if paths != [""]
        else f"Your class is built on torch's `nn.{layer}`"
        for layer, paths in layers.items()
    ]
    paths = [path for paths in layers.values() for path in paths]
    stands = [path for path in paths if path and _below(path, lost)]
    first = (stands or paths)[0]
    if stands and first in kinds:
        hint = f"use your own class there: `{kinds[first]}(cfg)`"
    else:
        inside = [name for name in _below(first, lost) if "." not in name]
        leaves = list(dict.fromkeys(n.rpartition(".")[2] for n in inside or lost))
        hint = (
            f"make {_listed(leaves)} yourself: `self.{leaves[0]} = nn.Parameter(...)`"
        )
    return [mistake("torch-layer", layers="; ".join(told), hint=hint)]


def _torch_layer(module: nn.Module, name: str, lost, kinds) -> tuple[str, str]:
    """The outermost layer of torch's that a parameter belongs to: path, and class.

    A Sequential is one only where a class of the person's own belongs.
    """
    parts = name.split(".")[:-1]
    for path in (".".join(parts[:n]) for n in range(len(parts) + 1)):
        place = path in kinds and _below(path, lost)
        for kind in type(module.get_submodule(path)).__mro__:
            if kind is nn.Module or (kind in _CONTAINERS and not place):
                break
            if kind.__module__.startswith("torch.nn"):
                return path, kind.__name__
    return "", ""


def _listed(names: list[str]) -> str:
    """A few of them, and how many more."""
    shown = [f"`{name}`" for name in (names if len(names) < 5 else names[:3])]
    shown += [f"{len(names) - 3} more"] if len(names) > 4 else []
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _other_classes(module: nn.Module, lost, kinds: dict[str, str]) -> list[Mistake]:
    """Another class of the course's where one of them belongs."""
    for path, part in module.named_modules():
        kind, right = type(part).__name__, kinds.get(path)
        if right and kind != right and kind in checks.titles() and _below(path, lost):
            words = {"place": path, "kind": kind, "right": article(right)}
            return [mistake("another-class", made=f"{right}(cfg)", **words)]
    return []


def article(name: str) -> str:
    """A name with "a" or "an" in front."""
    return f"an {name}" if name[0] in "AEIO" or name == "MLP" else f"a {name}"


def _plain_lists(module: nn.Module) -> list[Mistake]:
    found = []
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_") or not isinstance(value, (list, tuple, dict)):
                continue
            inside = value.values() if isinstance(value, dict) else value
            if any(isinstance(item, nn.Module) for item in inside):
                kind = type(value).__name__
                container = "ModuleDict" if kind == "dict" else "ModuleList"
                words = {"place": _join(path, name), "kind": kind, "name": name}
                words |= {"container": container}
                slug = f"{kind}-instead-of-modulelist"
                found.append(mistake("plain-list-of-modules", slug, **words))
    return found


def _shared_blocks(module: nn.Module) -> list[Mistake]:
    """One object in several places of a list, as `[Block(cfg)] * n` makes it."""
    for path, part in module.named_modules():
        children = [c for c in part._modules.values() if c is not None]
        digits = all(name.isdigit() for name in part._modules)
        if len(children) > 1 and digits and len(set(map(id, children))) == 1:
            words = {"count": len(children), "kind": type(children[0]).__name__}
            return [mistake("shared-blocks", place=path, **words)]
    return []


def _one_memory(parameters: dict[str, nn.Parameter]) -> list[Mistake]:
    """Two parameters over the same numbers: `nn.Parameter(self.W_E.T)` makes them."""
    owners: dict[int, str] = {}
    for name, p in parameters.items():
        first = owners.setdefault(p.untyped_storage().data_ptr(), name)
        if first != name and p.numel():
            return [mistake("shared-memory", one=name, other=first)]
    return []


def _names(module: nn.Module, want, have, path: str = "") -> list[Mistake]:
    """Modules that are missing, spare or under another name, from the top down."""
    wanted, there = _children(path, want), _children(path, have)
    if wanted and wanted.keys() != there.keys() and all(map(str.isdigit, wanted)):
        count = f"{len(there)} block{'s' * (len(there) != 1)}"
        words = {"place": path, "have": count, "want": len(wanted)}
        return [mistake("wrong-number-of-blocks", **words)]
    spare, found = [child for child in there if child not in wanted], []
    for child in [child for child in wanted if child not in there]:
        tell = partial(mistake, place=_join(path, child), name=child)
        value = getattr(module.get_submodule(path), child, None)
        alike = [s for s in spare if there[s] == wanted[child]]
        alike = difflib.get_close_matches(child, alike, n=1, cutoff=0.0)
        if isinstance(value, type):
            found.append(tell("class-not-called", kind=value.__name__))
        elif value is not None:
            continue  # a module without parameters, or one that stands twice
        elif alike:
            spare.remove(alike[0])
            found.append(tell("renamed-module", other=_join(path, alike[0])))
        else:
            found.append(tell("missing-module"))
    found += [mistake("extra-module", place=_join(path, child)) for child in spare]
    for child in wanted if not found else ():
        if child in there and not found:
            found = _names(module, want, have, _join(path, child))
    return found


def _children(path: str, names: Iterable[str]) -> dict[str, set[str]]:
    """The modules in a module, and the names of the parameters in each of them."""
    inside = _below(path, names)
    children = dict.fromkeys(n.partition(".")[0] for n in inside if "." in n)
    return {child: {*_below(child, inside)} for child in children}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
