"""What keras.ops cannot say, per backend. Nothing outside this folder asks which backend runs."""

from keras_attention.backend.devices import (
    accelerators,
    devices_here,
    fit_looks_ahead,
    keeps_metrics_of_layers,
    make_deterministic,
    normalized_together,
    replicas,
    start_devices,
    together,
)
from keras_attention.backend.fusion import fused, fused_alone, fuses, without_fusion
from keras_attention.backend.gradients import after, input_gradient, with_pullback
from keras_attention.backend.tensors import (
    BACKEND,
    crop,
    matmul,
    pad,
    padded_convolution,
    permute,
    resize_bilinear,
    supports_dynamic_shapes,
    with_fixed_shapes,
)

__all__ = [
    "BACKEND",
    "accelerators",
    "after",
    "crop",
    "devices_here",
    "fit_looks_ahead",
    "fused",
    "fused_alone",
    "fuses",
    "input_gradient",
    "keeps_metrics_of_layers",
    "make_deterministic",
    "matmul",
    "normalized_together",
    "pad",
    "padded_convolution",
    "permute",
    "replicas",
    "resize_bilinear",
    "start_devices",
    "supports_dynamic_shapes",
    "together",
    "with_fixed_shapes",
    "with_pullback",
    "without_fusion",
]
