"""What an answer to `add_up_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import attention, warm_up

check = warm_up(
    __file__,
    "add_up_heads",
    lambda s: (*attention(s, "z"), s.weights["blocks.0.attn.W_O"]),
    axes="batch position d_model",
)
