"""Gradients that go back smaller than they came."""

from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from keras_attention.arguments import non_negative_number
from keras_attention.ops.shapes import takes

Tensor = Any


@takes(inputs="...", scale=non_negative_number)
def scaled_gradient(inputs: Tensor, scale: float) -> Tensor:
    """Passes a tensor on as it is, and its gradient times a factor.

    Args:
        inputs: Any tensor of floats.
        scale: The factor; 0 blocks gradients.

    Returns:
        The same values.

    Example:
    >>> float(scaled_gradient(ops.convert_to_tensor(3.0), 0.1))
    3.0
    """
    if scale == 0.0:
        return ops.stop_gradient(inputs)
    return _scaling(float(scale))(ops.convert_to_tensor(inputs))


@cache
def _scaling(scale: float) -> Callable[[Tensor], Tensor]:
    @ops.custom_gradient
    def scaled(inputs: Tensor) -> Any:
        return inputs, lambda upstream: upstream * ops.cast(scale, upstream.dtype)

    return scaled
