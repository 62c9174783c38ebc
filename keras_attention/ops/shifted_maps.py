"""A "same" convolution in two halves: products with the kernel's taps, and shifts.

What a convolution adds up at a place comes from its neighbors; shifting the products of each tap
and adding them is the same sum. Where few maps go in or come out, one matrix product and shifts
are faster than a convolution. Each half is the other's gradient.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

Tensor = Any
Size = tuple[int, int]


def collect_taps(taps: Tensor, kernel_size: Size) -> Tensor:
    """Adds what every tap of a kernel brings to each place.

    Args:
        taps: `(B, K, kh * kw, H, W)`: at every place, the products of what is there with the
            kernels of K maps, a tap after the other, row by row.
        kernel_size: kh and kw, odd.

    Returns:
        `(B, K, H, W)`, the convolution with zeros around.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 1, 3))
    >>> ops.convert_to_numpy(collect_taps(ops.repeat(row, 3, axis=2), (1, 3)))[0, 0, 0].tolist()
    [3.0, 7.0, 6.0]
    """
    return _halves(kernel_size)[0](ops.convert_to_tensor(taps))


def spread_taps(maps: Tensor, kernel_size: Size) -> Tensor:
    """Shifts maps to where each tap of a kernel reads for them.

    A sum over all places of a map times a convolution is the convolution's kernel times sums of
    these over what the convolution reads.

    Args:
        maps: `(B, K, H, W)`.
        kernel_size: kh and kw, odd.

    Returns:
        `(B, K, kh * kw, H, W)`, with zeros where nothing is read.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 3))
    >>> ops.convert_to_numpy(spread_taps(row, (1, 3)))[0, 0, :, 0].tolist()
    [[2.0, 4.0, 0.0], [1.0, 2.0, 4.0], [0.0, 1.0, 2.0]]
    """
    return _halves(kernel_size)[1](ops.convert_to_tensor(maps))


@cache
def _halves(kernel_size: Size) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Both functions, each with the other as its gradient: no slice's gradient is a padded map."""

    @ops.custom_gradient
    def collect(taps: Tensor) -> Any:
        return _collect(taps, kernel_size), spread

    @ops.custom_gradient
    def spread(maps: Tensor) -> Any:
        return _spread(maps, kernel_size), collect

    return collect, spread


def _collect(taps: Tensor, kernel_size: Size) -> Tensor:
    # Along the rows first: what is left to shift is a kernel's row of maps. All maps of all images
    # together, as LiteRT knows no more than five axes.
    height, width = ops.shape(taps)[3:]
    rows, columns = kernel_size
    by_tap = ops.reshape(taps, (-1, rows, columns, height, width))
    padded = ops.pad(by_tap, [(0, 0)] * 3 + [_margin(rows), (0, 0)])
    by_column = sum(padded[:, row, :, row : row + height] for row in range(rows))
    padded = ops.pad(by_column, [(0, 0)] * 3 + [_margin(columns)])
    total = sum(padded[:, column, :, column : column + width] for column in range(columns))
    return ops.reshape(total, (-1, taps.shape[1], height, width))


def _spread(maps: Tensor, kernel_size: Size) -> Tensor:
    # The last tap reads below and to the right, so its maps move up and to the left.
    height, width = ops.shape(maps)[2:]
    rows, columns = kernel_size
    flat = ops.reshape(maps, (-1, height, width))
    padded = ops.pad(flat, [(0, 0), (0, 0), _margin(columns)])
    shifted = [padded[:, :, left : left + width] for left in reversed(range(columns))]
    padded = ops.pad(ops.stack(shifted, axis=1), [(0, 0), (0, 0), _margin(rows), (0, 0)])
    shifted = [padded[:, :, top : top + height] for top in reversed(range(rows))]
    shape = (-1, maps.shape[1], rows * columns, height, width)
    return ops.reshape(ops.stack(shifted, axis=1), shape)


def _margin(size: int) -> tuple[int, int]:
    return size // 2, size // 2
