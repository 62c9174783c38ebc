"""The convolutional block attention module: which channels, then where."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.limits import checked_weight
from keras_attention.utils.numerics import normalizable
from keras_attention.utils.validation import (
    channels_and_units,
    checked_shape,
    flag,
    map_spec,
    one_of,
    positive_integer,
    standard_data_format,
    taken_map,
)

Tensor = Any
Shape = tuple[int | None, ...]


def _euclidean(x: Tensor, axis: Sequence[int]) -> Tensor:
    """The norm, in units of the largest value: squares of large ones are beyond float32."""
    most = ops.stop_gradient(ops.max(ops.abs(x), axis=axis, keepdims=True))
    squares = ops.sum(ops.square(x / ops.where(most > 0, most, 1.0)), axis=axis)
    # They add up to 1 or more, or to 0, where the root has no gradient.
    return ops.reshape(most, ops.shape(squares)) * ops.sqrt(ops.maximum(squares, 0.5))


# What sums up each channel of a map; sums of many numbers are taken in float32.
POOLS: dict[str, Callable[..., Tensor]] = {
    "avg": ops.mean,
    "max": ops.max,
    "lp": _euclidean,
    "lse": ops.logsumexp,
}


@keras.saving.register_keras_serializable(package="keras_attention")
class CBAM(keras.Layer):
    """Multiplies a map by a mask of its channels, then by a mask of its places (eq. 1 to 3).

    The first is the sigmoid of a network with one hidden layer, which reads the channels' mean and
    their maximum and adds what it makes of both; the second that of a convolution over the
    channels' maximum and mean at each place, with batch normalization. As in the authors' code.

    Args:
        reduction: Channels for one hidden unit; 16 by default, the paper's.
        kernel_size: Of the convolution, pixels along both sides; 7 by default, the paper's.
        pools: What the network reads, any of `"avg"`, `"max"`, `"lp"` (the Euclidean norm) and
            `"lse"` (the logarithm of the sum of exponentials); `("avg", "max")` by default.
        spatial: Whether places are weighed too; True by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A map.
        return_attention: Whether to return the product of both masks too, float32.

    Weights:
        Kernel and bias of the hidden units and of the channels; kernel of the convolution, gamma,
        beta, moving mean and variance of its normalization.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        That of the input.

    Raises:
        ValueError: For fewer channels than `reduction`, or pools that do not exist.

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
        self.pools = _checked_pools(pools)
        self.spatial = flag("spatial", spatial)
        self.data_format = standard_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        shape = checked_shape(self, input_shape, self._channel_axis)
        self.input_spec = map_spec(shape, self._channel_axis)
        channels, hidden = channels_and_units(self, shape[self._channel_axis], self.reduction)
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        self.hidden = keras.layers.Dense(hidden, activation="relu", name="hidden", **options)
        self.channels = keras.layers.Dense(channels, name="channels", **options)
        self.hidden.build((None, channels))
        self.channels.build((None, hidden))
        if self.spatial:
            self._build_spatial(input_shape, options)

    def _build_spatial(self, input_shape: Shape, options: dict[str, Any]) -> None:
        checked_weight((self.kernel_size, self.kernel_size, 2), kernel_size=self.kernel_size)
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
            axis=self._channel_axis, momentum=0.99, epsilon=1e-5, name="normalization", **options
        )
        shape = list(input_shape)
        shape[self._channel_axis] = 2
        self.convolution.build(tuple(shape))
        shape[self._channel_axis] = 1
        self.normalization.build(tuple(shape))

    def call(
        self, inputs: Tensor, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        inputs = taken_map(self, inputs)
        channel_mask = self._channel_mask(inputs)
        outputs = inputs * ops.cast(channel_mask, inputs.dtype)
        mask = channel_mask
        if self.spatial:
            spatial_mask = self._spatial_mask(outputs, training)
            outputs, mask = outputs * ops.cast(spatial_mask, inputs.dtype), mask * spatial_mask
        return (outputs, ops.broadcast_to(mask, ops.shape(inputs))) if return_attention else outputs

    def _channel_mask(self, inputs: Tensor) -> Tensor:
        places = (1, 2) if self.data_format == "channels_last" else (2, 3)
        exact = ops.cast(inputs, "float32")
        total = 0.0
        for name in self.pools:
            pooled = ops.cast(POOLS[name](exact, axis=places), inputs.dtype)
            total = total + self.channels(self.hidden(pooled))
        return ops.sigmoid(ops.cast(ops.expand_dims(total, places), "float32"))

    def _spatial_mask(self, inputs: Tensor, training: bool | None) -> Tensor:
        axis = self._channel_axis
        pair = [ops.max(inputs, axis=axis, keepdims=True), ops.mean(inputs, axis, keepdims=True)]
        logits = normalizable(self.convolution(ops.concatenate(pair, axis=axis)))
        return ops.sigmoid(ops.cast(self.normalization(logits, training=training), "float32"))

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
            "kernel_size": self.kernel_size,
            "pools": self.pools,
            "spatial": self.spatial,
            "data_format": self.data_format,
        }

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1


def _checked_pools(pools: Any) -> tuple[str, ...]:
    if isinstance(pools, (list, tuple)) and pools:
        return tuple(one_of("pools", pool, tuple(POOLS)) for pool in pools)
    names = ", ".join(map(repr, POOLS))
    raise ValueError(f"`pools` must be a list of some of {names}. Received: pools={pools!r}")
