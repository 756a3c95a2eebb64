"""Whether a model's modules are there, each once, under the right names.

Before its parameters are looked at one by one: a plain list in the place of a
ModuleList loses a hundred of them, and one sentence says it better than a hundred.
"""

import difflib
import functools
from collections.abc import Iterable

from torch import nn

from helpers.checks.general import mistake
from helpers.checks.report import Mistake


def wrong(module: nn.Module, want: Iterable[str]) -> list[Mistake]:
    """What is wrong with the modules, given the parameters' names that must be there.

    Says nothing of parameters that a module has or lacks by itself.
    """
    parameters, want = list(want), [name for name in want if "." in name]
    have = dict(module.named_parameters())
    if not want:
        return _torch_layers(module, parameters)
    if have.keys() >= set(want):
        return _one_memory(have) or _names(module, "", want, list(have))
    return (
        _plain_lists(module)
        or _shared_blocks(module)
        or _torch_layers(module, parameters)
        or _other_classes(module, want)
        or _names(module, "", want, list(have))
    )


def _torch_layers(module: nn.Module, want: list[str]) -> list[Mistake]:
    """torch's own layers in the place of what the person should have made."""
    have = [name for name, _ in module.named_parameters()]
    lost = [name for name in want if name not in have]
    layers: dict[str, list[str]] = {}
    for name in have if lost else ():
        path, layer = _torch_layer(module, name, lost)
        if layer and name not in want and path not in layers.setdefault(layer, []):
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
    stands = [path for path in paths if any(n.startswith(f"{path}.") for n in lost)]
    first = stands[0] if stands else paths[0]
    inside = [n.rpartition(".")[2] for n in lost if n.rpartition(".")[0] == first]
    own = part_title(first)
    if stands and own:
        hint = f"use your own class there: `{own}(cfg)`"
    else:
        lost = inside or [n.rpartition(".")[2] for n in lost]
        lost = list(dict.fromkeys(lost))
        hint = f"make {_listed(lost)} yourself: `self.{lost[0]} = nn.Parameter(...)`"
    return [mistake("torch-layer", layers="; ".join(told), hint=hint)]


def _torch_layer(module: nn.Module, name: str, lost: list[str]) -> tuple[str, str]:
    """The outermost layer of torch's that a parameter belongs to: path, and class.

    A Sequential is one only where a class of the person's own belongs.
    """
    parts = name.split(".")[:-1]
    for path in (".".join(parts[:n]) for n in range(len(parts) + 1)):
        for kind in type(module.get_submodule(path)).__mro__:
            place = part_title(path) and any(n.startswith(f"{path}.") for n in lost)
            if kind is nn.Module or (kind in _CONTAINERS and not place):
                break
            if kind.__module__.startswith("torch.nn"):
                return path, kind.__name__
    return "", ""


_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
_CONTAINERS += (nn.ParameterList, nn.ParameterDict)


def _listed(names: list[str]) -> str:
    """A few of them, and how many more."""
    shown = [f"`{name}`" for name in (names if len(names) < 5 else names[:3])]
    shown += [f"{len(names) - 3} more"] if len(names) > 4 else []
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


PARTS = {  # the class of a part by its attribute, and its own check
    "embed": "embed",
    "pos_embed": "pos_embed",
    "ln1": "layer_norm",
    "attn": "attention",
    "ln2": "layer_norm",
    "mlp": "mlp",
    "ln_final": "layer_norm",
    "unembed": "unembed",
}


def part_check(path: str) -> str:
    """The check of what belongs in a place: layer_norm for `blocks.0.ln1`, or ""."""
    leaf = path.rpartition(".")[2]
    return "transformer_block" if leaf.isdigit() else PARTS.get(leaf, "")


@functools.cache
def part_title(path: str) -> str:
    """The class that belongs in a place: LayerNorm in `blocks.0.ln1`; "" if none."""
    import helpers.checks as checks  # all of them: this module is a part of each

    name = part_check(path)
    return getattr(checks, name).title if name in checks.names() else ""


def _other_classes(module: nn.Module, want: list[str]) -> list[Mistake]:
    """Another class of the course's where one of them belongs."""
    import helpers.checks as checks

    titles, have = checks.titles(), dict(module.named_parameters())
    for path, part in module.named_modules():
        kind, right = type(part).__name__, part_title(path)
        lost = [n for n in want if n.startswith(f"{path}.") and n not in have]
        if path and lost and kind in titles and right and kind != right:
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
            if not any(isinstance(item, nn.Module) for item in inside):
                continue
            full, kind = _join(path, name), type(value).__name__
            container = "ModuleDict" if kind == "dict" else "ModuleList"
            words = {"place": full, "kind": kind, "name": name, "container": container}
            slug = f"{kind}-instead-of-modulelist"
            found.append(mistake("plain-list-of-modules", slug, **words))
    return found


def _shared_blocks(module: nn.Module) -> list[Mistake]:
    """One object in several places of a list, as `[Block(cfg)] * n` makes it."""
    for path, part in module.named_modules():
        children = [c for c in part._modules.values() if c is not None]
        if len(children) < 2 or not all(name.isdigit() for name in part._modules):
            continue
        if len({id(child) for child in children}) == 1:
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


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Child modules, and the names of the parameters below them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        child, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(child, []).append(rest)
    return groups


def _names(module: nn.Module, path: str, want, have) -> list[Mistake]:
    """Modules that are missing, spare or under another name, from the top down."""
    wanted, there = _grouped(want), _grouped(have)
    if wanted and all(child.isdigit() for child in wanted):
        if wanted.keys() != there.keys():
            have = f"{len(there)} block{'s' * (len(there) != 1)}"
            words = {"place": path, "have": have, "want": len(wanted)}
            return [mistake("wrong-number-of-blocks", **words)]
    lost = [child for child in wanted if child not in there]
    spare = [child for child in there if child not in wanted]
    found = []
    for child in lost:
        value = getattr(module, child, None)
        if isinstance(value, type):
            full, name = _join(path, child), value.__name__
            found.append(mistake("class-not-called", place=full, name=name))
            continue
        if value is not None:
            continue  # a module without parameters, or one that stands twice
        alike = [s for s in spare if set(there[s]) == set(wanted[child])]
        alike = difflib.get_close_matches(child, alike, n=1, cutoff=0.0)
        full = _join(path, child)
        if alike:
            spare.remove(alike[0])
            words = {"place": full, "other": _join(path, alike[0]), "name": child}
            found.append(mistake("renamed-module", **words))
        else:
            found.append(mistake("missing-module", place=full, name=child))
    found += [mistake("extra-module", place=_join(path, child)) for child in spare]
    if found:
        return found
    for child in wanted.keys() & there.keys():
        below = getattr(module, child)
        found += _names(below, _join(path, child), wanted[child], there[child])
        if found:
            return found
    return []


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
