"""Convolutions computed inside a rectangle of the map only.

Reference: Chitta, Targeted Kernel Networks (2018), section 3.5, eq. 15 to 17.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention import backend
from keras_attention.ops.shapes import check_channels, one_side, pair, span, takes, two_sides

Tensor = Any
Range = tuple[Tensor, Tensor]


@takes(inputs="_ _ _ _", kernel="_ _ _ _", rows=span, columns=span, dilation_rate=pair)
def sliced_convolution(
    inputs: Tensor,
    kernel: Tensor,
    rows: Range,
    columns: Range,
    dilation_rate: Sequence[int] = (1, 1),
    data_format: str = "channels_last",
) -> Tensor:
    """Computes a rectangle of a stride-1 "same" convolution from the pixels it needs.

    The input is sliced to the rectangle and the halo that the kernel reaches around it, so that
    the values are those of the whole convolution, also at the rectangle's rim.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`.
        rows: First row and the one after the last: integers or scalar tensors.
        columns: First column and the one after the last.
        dilation_rate: Steps between the kernel's taps, per axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The rectangle, `(B, rows, columns, C)` or channels first.

    Example:
    >>> y = sliced_convolution(ops.ones((2, 8, 9, 3)), ops.ones((3, 3, 3, 4)), (0, 5), (2, 4))
    >>> tuple(y.shape)
    (2, 5, 2, 4)
    """
    check_channels("inputs", inputs, kernel, data_format)
    first = 1 if data_format == "channels_last" else 2
    crops, pads = {}, {}
    for axis, (start, stop) in enumerate((rows, columns)):
        side = ops.shape(inputs)[first + axis]
        _check_end(stop, side)
        reach = (kernel.shape[axis] - 1) * dilation_rate[axis]
        low, high = start - reach // 2, stop + reach - reach // 2
        crops[first + axis] = (larger(low, 0), smaller(high, side))
        pads[first + axis] = (larger(-low, 0), larger(high - side, 0))
    window = backend.pad(backend.crop(inputs, crops), pads)
    return ops.conv(
        window,
        ops.cast(kernel, window.dtype),
        padding="valid",
        dilation_rate=tuple(dilation_rate),
        data_format=data_format,
    )


@takes(patch="_ _ _ _", rows=span, columns=span, sides=two_sides)
def place(
    patch: Tensor,
    rows: Range,
    columns: Range,
    sides: Sequence[Tensor],
    data_format: str = "channels_last",
) -> Tensor:
    """Puts a rectangle back into a map of zeros.

    Args:
        patch: The rectangle, `(B, rows, columns, C)` or channels first.
        rows: First row and the one after the last: integers or scalar tensors.
        columns: First column and the one after the last.
        sides: Height and width of the map.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The map, `(B, H, W, C)` or channels first.

    Example:
    >>> tuple(place(ops.ones((1, 2, 3, 4)), (1, 3), (0, 3), (5, 6)).shape)
    (1, 5, 6, 4)
    """
    first = 1 if data_format == "channels_last" else 2
    shape = list(patch.shape)
    amounts = {}
    for axis, (start, stop) in enumerate((rows, columns)):
        side = sides[axis]
        _check_end(stop, side)
        amounts[first + axis] = (start, side - stop)
        shape[first + axis] = side if isinstance(side, int) else None
    return backend.pad(patch, amounts, shape)


@takes(bounds="int _ 2", side=one_side)
def bounding_range(bounds: Tensor, side: Tensor) -> Range:
    """Finds the smallest range along an axis that holds all the given ones.

    At least one pixel of the map, so that kernels that see nothing stay computable.

    Args:
        bounds: Int tensor of shape `(C, 2)`, half-open, as from `roi_bounds`.
        side: Pixels along the axis.

    Returns:
        Scalar int tensors, the first pixel and the one after the last.

    Example:
    >>> [int(v) for v in bounding_range(ops.convert_to_tensor([[1, 4], [3, 6]]), 9)]
    [1, 6]
    """
    start = ops.minimum(ops.min(bounds[:, 0]), ops.cast(side, "int32") - 1)
    stop = ops.maximum(ops.max(bounds[:, 1]), start + 1)
    return start, stop


def _check_end(stop: Any, side: Any) -> None:
    if isinstance(stop, int) and isinstance(side, int) and stop > side:
        raise ValueError(
            f"`rows` and `columns` must end inside of the map. Received: {stop} of {side} pixels"
        )


def larger(a: Tensor, b: Tensor) -> Tensor:
    """The maximum, which stays a Python integer where both are."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else ops.maximum(a, b)


def smaller(a: Tensor, b: Tensor) -> Tensor:
    """The minimum, which stays a Python integer where both are."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else ops.minimum(a, b)
