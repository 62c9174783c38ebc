"""Partitions of kernels into groups that are convolved together, chosen by estimated cost.

A group of kernels is one convolution over the union of its regions of interest. A few large groups
compute many pixels that are not used; many small groups use the machine inefficiently.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Groups = tuple[tuple[int, ...], ...]
# If there are more distinct rectangles, nearby ones are merged first: the search is quadratic.
_LARGEST_SEARCH = 256


@dataclass(frozen=True)
class ConvolutionCost:
    """Estimates the seconds of a convolution on a window, from rates measured on CPUs.

    The rate falls with few kernels, few pixels or few products per output value; each `half_`
    attribute is the number at which the rate is half of the peak. `benchmarks/convolution_rates.py`
    prints measured and estimated rates.

    Attributes:
        peak: Multiply-accumulates per second of a large convolution.
        half_kernels: Number of kernels at half of the peak rate.
        half_pixels: Number of pixels of the window at half of the peak rate.
        half_products: Products per output value (taps times input channels) at half of the peak
            rate.
        kernel_bytes_per_second: Bandwidth of reading the kernels, which dominates for one image.
        bytes_per_second: Bandwidth of slicing, multiplying by the window and padding.
        start: Seconds of overhead per group.
        assembly: Number of times that each value is moved when several groups are assembled.
        passes: Convolutions per step: 1 for inference, 3 for training (two gradients).
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
        """Estimates the seconds of convolving groups; arrays are broadcast.

        Args:
            pixels: Pixels of the groups' windows.
            kernels: Number of kernels of the groups.
            products: Taps times input channels.
            reads: Values that the groups read per image: window, margin and input channels.
            batch: Number of images.

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

    def assembly_seconds(self, values: Array, batch: int) -> Array:
        """Estimates the seconds of assembling groups with `values` per image in their hull."""
        return self.passes * 4.0 * batch * values * self.assembly / self.bytes_per_second


def validate_partition(argument: str, groups: Any, count: int) -> Groups:
    """Returns groups of kernels as tuples if they are a partition of `range(count)`.

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
            f"`{argument}` must contain each of the {count} kernels once, in groups that are not "
            f"empty. Received: {argument}={groups!r}"
        )
    return partition


def group_rois(rectangles: Array, layer: "LayerCost") -> Groups:
    """Partitions kernels so that the estimated cost of the grouped convolutions is lowest.

    Starts from the distinct regions and merges the pair with the largest saving until none saves.

    Args:
        rectangles: Int array `(C, 2, 2)`, each kernel's `[[top, bottom], [left, right]]`.
        layer: Cost estimate of the layer.

    Returns:
        Groups of kernel indices, each sorted; every kernel is in one group.

    Example:
    >>> corners = np.array([[[0, 8], [0, 8]]] * 64 + [[[48, 56], [48, 56]]] * 64)
    >>> [len(group) for group in group_rois(corners, LayerCost((56, 56), (3, 3), 64))]
    [64, 64]
    """
    unions, members = _distinct(np.asarray(rectangles))
    groups = _merge(unions.copy(), members, layer.per_group)
    one_group = (tuple(range(len(rectangles))),)
    # Merging pairs stops at a local minimum, which can be worse than a single group.
    if layer.seconds(rectangles, one_group) <= layer.seconds(rectangles, groups):
        return one_group
    return groups


@dataclass(frozen=True)
class LayerCost:
    """Estimates the seconds of a layer whose kernels are convolved in groups.

    Attributes:
        sides: Height and width of the map.
        kernel_size: Kernel size, rows and columns.
        channels: Number of input channels.
        cost: Rates of the machine.
        batch: Number of images per call.
        dilation_rate: Dilation of the kernels, per axis.

    Example:
    >>> whole = np.array([[[0, 28], [0, 28]]] * 8)
    >>> together, separate = [tuple(range(8))], [(kernel,) for kernel in range(8)]
    >>> layer = LayerCost((28, 28), (3, 3), 16)
    >>> layer.seconds(whole, together) < layer.seconds(whole, separate)
    True
    """

    sides: Sequence[int]
    kernel_size: Sequence[int]
    channels: int
    cost: ConvolutionCost = ConvolutionCost()
    batch: int = 64
    dilation_rate: Sequence[int] = (1, 1)

    def per_group(self, unions: Array, kernels: Array) -> Array:
        """Returns the seconds of groups with rectangles `(..., 2, 2)` and numbers of kernels."""
        unions = at_least_one_pixel(unions)
        spans = unions[..., 1] - unions[..., 0]
        margins = (np.array(self.kernel_size) - 1) * np.array(self.dilation_rate)
        read = np.minimum(spans + margins, self.sides).prod(-1) * self.channels
        products = int(np.prod(self.kernel_size)) * self.channels
        return self.cost.seconds(spans.prod(-1), kernels, products, read, self.batch)

    def seconds(self, rectangles: Array, groups: Groups) -> float:
        """Returns the seconds of a partition, including the assembly of its groups."""
        unions = np.stack([union_rectangle(rectangles[list(group)]) for group in groups])
        kernels = np.array([len(group) for group in groups])
        seconds = self.per_group(unions, kernels).sum()
        if len(groups) > 1:
            hull = union_rectangle(unions)
            values = np.prod(hull[:, 1] - hull[:, 0]) * len(rectangles)
            seconds += self.cost.assembly_seconds(values, self.batch)
        return float(seconds)


def union_rectangle(rectangles: Array) -> Array:
    """Computes the smallest rectangle that contains half-open rectangles `(..., C, 2, 2)`.

    Example:
    >>> union_rectangle(np.array([[[1, 3], [0, 2]], [[2, 5], [1, 2]]])).tolist()
    [[1, 5], [0, 2]]
    """
    low, high = rectangles[..., 0].min(axis=-2), rectangles[..., 1].max(axis=-2)
    return np.stack([low, high], axis=-1)


def at_least_one_pixel(rectangles: Array) -> Array:
    """Extends empty rectangles `(..., 2, 2)` to one pixel, so that they can be computed.

    Example:
    >>> at_least_one_pixel(np.array([[8, 8], [2, 5]])).tolist()
    [[7, 8], [2, 5]]
    """
    low = np.minimum(rectangles[..., 0], np.maximum(rectangles[..., 1] - 1, 0))
    return np.stack([low, np.maximum(rectangles[..., 1], low + 1)], axis=-1)


def _distinct(rectangles: Array) -> tuple[Array, list[list[int]]]:
    """Groups kernels with the same rectangle, or with nearby ones if there are too many."""
    rectangles = at_least_one_pixel(rectangles)
    coarse, step = rectangles, 1
    while True:
        _, group = np.unique(coarse.reshape(len(coarse), -1), axis=0, return_inverse=True)
        group = group.reshape(-1)
        if group.max() < _LARGEST_SEARCH:
            break
        step *= 2
        coarse = rectangles // step
    members = [np.flatnonzero(group == index).tolist() for index in range(group.max() + 1)]
    return np.stack([union_rectangle(rectangles[kernels]) for kernels in members]), members


def _merge(
    unions: Array, members: list[list[int]], seconds: Callable[[Array, Array], Array]
) -> Groups:
    kernels = np.array([len(group) for group in members], float)
    separate = seconds(unions, kernels)

    def savings(index: int) -> Array:
        """Returns the seconds saved by merging a group with each of the others."""
        own = np.broadcast_to(unions[index], unions.shape)
        merged = union_rectangle(np.stack([unions, own], 1))
        return separate + separate[index] - seconds(merged, kernels + kernels[index])

    active: Array = np.ones(len(members), bool)
    table = np.stack([savings(index) for index in range(len(members))])
    np.fill_diagonal(table, -np.inf)
    while active.sum() > 1:
        first, second = np.unravel_index(np.argmax(table), table.shape)
        if table[first, second] <= 0:
            break
        members[first] = members[first] + members[second]
        unions[first] = union_rectangle(unions[[first, second]])
        kernels[first] += kernels[second]
        separate[first] = seconds(unions[first], kernels[first])
        active[second] = False
        row = np.where(active, savings(int(first)), -np.inf)
        row[first] = -np.inf
        table[first], table[:, first] = row, row
        table[second], table[:, second] = -np.inf, -np.inf
    remaining = [members[index] for index in np.flatnonzero(active)]
    return tuple(tuple(sorted(group)) for group in remaining)


# Cost of a training step, in which slicing and padding also have gradients.
TRAINING_COST = ConvolutionCost(start=4e-4, assembly=4.0, passes=3)
