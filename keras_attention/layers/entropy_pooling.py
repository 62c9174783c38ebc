"""A mean over places that counts certain ones more."""

from typing import Any

import keras
from keras import ops

from keras_attention.arguments import standard_data_format
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.ops.multi_digit import inverse_entropy_weights

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class EntropyPooling(keras.Layer):
    """Averages probabilities over places, by weights of one over the entropy (equation 12).

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Probabilities of each place.
        return_attention: Whether to return the weights too, `(B, H, W)`, float32.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first.

    Output shape:
        `(B, C)`, float32 or what is wider.

    Example:
    >>> unsure_and_sure = ops.convert_to_tensor([[[[0.5, 0.5], [0.0, 1.0]]]])
    >>> [round(float(p), 3) for p in EntropyPooling()(unsure_and_sure)[0]]
    [0.0, 1.0]

    Reference:
        Almahairi et al., Dynamic Capacity Networks (2016), equations 12 to 14.
    """

    keeps_probabilities = True

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standard_data_format(data_format)

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = at_least_float32(inputs)
        weights = inverse_entropy_weights(inputs, self.data_format)
        axes = (2, 3) if self._channels == 1 else (1, 2)
        each = ops.cast(ops.expand_dims(weights, self._channels), inputs.dtype)
        pooled = ops.sum(inputs * each, axis=axes)
        return (pooled, weights) if return_attention else pooled

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], input_shape[self._channels]

    def compute_output_spec(self, inputs: Tensor, return_attention: bool = False) -> Any:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        pooled = keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype)
        sides = [side for axis, side in enumerate(inputs.shape) if axis != self._channels % 4]
        weights = keras.KerasTensor(tuple(sides), "float32")
        return (pooled, weights) if return_attention else pooled

    @property
    def _channels(self) -> int:
        return 1 if self.data_format == "channels_first" else -1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}
