"""What an answer to `next_token` is compared with."""

from helpers.exercises.nb01_building_blocks.warm_ups import warm_up

check = warm_up(
    __file__,
    lambda source: (source.logits,),
    axes="batch",
    against="the likeliest token",
    gradients=False,
)
