"""Batch normalisation at inference: a scale and a shift for each channel."""

from typing import Any

import keras

Tensor = Any
Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaleShift(keras.Layer):
    """Multiplies the last axis by a weight and adds another: batch normalisation at inference.

    Weights:
        scale, shift: `(channels,)`; 1 and 0 at first.

    Example:
    >>> tuple(ScaleShift()(keras.ops.ones((2, 5, 5, 3))).shape)
    (2, 5, 5, 3)
    """

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1],)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale + self.shift

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # Keras's own record of arguments holds no dtype policies
