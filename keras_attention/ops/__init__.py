"""The papers' equations as pure functions on tensors: no weights, no state."""

from keras_attention.backend import input_gradient
from keras_attention.ops.attend_rectify import (
    aggregate,
    attend,
    attended,
    gated,
    global_gates,
    head_overlap,
    scaled_gradient,
    spatial_softmax,
)
from keras_attention.ops.attention_transfer import (
    attention_map,
    average_pooled,
    distillation_divergence,
)
from keras_attention.ops.dynamic_capacity import (
    entropy,
    entropy_saliency,
    gather_patches,
    hint,
    swap,
    top_positions,
)
from keras_attention.ops.grouped_convolution import (
    bounding_range,
    place,
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
from keras_attention.ops.spatial_transformer import (
    affine_grid,
    bilinear_sample,
    spatial_transform,
)
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
    "affine_grid",
    "aggregate",
    "attend",
    "attended",
    "attention_map",
    "average_pooled",
    "bilinear_sample",
    "bounding_range",
    "cauchy_window",
    "difference_of_convolutions",
    "distillation_divergence",
    "entropy",
    "entropy_saliency",
    "gated",
    "gather_patches",
    "gaussian_window",
    "global_gates",
    "head_overlap",
    "hint",
    "input_gradient",
    "inverse_entropy_weights",
    "most_probable_sequence",
    "place",
    "roi_bounds",
    "roi_indicator",
    "roi_rectangles",
    "scaled_gradient",
    "separable_window",
    "sequence_hits",
    "sequence_probability",
    "sliced_convolution",
    "sliced_targeted_convolution",
    "soft_extrema",
    "spatial_softmax",
    "spatial_transform",
    "split_sequence_labels",
    "swap",
    "targeted_convolution",
    "top_positions",
    "weighted_extrema",
]
