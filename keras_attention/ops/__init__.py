"""The papers' equations as pure functions of tensors, without weights or state."""

from keras_attention.backend import input_gradient
from keras_attention.ops.attend_rectify import (
    aggregate_hypotheses,
    attend,
    gated_output,
    global_gates,
    head_outputs,
    head_overlap,
    scale_gradient,
    spatial_softmax,
)
from keras_attention.ops.attention_transfer import (
    adaptive_average_pool,
    attention_map,
    distillation_divergence,
)
from keras_attention.ops.dynamic_capacity import (
    entropy,
    entropy_saliency,
    gather_patches,
    hint_loss,
    swap_vectors,
    top_positions,
)
from keras_attention.ops.grouped_convolution import (
    bounding_range,
    pad_to_map,
    sliced_convolution,
    sliced_targeted_convolution,
)
from keras_attention.ops.multi_digit import (
    inverse_entropy_weights,
    most_probable_sequence,
    sequence_hits,
    sequence_probability,
    split_sequence_labels,
)
from keras_attention.ops.scale_space import (
    difference_of_convolutions,
    soft_extrema,
    weighted_extrema,
)
from keras_attention.ops.spatial_transformer import affine_grid, bilinear_sample, spatial_transform
from keras_attention.ops.targeted import (
    cauchy_window,
    gaussian_window,
    roi_bounds,
    roi_indicator,
    roi_rectangles,
    separable_window,
    targeted_convolution,
)

__all__ = [
    "adaptive_average_pool",
    "affine_grid",
    "aggregate_hypotheses",
    "attend",
    "attention_map",
    "bilinear_sample",
    "bounding_range",
    "cauchy_window",
    "difference_of_convolutions",
    "distillation_divergence",
    "entropy",
    "entropy_saliency",
    "gated_output",
    "gather_patches",
    "gaussian_window",
    "global_gates",
    "head_outputs",
    "head_overlap",
    "hint_loss",
    "input_gradient",
    "inverse_entropy_weights",
    "most_probable_sequence",
    "pad_to_map",
    "roi_bounds",
    "roi_indicator",
    "roi_rectangles",
    "scale_gradient",
    "separable_window",
    "sequence_hits",
    "sequence_probability",
    "sliced_convolution",
    "sliced_targeted_convolution",
    "soft_extrema",
    "spatial_softmax",
    "spatial_transform",
    "split_sequence_labels",
    "swap_vectors",
    "targeted_convolution",
    "top_positions",
    "weighted_extrema",
]


def __dir__() -> list[str]:
    return __all__
