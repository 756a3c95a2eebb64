"""What an answer to `mix_values` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import attention, warm_up

check = warm_up(
    __file__,
    "mix_values",
    lambda source: attention(source, "pattern", "v"),
    axes="batch query_pos n_heads d_head",
)
