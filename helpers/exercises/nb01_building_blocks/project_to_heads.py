"""What an answer to `project_to_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import residual, warm_up

check = warm_up(
    __file__,
    "project_to_heads",
    lambda source: (residual(source), source.weights["blocks.0.attn.W_Q"]),
    axes="batch position n_heads d_head",
)
