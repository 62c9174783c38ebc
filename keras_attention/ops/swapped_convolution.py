"""A convolution whose input changes at a few places: only what reads these is computed."""

from collections.abc import Sequence
from typing import Any

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
        The products for the new input. Cost: `k kh kw D C` and `k H' W' C` times the share of the
        kernel that reads one place, multiply-accumulates an image.

    Example:
    >>> kernel = ops.ones((3, 3, 1, 1))
    >>> old = ops.conv(ops.zeros((1, 5, 5, 1)), kernel, padding="valid")
    >>> change, positions = ops.ones((1, 1, 1)), ops.convert_to_tensor([[[2, 0]]])
    >>> new = swapped_convolution(old, change, positions, kernel, (1, 1))
    >>> [float(ops.sum(new[0, :, column])) for column in range(3)]
    [3.0, 0.0, 0.0]
    """
    shape, filters = ops.shape(products), products.shape[-1]
    rows, columns = shape[1], shape[2]
    height, width, channels, _ = kernel.shape
    positions = ops.cast(positions, "int32")
    row, column = ops.split(positions, 2, axis=-1)
    tap_row, row = _reads(row + before[0], height, strides[0], rows, columns)
    tap_column, column = _reads(column + before[1], width, strides[1], columns)
    taps = _cross(tap_row * width, tap_column)
    places = _cross(row, column)
    # Every tap times every change, then those that are read.
    vectors = ops.reshape(change, (1, -1, channels))
    matrices = ops.reshape(ops.cast(kernel, change.dtype), (height * width, channels, filters))
    every = ops.reshape(backend.matmul(vectors, matrices), (-1, filters))
    count = ops.shape(change)[0] * ops.shape(change)[1]
    number = ops.reshape(ops.arange(count, dtype="int32"), (-1, ops.shape(change)[1], 1, 1))
    read = ops.take(every, taps * count + number, axis=0)
    read = ops.reshape(read, (ops.shape(change)[0], -1, filters))
    places = ops.reshape(places, (ops.shape(change)[0], -1))
    every_place = ops.reshape(ops.arange(rows * columns, dtype="int32"), (-1, 1))
    where = every_place == ops.expand_dims(places, 1)
    added = backend.matmul(ops.cast(where, read.dtype), read)
    return products + ops.reshape(added, shape)


def _reads(place: Tensor, size: int, step: int, side: Any, width: Any = 1) -> tuple[Tensor, Tensor]:
    """The taps along an axis that read a place of the padded input, and for which products.

    Returns:
        For places `(..., 1)` two tensors `(..., n)`; the product is times `width`, and far below
        zero where there is none.
    """
    times = ops.arange(-(-size // step), dtype="int32")
    tap = place % step + times * step
    product = place // step - times
    is_read = (tap < size) & (product >= 0) & (product < side)
    return ops.minimum(tap, size - 1), ops.where(is_read, product * width, NOWHERE)


def _cross(rows: Tensor, columns: Tensor) -> Tensor:
    """Sums of every row with every column: `(..., m)` and `(..., n)` become `(..., m, n)`."""
    return ops.expand_dims(rows, -1) + ops.expand_dims(columns, -2)
