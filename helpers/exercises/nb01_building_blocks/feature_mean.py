"""What an answer to `feature_mean` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

check = warm_up(__file__, of("hook_resid_pre"), "batch position 1")
