"""A target layer's regions as one matrix, from the pixels that are read to those computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_attention.layers.entries import EntryConvolution
from keras_attention.ops.roi_grouping import union_of
from keras_attention.surgery.compaction.entry_map import (
    Entries,
    EntryMap,
    Map,
    entries_of,
    pick,
)
from keras_attention.surgery.compaction.region_map import RegionMap
from keras_attention.surgery.compaction.target import Target

Array = Any

# A matrix repeats the kernel once per pixel: up to 64 MB of float32.
MOST_MATRIX_ELEMENTS = 16_000_000
# Measured on 2 cores (benchmarks/convolution_rates.py): multiply-accumulates and values per second
# of a matrix product, seconds of picking an entry by its index.
MATRIX_RATE, MATRIX_READ_RATE, SECONDS_OF_ENTRY = 150e9, 8e9, 2e-9


def matrix_seconds(target: Target, source: Map, batch: int) -> float:
    """Estimates what the matrix product takes; infinity where it would be too large."""
    inputs = len(_readable(target, entries_of(source.layout.support)).rows)
    outputs = int(np.prod(np.diff(target.rectangles)[..., 0], axis=-1).sum())
    elements = inputs * outputs
    if elements > MOST_MATRIX_ELEMENTS:
        return float("inf")
    seconds = product_seconds(elements, batch)
    if isinstance(source, RegionMap):
        seconds += inputs * batch * SECONDS_OF_ENTRY
    return seconds


def product_seconds(elements: int, batch: int) -> float:
    """Estimates a product: bound by its sums, or for few images by reading the matrix."""
    return max(elements * batch / MATRIX_RATE, elements / MATRIX_READ_RATE)


def by_matrix(target: Target, source: EntryMap, batch: int) -> EntryMap:
    """Computes the regions' pixels, and no others, when and as the next layer asks for them."""
    inputs = source.entries()
    read = _readable(target, inputs)
    tensor = source.tensor() if len(read.rows) == len(inputs.rows) else source.emit(read)
    product = _Product(target, source, read, tensor)
    own = entries_of(target.rectangles)
    computed: list[Any] = []

    def produce(entries: Entries) -> Any:
        outside = len(entries.rows) - np.count_nonzero(_inside(target.rectangles, entries))
        wasted = len(read.rows) * int(outside)
        picking = len(entries.rows) * batch * SECONDS_OF_ENTRY
        if product_seconds(wasted, batch) < picking:
            return product.of(entries)
        if not computed:
            computed.append(product.of(own))
        return pick(computed[0], own, entries, target.layout(), source.name)

    return EntryMap(target.layout(), produce, source.name)


@dataclass(frozen=True)
class _Product:
    """The product of what is read, `(B, inputs)`, with the matrix of any entries to compute."""

    target: Target
    source: EntryMap
    read: Entries
    tensor: Any

    def of(self, entries: Entries) -> Any:
        target, constants = self.target, self.source.background()
        inside = _inside(target.rectangles, entries)
        matrix = convolution_matrix(target, self.read, entries) * inside
        bias: Array = np.zeros(len(entries.rows), "float32")
        if target.bias is not None:
            bias += target.bias[entries.channels]
        if constants.any():
            bias += _of_constants(target, constants, entries)
            bias -= constants[self.read.channels] @ matrix
        layer = EntryConvolution(
            len(entries.rows),
            name=self.source.name(target.layer.name),
            **{**target.config(), "use_bias": bool(bias.any())},
        )
        outputs = layer(self.tensor)
        window = target.window[entries.rows, entries.columns, entries.channels] * inside
        layer.set_weights([matrix, *([bias] if layer.use_bias else []), window])
        return outputs


def convolution_matrix(target: Target, inputs: Entries, outputs: Entries) -> Array:
    """Writes a convolution as a matrix from entries to entries, `(inputs, outputs)`."""
    shape = (len(inputs.rows), len(outputs.rows))
    valid: Array = np.ones(shape, bool)
    taps = []
    for axis, (before, _) in enumerate(target.reach):
        steps = (
            inputs[axis].astype("int32")[:, None]
            - outputs[axis].astype("int32")[None]
            + np.int32(before)
        )
        rate = target.layer.dilation_rate[axis]
        valid &= (steps >= 0) & (steps // rate < target.kernel.shape[axis]) & (steps % rate == 0)
        taps.append(np.clip(steps // rate, 0, target.kernel.shape[axis] - 1))
    matrix = target.kernel[taps[0], taps[1], inputs.channels[:, None], outputs.channels[None]]
    return np.where(valid, matrix, np.float32(0))


def _of_constants(target: Target, constants: Array, entries: Entries) -> Array:
    """The convolution of a map that holds one constant per channel, at the given entries."""
    total: Array = np.zeros(len(entries.rows), "float32")
    for row in range(target.kernel.shape[0]):
        for column in range(target.kernel.shape[1]):
            inside: Array = np.ones(len(entries.rows), bool)
            for axis, tap in enumerate((row, column)):
                pixel = entries[axis] - target.reach[axis][0]
                pixel = pixel + tap * target.layer.dilation_rate[axis]
                inside &= (pixel >= 0) & (pixel < target.sides[axis])
            total += inside * (constants @ target.kernel[row, column])[entries.channels]
    return total


def _readable(target: Target, entries: Entries) -> Entries:
    """The entries that some region reads."""
    reads, _ = target.reads(union_of(target.rectangles))
    keep: Array = np.ones(len(entries.rows), bool)
    for axis in range(2):
        keep &= (entries[axis] >= reads[axis, 0]) & (entries[axis] < reads[axis, 1])
    keep[:1] |= not keep.any()  # nothing to read: a matrix of zeros needs an input still
    return Entries(*(values[keep] for values in entries))


def _inside(rectangles: Array, entries: Entries) -> Array:
    bounds = rectangles[entries.channels]
    inside: Array = np.ones(len(entries.rows), bool)
    for axis in range(2):
        inside &= (entries[axis] >= bounds[:, axis, 0]) & (entries[axis] < bounds[:, axis, 1])
    return inside
