"""Difference of convolutions between two layers, and its soft extrema.

Maps are images `(B, H, W, C)`, sequences `(B, T, C)` or volumes `(B, D, H, W, C)`, or with channels
first. Operations on neighbors are compiled into one pass over memory.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section III-C.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.utils.data_format import channel_axis, spatial_shape, standardize_data_format
from keras_attention.utils.tensor_validation import validate_arguments
from keras_attention.utils.validation import boolean

Tensor = Any
LARGEST_FLOAT16 = 65504.0


@validate_arguments(y_prev="B _ ... _", y="B _ ... _", absolute=boolean, channel_alignment=boolean)
def difference_of_convolutions(
    y_prev: Tensor,
    y: Tensor,
    absolute: bool = True,
    channel_alignment: bool = True,
    data_format: str | None = None,
) -> Tensor:
    """Computes the difference between the outputs of two layers (eq. 5 to 8).

    Args:
        y_prev: Output of the previous layer, of the size of `y`, with any number of channels.
        y: Output of this layer.
        absolute: If True, the absolute difference is returned, as in the paper.
        channel_alignment: If True, `y_prev` is first averaged over its channels (eq. 6, 7). If
            False, both need the same number of channels.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        A tensor of the shape of `y`.

    Example:
    >>> doc = difference_of_convolutions([[[1.0, 3.0], [0.0, 0.0]]], [[[5.0], [-2.0]]])
    >>> ops.convert_to_numpy(doc).ravel().tolist()
    [3.0, 2.0]
    """
    axis = channel_axis(data_format)
    _validate_pair(y_prev, y, channel_alignment, axis)
    change = _change(y_prev, y, channel_alignment, axis)
    return _cast_finite(ops.abs(change) if absolute else change, y.dtype)


@validate_arguments(doc="_ _ ... _")
def soft_extrema(doc: Tensor, data_format: str | None = None) -> Tensor:
    """Computes the share of neighbors whose value is not larger (eq. 10).

    The neighbors are the 3x3 pixels of an image, the 3 steps of a sequence or the 3x3x3 voxels of
    a volume, including the position itself. Values outside the map count as 0. The result is
    piecewise constant and has no gradient.

    Args:
        doc: Difference of convolutions.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Shares from `1 / 9` to 1 (`1 / 3` to 1 for sequences), of the shape of `doc`.

    Example:
    >>> alpha = soft_extrema([[[2.0], [1.0], [3.0]]])
    >>> [round(3 * float(value)) for value in alpha[0, :, 0]]
    [3, 1, 3]
    """
    doc = ops.convert_to_tensor(doc)
    axis = channel_axis(data_format)
    return ops.stop_gradient(backend.jit_elementwise(_shares, axis)(ops.stop_gradient(doc)))


@validate_arguments(
    y_prev="B _ ... _", y="B _ ... _", absolute=boolean, channel_alignment=boolean, extrema=boolean
)
def weighted_extrema(
    y_prev: Tensor,
    y: Tensor,
    absolute: bool = True,
    channel_alignment: bool = True,
    extrema: bool = True,
    data_format: str | None = None,
) -> Tensor:
    """Computes the difference of convolutions times its soft extrema in one pass (eq. 9).

    Args:
        y_prev: Output of the previous layer, of the size of `y`.
        y: Output of this layer.
        absolute: See `difference_of_convolutions`.
        channel_alignment: See `difference_of_convolutions`.
        extrema: If False, the difference is not weighted.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        A tensor of the shape of `y`.

    Example:
    >>> e = weighted_extrema([[[1.0], [1.0], [1.0]]], [[[3.0], [2.0], [4.0]]])
    >>> [round(float(value), 2) for value in e[0, :, 0]]
    [2.0, 0.33, 3.0]
    """
    options = (absolute, channel_alignment, extrema, channel_axis(data_format))
    _validate_pair(y_prev, y, channel_alignment, options[-1])
    return _weighted_extrema(*options)(ops.convert_to_tensor(y_prev), ops.convert_to_tensor(y))


@cache
def _weighted_extrema(
    absolute: bool, channel_alignment: bool, extrema: bool, axis: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the function with a gradient that reuses the shares in the output if possible."""
    forward = backend.jit_elementwise(_weighted, absolute, channel_alignment, extrema, axis)
    backward = backend.jit_elementwise(_gradients, absolute, channel_alignment, extrema, axis)

    @ops.custom_gradient
    def weighted(y_prev: Tensor, y: Tensor) -> Any:
        outputs = forward(y_prev, y)
        return outputs, lambda upstream: backward(y_prev, y, outputs, upstream)

    return weighted


def _weighted(
    absolute: bool, aligned: bool, extrema: bool, axis: int, y_prev: Tensor, y: Tensor
) -> Tensor:
    change = _change(y_prev, y, aligned, axis)
    doc = ops.abs(change) if absolute else change
    return _cast_finite(doc * _shares(axis, doc) if extrema else doc, y.dtype)


def _cast_finite(x: Tensor, dtype: Any) -> Tensor:
    """Casts to another dtype; differences of float16 values can be larger than float16 allows."""
    if keras.backend.standardize_dtype(dtype) == "float16":
        x = ops.clip(x, -LARGEST_FLOAT16, LARGEST_FLOAT16)
    return ops.cast(x, dtype)


def _gradients(
    absolute: bool, aligned: bool, extrema: bool, axis: int, *tensors: Tensor
) -> tuple[Tensor, Tensor]:
    y_prev, y, outputs, upstream = tensors
    change = _change(y_prev, y, aligned, axis)
    slope = _slope(absolute, extrema, axis, change, ops.cast(outputs, "float32"))
    gradient = ops.cast(upstream, "float32") * slope
    previous_gradient = -gradient
    if aligned:
        channels = y_prev.shape[axis]
        previous_gradient = ops.sum(previous_gradient, axis=axis, keepdims=True) / channels
        previous_gradient = ops.broadcast_to(previous_gradient, ops.shape(y_prev))
    return ops.cast(previous_gradient, y_prev.dtype), ops.cast(gradient, y.dtype)


def _slope(absolute: bool, extrema: bool, axis: int, change: Tensor, outputs: Tensor) -> Tensor:
    """Returns the derivative by the difference: the share, with the sign of the difference."""
    if not extrema:
        return ops.sign(change) if absolute else ops.ones_like(change)
    if not absolute:
        return _shares(axis, change)  # outputs that are 0 do not determine the share
    neighbors = 3 ** (len(change.shape) - 2)
    share = outputs / ops.where(change == 0, 1.0, change)
    # Rounded to multiples of 1 / neighbors, because half precision rounds the outputs.
    return ops.round(share * neighbors) / neighbors


def _validate_pair(y_prev: Tensor, y: Tensor, aligned: bool, axis: int) -> None:
    """Validates that sizes agree: backends would broadcast maps with a side of 1."""
    shapes = [list(tensor.shape) for tensor in (y_prev, y)]
    if aligned and all(shapes):
        for shape in shapes:
            shape.pop(axis)
    pairs = zip(*shapes, strict=False)
    same = all(None in sides or sides[0] == sides[1] for sides in pairs)
    if len(shapes[0]) != len(shapes[1]) or not same:
        raise ValueError(
            "`y_prev` and `y` must have the same size, and without `channel_alignment` the same "
            f"number of channels. Received: shapes {tuple(y_prev.shape)} and {tuple(y.shape)}"
        )


def _change(y_prev: Tensor, y: Tensor, aligned: bool, axis: int) -> Tensor:
    """Subtracts in float32, because half precision would make different neighbors equal."""
    y_prev = ops.cast(y_prev, "float32")
    if aligned:
        y_prev = ops.mean(y_prev, axis=axis, keepdims=True)
    return ops.cast(y, "float32") - y_prev


def _shares(axis: int, doc: Tensor) -> Tensor:
    rank, shape = len(doc.shape) - 2, ops.shape(doc)
    spatial = range(1, rank + 1) if axis == -1 else range(2, rank + 2)
    padded = ops.pad(doc, [(1, 1) if axis in spatial else (0, 0) for axis in range(rank + 2)])
    count = ops.ones_like(doc)
    for shifts in itertools.product(range(3), repeat=rank):
        if set(shifts) == {1}:
            continue  # the position itself
        starts = dict(zip(spatial, shifts, strict=True))
        index = tuple(
            slice(starts[axis], starts[axis] + shape[axis]) if axis in starts else slice(None)
            for axis in range(rank + 2)
        )
        count = count + ops.cast(padded[index] <= doc, doc.dtype)
    return count / 3**rank


def resize_like(inputs: Tensor, like: Tensor, data_format: str | None = None) -> Tensor:
    """Resizes a map to the size of another one of the same rank.

    If the size is a multiple of the new one, this is average pooling, else bilinear interpolation.

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (1, 4, 2, 1))
    >>> [float(value) for value in resize_like(x, ops.ones((1, 2, 1, 5)))[0, :, 0, 0]]
    [1.5, 5.5]
    """
    data_format = standardize_data_format(data_format)
    if not needs_resizing(inputs.shape, like.shape, data_format):
        return inputs
    old = spatial_shape(ops.shape(inputs), data_format)
    new = spatial_shape(ops.shape(like), data_format)
    ratios = [side // size for side, size in zip(old, new, strict=True)]
    if all(isinstance(side, int) for side in (*old, *new)):
        is_multiple = all(
            ratio > 0 and ratio * size == side
            for side, size, ratio in zip(old, new, ratios, strict=True)
        )
        if is_multiple:
            return _block_means(inputs, new, ratios, data_format)
        return _bilinear(inputs, new, data_format)
    # In models for any size the sides are tensors. XLA compiles both branches of a condition, of
    # which one would be invalid, so that one of the two steps is made the identity instead.
    old, new, ratio = (ops.stack(sizes) for sizes in (old, new, ratios))
    is_multiple = ops.all(ops.logical_and(ratio > 0, ratio * new == old))
    resized = _bilinear(inputs, ops.where(is_multiple, old, new), data_format)
    return _block_means(resized, new, ops.where(is_multiple, ratio, 1), data_format)


def needs_resizing(
    shape: Sequence[int | None], like: Sequence[int | None], data_format: str
) -> bool:
    """Returns True unless two maps are known to have the same size.

    Example:
    >>> needs_resizing((None, 8, 6, 3), (None, 8, 6, 16), "channels_last")
    False
    """
    old, new = spatial_shape(shape, data_format), spatial_shape(like, data_format)
    return None in old or old != new


def _block_means(
    inputs: Tensor, sides: Sequence[Any], ratios: Sequence[Any], data_format: str
) -> Tensor:
    """Averages equal blocks, on any number of axes, also of sizes that are tensors."""
    shape, rank = ops.shape(inputs), len(inputs.shape) - 2
    blocks = [size for axis in range(rank) for size in (sides[axis], ratios[axis])]
    if data_format == "channels_last":
        blocks, first = [shape[0], *blocks, inputs.shape[-1]], 2
    else:
        blocks, first = [shape[0], inputs.shape[1], *blocks], 3
    split = ops.reshape(ops.cast(inputs, "float32"), blocks)
    means = ops.mean(split, axis=tuple(range(first, first + 2 * rank, 2)))
    return ops.cast(means, inputs.dtype)


def _bilinear(inputs: Tensor, sides: Sequence[Any], data_format: str) -> Tensor:
    """Interpolates linearly along each axis: two axes at a time, as in images."""
    if data_format == "channels_first":
        inputs = ops.moveaxis(inputs, 1, -1)
    rank, channels = len(inputs.shape) - 2, inputs.shape[-1]
    shape = ops.shape(inputs)
    if rank == 2:
        outputs = backend.resize_bilinear(inputs, (sides[0], sides[1]), "channels_last")
    elif rank == 1:
        images = ops.expand_dims(inputs, -2)
        outputs = ops.squeeze(backend.resize_bilinear(images, (sides[0], 1), "channels_last"), -2)
    else:
        rows = ops.reshape(inputs, (shape[0], shape[1], shape[2], -1))
        rows = backend.resize_bilinear(rows, (sides[0], sides[1]), "channels_last")
        columns = ops.reshape(rows, (shape[0], sides[0] * sides[1], shape[3], channels))
        size = (sides[0] * sides[1], sides[2])
        columns = backend.resize_bilinear(columns, size, "channels_last")
        outputs = ops.reshape(columns, (shape[0], sides[0], sides[1], sides[2], channels))
    return outputs if data_format == "channels_last" else ops.moveaxis(outputs, -1, 1)


def same_convolution(
    inputs: Tensor,
    kernel: Tensor,
    dilation_rate: Sequence[int] = (1, 1),
    depthwise: bool = False,
    data_format: str | None = None,
) -> Tensor:
    """Computes a convolution with stride 1 and "same" padding.

    On maps that are smaller than a dilated kernel, some taps only read padding. They are removed,
    which is faster and gives the same result: a 3x3 kernel with dilation 4 on a map of 4x4 pixels
    is a 1x1 kernel.

    Inputs are `(B, T, C)`, `(B, H, W, C)` or `(B, D, H, W, C)`, or with channels first; the kernel
    is `(k, C, filters)`, `(kh, kw, C, filters)` or `(kd, kh, kw, C, filters)`, with one filter if
    depthwise.

    Example:
    >>> x, kernel = ops.ones((1, 4, 4, 2)), ops.ones((3, 3, 2, 5))
    >>> outputs = same_convolution(x, kernel, (4, 4))
    >>> tuple(outputs.shape), float(outputs[0, 0, 0, 0])
    ((1, 4, 4, 5), 2.0)
    """
    data_format = standardize_data_format(data_format)
    sides = spatial_shape(inputs.shape, data_format)
    index = tuple(
        slice(*visible_taps(side, size, rate))
        for side, size, rate in zip(sides, kernel.shape, dilation_rate, strict=False)
    )
    kernel = ops.convert_to_tensor(kernel)[index]
    if depthwise and len(sides) == 3:
        return _depthwise_of_volumes(inputs, kernel, dilation_rate, data_format)
    convolve = ops.depthwise_conv if depthwise else ops.conv
    return convolve(
        inputs,
        kernel,
        padding="same",
        data_format=data_format,
        dilation_rate=tuple(dilation_rate),
    )


def _depthwise_of_volumes(
    inputs: Tensor, kernel: Tensor, dilation_rate: Sequence[int], data_format: str
) -> Tensor:
    """Adds up the shifted volumes times their weights: Keras has no such operation."""
    maps = inputs if data_format == "channels_last" else ops.moveaxis(inputs, 1, -1)
    shape, sizes = ops.shape(maps), kernel.shape[:3]
    reach = [rate * (size - 1) for rate, size in zip(dilation_rate, sizes, strict=True)]
    padding = [(total // 2, total - total // 2) for total in reach]
    padded = ops.pad(maps, [(0, 0), *padding, (0, 0)])
    outputs: Any = 0.0
    for taps in itertools.product(*map(range, sizes)):
        starts = [tap * rate for tap, rate in zip(taps, dilation_rate, strict=True)]
        window = [slice(start, start + shape[1 + axis]) for axis, start in enumerate(starts)]
        part = padded[(slice(None), *window)]
        outputs = outputs + part * ops.cast(kernel[taps][..., 0], part.dtype)
    return outputs if data_format == "channels_last" else ops.moveaxis(outputs, -1, 1)


def visible_taps(side: int | None, size: int, dilation: int) -> tuple[int, int]:
    """Finds the taps of a dilated kernel that read a map, as a half-open range.

    The same number of taps is removed at both ends, so that the padding does not change. Kernels
    of even size are not changed.

    Example:
    >>> visible_taps(4, 3, 4), visible_taps(5, 3, 4)
    ((1, 2), (0, 3))
    """
    if side is None or size % 2 == 0:
        return 0, size
    middle = size // 2
    reach = min(middle, (side - 1) // dilation)
    return middle - reach, middle + reach + 1
