"""Bottleneck attention module: a channel branch and a spatial branch in parallel."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base import AttentionLayer, clip_to_normalizable
from keras_attention.utils.data_format import (
    channel_axis,
    spatial_axes,
    spatial_shape,
    standardize_data_format,
)
from keras_attention.utils.tensor_validation import convert_input, reduced_units
from keras_attention.utils.validation import one_of, positive_integer, validate_dilation_rate

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class BAM(AttentionLayer):
    """Bottleneck attention module: multiplies a map by 1 plus an attention mask (eq. 1, 2).

    A channel branch applies a bottleneck of dense layers to the channel means. A spatial branch
    applies a 1x1 convolution and two dilated 3x3 convolutions to the map. The mask is the sigmoid
    of their product, as in the authors' code, or of their sum, as in the paper. Maps may have any
    size.

    Args:
        reduction: Channels per hidden channel of both bottlenecks; 16 by default, as in the paper.
        dilation_rate: Dilation of the 3x3 convolutions; 4 by default, as in the paper.
        merge: `"product"` (default), as in the authors' code, or `"sum"`, the paper's eq. 2.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A feature map.
        return_attention: If True, the mask is also returned, of the shape of the input, float32.

    Weights:
        Channel branch: kernel and bias of the hidden layer, gamma, beta, moving mean and variance
        of its normalization, kernel and bias of the last layer. Spatial branch: the same six for
        each of three convolutions, kernel and bias of the last convolution.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: For fewer channels than `reduction`, or an unknown `merge`.

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
        self.merge = one_of("merge", merge, ("product", "sum"))
        self.data_format = standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        shape = self._validate_map(input_shape)
        channels = shape[channel_axis(self.data_format)]
        hidden = reduced_units(self, channels, self.reduction)
        validate_dilation_rate((self.dilation_rate,) * 2, spatial_shape(shape, self.data_format))
        self.channel_branch = self._channel_branch(channels, hidden)
        _build_all(self.channel_branch, (None, channels))
        self.spatial_branch = self._spatial_branch(hidden)
        _build_all(self.spatial_branch, tuple(input_shape))

    def _channel_branch(self, channels: int, hidden: int) -> list[keras.Layer]:
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        return [
            keras.layers.Dense(hidden, name="channel_hidden", **options),
            self._normalization("channel_normalization", axis=-1),
            keras.layers.ReLU(name="channel_relu", **options),
            keras.layers.Dense(channels, name="channel_logits", **options),
        ]

    def _spatial_branch(self, hidden: int) -> list[keras.Layer]:
        axis = channel_axis(self.data_format)
        layers: list[keras.Layer] = []
        for index, (size, rate) in enumerate(((1, 1), *[(3, self.dilation_rate)] * 2)):
            layers += [
                self._convolution(hidden, size, rate, f"spatial_conv{index + 1}"),
                self._normalization(f"spatial_normalization{index + 1}", axis),
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
        # PyTorch's default momentum of 0.1, which the authors' code uses, is Keras's 0.9.
        return keras.layers.BatchNormalization(
            axis=axis, momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        inputs = convert_input(self, inputs)
        axes = spatial_axes(4, self.data_format)
        channels = _run(self.channel_branch, ops.mean(inputs, axis=axes), training)
        channels = ops.expand_dims(channels, axes)
        spatial = _run(self.spatial_branch, inputs, training)
        logits = channels * spatial if self.merge == "product" else channels + spatial
        mask = ops.sigmoid(ops.cast(logits, "float32"))
        outputs = inputs * ops.cast(1.0 + mask, inputs.dtype)
        return (outputs, mask) if return_attention else outputs


def _build_all(layers: list[keras.Layer], shape: Shape) -> None:
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)


def _run(layers: list[keras.Layer], x: Tensor, training: bool | None) -> Tensor:
    for layer in layers:
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        x = layer(clip_to_normalizable(x), training=training) if is_normalization else layer(x)
    return x
