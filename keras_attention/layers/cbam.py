"""Convolutional block attention module: channel attention, then spatial attention."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.base import AttentionLayer, clip_to_normalizable
from keras_attention.utils.data_format import channel_axis, spatial_axes, standardize_data_format
from keras_attention.utils.tensor_validation import convert_input, reduced_units
from keras_attention.utils.validation import boolean, one_of, positive_integer

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class CBAM(AttentionLayer):
    """Convolutional block attention module: channel mask, then spatial mask (eq. 1 to 3).

    The channel mask is the sigmoid of the sum of one shared network with a hidden layer, applied to
    the channels' means and to their maxima. The spatial mask is the sigmoid of a convolution, with
    batch normalization as in the authors' code, over the maximum and the mean of all channels at
    each position.

    Args:
        reduction: Channels per hidden unit; 16 by default, as in the paper.
        kernel_size: Height and width of the convolution in pixels; 7 by default, as in the paper.
        pools: Global poolings that feed the network, any of `"avg"`, `"max"`, `"lp"` (the Euclidean
            norm) and `"lse"` (the logarithm of the sum of exponentials); `("avg", "max")` by
            default.
        spatial: If True (default), the spatial mask is applied too.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A feature map.
        return_attention: If True, the product of both masks is also returned, float32.

    Weights:
        Kernel and bias of the hidden layer and of the output layer; kernel of the convolution,
        gamma, beta, moving mean and variance of its normalization.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: For fewer channels than `reduction`, or unknown pools.

    Example:
    >>> tuple(CBAM()(ops.ones((2, 7, 5, 32))).shape)
    (2, 7, 5, 32)

    Reference:
        Woo et al., CBAM: Convolutional Block Attention Module (2018).
    """

    def __init__(
        self,
        reduction: int = 16,
        kernel_size: int = 7,
        *,
        pools: Sequence[str] = ("avg", "max"),
        spatial: bool = True,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reduction = positive_integer("reduction", reduction)
        self.kernel_size = positive_integer("kernel_size", kernel_size)
        self.pools = _validate_pools(pools)
        self.spatial = boolean("spatial", spatial)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        shape = self._validate_map(input_shape)
        channels = shape[channel_axis(self.data_format)]
        hidden = reduced_units(self, channels, self.reduction)
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        self.hidden = keras.layers.Dense(hidden, activation="relu", name="hidden", **options)
        self.channels = keras.layers.Dense(channels, name="channels", **options)
        self.hidden.build((None, channels))
        self.channels.build((None, hidden))
        if self.spatial:
            self._build_spatial(input_shape, options)

    def _build_spatial(self, input_shape: Shape, options: dict[str, Any]) -> None:
        axis = channel_axis(self.data_format)
        self.convolution = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            use_bias=False,
            data_format=self.data_format,
            name="convolution",
            **options,
        )
        # The authors' momentum of 0.01 is Keras's 0.99.
        self.normalization = keras.layers.BatchNormalization(
            axis=axis, momentum=0.99, epsilon=1e-5, name="normalization", **options
        )
        shape = list(input_shape)
        shape[axis] = 2
        self.convolution.build(tuple(shape))
        shape[axis] = 1
        self.normalization.build(tuple(shape))

    def call(
        self, inputs: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        inputs = convert_input(self, inputs)
        channel_mask = self._channel_mask(inputs)
        outputs = inputs * ops.cast(channel_mask, inputs.dtype)
        mask = channel_mask
        if self.spatial:
            spatial_mask = self._spatial_mask(outputs, training)
            outputs, mask = outputs * ops.cast(spatial_mask, inputs.dtype), mask * spatial_mask
        return (outputs, ops.broadcast_to(mask, ops.shape(inputs))) if return_attention else outputs

    def _channel_mask(self, inputs: Tensor) -> Tensor:
        axes = spatial_axes(4, self.data_format)
        exact = ops.cast(inputs, "float32")
        total = 0.0
        for name in self.pools:
            pooled = ops.cast(POOLS[name](exact, axis=axes), inputs.dtype)
            total = total + self.channels(self.hidden(pooled))
        return ops.sigmoid(ops.cast(ops.expand_dims(total, axes), "float32"))

    def _spatial_mask(self, inputs: Tensor, training: bool | None) -> Tensor:
        axis = channel_axis(self.data_format)
        pair = [ops.max(inputs, axis=axis, keepdims=True), ops.mean(inputs, axis, keepdims=True)]
        logits = clip_to_normalizable(self.convolution(ops.concatenate(pair, axis=axis)))
        return ops.sigmoid(ops.cast(self.normalization(logits, training=training), "float32"))


def _validate_pools(pools: Any) -> tuple[str, ...]:
    if isinstance(pools, (list, tuple)) and pools:
        return tuple(one_of("pools", pool, tuple(POOLS)) for pool in pools)
    names = ", ".join(map(repr, POOLS))
    raise ValueError(f"`pools` must be a list of some of {names}. Received: pools={pools!r}")


def _euclidean(x: Tensor, axis: Sequence[int]) -> Tensor:
    """Computes the Euclidean norm; scaled by the largest value so that squares stay finite."""
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=axis, keepdims=True))
    squares = ops.sum(ops.square(x / ops.where(largest > 0, largest, 1.0)), axis=axis)
    # The sum is 0, or at least 1; the maximum avoids the infinite gradient of the root at 0.
    return ops.reshape(largest, ops.shape(squares)) * ops.sqrt(ops.maximum(squares, 0.5))


# Global poolings, computed in float32 because half precision cannot hold sums over a map.
POOLS: dict[str, Callable[..., Tensor]] = {
    "avg": ops.mean,
    "max": ops.max,
    "lp": _euclidean,
    "lse": ops.logsumexp,
}
