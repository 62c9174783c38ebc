"""Convolution that is computed only inside the regions of interest of groups of kernels.

Reference: Chitta, Targeted Kernel Networks (2018), section 3.5, eq. 16 and 17.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.ops.roi_grouping import validate_partition
from keras_attention.ops.targeted import Activation, apply_window, targeted_convolution
from keras_attention.utils.data_format import channel_axis, spatial_axes, spatial_shape
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
# Above this share of the map, slicing and padding cost more than the smaller convolution saves.
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
    """Computes `targeted_convolution` only inside rectangles around the regions of each group.

    Values and gradients equal those of `targeted_convolution` for any groups, if the window is 0
    outside the rectangles. The whole map is computed if that costs less, or if a fixed rectangle
    does not contain the regions of its group.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`; stride 1 and "same" padding.
        window: Shape `(H, W, C)`, each kernel's attention, 0 outside its rectangle.
        rectangles: Int tensor of shape `(C, 2, 2)`, as from `roi_rectangles`.
        groups: A partition of the kernels; each group is one convolution.
        bias: Shape `(C,)`, or None.
        activation: A pointwise function, or None.
        dilation_rate: Dilation of the kernel, per axis.
        data_format: `"channels_last"` or `"channels_first"`.
        fixed: One integer rectangle per group, for programs with fixed shapes. None for the
            smallest rectangles around the groups' regions, whose sizes change with the regions;
            this needs a backend that `supports_dynamic_shapes()`.

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
    options = (bias, activation, dilation_rate, data_format)
    if fixed is None:
        unions = [_union(ops.take(rectangles, np.array(group), axis=0), sides) for group in groups]
        largest = ops.cast(sides[0] * sides[1], "float32") * (SLICED_SHARE * kernel.shape[-1])
        is_sliced = _area(unions, groups) <= largest
    else:
        unions = _validate_rectangles(fixed, len(groups))
        is_sliced = _contain_regions(unions, groups, rectangles)
    return ops.cond(
        is_sliced,
        lambda: _convolve_groups(inputs, kernel, window, groups, unions, sides, *options),
        lambda: targeted_convolution(inputs, kernel, window, *options),
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
    """Convolves each group over its rectangle and assembles a map that is zero elsewhere."""
    order = np.concatenate([list(group) for group in groups])
    ends = np.cumsum([len(group) for group in groups])[:-1].tolist()
    kernels, windows, biases = (
        [None] * len(groups) if values is None else _split(backend.permute(values, order), ends)
        for values in (kernel, window, bias)
    )
    hull = _hull(unions)
    # Groups are assembled inside the hull and padded to the map once.
    source, offset = _crop_to_receptive_field(
        inputs, hull, kernel.shape, sides, dilation_rate, data_format
    )
    patches = []
    members = zip(unions, kernels, windows, biases, strict=True)
    for (rows, columns), group_kernel, group_window, group_bias in members:
        ranges = (_shift(rows, offset[0]), _shift(columns, offset[1]))
        patch = sliced_convolution(source, group_kernel, *ranges, dilation_rate, data_format)
        group_window = backend.crop(group_window, {0: rows, 1: columns})
        patches.append(apply_window(patch, group_window, group_bias, activation, data_format))
    outputs = patches[0]
    if len(groups) > 1:
        (top, bottom), (left, right) = hull
        hull_sides = (bottom - top, right - left)
        axis = channel_axis(data_format)
        padded = [
            pad_to_map(patch, _shift(rows, top), _shift(columns, left), hull_sides, data_format)
            for patch, (rows, columns) in zip(patches, unions, strict=True)
        ]
        outputs = backend.permute(ops.concatenate(padded, axis), np.argsort(order), axis)
    return pad_to_map(outputs, *hull, sides, data_format)


def _crop_to_receptive_field(
    inputs: Tensor,
    hull: Rectangle,
    kernel_shape: Sequence[int],
    sides: Sequence[Tensor],
    dilation_rate: Sequence[int],
    data_format: str,
) -> tuple[Tensor, list[Tensor]]:
    """Returns the part of the input that the hull reads, and its first row and column."""
    axes = spatial_axes(4, data_format)
    crops, offset = {}, []
    for axis, (start, stop) in enumerate(hull):
        reach = (kernel_shape[axis] - 1) * dilation_rate[axis]
        low = _larger(start - reach // 2, 0)
        crops[axes[axis]] = (low, _smaller(stop + reach - reach // 2, sides[axis]))
        offset.append(low)
    return backend.crop(inputs, crops), offset


def _union(rectangles: Tensor, sides: Sequence[Tensor]) -> Rectangle:
    rows = bounding_range(rectangles[:, 0], sides[0])
    return rows, bounding_range(rectangles[:, 1], sides[1])


def _hull(unions: Sequence[Rectangle]) -> Rectangle:
    rows, columns = (
        (reduce(_smaller, [start for start, _ in ranges]), reduce(_larger, [b for _, b in ranges]))
        for ranges in zip(*unions, strict=True)
    )
    return rows, columns


def _area(unions: Sequence[Rectangle], groups: Sequence[Sequence[int]]) -> Tensor:
    """Counts the pixels to compute, over all kernels; as a float, which does not overflow."""
    total: Tensor = 0.0
    for (rows, columns), group in zip(unions, groups, strict=True):
        pixels = (rows[1] - rows[0]) * (columns[1] - columns[0])
        total = total + ops.cast(pixels, "float32") * float(len(group))
    return total


def _contain_regions(
    unions: Sequence[Rectangle], groups: Sequence[Sequence[int]], rectangles: Tensor
) -> Tensor:
    """Returns True if each fixed rectangle contains the regions of its group."""
    order = np.concatenate([list(group) for group in groups])
    by_kernel = np.repeat(np.array(unions), [len(group) for group in groups], axis=0)
    limits = ops.convert_to_tensor(by_kernel[np.argsort(order)], dtype="int32")
    inside = ops.logical_and(
        rectangles[..., 0] >= limits[..., 0], rectangles[..., 1] <= limits[..., 1]
    )
    empty = ops.any(rectangles[..., 0] >= rectangles[..., 1], axis=-1, keepdims=True)
    return ops.all(ops.logical_or(inside, empty))


def _validate_rectangles(fixed: Any, count: int) -> list[Rectangle]:
    if isinstance(fixed, (list, tuple)) and len(fixed) == count:
        arrays = [np.asarray(rectangle) for rectangle in fixed]
        if all(array.shape == (2, 2) and array.dtype.kind in "iu" for array in arrays):
            return [array.tolist() for array in arrays]
    raise ValueError(
        f"`fixed` must be a list of {count} integer rectangles, one per group. "
        f"Received: fixed={fixed!r}"
    )


def _split(values: Tensor, ends: list[int]) -> list[Tensor]:
    return ops.split(values, ends, axis=-1) if ends else [values]


def _shift(span: Range, offset: Tensor) -> Range:
    return span[0] - offset, span[1] - offset


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
    """Computes a rectangle of a stride-1 "same" convolution from the pixels that it reads.

    The input is cropped to the rectangle and a margin of half the kernel, so that the values equal
    those of the whole convolution, also at the border of the rectangle.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`.
        rows: First row and the one after the last: integers or scalar tensors.
        columns: First column and the one after the last.
        dilation_rate: Dilation of the kernel, per axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The rectangle, `(B, rows, columns, C)` or channels first.

    Example:
    >>> y = sliced_convolution(ops.ones((2, 8, 9, 3)), ops.ones((3, 3, 3, 4)), (0, 5), (2, 4))
    >>> tuple(y.shape)
    (2, 5, 2, 4)
    """
    validate_channels("inputs", inputs, kernel, data_format)
    sides = spatial_shape(ops.shape(inputs), data_format)
    _validate_ends((rows, columns), sides)
    ranges = zip(spatial_axes(4, data_format), (rows, columns), sides, strict=True)
    crops, pads = {}, {}
    for index, (axis, (start, stop), side) in enumerate(ranges):
        reach = (kernel.shape[index] - 1) * dilation_rate[index]
        low, high = start - reach // 2, stop + reach - reach // 2
        crops[axis] = (_larger(low, 0), _smaller(high, side))
        pads[axis] = (_larger(-low, 0), _larger(high - side, 0))
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
    """Pads a rectangle with zeros to the size of the map.

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
    _validate_ends((rows, columns), sides)
    shape, amounts = list(patch.shape), {}
    ranges = zip(spatial_axes(4, data_format), (rows, columns), sides, strict=True)
    for axis, (start, stop), side in ranges:
        amounts[axis] = (start, side - stop)
        shape[axis] = side if isinstance(side, int) else None
    return backend.pad(patch, amounts, shape)


@validate_arguments(bounds="int _ 2", side=side_length)
def bounding_range(bounds: Tensor, side: Tensor) -> Range:
    """Computes the smallest range along an axis that contains all given ranges.

    It has at least one pixel, so that kernels with an empty region can be computed.

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


def _validate_ends(ranges: Sequence[Range], sides: Sequence[Any]) -> None:
    for (_, stop), side in zip(ranges, sides, strict=True):
        if isinstance(stop, int) and isinstance(side, int) and stop > side:
            raise ValueError(
                "`rows` and `columns` must end inside the map. "
                f"Received: stop={stop} for a side of {side} pixels"
            )


def _larger(a: Tensor, b: Tensor) -> Tensor:
    """Returns the maximum, as a Python integer if both are."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else ops.maximum(a, b)


def _smaller(a: Tensor, b: Tensor) -> Tensor:
    """Returns the minimum, as a Python integer if both are."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else ops.minimum(a, b)
