"""Values that can be normalized."""

from typing import Any

import keras
from keras import ops

Tensor = Any

LARGEST_NORMALIZED = 1e7


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
