"""What an answer to `merge_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

check = warm_up(__file__, of("attn.hook_z"), "batch position d_model")
