"""What an answer to `split_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import of, warm_up

axes = "batch position n_heads d_head"
check = warm_up(
    __file__, of("hook_resid_pre"), axes, n_heads=lambda source: source.cfg.n_heads
)
