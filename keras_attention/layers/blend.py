"""A mechanism's share in what goes on, none at first."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class Blend(keras.Layer):
    """Adds a learned share of the way from a map to its refinement; the share is 0 at first.

    A pre-trained network that a mechanism is put into so starts where it was: the first step of
    training moves the share, the next ones the mechanism.

    Call arguments:
        inputs: `[before, after]`, of the same shape.

    Weights:
        share: A scalar, 0 at first.

    Output shape:
        That of both.

    Example:
    >>> layer = Blend()
    >>> [float(value) for value in layer([ops.ones((2,)), ops.zeros((2,))])]
    [1.0, 1.0]

    Reference:
        Bachlechner et al., ReZero is All You Need (2020), of residual branches.
    """

    def build(self, input_shape: Sequence[Shape]) -> None:
        self.share = self.add_weight(name="share", shape=(), initializer="zeros")

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        before, after = inputs
        return before + ops.cast(self.share, before.dtype) * (after - before)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])
