"""The inputs on which an answer is judged: where a mistake would show."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Case:
    """One set of inputs, and what must come out.

    Attributes:
        source: the model that the inputs come from, as a person would say it.
        cfg: the configuration the answer is built with.
        inputs: the tensors handed to the answer (a clone each time).
        params: the weights of a class, by name; empty for a function.
        buffers: tensors that a class must keep without learning them, by name.
        expected: transformers' own output; None where transformers has no such
            step by itself, and the course's answer gives the target.
        grad: also compare the gradients with respect to inputs and parameters.
        explains: mistakes are recognised on it; False where wrong code stops for
            reasons of its own, such as an index beyond the table.
        extra: keyword arguments that an answer gets.
        detail: what is special about the inputs: "on a batch of one".
        made: what the course's and wrong answers made of it.
    """

    source: str
    cfg: object
    inputs: tuple[Tensor, ...]
    params: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    expected: Tensor | None = None
    grad: bool = False
    explains: bool = True
    extra: dict = field(default_factory=dict)
    detail: str = ""
    made: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Source and detail, for a sentence: "on {label}"."""
        return f"{self.source}, {self.detail}" if self.detail else self.source


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Standard normal numbers, the same every time, whatever the global seed."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator)
