"""What an answer to `PosEmbed` is compared with."""

from torch import Tensor

from helpers.checks.case import Case
from helpers.checks.tensors import Tensors
from helpers.exercises.course import STIRRED, STREAM, exercise
from helpers.exercises.nb03_embeddings import tables
from helpers.model import PosEmbed


def cases() -> list[Case]:
    """Batches that fit into n_ctx even when their positions run on."""
    n_ctx = STIRRED.n_ctx  # the limit of ids, so that one can be taken for a position
    low = {
        "": tables.ids(2, 5, n_ctx, seed=1),
        "on a batch of one": tables.ids(1, 4, n_ctx, seed=2),
        "on a single position": tables.ids(1, 1, n_ctx, seed=3),
    }
    high = {
        "on a batch of three, of one position each": tables.ids(3, 1, n_ctx, seed=6),
        "on the full context": tables.ids(2, n_ctx, STIRRED.d_vocab, seed=4),
    }
    return tables.cases("pos_embed.", low, high)


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


kind = Tensors(cases, STREAM, stages, fresh=tables.starts_small("W_pos"), adapt=adapt)
check = exercise(__file__, PosEmbed, kind, pairs=True)
