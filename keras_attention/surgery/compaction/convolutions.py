"""A target layer's regions as convolutions of groups of kernels, each over a rectangle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.layers import TargetLayer
from keras_attention.layers.compacted import PixelDense, CroppedConv2D
from keras_attention.ops.roi_grouping import (
    Groups,
    group_rois,
    grouping_seconds,
    union_rectangle,
    at_least_one_pixel,
)
from keras_attention.surgery.compaction.maps import (
    Entries,
    EntryMap,
    Layout,
    Map,
    Piece,
    RegionMap,
    entries_of,
    pick,
)

Array = Any
# A matrix repeats the kernel once per pixel: up to 64 MB of float32.
MOST_MATRIX_ELEMENTS = 16_000_000
# Measured on 2 cores (benchmarks/convolution_rates.py): multiply-accumulates and values per second
# of a matrix product, seconds of picking an entry by its index.
MATRIX_RATE, MATRIX_READ_RATE, SECONDS_OF_ENTRY = 150e9, 8e9, 2e-9


def groups_of(target: Target, channels: int, batch: int) -> Groups:
    """The groups of kernels that cost the least together."""
    return group_rois(
        target.rectangles,
        target.sides,
        target.layer.kernel_size,
        channels,
        batch=batch,
        dilation_rate=target.layer.dilation_rate,
    )


def groups_seconds(target: Target, channels: int, groups: Groups, batch: int) -> float:
    """Estimates what the groups' convolutions take."""
    return grouping_seconds(
        target.rectangles,
        groups,
        target.sides,
        target.layer.kernel_size,
        channels,
        batch=batch,
        dilation_rate=target.layer.dilation_rate,
    )


def whole_seconds(target: Target, channels: int, batch: int) -> float:
    """Estimates what the convolution of the whole map takes."""
    whole = np.array([[0, target.sides[0]], [0, target.sides[1]]])
    everywhere = replace(target, rectangles=np.broadcast_to(whole, target.rectangles.shape))
    return groups_seconds(everywhere, channels, (tuple(range(len(target.rectangles))),), batch)


def by_groups(target: Target, source: RegionMap, groups: Groups) -> RegionMap:
    """Convolves each group over the rectangle that holds its regions."""
    # Pieces in the order of their places, so that those out of a group's reach lie at an end.
    pieces = tuple(sorted(source.pieces, key=lambda piece: piece.rectangle.sum(axis=1).tolist()))
    source = RegionMap(source.layout, pieces, source.name, source.steps)
    unions = [union_rectangle(target.rectangles[list(group)]) for group in groups]
    reads = [_read(target, source, union) for union in unions]
    everything = union_rectangle(np.stack([read.rectangle for read in reads]))
    tensor = source.assembled(everything)
    results = []
    for group, union, read in zip(groups, unions, reads, strict=True):
        kernels = np.array(group)
        channels = source.order()[slice(*read.channels)]
        layer = CroppedConv2D(
            len(kernels),
            target.layer.kernel_size,
            read=read.rectangle - everything[:, :1],
            padding=read.padding,
            channels=None if len(channels) == source.layout.channels else read.channels,
            dilation_rate=target.layer.dilation_rate,
            name=source.name(target.layer.name),
            **target.config(),
        )
        outputs = layer(tensor)
        weights = [target.kernel[:, :, channels][..., kernels]]
        if target.bias is not None:
            weights.append(target.bias[kernels])
        (top, bottom), (left, right) = union
        layer.set_weights([*weights, target.window[top:bottom, left:right, kernels]])
        results.append(Piece(outputs, union, kernels))
    return RegionMap(target.layout(), tuple(results), source.name)


class _Read(NamedTuple):
    """What a rectangle of the output reads: the rest of its reach is zero."""

    rectangle: Array
    padding: Array
    channels: tuple[int, int]


def _read(target: Target, source: RegionMap, union: Array) -> _Read:
    """Leaves out the channels and the rim where the map is zero.

    Padding is not computed by the convolutions of the CPU library, so a narrow input saves time.
    """
    inside, padding = target.reads(union)
    starts = np.cumsum([0, *(len(piece.channels) for piece in source.pieces)])
    if source.background().any():
        return _Read(inside, padding, (0, int(starts[-1])))
    meets = [
        index
        for index, piece in enumerate(source.pieces)
        if (piece.rectangle[:, 0] < inside[:, 1]).all()
        and (piece.rectangle[:, 1] > inside[:, 0]).all()
    ]
    if not meets:
        return _Read(inside, padding, (0, int(starts[1])))  # zeros, of which some have to be read
    channels = (int(starts[meets[0]]), int(starts[meets[-1] + 1]))
    filled = union_rectangle(np.stack([source.pieces[index].rectangle for index in meets]))
    # A kernel must reach something: libraries want no more padding than that.
    spans = np.array([sum(reach) for reach in target.reach])
    wide = np.stack([inside[:, 0] - padding[:, 0], inside[:, 1] + padding[:, 1]], axis=-1)
    low = np.maximum(inside[:, 0], np.minimum(filled[:, 0], wide[:, 0] + spans))
    high = np.minimum(inside[:, 1], np.maximum(filled[:, 1], wide[:, 1] - spans))
    narrow = np.stack([low, high], axis=-1)
    return _Read(narrow, np.abs(wide - narrow), channels)


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
        layer = PixelDense(
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
    reads, _ = target.reads(union_rectangle(target.rectangles))
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


@dataclass(frozen=True)
class Target:
    """What a target layer computes on a map of known size, as arrays."""

    layer: TargetLayer
    kernel: Array
    bias: Array | None
    window: Array
    rectangles: Array

    @property
    def sides(self) -> tuple[int, int]:
        height, width = self.window.shape[:2]
        return height, width

    @property
    def reach(self) -> tuple[tuple[int, int], ...]:
        """Pixels that a kernel reads before and after its own, per axis."""
        spans = [
            (taps - 1) * rate
            for taps, rate in zip(self.layer.kernel_size, self.layer.dilation_rate, strict=True)
        ]
        return tuple((span // 2, span - span // 2) for span in spans)

    def layout(self) -> Layout:
        background: Array = np.zeros(len(self.rectangles), "float32")
        return Layout(
            self.sides,
            background,
            self.rectangles,
            self.layer.data_format,
            self.layer.dtype_policy,
        )

    def reads(self, rectangle: Array) -> tuple[Array, Array]:
        """The pixels that a rectangle of the output reads, and the zeros around them."""
        low, high = zip(*self.reach, strict=True)
        wide = np.stack([rectangle[:, 0] - low, rectangle[:, 1] + high], axis=-1)
        limits = np.array(self.sides)
        inside = np.stack([np.maximum(wide[:, 0], 0), np.minimum(wide[:, 1], limits)], axis=-1)
        return inside, np.abs(wide - inside)

    def config(self) -> dict[str, Any]:
        """What the layers that compute it take over."""
        return {
            "activation": keras.activations.serialize(self.layer.activation),
            "use_bias": self.layer.use_bias,
            "dtype": self.layer.dtype_policy,
        }


def target_of(layer: TargetLayer, sides: tuple[int, int]) -> Target:
    """Reads a target layer's weights and regions."""
    as_array = keras.ops.convert_to_numpy
    # A pixel of an empty region does no harm: the window is zero there.
    rectangles = at_least_one_pixel(layer.rois(*sides).astype(int))
    if layer.roi == "full":
        rectangles[:] = np.array([[0, sides[0]], [0, sides[1]]])
    return Target(
        layer,
        as_array(layer.kernel).astype("float32"),
        as_array(layer.bias).astype("float32") if layer.use_bias else None,
        as_array(layer.attention_window(*sides, clip=layer.roi != "full")).astype("float32"),
        rectangles,
    )
