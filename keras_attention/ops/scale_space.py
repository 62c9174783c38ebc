"""What changes from one layer to the next, and where it changes most.

Maps are `(B, H, W, C)` or sequences `(B, T, C)`; the channels come second with
`data_format="channels_first"`. What looks at neighbors is compiled into one pass
over memory.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section III-C.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from keras import ops

from keras_attention import backend
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.tensor_validation import validate_arguments
from keras_attention.utils.validation import boolean

Tensor = Any


@validate_arguments(y_prev="B _ ... _", y="B _ ... _", absolute=boolean, channel_alignment=boolean)
def difference_of_convolutions(
    y_prev: Tensor,
    y: Tensor,
    absolute: bool = True,
    channel_alignment: bool = True,
    data_format: str | None = None,
) -> Tensor:
    """The change from the previous layer's output to this one's (eq. 5 to 8).

    Args:
        y_prev: Output of the previous layer, of the size of `y`, with any number of channels.
        y: Output of this layer.
        absolute: Whether the change has no sign, as in the paper.
        channel_alignment: Whether `y_prev` is averaged over its channels first (eq. 6, 7); without
            it both need the same number of channels.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        A tensor of the shape of `y`.

    Example:
    >>> doc = difference_of_convolutions([[[1.0, 3.0], [0.0, 0.0]]], [[[5.0], [-2.0]]])
    >>> ops.convert_to_numpy(doc).ravel().tolist()
    [3.0, 2.0]
    """
    axis = _channel_axis(data_format)
    _check_pair(y_prev, y, channel_alignment, axis)
    change = _change(y_prev, y, channel_alignment, axis)
    return ops.cast(ops.abs(change) if absolute else change, y.dtype)


@validate_arguments(doc="_ _ ... _")
def soft_extrema(doc: Tensor, data_format: str | None = None) -> Tensor:
    """The share of a place's neighbors that are not above it (eq. 10).

    The 3x3 neighbors of an image's pixel, the 3 of a sequence's step, itself among them. What lies
    outside the map counts as 0. The result is piecewise constant: it has no gradient.

    Args:
        doc: Difference of convolutions.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Shares from `1 / 9` to 1 (`1 / 3` to 1 in sequences), of the shape of `doc`.

    Example:
    >>> alpha = soft_extrema([[[2.0], [1.0], [3.0]]])
    >>> [round(3 * float(value)) for value in alpha[0, :, 0]]
    [3, 1, 3]
    """
    doc = ops.convert_to_tensor(doc)
    axis = _channel_axis(data_format)
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
    """The change between two layers, times the soft extrema (eq. 9), in one pass over memory.

    Args:
        y_prev: Output of the previous layer, of the size of `y`.
        y: Output of this layer.
        absolute: See `difference_of_convolutions`.
        channel_alignment: See `difference_of_convolutions`.
        extrema: Whether the change is weighted at all.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        A tensor of the shape of `y`.

    Example:
    >>> e = weighted_extrema([[[1.0], [1.0], [1.0]]], [[[3.0], [2.0], [4.0]]])
    >>> [round(float(value), 2) for value in e[0, :, 0]]
    [2.0, 0.33, 3.0]
    """
    options = (absolute, channel_alignment, extrema, _channel_axis(data_format))
    _check_pair(y_prev, y, channel_alignment, options[-1])
    return _weighted_extrema(*options)(ops.convert_to_tensor(y_prev), ops.convert_to_tensor(y))


@cache
def _weighted_extrema(
    absolute: bool, channel_alignment: bool, extrema: bool, axis: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function and its gradient, which reads the shares off the result where it can."""
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
    return ops.cast(doc * _shares(axis, doc) if extrema else doc, y.dtype)


def _gradients(
    absolute: bool, aligned: bool, extrema: bool, axis: int, *tensors: Tensor
) -> tuple[Tensor, Tensor]:
    y_prev, y, outputs, upstream = tensors
    change = _change(y_prev, y, aligned, axis)
    slope = _slope(absolute, extrema, axis, change, ops.cast(outputs, "float32"))
    by_y = ops.cast(upstream, "float32") * slope
    by_previous = -by_y
    if aligned:
        channels = y_prev.shape[axis]
        by_mean = ops.sum(by_previous, axis=axis, keepdims=True) / channels
        by_previous = ops.broadcast_to(by_mean, ops.shape(y_prev))
    return ops.cast(by_previous, y_prev.dtype), ops.cast(by_y, y.dtype)


def _slope(absolute: bool, extrema: bool, axis: int, change: Tensor, outputs: Tensor) -> Tensor:
    """The derivative by the change: the share, with the change's sign."""
    if not extrema:
        return ops.sign(change) if absolute else ops.ones_like(change)
    if not absolute:
        return _shares(axis, change)  # cannot be read off where the change is 0
    neighbors = 3 ** (len(change.shape) - 2)
    share = outputs / ops.where(change == 0, 1.0, change)
    # Whole ninths again: half precision rounds the outputs.
    return ops.round(share * neighbors) / neighbors


def _check_pair(y_prev: Tensor, y: Tensor, aligned: bool, axis: int) -> None:
    """Refuses maps of other sizes, which a backend would spread out where a side is 1."""
    shapes = [list(tensor.shape) for tensor in (y_prev, y)]
    if aligned and all(shapes):
        for shape in shapes:
            shape.pop(axis)
    pairs = zip(*shapes, strict=False)
    same = all(None in sides or sides[0] == sides[1] for sides in pairs)
    if len(shapes[0]) != len(shapes[1]) or not same:
        raise ValueError(
            "`y_prev` must be of the size of `y`, and of as many channels where these are not "
            f"aligned. Received: shapes {tuple(y_prev.shape)} and {tuple(y.shape)}"
        )


def _change(y_prev: Tensor, y: Tensor, aligned: bool, axis: int) -> Tensor:
    """In float32: half precision would make neighbors equal that are not."""
    y_prev = ops.cast(y_prev, "float32")
    if aligned:
        y_prev = ops.mean(y_prev, axis=axis, keepdims=True)
    return ops.cast(y, "float32") - y_prev


def _shares(axis: int, doc: Tensor) -> Tensor:
    rank, shape = len(doc.shape) - 2, ops.shape(doc)
    places = range(1, rank + 1) if axis == -1 else range(2, rank + 2)
    padded = ops.pad(doc, [(1, 1) if place in places else (0, 0) for place in range(rank + 2)])
    count = ops.ones_like(doc)
    for shifts in itertools.product(range(3), repeat=rank):
        if set(shifts) == {1}:
            continue  # itself
        starts = dict(zip(places, shifts, strict=True))
        index = tuple(
            slice(starts[place], starts[place] + shape[place]) if place in starts else slice(None)
            for place in range(rank + 2)
        )
        count = count + ops.cast(padded[index] <= doc, doc.dtype)
    return count / math.prod([3] * rank)


def _channel_axis(data_format: str | None) -> int:
    return -1 if standardize_data_format(data_format) == "channels_last" else 1


def resize_like(inputs: Tensor, like: Tensor, data_format: str | None = None) -> Tensor:
    """Average-pools a map that is a whole number of times larger, resizes others bilinearly.

    Args:
        inputs: `(B, T, C)` or `(B, H, W, C)`, channels second with channels first.
        like: A map of the same rank, whose sides are wanted.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        The inputs, with the sides of `like`; as they are where these are the same.

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (1, 4, 2, 1))
    >>> [float(value) for value in resize_like(x, ops.ones((1, 2, 1, 5)))[0, :, 0, 0]]
    [1.5, 5.5]
    """
    data_format = standardize_data_format(data_format)
    if not needs_resizing(inputs.shape, like.shape, data_format):
        return inputs
    here, there = _sides(ops.shape(inputs), data_format), _sides(ops.shape(like), data_format)
    ratios = [side // want for side, want in zip(here, there, strict=True)]
    if all(isinstance(side, int) for side in (*here, *there)):
        fits = all(
            ratio > 0 and ratio * want == side
            for side, want, ratio in zip(here, there, ratios, strict=True)
        )
        return (_pooled if fits else _bilinear)(inputs, there, ratios, data_format)
    # The model takes any size: the sides are tensors.
    here, there, ratio = (ops.stack(sizes) for sizes in (here, there, ratios))
    return ops.cond(
        ops.all(ops.logical_and(ratio > 0, ratio * there == here)),
        lambda: _pooled(inputs, there, ratio, data_format),
        lambda: _bilinear(inputs, there, ratio, data_format),
    )


def needs_resizing(
    shape: Sequence[int | None], like: Sequence[int | None], data_format: str
) -> bool:
    """Whether a map may have other sides than another one: False where it surely has not.

    Example:
    >>> needs_resizing((None, 8, 6, 3), (None, 8, 6, 16), "channels_last")
    False
    """
    here, there = _sides(shape, data_format), _sides(like, data_format)
    return None in here or tuple(here) != tuple(there)


def _sides(shape: Sequence[Any], data_format: str) -> Sequence[Any]:
    return tuple(shape[1:-1] if data_format == "channels_last" else shape[2:])


def _pooled(
    inputs: Tensor, sides: Sequence[Any], ratios: Sequence[Any], data_format: str
) -> Tensor:
    """The means of equal blocks; any number of axes, and sizes that only tensors know."""
    shape, rank = ops.shape(inputs), len(inputs.shape) - 2
    blocks = [size for axis in range(rank) for size in (sides[axis], ratios[axis])]
    if data_format == "channels_last":
        blocks, first = [shape[0], *blocks, inputs.shape[-1]], 2
    else:
        blocks, first = [shape[0], inputs.shape[1], *blocks], 3
    split = ops.reshape(ops.cast(inputs, "float32"), blocks)
    means = ops.mean(split, axis=tuple(range(first, first + 2 * rank, 2)))
    return ops.cast(means, inputs.dtype)


def _bilinear(
    inputs: Tensor, sides: Sequence[Any], ratios: Sequence[Any], data_format: str
) -> Tensor:
    axis = -2 if data_format == "channels_last" else -1
    is_sequence = len(inputs.shape) == 3
    images = ops.expand_dims(inputs, axis) if is_sequence else inputs
    size = (sides[0], 1 if is_sequence else sides[1])
    resized = backend.resize_bilinear(images, size, data_format)
    return ops.squeeze(resized, axis) if is_sequence else resized


def same_convolution(
    inputs: Tensor,
    kernel: Tensor,
    dilation_rate: Sequence[int] = (1, 1),
    depthwise: bool = False,
    data_format: str | None = None,
) -> Tensor:
    """Convolves with stride 1 and as many zeros around the map as keep its size.

    On a map that is smaller than a dilated kernel some taps never see it. They are left out, which
    changes nothing but the time: a 3x3 kernel of dilation 4 on 4x4 pixels is a 1x1 kernel.

    Args:
        inputs: `(B, T, C)` or `(B, H, W, C)`, channels second with channels first.
        kernel: `(k, C, filters)` or `(kh, kw, C, filters)`; the last is 1 if depthwise.
        dilation_rate: Steps between the taps, one an axis.
        depthwise: Whether each channel has a kernel of its own.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        The convolution, with the sides of the inputs.

    Example:
    >>> x, kernel = ops.ones((1, 4, 4, 2)), ops.ones((3, 3, 2, 5))
    >>> outputs = same_convolution(x, kernel, (4, 4))
    >>> tuple(outputs.shape), float(outputs[0, 0, 0, 0])
    ((1, 4, 4, 5), 2.0)
    """
    data_format = standardize_data_format(data_format)
    sides = inputs.shape[1:-1] if data_format == "channels_last" else inputs.shape[2:]
    index = tuple(
        slice(*visible_taps(side, size, step))
        for side, size, step in zip(sides, kernel.shape, dilation_rate, strict=False)
    )
    convolve = ops.depthwise_conv if depthwise else ops.conv
    return convolve(
        inputs,
        ops.convert_to_tensor(kernel)[index],
        padding="same",
        data_format=data_format,
        dilation_rate=tuple(dilation_rate),
    )


def visible_taps(side: int | None, size: int, step: int) -> tuple[int, int]:
    """Finds the taps that see a map of a side at all, as a half-open range.

    Args:
        side: Pixels of the map; None where that is not known.
        size: Taps of the kernel.
        step: Pixels between them.

    Returns:
        First tap and the one after the last. As many are left out before as after the middle, so
        that the zeros around the map stay on the sides where they were.

    Example:
    >>> visible_taps(4, 3, 4), visible_taps(5, 3, 4)
    ((1, 2), (0, 3))
    """
    if side is None or size % 2 == 0:
        return 0, size
    middle = size // 2
    reach = min(middle, (side - 1) // step)
    return middle - reach, middle + reach + 1
