"""What an answer to `mix_values` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

axes = "batch query_pos n_heads d_head"
check = warm_up(__file__, of("attn.hook_pattern", "attn.hook_v"), axes)
