"""Attention to what changes from one layer to the next."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.limits import check_reach, checked_weight
from keras_attention.ops.scale_space import (
    difference_of_convolutions,
    needs_resizing,
    resized_like,
    same_convolution,
    weighted_extrema,
)
from keras_attention.utils.validation import (
    checked_shape,
    flag,
    one_of,
    positive_integers,
    standard_data_format,
    taken_map,
)

Tensor = Any
Shape = tuple[int | None, ...]

SMOOTHINGS = ("dense", "depthwise", None)
RANKS = (1, 2)
RANKS_OF_MAPS = (3, 4)


@keras.saving.register_keras_serializable(package="keras_attention")
class SANBlock(keras.Layer):
    """Multiplies a layer's output by a mask of where it differs most from the previous layer's.

    The difference between the two outputs (eq. 5 to 8), weighted by soft extrema (eq. 9, 10), is
    smoothed by a convolution (eq. 11); its sigmoid is the mask (eq. 12, 4). Where `y_prev` is a
    whole number of times larger than `y` it is average-pooled, else resized bilinearly.

    Args:
        kernel_size: Of the smoothing convolution, one integer or one an axis: that of the layer
            whose output is attended (section III-C3). 3 by default.
        dilation_rate: Steps between that kernel's taps: 1 (default) for SAN-c, 4 for SAN-d; the
            paper gives no number, 4 is that of BAM, after which SAN-d is named (section IV-D).
        activation: Of the smoothing; None (default) is linear. The text calls for negative values,
            which a ReLU in eq. 11 would not leave: no mask would be under 0.5.
        absolute: Whether the difference has no sign (table IX, "Abs").
        channel_alignment: Whether `y_prev` is averaged over its channels (table IX, "CCA"); without
            it `y_prev` needs as many channels as `y`.
        extrema: Whether the difference is weighted by soft extrema (table IX, "Extrema").
        smoothing: `"dense"`, a convolution from all channels to all, `"depthwise"`, one kernel a
            channel, or None for none (table IX, "Smoothing"). Eq. 11 does not say which; dense is
            the plain reading.
        use_bias: Whether the smoothing adds a bias, as in eq. 11.
        kernel_initializer: Initializer of the smoothing's kernel.
        bias_initializer: Initializer of its bias.
        kernel_regularizer: Regularizer of its kernel.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: `[y_prev, y]`: outputs of the previous layer and of this one. For the first layer
            `y_prev` is its input.
        return_attention: Whether to return the mask too, of the shape of `y`, float32.

    Weights:
        kernel: `(k, C, C)` for sequences or `(k, k, C, C)` for images, `(..., C, 1)` if depthwise.
        bias: `(C,)`.

    Input shape:
        `y`: `(B, T, C)` or `(B, H, W, C)`, channels second with channels first; `y_prev`: the same
        but for the number of channels and the sides. Sides may be None.

    Output shape:
        That of `y`. Masks of sequences pass through; they do not keep what is masked from its
        neighbors.

    Raises:
        ValueError: For options that do not exist, or inputs that do not fit each other.

    Example:
    >>> y_prev, y = ops.ones((2, 8, 6, 3)), ops.ones((2, 8, 6, 16))
    >>> tuple(SANBlock(dilation_rate=4)([y_prev, y]).shape)
    (2, 8, 6, 16)

    Reference:
        Garg et al., SAN: Scale-Space Attention Networks (2020), section III-C.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 3,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        absolute: bool = True,
        channel_alignment: bool = True,
        extrema: bool = True,
        smoothing: str | None = "dense",
        *,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # How many numbers there must be is known when the layer is built.
        self.kernel_size = positive_integers("kernel_size", kernel_size, RANKS)
        self.dilation_rate = positive_integers("dilation_rate", dilation_rate, RANKS)
        self.activation = keras.activations.get(activation)
        self.absolute = flag("absolute", absolute)
        self.channel_alignment = flag("channel_alignment", channel_alignment)
        self.extrema = flag("extrema", extrema)
        self.smoothing = one_of("smoothing", smoothing, SMOOTHINGS)
        self.use_bias = flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.data_format = standard_data_format(data_format)
        self.supports_masking = True

    def build(self, input_shape: Sequence[Shape]) -> None:
        given = self._checked(input_shape)[1]
        shape = checked_shape(self, given, self._channel_axis, RANKS_OF_MAPS)
        channels, rank = shape[self._channel_axis], len(shape) - 2
        kernel_size = positive_integers("kernel_size", self.kernel_size, rank)
        self._dilations = positive_integers("dilation_rate", self.dilation_rate, rank)
        check_reach(self._dilations, self._sides_of(shape))
        self._takes = rank, channels
        if self.smoothing is None:
            return
        last = 1 if self.smoothing == "depthwise" else channels
        self.kernel = self.add_weight(
            name="kernel",
            shape=checked_weight((*kernel_size, channels, last), kernel_size=kernel_size),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            initializer = self.bias_initializer
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer=initializer)

    def call(self, inputs: Any, return_attention: bool = False) -> Any:
        several = isinstance(inputs, (list, tuple))
        # A layer that is built may be called on other shapes.
        self._checked([tensor.shape for tensor in inputs] if several else inputs.shape)
        y_prev, y = (taken_map(self, tensor) for tensor in inputs)
        smoothed = self._smooth(self._extrema(y_prev, y))
        mask = ops.sigmoid(ops.cast(smoothed, "float32"))
        outputs = y * ops.cast(mask, y.dtype)
        return (outputs, mask) if return_attention else outputs

    def steps(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Computes all that the paper's figure 4 shows.

        Args:
            inputs: `[y_prev, y]`.

        Returns:
            Float32 tensors of the shape of `y`: `"difference"` (eq. 8), `"extrema"` (eq. 9),
            `"smoothed"` (eq. 11) and `"mask"` (eq. 12).
        """
        y_prev, y = (ops.cast(x, self.compute_dtype) for x in inputs)
        extrema = self._extrema(y_prev, y)
        smoothed = self._smooth(extrema)
        options = (self.absolute, self.channel_alignment, self.data_format)
        steps = {
            "difference": difference_of_convolutions(self._matched(y_prev, y), y, *options),
            "extrema": extrema,
            "smoothed": smoothed,
            "mask": ops.sigmoid(ops.cast(smoothed, "float32")),
        }
        return {name: ops.cast(value, "float32") for name, value in steps.items()}

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Gives the mask of the features, or that of the previous layer's output."""
        known = [mask for mask in reversed(previous_mask or []) if mask is not None]
        return known[0] if known else None

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(self._checked(input_shape)[1])

    def compute_output_spec(self, inputs: Sequence[Tensor], return_attention: bool = False) -> Any:
        shape = self.compute_output_shape([tensor.shape for tensor in inputs])
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        return (outputs, keras.KerasTensor(shape, dtype="float32")) if return_attention else outputs

    def macs(self, input_shape: Sequence[Sequence[int]], executed: bool = False) -> int:
        """Counts the smoothing's multiplications for one example, and the products with maps."""
        shape = list(input_shape[1])
        channels = shape.pop(self._channel_axis)
        kernel = 0 if self.smoothing is None else math.prod(self.kernel.shape)
        return math.prod(shape[1:]) * (kernel + channels * (1 + self.extrema))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "absolute": self.absolute,
            "channel_alignment": self.channel_alignment,
            "extrema": self.extrema,
            "smoothing": self.smoothing,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "data_format": self.data_format,
        }

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _sides_of(self, shape: Shape) -> Shape:
        return shape[1:-1] if self.data_format == "channels_last" else shape[2:]

    def _extrema(self, y_prev: Tensor, y: Tensor) -> Tensor:
        options = (self.absolute, self.channel_alignment, self.extrema, self.data_format)
        return weighted_extrema(self._matched(y_prev, y), y, *options)

    def _matched(self, y_prev: Tensor, y: Tensor) -> Tensor:
        """The previous output at the size of this one; its mean comes first, to resize less."""
        if not needs_resizing(y_prev.shape, y.shape, self.data_format):
            return y_prev
        if self.channel_alignment:
            y_prev = ops.cast(y_prev, "float32")
            y_prev = ops.mean(y_prev, axis=self._channel_axis, keepdims=True)
        return resized_like(y_prev, y, self.data_format)

    def _smooth(self, inputs: Tensor) -> Tensor:
        if self.smoothing is None:
            return self.activation(inputs)
        outputs = same_convolution(
            inputs,
            self.kernel,
            self._dilations,
            depthwise=self.smoothing == "depthwise",
            data_format=self.data_format,
        )
        if self.use_bias:
            shape = [1] * len(outputs.shape)
            shape[self._channel_axis] = -1
            outputs = ops.add(outputs, ops.reshape(self.bias, shape))
        return self.activation(outputs)

    def _checked(self, input_shape: Any) -> tuple[Shape, Shape]:
        shapes = input_shape if isinstance(input_shape, (list, tuple)) else ()
        is_pair = len(shapes) == 2 and all(hasattr(shape, "__len__") for shape in shapes)
        if not is_pair:
            raise ValueError(
                "SANBlock takes a list of two: [y_prev, y], outputs of the previous layer and of "
                f"this one. Received: input_shape={input_shape}"
            )
        previous, shape = tuple(shapes[0]), tuple(shapes[1])
        if len(shape) not in RANKS_OF_MAPS or len(previous) != len(shape):
            raise ValueError(
                "SANBlock takes [y_prev, y], both sequences (3 axes) or both images (4). "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        if None not in (previous[0], shape[0]) and previous[0] != shape[0]:
            raise ValueError(
                "SANBlock takes [y_prev, y] of the same batch. "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        axis = self._channel_axis
        if not self.channel_alignment and previous[axis] != shape[axis]:
            raise ValueError(
                "Without channel_alignment SANBlock takes [y_prev, y] of as many channels each. "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        if self.built and self._takes != (len(shape) - 2, shape[axis]):
            raise ValueError(
                f"SANBlock {self.name!r} is built for y of {self._takes[0]} sides and "
                f"{self._takes[1]} channels. Received: y of shape {shape}"
            )
        return previous, shape
