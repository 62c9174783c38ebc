"""Numerical helpers of layers."""

from typing import Any

import keras
from keras import ops

Tensor = Any
LARGEST_NORMALIZED = 1e7
_NAMES = (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh",
    "tanh_shrink",
    "threshold",
)
# Names differ between Keras versions.
_KNOWN = [getattr(keras.activations, name) for name in _NAMES if hasattr(keras.activations, name)]


def clip_to_normalizable(x: Tensor) -> Tensor:
    """Clips values so that batch normalization in float32 stays finite.

    Beyond this range the variance of a batch overflows to infinity, and gradients become NaN.

    Example:
    >>> float(clip_to_normalizable(ops.convert_to_tensor(1e30))) < 1.1e7
    True
    """
    if keras.backend.standardize_dtype(x.dtype) == "float16":
        return x
    return ops.clip(x, -LARGEST_NORMALIZED, LARGEST_NORMALIZED)


def is_pointwise(activation: Any) -> bool:
    """Returns True for Keras activations that are applied elementwise.

    Softmax and similar functions need all channels of a pixel at once. A function that is not one
    of Keras's activations may do the same, so it is not considered pointwise.

    Example:
    >>> is_pointwise(keras.activations.relu), is_pointwise(keras.activations.softmax)
    (True, False)
    """
    return activation is None or any(activation is function for function in _KNOWN)
