"""What an answer to `apply_matrix` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import residual, warm_up

check = warm_up(
    __file__,
    "apply_matrix",
    lambda source: (residual(source), source.weights["blocks.0.mlp.W_in"]),
    axes="batch position d_mlp",
)
