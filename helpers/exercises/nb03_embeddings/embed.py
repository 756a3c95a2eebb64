"""What an answer to `Embed` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb03_embeddings import tables
from helpers.model import Embed


def cases() -> list[Case]:
    """Ids that no mistake's table is too short for, then every id and a real text."""
    small, big = stirred(), loaded()
    cfg, order = small.cfg, torch.Generator().manual_seed(5)
    low = cfg.d_model - 1  # so that even W_E transposed has such rows
    inputs = {
        "": tables.ids(2, 5, low, seed=1),
        "on a batch of one": tables.ids(1, 4, low, seed=2),
        "on a single position": tables.ids(2, 1, low, seed=3),
        "on every token of the vocabulary": torch.randperm(
            cfg.d_vocab, generator=order
        )[None],
        "on the full context": tables.ids(2, cfg.n_ctx, cfg.d_vocab, seed=4),
    }
    return [
        *_cases(small, inputs, explains=3),
        *_cases(big, {"": big.tokens}, explains=0),
    ]


def _cases(source, inputs: dict, explains: int) -> list[Case]:
    table = source.reference.model.transformer.wte
    return tables.cases(source, "embed.", table, inputs, explains)


def stages(case: Case) -> dict[str, Tensor]:
    """One step, and nothing else."""
    return {"the row of each token": case.expected}


check = exercise(
    __file__,
    Embed,
    Tensors(
        cases,
        axes=("batch", "position", "d_model"),
        stages=stages,
        fresh=tables.starts_small("W_E"),
    ),
    pairs=True,
)
