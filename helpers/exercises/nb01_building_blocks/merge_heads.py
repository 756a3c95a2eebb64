"""What an answer to `merge_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import attention, warm_up

check = warm_up(
    __file__,
    "merge_heads",
    lambda source: attention(source, "z"),
    axes="batch position d_model",
)
