"""What an answer to `Embed` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, STREAM, exercise
from helpers.exercises.nb03_embeddings import tables
from helpers.model import Embed


def cases() -> list[Case]:
    """Ids that no mistake's table is too short for, then every id and a real text."""
    d_vocab, width = STIRRED.d_vocab, STIRRED.d_model - 1  # W_E transposed has d_model
    low = {
        "": tables.ids(2, 5, width, seed=1),
        "on a batch of one": tables.ids(1, 4, width, seed=2),
        "on a single position": tables.ids(2, 1, width, seed=3),
    }
    every = torch.cat([torch.arange(d_vocab), torch.zeros(7, dtype=torch.long)])
    high = {
        "on every token of the vocabulary": every.view(4, 11),
        "on the full context": tables.ids(2, STIRRED.n_ctx, d_vocab, seed=4),
    }
    return tables.cases("embed.", low, high)


def stages(case: Case) -> dict[str, Tensor]:
    """One step, and nothing else."""
    return {"the row of each token": case.expected}


kind = Tensors(cases, STREAM, stages, fresh=tables.starts_small("W_E"))
check = exercise(__file__, Embed, kind, pairs=True)
