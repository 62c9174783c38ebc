"""Which kernels to convolve together: a partition that costs the least by measured rates.

A group of kernels is convolved once, over the rectangle that holds all of their regions. Few large
groups compute much that is thrown away; many small ones run at a fraction of the machine's rate.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Groups = tuple[tuple[int, ...], ...]
# More rectangles than this are merged by closeness first: the search is quadratic.
_MOST_RECTANGLES = 256


@dataclass(frozen=True)
class ConvolutionCost:
    """Seconds of a convolution on a window, from rates measured on CPU.

    The rate falls where there are few kernels, few pixels or few products to sum; the half points
    below are where it falls to half. `benchmarks/convolution_rates.py` prints measured beside
    modelled rates.

    Attributes:
        peak: Multiply-accumulates per second of a large convolution.
        half_kernels: Kernels at half of the peak.
        half_pixels: Pixels of the window at half of the peak.
        half_products: Products of one output value (taps times input channels) at half.
        kernel_bytes_per_second: Of reading the kernels, all that counts for a single image.
        bytes_per_second: Of cutting out, multiplying by the window and putting back.
        start: Seconds of a group's operations with nothing to compute.
        assembly: How often each value of several groups is moved to stand in order again.
        passes: Convolutions a step: 1 for inference, 3 for training (two gradients).
    """

    peak: float = 240e9
    half_kernels: float = 4.0
    half_pixels: float = 14.0
    half_products: float = 60.0
    kernel_bytes_per_second: float = 25e9
    bytes_per_second: float = 8e9
    start: float = 4e-5
    assembly: float = 1.0
    passes: int = 1

    def seconds(
        self, pixels: Array, kernels: Array, products: int, reads: Array, batch: int = 64
    ) -> Array:
        """Estimates what convolving groups takes; arrays broadcast.

        Args:
            pixels: Pixels of the groups' windows.
            kernels: Kernels of the groups.
            products: Taps times input channels.
            reads: Values that the groups read, per image: window, halo and input channels.
            batch: Images.

        Returns:
            Seconds of each group.

        Example:
        >>> cost = ConvolutionCost()
        >>> bool(cost.seconds(25, 32, 6400, 20736) < cost.seconds(25, 256, 6400, 20736))
        True
        """
        rate = self.peak * kernels / (kernels + self.half_kernels)
        rate = rate * pixels / (pixels + self.half_pixels)
        rate = rate * products / (products + self.half_products)
        computed = batch * pixels * kernels * products / rate
        computed = computed + 4.0 * kernels * products / self.kernel_bytes_per_second
        moved = 4.0 * batch * (reads + 3.0 * pixels * kernels) / self.bytes_per_second
        return self.passes * (computed + moved + self.start)

    def assembly_seconds(self, values: Array, batch: int = 64) -> Array:
        """Estimates what putting several groups together takes.

        Args:
            values: Values of an image in the rectangle that holds all groups.
            batch: Images.

        Returns:
            Seconds.
        """
        return self.passes * 4.0 * batch * values * self.assembly / self.bytes_per_second


def validate_partition(argument: str, groups: Any, count: int) -> Groups:
    """Returns groups of kernels that hold each of so many once.

    Raises:
        ValueError: For what is no partition, or an empty group.

    Example:
    >>> validate_partition("groups", [[1], [0, 2]], 3)
    ((1,), (0, 2))
    """
    try:
        partition = tuple(tuple(operator.index(kernel) for kernel in group) for group in groups)
    except TypeError:
        partition = ()
    kernels = sorted(kernel for group in partition for kernel in group)
    if kernels != list(range(count)) or not all(partition):
        raise ValueError(
            f"`{argument}` must hold each of the {count} kernels once, in groups that are not "
            f"empty. Received: {argument}={groups!r}"
        )
    return partition


def group_rois(
    rectangles: Array,
    sides: Sequence[int],
    kernel_size: Sequence[int],
    channels: int,
    cost: ConvolutionCost | None = None,
    batch: int = 64,
    dilation_rate: Sequence[int] = (1, 1),
) -> Groups:
    """Partitions kernels so that convolving each group over its union costs the least.

    Starts from the distinct regions and merges the pair that saves most until none saves.

    Args:
        rectangles: Int array `(C, 2, 2)`, each kernel's `[[top, bottom], [left, right]]`.
        sides: Height and width of the map.
        kernel_size: Taps of a kernel, rows and columns.
        channels: Input channels.
        cost: The machine's rates; measured defaults where None.
        batch: Images of a call.
        dilation_rate: Steps between the kernel's taps, per axis.

    Returns:
        Groups of kernel indices, each sorted, that hold every kernel once.

    Example:
    >>> corners = np.array([[[0, 8], [0, 8]]] * 64 + [[[48, 56], [48, 56]]] * 64)
    >>> [len(group) for group in group_rois(corners, (56, 56), (3, 3), 64)]
    [64, 64]
    """
    price = _Price(sides, kernel_size, channels, cost or ConvolutionCost(), batch, dilation_rate)
    unions, members = _distinct(np.asarray(rectangles))
    groups = _merge(unions.copy(), members, price.of_each)
    everything = (tuple(range(len(rectangles))),)
    # Merging pair by pair stops at a local best.
    if price.of_all(rectangles, everything) <= price.of_all(rectangles, groups):
        return everything
    return groups


def grouping_seconds(
    rectangles: Array,
    groups: Groups,
    sides: Sequence[int],
    kernel_size: Sequence[int],
    channels: int,
    cost: ConvolutionCost | None = None,
    batch: int = 64,
    dilation_rate: Sequence[int] = (1, 1),
) -> float:
    """Estimates what a partition of the kernels takes.

    Args:
        rectangles: Int array `(C, 2, 2)`, each kernel's `[[top, bottom], [left, right]]`.
        groups: The partition, as from `group_rois`.
        sides: Height and width of the map.
        kernel_size: Taps of a kernel, rows and columns.
        channels: Input channels.
        cost: The machine's rates; measured defaults where None.
        batch: Images of a call.
        dilation_rate: Steps between the kernel's taps, per axis.

    Returns:
        Seconds.

    Example:
    >>> whole = np.array([[[0, 28], [0, 28]]] * 8)
    >>> together, alone = [tuple(range(8))], [(kernel,) for kernel in range(8)]
    >>> rest = ((28, 28), (3, 3), 16)
    >>> grouping_seconds(whole, together, *rest) < grouping_seconds(whole, alone, *rest)
    True
    """
    price = _Price(sides, kernel_size, channels, cost or ConvolutionCost(), batch, dilation_rate)
    return price.of_all(rectangles, groups)


class _Price:
    """Seconds of the groups of one layer."""

    def __init__(
        self,
        sides: Sequence[int],
        kernel_size: Sequence[int],
        channels: int,
        cost: ConvolutionCost,
        batch: int,
        dilation_rate: Sequence[int],
    ):
        self.sides, self.channels, self.cost, self.batch = sides, channels, cost, batch
        self.halo = [(k - 1) * d for k, d in zip(kernel_size, dilation_rate, strict=True)]
        self.products = int(np.prod(kernel_size)) * channels

    def of_each(self, unions: Array, kernels: Array) -> Array:
        """Groups of the given rectangles `(..., 2, 2)` and numbers of kernels."""
        unions = at_least_one_pixel(unions)
        spans = unions[..., 1] - unions[..., 0]
        read = np.minimum(spans[..., 0] + self.halo[0], self.sides[0])
        read = read * np.minimum(spans[..., 1] + self.halo[1], self.sides[1]) * self.channels
        pixels = spans[..., 0] * spans[..., 1]
        return self.cost.seconds(pixels, kernels, self.products, read, self.batch)

    def of_all(self, rectangles: Array, groups: Groups) -> float:
        """A whole partition, with putting the groups together."""
        unions = np.stack([union_rectangle(rectangles[list(group)]) for group in groups])
        kernels = np.array([len(group) for group in groups])
        total = self.of_each(unions, kernels).sum()
        if len(groups) > 1:
            hull = union_rectangle(unions)
            values = np.prod(hull[:, 1] - hull[:, 0]) * len(rectangles)
            total += self.cost.assembly_seconds(values, self.batch)
        return float(total)


def union_rectangle(rectangles: Array) -> Array:
    """Finds the smallest rectangle that holds all the given ones.

    Args:
        rectangles: Int array `(..., C, 2, 2)`, half-open.

    Returns:
        Int array `(..., 2, 2)`.

    Example:
    >>> union_rectangle(np.array([[[1, 3], [0, 2]], [[2, 5], [1, 2]]])).tolist()
    [[1, 5], [0, 2]]
    """
    low, high = rectangles[..., 0].min(axis=-2), rectangles[..., 1].max(axis=-2)
    return np.stack([low, high], axis=-1)


def at_least_one_pixel(rectangles: Array) -> Array:
    """Gives empty rectangles a pixel of the map, so that what sees nothing stays computable.

    Args:
        rectangles: Int array `(..., 2, 2)`, half-open.

    Returns:
        Int array of the same shape.

    Example:
    >>> at_least_one_pixel(np.array([[8, 8], [2, 5]])).tolist()
    [[7, 8], [2, 5]]
    """
    low = np.minimum(rectangles[..., 0], np.maximum(rectangles[..., 1] - 1, 0))
    return np.stack([low, np.maximum(rectangles[..., 1], low + 1)], axis=-1)


def _distinct(rectangles: Array) -> tuple[Array, list[list[int]]]:
    """Kernels of the same rectangle, or of close ones where there are too many."""
    rectangles = at_least_one_pixel(rectangles)
    coarse, step = rectangles, 1
    while True:
        _, group = np.unique(coarse.reshape(len(coarse), -1), axis=0, return_inverse=True)
        group = group.reshape(-1)
        if group.max() < _MOST_RECTANGLES:
            break
        step *= 2
        coarse = rectangles // step
    members = [np.flatnonzero(group == index).tolist() for index in range(group.max() + 1)]
    return np.stack([union_rectangle(rectangles[kernels]) for kernels in members]), members


def _merge(
    unions: Array, members: list[list[int]], seconds: Callable[[Array, Array], Array]
) -> Groups:
    kernels = np.array([len(group) for group in members], float)
    alone = seconds(unions, kernels)

    def savings(index: int) -> Array:
        """What merging a group with each of the others saves."""
        together = union_rectangle(np.stack([unions, np.broadcast_to(unions[index], unions.shape)], 1))
        return alone + alone[index] - seconds(together, kernels + kernels[index])

    alive: Array = np.ones(len(members), bool)
    table = np.stack([savings(index) for index in range(len(members))])
    np.fill_diagonal(table, -np.inf)
    while alive.sum() > 1:
        first, second = np.unravel_index(np.argmax(table), table.shape)
        if table[first, second] <= 0:
            break
        members[first] = members[first] + members[second]
        unions[first] = union_rectangle(unions[[first, second]])
        kernels[first] += kernels[second]
        alone[first] = seconds(unions[first], kernels[first])
        alive[second] = False
        row = np.where(alive, savings(int(first)), -np.inf)
        row[first] = -np.inf
        table[first], table[:, first] = row, row
        table[second], table[:, second] = -np.inf, -np.inf
    chosen = [members[index] for index in np.flatnonzero(alive)]
    return tuple(tuple(sorted(group)) for group in chosen)


# Of a training step: cutting out and putting back have gradients too, and more operations.
TRAINING_COST = ConvolutionCost(start=4e-4, assembly=4.0, passes=3)
