"""What the first cell of a notebook does after it has found the course."""

import platform

from helpers import my_code
from helpers.reference import Reference


def start(edition: str, reference: Reference) -> None:
    """Note which edition is running, and print one line on what it runs on.

    Args:
        edition: "exercises" (passing answers are saved) or "complete".
        reference: the model that every answer is compared with.
    """
    import einops
    import torch
    import transformers

    my_code.edition(edition)
    print(
        f"Python {platform.python_version()} · torch {torch.__version__} · "
        f"transformers {transformers.__version__} · einops {einops.__version__} · "
        f"{reference.device} · {reference!r}"
    )
