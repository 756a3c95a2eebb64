"""What an answer to `compare_positions` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import attention, warm_up

check = warm_up(
    __file__,
    "compare_positions",
    lambda source: attention(source, "q", "k"),
    axes="batch n_heads query_pos key_pos",
)
