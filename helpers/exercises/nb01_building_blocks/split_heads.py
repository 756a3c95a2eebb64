"""What an answer to `split_heads` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import residual, warm_up

check = warm_up(
    __file__,
    "split_heads",
    lambda source: (residual(source),),
    axes="batch position n_heads d_head",
    n_heads=lambda source: source.cfg.n_heads,
)
