"""What an answer to `PosEmbed` is compared with."""

import torch
from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import exercise, loaded, stirred
from helpers.exercises.nb03_embeddings import tables
from helpers.model import PosEmbed


def cases() -> list[Case]:
    """Batches that fit into n_ctx even when their positions run on."""
    small, big = stirred(), loaded()
    cfg = small.cfg
    high = cfg.n_ctx  # so that an id can be taken for a position
    inputs = {
        "": tables.ids(2, 5, high, seed=1),
        "on a batch of one": tables.ids(1, 4, high, seed=2),
        "on a single position": tables.ids(1, 1, high, seed=3),
        "on a batch of three, of one position each": tables.ids(3, 1, high, seed=6),
        "on the full context": tables.ids(2, cfg.n_ctx, cfg.d_vocab, seed=4),
    }
    return [
        *_cases(small, inputs, explains=3),
        *_cases(big, {"": big.tokens}, explains=0),
    ]


def _cases(source, inputs: dict, explains: int) -> list[Case]:
    table = source.reference.model.transformer.wpe

    def layer(tokens: Tensor) -> Tensor:  # GPT2Model.forward counts the positions
        return table(torch.arange(tokens.shape[1]).expand(tokens.shape))

    return tables.cases(source, "pos_embed.", layer, inputs, explains)


def adapt(output: Tensor, case: Case) -> tuple[Tensor, str | None]:
    """Give [rows, d_model] and [1, rows, d_model] the batch axis that adding gives."""
    (tokens,) = case.inputs
    batch, position = tokens.shape
    missing = output.ndim == 3 and len(output) == 1 < batch
    if output.ndim == 2 and output.shape[1] == case.cfg.d_model:
        # batch · position rows are no table of positions, they are a mistake
        missing = len(output) != batch * position or batch == 1
    if output.ndim == 1 and len(output) == case.cfg.d_model:  # one row
        output, missing = output.expand(position, -1), True
    if not missing:
        return output, None
    note = (
        "it leaves the batch axis to broadcasting; with `.expand(batch, -1, -1)` the "
        "output has the shape that it promises, [batch, position, d_model]"
    )
    return output.expand(batch, *output.shape[-2:]), note


def stages(case: Case) -> dict[str, Tensor]:
    """The rows, and their copies."""
    return {
        "the rows of the positions": case.expected[0],
        "a copy for each text": case.expected,
    }


check = exercise(
    __file__,
    PosEmbed,
    Tensors(
        cases,
        axes=("batch", "position", "d_model"),
        stages=stages,
        fresh=tables.starts_small("W_pos"),
        adapt=adapt,
    ),
    pairs=True,
)
