"""What an answer to `compare_positions` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

axes = "batch n_heads query_pos key_pos"
check = warm_up(__file__, of("attn.hook_q", "attn.hook_k"), axes)
