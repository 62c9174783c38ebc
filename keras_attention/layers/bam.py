"""The bottleneck attention module: which channels and where, at once."""

from typing import Any

import keras
from keras import ops

from keras_attention.limits import check_reach
from keras_attention.utils.numerics import normalizable
from keras_attention.utils.validation import (
    channels_and_units,
    checked_shape,
    map_spec,
    one_of,
    positive_integer,
    standard_data_format,
    taken_map,
)

Tensor = Any
Shape = tuple[int | None, ...]

MERGES = ("product", "sum")


@keras.saving.register_keras_serializable(package="keras_attention")
class BAM(keras.Layer):
    """Multiplies a map by 1 plus a mask of channels and places (eq. 1, 2).

    One branch reads the channels' means, through a narrow layer; the other each place's
    surroundings, through a narrow map and two dilated convolutions. The mask is the sigmoid of both
    together. As in the authors' code, on maps of any sides.

    Args:
        reduction: Channels for one hidden channel; 16 by default, the paper's.
        dilation_rate: Steps between the taps of the 3x3 convolutions; 4 by default, the paper's.
        merge: `"product"` (default) as in the authors' code, or `"sum"`, the paper's eq. 2.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A map.
        return_attention: Whether to return the mask too, of the shape of the input, float32.

    Weights:
        Of the channels' branch, kernel and bias of the narrow layer, gamma, beta, moving mean and
        variance of its normalization, kernel and bias of the last layer; of the places' branch the
        same six for each of three convolutions, kernel and bias of the last one.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        That of the input.

    Raises:
        ValueError: For fewer channels than `reduction`, or a merge that does not exist.

    Example:
    >>> tuple(BAM(merge="sum")(ops.ones((2, 7, 5, 32))).shape)
    (2, 7, 5, 32)

    Reference:
        Park et al., BAM: Bottleneck Attention Module (2018).
    """

    def __init__(
        self,
        reduction: int = 16,
        dilation_rate: int = 4,
        merge: str = "product",
        *,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reduction = positive_integer("reduction", reduction)
        self.dilation_rate = positive_integer("dilation_rate", dilation_rate)
        self.merge = one_of("merge", merge, MERGES)
        self.data_format = standard_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        shape = checked_shape(self, input_shape, self._channel_axis)
        self.input_spec = map_spec(shape, self._channel_axis)
        channels, hidden = channels_and_units(self, shape[self._channel_axis], self.reduction)
        check_reach((self.dilation_rate,) * 2, self._sides_of(input_shape))
        self.channel_branch = self._channel_branch(channels, hidden)
        _build_all(self.channel_branch, (None, channels))
        self.spatial_branch = self._spatial_branch(hidden)
        _build_all(self.spatial_branch, tuple(input_shape))

    def _sides_of(self, shape: Shape) -> Shape:
        return shape[1:3] if self.data_format == "channels_last" else shape[2:]

    def _channel_branch(self, channels: int, hidden: int) -> list[keras.Layer]:
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        return [
            keras.layers.Dense(hidden, name="channel_hidden", **options),
            self._normalization("channel_normalization", axis=-1),
            keras.layers.ReLU(name="channel_relu", **options),
            keras.layers.Dense(channels, name="channel_logits", **options),
        ]

    def _spatial_branch(self, hidden: int) -> list[keras.Layer]:
        layers: list[keras.Layer] = []
        for index, (size, rate) in enumerate(((1, 1), *[(3, self.dilation_rate)] * 2)):
            layers += [
                self._convolution(hidden, size, rate, f"spatial_conv{index + 1}"),
                self._normalization(f"spatial_normalization{index + 1}", self._channel_axis),
                keras.layers.ReLU(name=f"spatial_relu{index + 1}", dtype=self.dtype_policy),
            ]
        return [*layers, self._convolution(1, 1, 1, "spatial_logits")]

    def _convolution(self, filters: int, size: int, rate: int, name: str) -> keras.Layer:
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            dilation_rate=rate,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name=name,
        )

    def _normalization(self, name: str, axis: int) -> keras.Layer:
        # The framework's default there is 0.1, Keras's 0.9.
        return keras.layers.BatchNormalization(
            axis=axis, momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        inputs = taken_map(self, inputs)
        places = (1, 2) if self.data_format == "channels_last" else (2, 3)
        channels = ops.expand_dims(
            _run(self.channel_branch, ops.mean(inputs, axis=places), training), places
        )
        spatial = _run(self.spatial_branch, inputs, training)
        logits = channels * spatial if self.merge == "product" else channels + spatial
        mask = ops.sigmoid(ops.cast(logits, "float32"))
        outputs = inputs * ops.cast(1.0 + mask, inputs.dtype)
        return (outputs, mask) if return_attention else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        mask = keras.KerasTensor(inputs.shape, dtype="float32")
        return (outputs, mask) if return_attention else outputs

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "dilation_rate": self.dilation_rate,
            "merge": self.merge,
            "data_format": self.data_format,
        }

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1


def _build_all(layers: list[keras.Layer], shape: Shape) -> None:
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)


def _run(layers: list[keras.Layer], x: Tensor, training: bool | None) -> Tensor:
    for layer in layers:
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        x = layer(normalizable(x), training=training) if is_normalization else layer(x)
    return x
