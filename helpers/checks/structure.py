"""Whether a model's modules are there, each once, under the right names.

Before its parameters are looked at one by one: a plain list in the place of a
ModuleList loses a hundred of them, and one sentence says it better than a hundred.
"""

import difflib
from collections.abc import Iterable

from torch import nn

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
    return [
        Mistake(
            "torch-layer",
            f"{'; '.join(told)}. A layer of torch's makes parameters of its own, with "
            "other names than the course's, so that saved weights do not find them.",
            hint,
        )
    ]


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


def part_title(path: str) -> str:
    """The class that belongs in a place: LayerNorm in `blocks.0.ln1`; "" if none."""
    import helpers.checks as checks  # all of them: this module is a part of each

    leaf = path.rpartition(".")[2]
    name = "transformer_block" if leaf.isdigit() else PARTS.get(leaf)
    return getattr(checks, name).title if name in checks.names() else ""


def _other_classes(module: nn.Module, want: list[str]) -> list[Mistake]:
    """Another class of the course's where one of them belongs."""
    import helpers.checks as checks

    titles, have = checks.titles(), dict(module.named_parameters())
    for path, part in module.named_modules():
        kind, right = type(part).__name__, part_title(path)
        lost = [n for n in want if n.startswith(f"{path}.") and n not in have]
        if path and lost and kind in titles and right and kind != right:
            name = path.rpartition(".")[2]
            name = "blocks" if name.isdigit() else name
            return [
                Mistake(
                    "another-class",
                    f"`{path}` is a {kind}; {article(right)} belongs there.",
                    f"`self.{name} = {right}(cfg)`" if name != "blocks" else "",
                )
            ]
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
            found.append(
                Mistake(
                    f"{kind}-instead-of-modulelist",
                    f"`{full}` is a plain Python {kind}, and nn.Module does not look "
                    "into it: the weights of what it holds are not in `state_dict()`, "
                    "no optimizer sees them, and `.to(device)` leaves them behind.",
                    f"`self.{name} = nn.{container}(...)`",
                )
            )
    return found


def _shared_blocks(module: nn.Module) -> list[Mistake]:
    """One object in several places of a list, as `[Block(cfg)] * n` makes it."""
    for path, part in module.named_modules():
        children = [c for c in part._modules.values() if c is not None]
        if len(children) < 2 or not all(name.isdigit() for name in part._modules):
            continue
        if len({id(child) for child in children}) == 1:
            return [
                Mistake(
                    "shared-blocks",
                    f"The {len(children)} entries of `{path}` are one and the same "
                    f"{type(children[0]).__name__}: `[x] * n` repeats the object, and "
                    "does not copy it. All layers would share their weights.",
                    "call the class once for each layer: "
                    "`[TransformerBlock(cfg) for _ in range(cfg.n_layers)]`",
                )
            ]
    return []


def _one_memory(parameters: dict[str, nn.Parameter]) -> list[Mistake]:
    """Two parameters over the same numbers: `nn.Parameter(self.W_E.T)` makes them."""
    owners: dict[int, str] = {}
    for name, p in parameters.items():
        first = owners.setdefault(p.untyped_storage().data_ptr(), name)
        if first != name and p.numel():
            return [
                Mistake(
                    "shared-memory",
                    f"`{name}` and `{first}` are views of the same numbers: loading "
                    "one overwrites the other.",
                    "let each module make its own parameter",
                )
            ]
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
            return [_count(path, len(wanted), len(there))]
    lost = [child for child in wanted if child not in there]
    spare = [child for child in there if child not in wanted]
    found = []
    for child in lost:
        value = getattr(module, child, None)
        if isinstance(value, type):
            full, name = _join(path, child), value.__name__
            told = f"`{full}` is the class `{name}` itself, not an object of it."
            found.append(Mistake("class-not-called", told, f"`{name}(cfg)` makes one"))
            continue
        if value is not None:
            continue  # a module without parameters, or one that stands twice
        alike = [s for s in spare if set(there[s]) == set(wanted[child])]
        alike = difflib.get_close_matches(child, alike, n=1, cutoff=0.0)
        full = _join(path, child)
        if alike:
            spare.remove(alike[0])
            found.append(
                Mistake(
                    "renamed-module",
                    f"What should be called `{full}` is called "
                    f"`{_join(path, alike[0])}`; saved weights find their place by "
                    "name.",
                    f"call it `self.{child}`",
                )
            )
        else:
            found.append(
                Mistake(
                    "missing-module",
                    f"There is no `{full}`.",
                    f"make it in `__init__`: `self.{child} = ...`",
                )
            )
    found += [
        Mistake(
            "extra-module",
            f"There is a module `{_join(path, child)}` that GPT-2 does not have here, "
            "with weights of its own.",
            "take it out",
        )
        for child in spare
    ]
    if found:
        return found
    for child in wanted.keys() & there.keys():
        below = getattr(module, child)
        found += _names(below, _join(path, child), wanted[child], there[child])
        if found:
            return found
    return []


def _count(path: str, want: int, have: int) -> Mistake:
    return Mistake(
        "wrong-number-of-blocks",
        f"`{path}` holds {have} block{'s' * (have != 1)}; here `cfg.n_layers` is "
        f"{want}.",
        "`range(cfg.n_layers)`, and nothing added or taken off",
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
