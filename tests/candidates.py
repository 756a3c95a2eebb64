"""Answers as a learner would type them, for the tests of the checks."""

import itertools
import linecache
import math
import textwrap
from typing import NamedTuple

import einops
import fancy_einsum
import torch
from torch import nn
from torch.nn import functional

from helpers.config import Config

_numbers = itertools.count()


class Answer(NamedTuple):
    """One answer of a suite. Each module of tests of checks hands out its own by
    `answers()`; tests.checks_table counts what became of them.

    Attributes:
        check: the check's name in helpers.checks.
        mistakes: the names that the report should tell; None for a right answer.
        candidate: the class or function itself.
    """

    check: str
    mistakes: tuple[str, ...] | None
    candidate: object


def define(source: str, **names) -> dict:
    """Run source text as a notebook cell would be run; returns its namespace.

    The text is registered with linecache under a name of its own, as IPython does, so
    that reports can quote lines. torch, nn, F, einops, einsum (einops), math and
    Config are there already; `names` adds more or replaces them.
    """
    source = textwrap.dedent(source).strip() + "\n"
    file = f"<cell {next(_numbers)}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[file] = (len(source), None, lines, file)
    namespace = {
        "__name__": "__main__",
        "torch": torch,
        "nn": nn,
        "F": functional,
        "einops": einops,
        "einsum": einops.einsum,
        "rearrange": einops.rearrange,
        "fancy_einsum": fancy_einsum,
        "math": math,
        "Config": Config,
        **names,
    }
    exec(compile(source, file, "exec"), namespace)
    return namespace
