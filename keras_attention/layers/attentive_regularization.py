"""Attentive Regularization as a layer on its own."""

import math
from typing import Any

import keras
from keras import ops

from keras_attention.layers.map_inputs import checked_shape, map_spec, taken_map
from keras_attention.layers.windowed import WindowedLayer

Tensor = Any


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentiveRegularization(WindowedLayer):
    """Multiplies each channel by a window whose place and size are learned (eq. 1, 13, 14).

    One window per channel, a product of one-dimensional windows along the axes, for sequences,
    images and volumes. Positions are relative to the side, so the weights serve any input size.
    The center stays in `[0, 1]`; the scale stays between one pixel, `1 / (2 * side)`, and 1.

    Args:
        window: `"cauchy"` (default; the paper found it easier to tune, section 4.4) or
            `"gaussian"`.
        scale_regularizer: Regularizer of the scales; the paper uses
            `keras.regularizers.L2(1e-4)` to make kernels look at less. None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Activations of a convolution.
        return_attention: Whether to return the windows too, repeated for every example, float32.

    Weights:
        center: `(rank, C)`, row 0 is the first spatial axis; 0.5 at first.
        scale: `(rank, C)`; 1 at first.

    Input shape:
        `(B, L, C)`, `(B, H, W, C)` or `(B, D, H, W, C)`; `(B, C, ...)` with channels first.

    Output shape:
        That of the input. Masks pass through.

    Raises:
        ValueError: For an unknown window, or an input of another rank.

    Example:
    >>> layer = AttentiveRegularization("gaussian")
    >>> tuple(layer(ops.ones((2, 7, 10, 5))).shape)
    (2, 7, 10, 5)

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.
    """

    def __init__(
        self,
        window: str = "cauchy",
        scale_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(window, scale_regularizer, data_format, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        input_shape = checked_shape(self, input_shape, self._channel_axis, ranks=(3, 4, 5))
        self.input_spec = map_spec(input_shape, self._channel_axis)
        sides = self._sides_of(input_shape)
        self._add_window(sides, self._channels_of(input_shape), smallest=(1,) * len(sides))

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = taken_map(self, inputs)
        window = self.attention_window(*self._sides_of(ops.shape(inputs)))
        outputs = inputs * ops.cast(self._to_data_format(window), inputs.dtype)
        if return_attention:
            return outputs, self._attention_of_batch(window, outputs)
        return outputs

    def macs(self, input_shape: tuple[int, ...], executed: bool = False) -> int:
        """Counts the multiplications for one example of the given shape."""
        return math.prod(input_shape[1:])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)
