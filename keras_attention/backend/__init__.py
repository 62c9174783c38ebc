"""Code that differs between backends: one function per need, with a branch per backend."""

from keras_attention.backend.devices import (
    accelerators,
    device_count,
    device_names,
    device_scope,
    fit_iterates_twice,
    make_deterministic,
    replicas,
    supports_layer_metrics,
    synchronized_batch_norm,
)
from keras_attention.backend.fusion import (
    fusion_disabled,
    fusion_enabled,
    jit_elementwise,
    jit_single_example,
)
from keras_attention.backend.gradients import after, input_gradient, vjp
from keras_attention.backend.tensors import (
    BACKEND,
    crop,
    fixed_shapes,
    matmul,
    pad,
    padded_convolution,
    permute,
    require,
    resize_bilinear,
    supports_dynamic_shapes,
)

__all__ = [
    "BACKEND",
    "accelerators",
    "after",
    "crop",
    "device_count",
    "device_names",
    "device_scope",
    "fit_iterates_twice",
    "fixed_shapes",
    "fusion_disabled",
    "fusion_enabled",
    "input_gradient",
    "jit_elementwise",
    "jit_single_example",
    "make_deterministic",
    "matmul",
    "pad",
    "padded_convolution",
    "permute",
    "replicas",
    "require",
    "resize_bilinear",
    "supports_dynamic_shapes",
    "supports_layer_metrics",
    "synchronized_batch_norm",
    "vjp",
]
