"""What an answer to `project_to_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

axes = "batch position n_heads d_head"
check = warm_up(__file__, of("hook_resid_pre", "attn.W_Q"), axes)
