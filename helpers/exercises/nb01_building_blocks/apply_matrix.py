"""What an answer to `apply_matrix` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

check = warm_up(__file__, of("hook_resid_pre", "mlp.W_in"), "batch position d_mlp")
