"""Scale-Space Attention: masks a layer's output where it differs most from its input."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.base import ConfigurableLayer
from keras_attention.ops.scale_space import (
    difference_of_convolutions,
    needs_resizing,
    resize_like,
    same_convolution,
    weighted_extrema,
)
from keras_attention.utils.data_format import channel_axis, spatial_shape, standardize_data_format
from keras_attention.utils.tensor_validation import convert_input, validate_input_shape
from keras_attention.utils.validation import (
    boolean,
    one_of,
    positive_integers,
    validate_dilation_rate,
)

Tensor = Any
Shape = tuple[int | None, ...]

SMOOTHINGS = ("dense", "depthwise", None)
RANKS = (1, 2, 3)
MAP_RANKS = (3, 4, 5)


@keras.saving.register_keras_serializable(package="keras_attention")
class SANBlock(ConfigurableLayer):
    """Scale-Space Attention block: multiplies a layer's output by a mask of its largest changes.

    The difference between the outputs of two layers (eq. 5 to 8), weighted by soft extrema (eq. 9,
    10), is smoothed by a convolution (eq. 11); the sigmoid of that is the mask (eq. 12, 4). If the
    size of `y_prev` is a multiple of the size of `y`, `y_prev` is average-pooled, else it is
    resized bilinearly.

    Args:
        kernel_size: Kernel size of the smoothing convolution, one integer or one per axis: the
            kernel size of the layer whose output is attended (section III-C3). 3 by default.
        dilation_rate: Dilation of that kernel: 1 (default) for SAN-c, 4 for SAN-d. The paper gives
            no number; 4 is the dilation of BAM, which inspired SAN-d (section IV-D).
        activation: Activation of the smoothing; None (default) is linear. The text requires
            negative values, which a ReLU in eq. 11 would remove: no mask value would be below 0.5.
        absolute: If True (default), the absolute difference is used (table IX, "Abs").
        channel_alignment: If True (default), `y_prev` is averaged over its channels (table IX,
            "CCA"). If False, `y_prev` needs the same number of channels as `y`.
        extrema: If True (default), the difference is weighted by soft extrema (table IX,
            "Extrema").
        smoothing: `"dense"` for a convolution over all channels, `"depthwise"` for one kernel per
            channel, or None for no smoothing (table IX, "Smoothing"). Eq. 11 does not specify it;
            dense is the literal reading.
        use_bias: If True (default), the smoothing adds a bias, as in eq. 11.
        kernel_initializer: Initializer of the smoothing's kernel.
        bias_initializer: Initializer of its bias.
        kernel_regularizer: Regularizer of its kernel.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: `[y_prev, y]`, the outputs of the previous layer and of this layer. For the first
            layer of a network, `y_prev` is its input.
        return_attention: If True, the mask is also returned, of the shape of `y`, float32.

    Weights:
        kernel: `(k, C, C)` for sequences, `(k, k, C, C)` for images, `(k, k, k, C, C)` for volumes,
            `(..., C, 1)` if depthwise.
        bias: `(C,)`.

    Input shape:
        `y`: `(B, T, C)`, `(B, H, W, C)` or `(B, D, H, W, C)`, or with channels first. `y_prev`: the
        same, except for the number of channels and the spatial sizes. Spatial sizes may be None.

    Output shape:
        Same as the shape of `y`. Masks of sequences pass through; masked steps still contribute to
        the mask of their neighbors.

    Raises:
        ValueError: For unknown options, or inputs whose shapes are not compatible.

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
        # `build` repeats a single integer along all axes.
        self.kernel_size = positive_integers("kernel_size", kernel_size, RANKS)
        self.dilation_rate = positive_integers("dilation_rate", dilation_rate, RANKS)
        self.activation = keras.activations.get(activation)
        self.absolute = boolean("absolute", absolute)
        self.channel_alignment = boolean("channel_alignment", channel_alignment)
        self.extrema = boolean("extrema", extrema)
        self.smoothing = one_of("smoothing", smoothing, SMOOTHINGS)
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.data_format = standardize_data_format(data_format)
        self.supports_masking = True

    def build(self, input_shape: Sequence[Shape]) -> None:
        axis = channel_axis(self.data_format)
        _, shape = self._validate_pair(input_shape)
        shape = validate_input_shape(self, shape, axis, MAP_RANKS)
        channels, rank = shape[axis], len(shape) - 2
        kernel_size = positive_integers("kernel_size", self.kernel_size, rank)
        self._dilations = positive_integers("dilation_rate", self.dilation_rate, rank)
        validate_dilation_rate(self._dilations, spatial_shape(shape, self.data_format))
        self._built_for = rank, channels
        if self.smoothing is None:
            return
        last = 1 if self.smoothing == "depthwise" else channels
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*kernel_size, channels, last),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            initializer = self.bias_initializer
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer=initializer)

    def call(self, inputs: Any, return_attention: bool = False) -> Any:
        # A built layer may be called on other shapes.
        is_list = isinstance(inputs, (list, tuple))
        self._validate_pair([tensor.shape for tensor in inputs] if is_list else inputs.shape)
        y_prev, y = (convert_input(self, tensor) for tensor in inputs)
        smoothed = self._smooth(self._extrema(y_prev, y))
        mask = ops.sigmoid(ops.cast(smoothed, "float32"))
        outputs = y * ops.cast(mask, y.dtype)
        return (outputs, mask) if return_attention else outputs

    def intermediates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Computes the intermediate maps of the paper's figure 4.

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
        maps = {
            "difference": difference_of_convolutions(self._resize_previous(y_prev, y), y, *options),
            "extrema": extrema,
            "smoothed": smoothed,
            "mask": ops.sigmoid(ops.cast(smoothed, "float32")),
        }
        return {name: ops.cast(value, "float32") for name, value in maps.items()}

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of `y`, or that of `y_prev`."""
        known = [mask for mask in reversed(previous_mask or []) if mask is not None]
        return known[0] if known else None

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(self._validate_pair(input_shape)[1])

    def compute_output_spec(self, inputs: Sequence[Tensor], return_attention: bool = False) -> Any:
        shape = self.compute_output_shape([tensor.shape for tensor in inputs])
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        return (outputs, keras.KerasTensor(shape, dtype="float32")) if return_attention else outputs

    def macs(self, input_shape: Sequence[Sequence[int]], executed: bool = False) -> int:
        """Counts the multiply-accumulates of the smoothing and of the products, for one example."""
        shape = list(input_shape[1])
        channels = shape.pop(channel_axis(self.data_format))
        kernel = 0 if self.smoothing is None else math.prod(self.kernel.shape)
        return math.prod(shape[1:]) * (kernel + channels * (1 + self.extrema))

    def _extrema(self, y_prev: Tensor, y: Tensor) -> Tensor:
        options = (self.absolute, self.channel_alignment, self.extrema, self.data_format)
        return weighted_extrema(self._resize_previous(y_prev, y), y, *options)

    def _resize_previous(self, y_prev: Tensor, y: Tensor) -> Tensor:
        """Resizes `y_prev` to the size of `y`, after averaging channels so that less is resized."""
        if not needs_resizing(y_prev.shape, y.shape, self.data_format):
            return y_prev
        if self.channel_alignment:
            y_prev = ops.cast(y_prev, "float32")
            y_prev = ops.mean(y_prev, axis=channel_axis(self.data_format), keepdims=True)
        return resize_like(y_prev, y, self.data_format)

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
            shape[channel_axis(self.data_format)] = -1
            outputs = ops.add(outputs, ops.reshape(self.bias, shape))
        return self.activation(outputs)

    def _validate_pair(self, input_shape: Any) -> tuple[Shape, Shape]:
        shapes = input_shape if isinstance(input_shape, (list, tuple)) else ()
        is_pair = len(shapes) == 2 and all(hasattr(shape, "__len__") for shape in shapes)
        if not is_pair:
            raise ValueError(
                "The input of SANBlock must be a list [y_prev, y], the outputs of the previous "
                f"layer and of this layer. Received: input_shape={input_shape}"
            )
        previous, shape = tuple(shapes[0]), tuple(shapes[1])
        if len(shape) not in MAP_RANKS or len(previous) != len(shape):
            raise ValueError(
                "`y_prev` and `y` must both be sequences (3 axes), images (4) or volumes (5). "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        if None not in (previous[0], shape[0]) and previous[0] != shape[0]:
            raise ValueError(
                "`y_prev` and `y` must have the same batch size. "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        axis = channel_axis(self.data_format)
        if not self.channel_alignment and previous[axis] != shape[axis]:
            raise ValueError(
                "`y_prev` and `y` must have the same number of channels if `channel_alignment` "
                "is False. "
                f"Received: y_prev of shape {previous}, y of shape {shape}"
            )
        if self.built and self._built_for != (len(shape) - 2, shape[axis]):
            raise ValueError(
                f"`y` must have {self._built_for[0]} spatial axes and {self._built_for[1]} "
                f"channels, which SANBlock {self.name!r} was built for. "
                f"Received: y of shape {shape}"
            )
        return previous, shape
