"""The checks of the exercises: `checks.layer_norm(LayerNorm)` and its like."""

from helpers.checks.attention import (
    attention,
    attention_output,
    attention_pattern,
    attention_projections,
    attention_scores,
    attention_values,
    causal_mask,
)
from helpers.checks.batches import BATCH_LOSS as batch_loss
from helpers.checks.batches import MAKE_BATCH as make_batch
from helpers.checks.block import transformer_block
from helpers.checks.bpe import MERGE_PAIR as merge_pair
from helpers.checks.bpe import MOST_COMMON_PAIR as most_common_pair
from helpers.checks.building_blocks import CONFIG as config
from helpers.checks.building_blocks import NEXT_TOKEN as next_token
from helpers.checks.building_blocks import SCALE_AND_SHIFT as scale_and_shift
from helpers.checks.embeddings import embed, pos_embed, unembed
from helpers.checks.filters import repetition_penalty, temperature, top_k, top_p
from helpers.checks.full_model import demo_transformer
from helpers.checks.generation import beam_search, greedy, sample
from helpers.checks.hf_names import SPLIT_C_ATTN as split_c_attn
from helpers.checks.hf_names import TO_COURSE_NAMES as to_course_names
from helpers.checks.kv_cache import (
    cached_attention,
    cached_mask,
    cached_transformer,
    greedy_cached,
)
from helpers.checks.layernorm import layer_norm
from helpers.checks.loss import cross_entropy
from helpers.checks.mlp import gelu, mlp
from helpers.checks.optimizer import CLIP_GRADIENTS as clip_gradients
from helpers.checks.optimizer import PARAMETER_GROUPS as parameter_groups
from helpers.checks.report import CheckFailed
from helpers.checks.schedule import LEARNING_RATE as learning_rate
from helpers.checks.train_step import TRAIN_STEP as train_step
from helpers.checks.warm_ups import ADD_UP_HEADS as add_up_heads
from helpers.checks.warm_ups import APPLY_MATRIX as apply_matrix
from helpers.checks.warm_ups import COMPARE_POSITIONS as compare_positions
from helpers.checks.warm_ups import FEATURE_MEAN as feature_mean
from helpers.checks.warm_ups import MERGE_HEADS as merge_heads
from helpers.checks.warm_ups import MIX_VALUES as mix_values
from helpers.checks.warm_ups import PROJECT_TO_HEADS as project_to_heads
from helpers.checks.warm_ups import REPEAT_ROWS as repeat_rows
from helpers.checks.warm_ups import SPLIT_HEADS as split_heads
from helpers.checks.warm_ups import SWAP_AXES as swap_axes

__all__ = [
    "CheckFailed",
    "add_up_heads",
    "apply_matrix",
    "attention",
    "attention_output",
    "attention_pattern",
    "attention_projections",
    "attention_scores",
    "attention_values",
    "batch_loss",
    "beam_search",
    "cached_attention",
    "cached_mask",
    "cached_transformer",
    "causal_mask",
    "clip_gradients",
    "compare_positions",
    "config",
    "cross_entropy",
    "demo_transformer",
    "embed",
    "feature_mean",
    "gelu",
    "greedy",
    "greedy_cached",
    "layer_norm",
    "learning_rate",
    "make_batch",
    "merge_heads",
    "merge_pair",
    "mix_values",
    "mlp",
    "most_common_pair",
    "next_token",
    "parameter_groups",
    "pos_embed",
    "project_to_heads",
    "repeat_rows",
    "repetition_penalty",
    "sample",
    "scale_and_shift",
    "split_c_attn",
    "split_heads",
    "swap_axes",
    "temperature",
    "to_course_names",
    "top_k",
    "top_p",
    "train_step",
    "transformer_block",
    "unembed",
]
