"""Conditions of the table in causes.toml: each of the place, and of the match in what
was said. What it returns is true where it holds; of a dictionary, the words stand in
braces in the hint.
"""

import ast
import difflib
import inspect
import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional

import helpers.checks as checks
from helpers.checks.own_code import functions_of
from helpers.checks.place import pattern_of, sides, written


def not_in_their_code(place, match):
    """The check's own call failed: the signature does not fit it."""
    return place.frame is None


def with_a_module(place, match):
    """A module in the place of what it returns."""
    node = place.node
    parts = [getattr(node, side, None) for side in ("left", "right", "value")]
    for part in filter(None, [*parts, *getattr(node, "args", ())]):
        if isinstance(place.value(ast.unparse(part)), nn.Module):
            return {"name": ast.unparse(part)}
    return False


def of_a_matrix_product(place, match):
    called = getattr(place.callee, "__name__", "")
    product = isinstance(getattr(place.node, "op", None), ast.MatMult)
    return product or called in ("matmul", "bmm", "mm")


def of_the_course(place, match):
    """One of the classes and functions that the exercises ask for."""
    of_torch = str(getattr(place.callee, "__module__", "")).startswith("torch")
    return match["name"] in checks.titles() and not of_torch


def whole_words(place, match):
    """Names of several letters in a pattern."""
    left = pattern_of(place.node).split("->")[0].split(",")
    words = [name for side in left if " " in side.strip() for name in side.split()]
    return any(len(name) > 1 for name in words)


def tensor_of_that_number(place, match):
    """Which tensor einsum speaks of."""
    told, number = sides(place), int(match["number"])
    return number < len(told) and {"tensor": told[number][1]}


def reduces(place, match):
    """A mean or its like, or a tensor that has one axis less than another.

    An axis was dropped only if there is something that could have dropped it.
    """
    if _REDUCTION.search(place.code) and "keepdim" not in place.code:
        return True
    shapes = {tuple(tensor.shape) for _, tensor in place.tensors}
    return any(len(s) > 2 and s[:-1] in shapes for s in shapes)


_REDUCTION = re.compile(r"\b(mean|var|std|var_mean|sum|norm|reduce|amax|max)\(")


def ids_and_floats(place, match):
    """Whole numbers, such as token ids, beside a table of floats."""
    tensors = [*place.tensors, *place.named(place.node)]
    return len({x.dtype.is_floating_point for _, x in tensors}) > 1


def fits_transposed(place, match):
    """A matrix product that fits once the second matrix is turned."""
    shapes = [x.shape for _, x in place.tensors]
    if len(shapes) != 2 or min(map(len, shapes)) < 2:
        return False
    return shapes[0][-1] == shapes[1][-1] and {"size": shapes[0][-1]}


def writes_along_the_first_axis(place, match):
    """A line that writes at ids of the last axis as if they were of the first."""
    index, size = int(match["index"]), int(match["size"])
    shapes = [tensor.shape for _, tensor in place.named(place.statement)]
    writes = re.search(r"\]\s*=(?!=)", place.line)
    return writes and any(len(s) > 1 and s[0] == size and index < s[-1] for s in shapes)


def written_down(place, match):
    """A size in the error that the operation spells out."""
    said = re.findall(r"\d+", re.sub(r"(dimension|position) \d+", "", match.string))
    for node in ast.walk(place.node or ast.Pass()):
        sizes = [node.lower, node.upper] if isinstance(node, ast.Slice) else []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            sizes = written(node.args) if name in _OF_SIZES else []
        for size in sizes:
            number = size.value if isinstance(size, ast.Constant) else 0
            if type(number) is int and number > 1 and str(number) in said:
                return {"number": number}
    return False


_OF_SIZES = """arange broadcast_to empty expand full ones rand randn repeat reshape
unflatten view zeros""".split()


def size_of_gpt2(place, match):
    """A size of GPT-2 in the error, where the check's model has another."""
    cfg = getattr(place.value("self"), "cfg", None) or place.value("cfg")
    told = set(re.findall(r"\d+", match.string))
    for number, field in _GPT2.items():
        if number in told and getattr(cfg, field, int(number)) != int(number):
            return {"number": number, "field": field}
    return False


_GPT2 = {
    "768": "d_model",
    "3072": "d_mlp",
    "1024": "n_ctx",
    "50257": "d_vocab",
    "64": "d_head",
}


def keeps_what_register_buffer_gives(place, match):
    """`self.x = self.register_buffer(...)`, which puts None there."""
    self, code = place.value("self"), ast.unparse(place.statement or ast.Pass())
    for name in re.findall(r"self\.(\w+)", code) if self is not None else ():
        if getattr(self, name, 0) is None:
            call = rf"self\.{name}\s*=\s*self\.register_buffer\(\W*(\w+)"
            if made := re.search(call, place.source):
                return {"name": name, "made": made[1]}
    return False


def stands_below_self(place, match):
    """A name that only an attribute of `self` has."""
    self, name = place.value("self"), place.error.name
    return self is not None and hasattr(self, name) and {"name": name}


def made_in_an_earlier_cell(place, match):
    """A name that the course makes: gone after a restart."""
    name = place.error.name
    return name in {"reference", *checks.titles()} and {"name": name}


def made_by_an_import(place, match):
    """A name that an import makes."""
    return place.error.name in _IMPORTS and {"import": _IMPORTS[place.error.name]}


_IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "from torch.nn import functional as F",
    "Tensor": "from torch import Tensor",
    "math": "import math",
    "np": "import numpy as np",
    "einops": "import einops",
    "einsum": "from einops import einsum",
    "rearrange": "from einops import rearrange",
    "repeat": "from einops import repeat",
    "reduce": "from einops import reduce",
    "dataclass": "from dataclasses import dataclass",
    "Config": "from helpers import Config",
}


def spelt_nearly(place, match):
    """A name, or an attribute, that differs a little from one that is there."""
    name = match["name"]
    if isinstance(place.error, NameError):
        there = [*place.frame.f_locals] if place.frame else []
    else:
        there = [n for n in dir(place.error.obj) if not n.startswith("_")]
    same = [other for other in there if other.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, there, n=1, cutoff=0.8)
    return bool(near) and {"near": near[0]}


def of_a_module(place, match):
    """An attribute of an object of a class that the person wrote."""
    return isinstance(place.error.obj, nn.Module)


def stands_elsewhere(place, match):
    """A function that another library has."""
    homes = {"torch": torch, "F": functional, "nn": nn, "math": math}
    owner, name = getattr(place.error, "obj", None), match["name"]
    homes = {home: module for home, module in homes.items() if module is not owner}
    found = [home for home, module in homes.items() if hasattr(module, name)]
    if not found and owner is not None and hasattr(Tensor, name):
        return {"where": f"x.{name}(...)"}
    return bool(found) and {"where": f"{found[0]}.{name}"}


def without_self(place, match):
    """A method of the person's whose first parameter is not `self`."""
    for function in functions_of(place.candidate):
        method = vars(place.candidate).get(function.__name__)
        names = [*inspect.signature(function).parameters]
        if method is function and function.__name__ == match["name"]:
            if names[:1] != ["self"]:
                return {"signature": f"{match['name']}({', '.join(['self', *names])})"}
    return False


def without_an_init(place, match):
    """A class that has only nn.Module's `__init__`."""
    return place.candidate.__init__ is nn.Module.__init__
