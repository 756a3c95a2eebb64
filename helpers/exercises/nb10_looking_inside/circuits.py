"""Heads and vectors for the two circuits of notebook 10."""

from helpers.checks.case import Case, noise
from helpers.exercises.nb10_looking_inside.models import both


def circuit_cases(*names: str, vectors: tuple[int, ...]) -> list[Case]:
    """Vectors of the stream's width, then weights of one head.

    Args:
        names: of the head's matrices.
        vectors: how many vectors in each set.
    """
    made = []
    for subject in both():
        cfg, weights = subject.source.cfg, subject.source.weights
        layer = cfg.n_layers // 2
        for head in {0, cfg.n_heads - 1}:
            matrices = [weights[f"blocks.{layer}.attn.{n}"][head] for n in names]
            given = [noise(n, cfg.d_model, seed=140 + n) for n in vectors]
            made.append(subject.case(*given, *matrices))
    return made
