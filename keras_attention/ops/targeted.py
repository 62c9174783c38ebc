"""Attention windows and regions of interest of Attentive Regularization.

Each kernel has its own window. Positions are relative to the side of the map: a `center` of 0.5 is
its middle, and with a `scale` of 1 the border of the map is one standard deviation away from there,
whatever the number of pixels.

Reference: Chitta, Targeted Kernel Networks (2018), sections 3.1 to 3.5.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_attention.utils.tensor_validation import (
    function_argument,
    integer_pair,
    optional,
    side_length,
    side_lengths,
    validate_arguments,
    validate_channels,
)
from keras_attention.utils.validation import boolean, one_of

Tensor = Any
SMALLEST_WINDOW_SCALE = 1e-30
Activation = Callable[[Tensor], Tensor] | None


@validate_arguments(length=side_length, center="C", scale="C")
def gaussian_window(length: int, center: Tensor, scale: Tensor) -> Tensor:
    """Samples one Gaussian window per kernel along one axis (eq. 2 and 12).

    `exp(-z^2 / 2)` with `z = (i - center * length) / (scale * length / 2)` at pixel `i`.

    Args:
        length: Pixels along the axis, an integer or an integer scalar tensor.
        center: Shape `(C,)`, relative position of the peak; 0.5 is the middle.
        scale: Shape `(C,)`, standard deviation in halves of the side.

    Returns:
        Float32 tensor of shape `(length, C)` with values in `[0, 1]`.

    Example:
    >>> window = gaussian_window(5, [0.5, 0.0], [1.0, 0.5])
    >>> tuple(window.shape)
    (5, 2)
    """
    return ops.exp(-0.5 * ops.square(_deviations(length, center, scale)))


@validate_arguments(length=side_length, center="C", scale="C")
def cauchy_window(length: int, center: Tensor, scale: Tensor) -> Tensor:
    """Samples one Cauchy window per kernel along one axis (eq. 3).

    `1 / (1 + z^2)` with `z = (i - center * length) / (scale * length / 2)` at pixel `i`. Its tails
    are heavier than the Gaussian's, so distant pixels still pass a gradient.

    Args:
        length: Pixels along the axis, an integer or an integer scalar tensor.
        center: Shape `(C,)`, relative position of the peak; 0.5 is the middle.
        scale: Shape `(C,)`, half width at half maximum, in halves of the side.

    Returns:
        Float32 tensor of shape `(length, C)` with values in `[0, 1]`.

    Example:
    >>> window = cauchy_window(4, [0.5], [1.0])
    >>> [round(float(value), 2) for value in window[:, 0]]
    [0.5, 0.8, 1.0, 0.8]
    """
    return 1.0 / (1.0 + ops.square(_deviations(length, center, scale)))


WINDOWS: dict[str, Callable[..., Tensor]] = {
    "cauchy": cauchy_window,
    "gaussian": gaussian_window,
}


@validate_arguments(length=side_length, center="C", scale="C")
def roi_bounds(length: int, center: Tensor, scale: Tensor) -> Tensor:
    """Computes each kernel's region of interest along one axis (eq. 15).

    These are the pixels with `|i / length - center| <= scale / sqrt(2)`, rounded outwards and
    clipped to the map: `[floor((center - scale / sqrt(2)) * length), ceil((center + scale /
    sqrt(2)) * length))`.

    Args:
        length: Pixels along the axis, an integer or an integer scalar tensor.
        center: Shape `(C,)`, relative position of the window's peak.
        scale: Shape `(C,)`, the window's scale in halves of the side.

    Returns:
        Int32 tensor of shape `(C, 2)`: first pixel and the one after the last.

    Example:
    >>> [[int(v) for v in row] for row in roi_bounds(28, [0.5, 0.25], [1.0, 0.2])]
    [[0, 28], [3, 11]]
    """
    center, scale, side = _float32(center), _float32(scale), ops.cast(length, "float32")
    reach = scale * (0.5**0.5)
    bounds = ops.stack(
        [ops.floor((center - reach) * side), ops.ceil((center + reach) * side)], axis=-1
    )
    return ops.cast(ops.clip(bounds, 0.0, side), "int32")


@validate_arguments(sides=side_lengths, center="rank C", scale="rank C")
def roi_rectangles(sides: Sequence[int], center: Tensor, scale: Tensor) -> Tensor:
    """Computes each kernel's region of interest along every axis (eq. 15).

    Args:
        sides: Pixels along each of the `rank` axes.
        center: Shape `(rank, C)`.
        scale: Shape `(rank, C)`.

    Returns:
        Int32 tensor of shape `(C, rank, 2)`; for images `[[top, bottom], [left, right]]`.

    Example:
    >>> rectangles = roi_rectangles((28, 56), [[0.5], [0.5]], [[1.0], [0.25]])
    >>> [[int(v) for v in row] for row in rectangles[0]]
    [[0, 28], [18, 38]]
    """
    _validate_rank(sides, center)
    center, scale = _float32(center), _float32(scale)
    bounds = [roi_bounds(side, center[axis], scale[axis]) for axis, side in enumerate(sides)]
    return ops.stack(bounds, axis=1)


@validate_arguments(length=side_length, bounds="int C 2")
def roi_indicator(length: int, bounds: Tensor) -> Tensor:
    """Computes the indicator of each kernel's region of interest along one axis (section 3.5).

    Args:
        length: Pixels along the axis, an integer or an integer scalar tensor.
        bounds: Int tensor of shape `(C, 2)`, half-open, as from `roi_bounds`.

    Returns:
        Float32 tensor of shape `(length, C)`: 1 inside, 0 outside.

    Example:
    >>> [int(v) for v in roi_indicator(5, [[1, 3]])[:, 0]]
    [0, 1, 1, 0, 0]
    """
    bounds = ops.convert_to_tensor(bounds, dtype="int32")
    pixels = ops.expand_dims(ops.arange(length, dtype="int32"), axis=-1)
    inside = ops.logical_and(pixels >= bounds[:, 0], pixels < bounds[:, 1])
    return ops.cast(inside, "float32")


@validate_arguments(sides=side_lengths, center="rank C", scale="rank C", clip=boolean)
def separable_window(
    sides: Sequence[int], center: Tensor, scale: Tensor, window: str = "cauchy", clip: bool = False
) -> Tensor:
    """Computes every kernel's attention map as a product of windows along the axes (eq. 13).

    Args:
        sides: Pixels along each of the `rank` axes.
        center: Shape `(rank, C)`.
        scale: Shape `(rank, C)`.
        window: `"cauchy"` or `"gaussian"`.
        clip: If True, values outside the region of interest are 0 (section 3.5).

    Returns:
        Float32 tensor of shape `(*sides, C)`.

    Example:
    >>> tuple(separable_window((4, 6), [[0.5], [0.5]], [[1.0], [1.0]]).shape)
    (4, 6, 1)
    """
    _validate_rank(sides, center)
    sample = WINDOWS[one_of("window", window, tuple(WINDOWS))]
    center, scale = _float32(center), _float32(scale)
    product = None
    for axis, side in enumerate(sides):
        values = sample(side, center[axis], scale[axis])
        if clip:
            values = values * roi_indicator(side, roi_bounds(side, center[axis], scale[axis]))
        values = ops.expand_dims(values, axis=tuple(range(1, len(sides) - axis)))
        product = values if product is None else product * values
    return product


def _validate_rank(sides: Sequence[int], center: Tensor) -> None:
    if center.shape[0] not in (None, len(sides)):
        raise ValueError(
            f"`center` must have {len(sides)} rows, one per axis of `sides`. "
            f"Received: center of shape {tuple(center.shape)}, sides={tuple(sides)}"
        )


def _deviations(length: int, center: Tensor, scale: Tensor) -> Tensor:
    """Returns distances from the centers in units of the scales, shape `(length, C)`."""
    center, scale, side = _float32(center), _float32(scale), ops.cast(length, "float32")
    pixels = ops.expand_dims(ops.arange(length, dtype="float32"), axis=-1)
    # A scale of 0 is replaced: the window is 1 at the center and 0 elsewhere, without NaN.
    scale = ops.where(scale == 0.0, SMALLEST_WINDOW_SCALE, scale)
    return (pixels - center * side) / (scale * side / 2.0)


def _float32(values: Tensor) -> Tensor:
    # Half precision cannot represent positions to the pixel on maps of a few hundred pixels.
    return ops.cast(ops.convert_to_tensor(values), "float32")


@validate_arguments(
    inputs="_ _ _ _",
    kernel="_ _ _ C",
    window="_ _ C",
    bias="maybe C",
    activation=optional(function_argument),
    dilation_rate=integer_pair,
)
def targeted_convolution(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    bias: Tensor | None = None,
    activation: Activation = None,
    dilation_rate: Sequence[int] = (1, 1),
    data_format: str = "channels_last",
) -> Tensor:
    """Computes `window * activation(inputs * kernel + bias)` on the whole map (eq. 1).

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`; stride 1 and "same" padding.
        window: Shape `(H, W, C)`, each kernel's attention, clipped or not.
        bias: Shape `(C,)`, or None.
        activation: A function of tensors, or None.
        dilation_rate: Dilation of the kernel, per axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `(B, H, W, C)` or `(B, C, H, W)`.

    Example:
    >>> x, kernel = ops.ones((2, 6, 5, 3)), ops.ones((3, 3, 3, 4))
    >>> tuple(targeted_convolution(x, kernel, ops.ones((6, 5, 4))).shape)
    (2, 6, 5, 4)
    """
    validate_channels("inputs", inputs, kernel, data_format)
    outputs = ops.conv(
        inputs,
        ops.cast(kernel, inputs.dtype),
        padding="same",
        dilation_rate=tuple(dilation_rate),
        data_format=data_format,
    )
    return apply_window(outputs, window, bias, activation, data_format)


def apply_window(
    outputs: Tensor,
    window: Tensor,
    bias: Tensor | None,
    activation: Activation,
    data_format: str,
) -> Tensor:
    """Adds the bias, applies the activation and multiplies by the window `(H, W, C)`."""
    if bias is not None:
        shape = (-1,) if data_format == "channels_last" else (-1, 1, 1)
        outputs = outputs + ops.reshape(bias, shape)
    if activation is not None:
        outputs = activation(outputs)
    if data_format == "channels_first":
        window = ops.moveaxis(window, -1, 0)
    return outputs * ops.cast(window, outputs.dtype)
