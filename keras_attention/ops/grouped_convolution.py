"""A convolution whose kernels each have a region, computed group by group.

Reference: Chitta, Targeted Kernel Networks (2018), section 3.5, eq. 16 and 17.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.ops.roi_grouping import validate_partition
from keras_attention.ops.targeted import Activation, attend, targeted_convolution
from keras_attention.utils.tensor_validation import (
    function_argument,
    height_and_width,
    integer_pair,
    optional,
    pixel_range,
    side_length,
    validate_arguments,
    validate_channels,
)

Tensor = Any
# Share of the map from which on cutting out and putting back costs more than it saves.
SLICED_SHARE = 0.8
Range = tuple[Tensor, Tensor]
Rectangle = tuple[Range, Range]


@validate_arguments(
    inputs="_ _ _ _",
    kernel="_ _ _ C",
    window="_ _ C",
    rectangles="int C 2 2",
    bias="maybe C",
    activation=optional(function_argument),
    dilation_rate=integer_pair,
)
def sliced_targeted_convolution(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    rectangles: Tensor,
    groups: Sequence[Sequence[int]],
    bias: Tensor | None = None,
    activation: Activation = None,
    dilation_rate: Sequence[int] = (1, 1),
    data_format: str = "channels_last",
    fixed: Sequence[Any] | None = None,
) -> Tensor:
    """Computes `targeted_convolution` only where some kernel of a group looks.

    The values and gradients are those of the whole map whatever the groups, as long as the window
    is 0 outside the rectangles. The whole map is computed where that costs less, or where a fixed
    rectangle does not hold its group's.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`; stride 1 and "same" padding.
        window: Shape `(H, W, C)`, each kernel's attention, 0 outside its rectangle.
        rectangles: Int tensor of shape `(C, 2, 2)`, as from `roi_rectangles`.
        groups: A partition of the kernels; each group is convolved once.
        bias: Shape `(C,)`, or None.
        activation: A function that acts on each value by itself, or None.
        dilation_rate: Steps between the kernel's taps, per axis.
        data_format: `"channels_last"` or `"channels_first"`.
        fixed: One rectangle of integers per group, for programs whose shapes are fixed. None takes
            the smallest that hold the groups' regions, of sizes that change with them; that needs
            a backend that `supports_dynamic_shapes()`.

    Returns:
        `(B, H, W, C)` or `(B, C, H, W)`.

    Example:
    >>> x, kernel = ops.ones((2, 6, 5, 3)), ops.ones((3, 3, 3, 2))
    >>> window, rectangles = ops.ones((6, 5, 2)), ops.convert_to_tensor([[[0, 6], [0, 5]]] * 2)
    >>> y = sliced_targeted_convolution(x, kernel, window, rectangles, [[1], [0]])
    >>> tuple(y.shape)
    (2, 6, 5, 2)
    """
    validate_channels("inputs", inputs, kernel, data_format)
    groups = validate_partition("groups", groups, kernel.shape[-1])
    shape = ops.shape(inputs)
    sides = shape[1:3] if data_format == "channels_last" else shape[2:4]
    rest = (bias, activation, dilation_rate, data_format)
    if fixed is None:
        unions = [_union(_take(rectangles, group, 0), sides) for group in groups]
        pays = _area(unions, groups) <= _limit(sides, kernel.shape[-1])
    else:
        unions = _checked_rectangles(fixed, len(groups))
        pays = _holds(unions, groups, rectangles)
    return ops.cond(
        pays,
        lambda: _convolve_groups(inputs, kernel, window, groups, unions, sides, *rest),
        lambda: targeted_convolution(inputs, kernel, window, *rest),
    )


def _convolve_groups(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    groups: Sequence[Sequence[int]],
    unions: Sequence[Rectangle],
    sides: Sequence[Tensor],
    bias: Tensor | None,
    activation: Activation,
    dilation_rate: Sequence[int],
    data_format: str,
) -> Tensor:
    """Convolves each group over its rectangle and puts all into a map of zeros."""
    order = np.concatenate([list(group) for group in groups])
    ends = np.cumsum([len(group) for group in groups])[:-1].tolist()
    kernels, windows, biases = (
        [None] * len(groups) if values is None else _split(backend.permute(values, order), ends)
        for values in (kernel, window, bias)
    )
    hull = _hull(unions)
    # Everything smaller than the map is done inside the hull: its edge is that of the zeros.
    source, offset = _readable(inputs, hull, kernel.shape, sides, dilation_rate, data_format)
    patches = []
    for (rows, columns), own, seen, own_bias in zip(unions, kernels, windows, biases, strict=True):
        part = (_shift(rows, offset[0]), _shift(columns, offset[1]))
        patch = sliced_convolution(source, own, *part, dilation_rate, data_format)
        seen = backend.crop(seen, {0: rows, 1: columns})
        patches.append(attend(patch, seen, own_bias, activation, data_format))
    if len(groups) == 1:
        together = patches[0]
    else:
        (top, bottom), (left, right) = hull
        inside = (bottom - top, right - left)
        axis = -1 if data_format == "channels_last" else 1
        placed = [
            pad_to_map(patch, _shift(rows, top), _shift(columns, left), inside, data_format)
            for patch, (rows, columns) in zip(patches, unions, strict=True)
        ]
        together = ops.concatenate(placed, axis=axis)
        together = backend.permute(together, np.argsort(order), axis)
    return pad_to_map(together, *hull, sides, data_format)


def _readable(
    inputs: Tensor,
    hull: Rectangle,
    kernel_shape: Sequence[int],
    sides: Sequence[Tensor],
    dilation_rate: Sequence[int],
    data_format: str,
) -> tuple[Tensor, list[Tensor]]:
    """The part of the input that the hull reads, and where it starts."""
    first = 1 if data_format == "channels_last" else 2
    crops, offset = {}, []
    for axis, (start, stop) in enumerate(hull):
        reach = (kernel_shape[axis] - 1) * dilation_rate[axis]
        low = larger(start - reach // 2, 0)
        crops[first + axis] = (low, smaller(stop + reach - reach // 2, sides[axis]))
        offset.append(low)
    return backend.crop(inputs, crops), offset


def _union(rectangles: Tensor, sides: Sequence[Tensor]) -> Rectangle:
    rows = bounding_range(rectangles[:, 0], sides[0])
    return rows, bounding_range(rectangles[:, 1], sides[1])


def _hull(unions: Sequence[Rectangle]) -> Rectangle:
    axes = []
    for axis in range(2):
        start, stop = unions[0][axis]
        for union in unions[1:]:
            start, stop = smaller(start, union[axis][0]), larger(stop, union[axis][1])
        axes.append((start, stop))
    return axes[0], axes[1]


def _area(unions: Sequence[Rectangle], groups: Sequence[Sequence[int]]) -> Tensor:
    """Pixels to compute, over all kernels; in floats, which do not overflow."""
    total: Tensor = 0.0
    for (rows, columns), group in zip(unions, groups, strict=True):
        pixels = (rows[1] - rows[0]) * (columns[1] - columns[0])
        total = total + ops.cast(pixels, "float32") * float(len(group))
    return total


def _limit(sides: Sequence[Tensor], kernels: int) -> Tensor:
    return ops.cast(sides[0] * sides[1], "float32") * (SLICED_SHARE * kernels)


def _holds(
    unions: Sequence[Rectangle], groups: Sequence[Sequence[int]], rectangles: Tensor
) -> Tensor:
    """Whether each fixed rectangle holds the regions of its group."""
    order = np.concatenate([list(group) for group in groups])
    of_kernels = np.repeat(np.array(unions), [len(group) for group in groups], axis=0)
    limits = ops.convert_to_tensor(of_kernels[np.argsort(order)], dtype="int32")
    inside = ops.logical_and(
        rectangles[..., 0] >= limits[..., 0], rectangles[..., 1] <= limits[..., 1]
    )
    empty = ops.any(rectangles[..., 0] >= rectangles[..., 1], axis=-1, keepdims=True)
    return ops.all(ops.logical_or(inside, empty))


def _checked_rectangles(fixed: Any, count: int) -> list[Rectangle]:
    if isinstance(fixed, (list, tuple)) and len(fixed) == count:
        found = [np.asarray(rectangle) for rectangle in fixed]
        if all(one.shape == (2, 2) and one.dtype.kind in "iu" for one in found):
            return [_integers(one) for one in found]
    raise ValueError(
        f"`fixed` must be {count} rectangles of integers, one a group. Received: fixed={fixed!r}"
    )


def _integers(rectangle: Any) -> Rectangle:
    (top, bottom), (left, right) = np.asarray(rectangle).tolist()
    return (top, bottom), (left, right)


def _split(values: Tensor, ends: list[int]) -> list[Tensor]:
    return ops.split(values, ends, axis=-1) if ends else [values]


def _shift(span: Range, offset: Tensor) -> Range:
    return span[0] - offset, span[1] - offset


def _take(values: Tensor, kernels: Sequence[int], axis: int) -> Tensor:
    return ops.take(values, np.array(kernels), axis=axis)


@validate_arguments(
    inputs="_ _ _ _",
    kernel="_ _ _ _",
    rows=pixel_range,
    columns=pixel_range,
    dilation_rate=integer_pair,
)
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
    validate_channels("inputs", inputs, kernel, data_format)
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


@validate_arguments(patch="_ _ _ _", rows=pixel_range, columns=pixel_range, sides=height_and_width)
def pad_to_map(
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
    >>> tuple(pad_to_map(ops.ones((1, 2, 3, 4)), (1, 3), (0, 3), (5, 6)).shape)
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


@validate_arguments(bounds="int _ 2", side=side_length)
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
