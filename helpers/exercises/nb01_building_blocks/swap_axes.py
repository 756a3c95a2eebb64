"""What an answer to `swap_axes` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

check = warm_up(__file__, of("hook_resid_pre"), "batch d_model position")
