"""A convolution whose input changes at a few places: only what reads these is computed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_attention import backend

Tensor = Any

# Below zero with any place added, and no overflow of int32 with another.
NOWHERE = -(2**29)


def swapped_convolution(
    products: Tensor,
    change: Tensor,
    positions: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    before: Sequence[Any] = (0, 0),
) -> Tensor:
    """Brings the products of a convolution to an input that differs at some places.

    Args:
        products: What the convolution returns for the old input, `(B, H', W', C)`.
        change: New vectors less old ones, `(B, k, D)`.
        positions: Where they are in the input, `(B, k, 2)`, integers, no two the same.
        kernel: `(kh, kw, D, C)`, without dilation.
        strides: Of the convolution, for rows and columns.
        before: Zeros that it pads before the rows and the columns.

    Returns:
        The products for the new input. Cost in multiply-accumulates an image: `k kh kw D C`, and
        `k H' W' C` for each tap that reads one place.

    Example:
    >>> kernel = ops.ones((3, 3, 1, 1))
    >>> old = ops.conv(ops.zeros((1, 5, 5, 1)), kernel, padding="valid")
    >>> change, positions = ops.ones((1, 1, 1)), ops.convert_to_tensor([[[2, 0]]])
    >>> new = swapped_convolution(old, change, positions, kernel, (1, 1))
    >>> [float(ops.sum(new[0, :, column])) for column in range(3)]
    [3.0, 0.0, 0.0]
    """
    shape, filters = ops.shape(products), products.shape[-1]
    _, rows, columns, _ = shape
    channels, count = kernel.shape[2], ops.shape(change)[1]
    # Which taps read a place depends on how far it is from a multiple of the stride.
    row, column = ops.split(ops.cast(positions, "int32"), 2, axis=-1)
    row, column = row + before[0], column + before[1]
    phase = row % strides[0] * strides[1] + column % strides[1]
    phases = strides[0] * strides[1]
    chosen = ops.cast(phase == ops.arange(phases, dtype="int32"), change.dtype)
    vectors = ops.expand_dims(change, -2) * ops.expand_dims(chosen, -1)
    taps = rows_of_taps(ops.cast(kernel, change.dtype), strides, (2, 3, 4, 0, 1))
    matrix = ops.reshape(taps, (phases * channels, -1))
    added = ops.matmul(ops.reshape(vectors, (-1, phases * channels)), matrix)
    added = ops.reshape(added, (shape[0], -1, filters))
    times = [-(-kernel.shape[axis] // strides[axis]) for axis in (0, 1)]
    places = _cross(
        _readers(row, times[0], strides[0], rows, columns),
        _readers(column, times[1], strides[1], columns),
    )
    places = ops.reshape(places, (shape[0], count * times[0] * times[1]))
    every_place = ops.reshape(ops.arange(rows * columns, dtype="int32"), (-1, 1))
    where = every_place == ops.expand_dims(places, 1)
    return products + ops.reshape(backend.matmul(ops.cast(where, added.dtype), added), shape)


def rows_of_taps(kernel: Tensor, strides: Sequence[int], order: Sequence[int]) -> Tensor:
    """Sorts the vectors of a kernel's taps by how many strides away they are, and what is left.

    Args:
        kernel: `(kh, kw, D, C)`.
        strides: `(s, t)`.
        order: Of the axes strides down, strides right, pixels down, pixels right, channel.

    Returns:
        `(rows, C)`; zeros for taps beyond the kernel.

    Example:
    >>> kernel = ops.reshape(ops.arange(3), (1, 3, 1, 1))
    >>> [int(row[0]) for row in rows_of_taps(kernel, (1, 2), (3, 1, 0, 2, 4))]
    [0, 2, 1, 0]
    """
    (down, right), (height, width, channels, filters) = strides, kernel.shape
    axes = (-(-height // down), -(-width // right), down, right, channels)
    far_down, far_right, near_down, near_right, channel = np.indices(axes, dtype="int32")
    row, column = far_down * down + near_down, far_right * right + near_right
    places = (row * width + column) * channels + channel
    beyond = (row >= height) | (column >= width)
    rows = ops.reshape(kernel, (-1, filters))
    if beyond.any():
        rows = ops.concatenate([rows, ops.zeros((1, filters), rows.dtype)], axis=0)
    places = np.where(beyond, height * width * channels, places).astype("int32")
    # A gather, not a transpose: the backend's own of five axes takes a hundred times as long.
    return ops.take(rows, places.transpose(order).reshape(-1), axis=0)


def _readers(place: Tensor, times: int, step: int, side: Any, width: Any = 1) -> Tensor:
    """For which products along an axis a place of the padded input is read.

    Returns:
        For places `(..., 1)` a tensor `(..., times)` of products times `width`, far below zero
        where there is none.
    """
    product = place // step - ops.arange(times, dtype="int32")
    return ops.where((product >= 0) & (product < side), product * width, NOWHERE)


def _cross(rows: Tensor, columns: Tensor) -> Tensor:
    """Sums of every row with every column: `(..., m)` and `(..., n)` become `(..., m, n)`."""
    return ops.expand_dims(rows, -1) + ops.expand_dims(columns, -2)
