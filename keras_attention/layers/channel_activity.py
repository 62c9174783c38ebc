"""What attention transfer asks of a map, where the map is made."""

from typing import Any

import keras

from keras_attention.ops.attention_transfer import watched_activity

Tensor = Any


class ChannelActivity(keras.layers.Layer):
    """Returns a map, and the mean of its squares over the channels, in float32.

    The gradient of both is made at once, when that of the map has come back through the network
    behind it: that of the mean alone, as large as the map, would wait for it in memory.

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`, or other axes in the place of H and W.

    Output shape:
        That of the input, and the same with one channel.

    Example:
    >>> [tuple(tensor.shape) for tensor in ChannelActivity()(keras.ops.ones((2, 4, 3, 8)))]
    [(2, 4, 3, 8), (2, 4, 3, 1)]
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        # The map goes on in the type in which it came.
        super().__init__(autocast=False, **kwargs)
        self.data_format = data_format or keras.config.image_data_format()

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return watched_activity(inputs, self._axis)

    def compute_output_spec(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = list(inputs.shape)
        shape[self._axis] = 1
        activity = keras.KerasTensor(tuple(shape), "float32")
        return keras.KerasTensor(inputs.shape, inputs.dtype), activity

    @property
    def _axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1
