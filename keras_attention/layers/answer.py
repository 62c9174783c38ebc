"""The last layer of a network with an `AttendRectifyHead`."""

from typing import Any

import keras
from keras import ops

Tensor = Any

# The smallest probability whose logarithm is taken: float32 has no normal one much below.
LEAST = 1e-37


def answered(answer: Tensor, space: str, activation: Any, name: str = "predictions") -> Tensor:
    """Applies an activation to the logarithms of what a head answers, in float32.

    Args:
        answer: What the head returns, `(B, classes)`, as a Keras tensor.
        space: The head's.
        activation: `"softmax"` for probabilities; None for the logarithms.
        name: Of the layer.

    Example:
    >>> answer = answered(keras.Input((5,)), "log", "softmax")
    >>> answer.dtype, answer.shape
    ('float32', (None, 5))
    """
    if space == "probability":
        answer = ops.log(ops.maximum(ops.cast(answer, "float32"), LEAST))
    return keras.layers.Activation(activation, dtype="float32", name=name)(answer)
