"""What an answer to `add_up_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

check = warm_up(__file__, of("attn.hook_z", "attn.W_O"), "batch position d_model")
