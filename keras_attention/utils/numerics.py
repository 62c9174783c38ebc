"""Values that can be normalized."""

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
# Those that this Keras has.
_KNOWN = [getattr(keras.activations, name) for name in _NAMES if hasattr(keras.activations, name)]


def normalizable(x: Tensor) -> Tensor:
    """Holds values where a batch's variance, and its products with large gradients, are finite.

    Beyond, batch normalization in float32 learns an infinite variance, and its gradients are NaN.

    Example:
    >>> float(normalizable(ops.convert_to_tensor(1e30))) < 1.1e7
    True
    """
    if keras.backend.standardize_dtype(x.dtype) == "float16":
        return x
    return ops.clip(x, -LARGEST_NORMALIZED, LARGEST_NORMALIZED)


def is_pointwise(activation: Any) -> bool:
    """Says whether an activation is one of Keras's that act on each value by itself.

    Softmax and its like look at all channels of a pixel, so they must see them together. A function
    that Keras does not know may do the same: it is not taken for pointwise.

    Example:
    >>> is_pointwise(keras.activations.relu), is_pointwise(keras.activations.softmax)
    (True, False)
    """
    return activation is None or any(activation is function for function in _KNOWN)
