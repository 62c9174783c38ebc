"""Numerical helpers of layers."""

from typing import Any

import keras
from keras import ops

Tensor = Any
LARGEST_NORMALIZED = 1e7


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
