"""Which activations act on each value by itself, whatever lies beside it."""

from typing import Any

import keras

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


def is_pointwise(activation: Any) -> bool:
    """Says whether an activation is one of Keras's that act on each value by itself.

    Softmax and its like look at all channels of a pixel, so they must see them together. A function
    that Keras does not know may do the same: it is not taken for pointwise.

    Example:
    >>> is_pointwise(keras.activations.relu), is_pointwise(keras.activations.softmax)
    (True, False)
    """
    return activation is None or any(activation is function for function in _KNOWN)
