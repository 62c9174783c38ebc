"""A target layer over fixed regions: as convolutions of groups, or as one matrix of entries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.layers import TargetLayer
from keras_attention.layers.entries import EntryConvolution
from keras_attention.layers.region import RegionConvolution
from keras_attention.ops.roi_grouping import ConvolutionCost, group_rois, union_of
from keras_attention.surgery.compaction.entry_map import Entries, EntryMap, entries_of, entry_map
from keras_attention.surgery.compaction.region_map import Layout, Piece, RegionMap, hull

Array = np.ndarray
Map = RegionMap | EntryMap

# A matrix repeats the kernel once per pixel: up to 64 MB of float32.
MOST_MATRIX_ELEMENTS = 16_000_000
# Measured on 2 cores: multiply-accumulates and values per second of a matrix product, seconds of
# picking an entry by its index.
MATRIX_RATE, MATRIX_READ_RATE, SECONDS_OF_ENTRY = 150e9, 8e9, 2e-9


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
        background = np.zeros(len(self.rectangles), "float32")
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


def target_of(layer: TargetLayer, sides: tuple[int, int]) -> Target:
    """Reads a target layer's weights and regions."""
    as_array = keras.ops.convert_to_numpy
    rectangles = layer.rois(*sides).astype(int)
    # At least a pixel: the window is zero there, so that the value is right.
    rectangles[..., 0] = np.minimum(rectangles[..., 0], np.array(sides) - 1)
    rectangles[..., 1] = np.maximum(rectangles[..., 1], rectangles[..., 0] + 1)
    if layer.roi == "full":
        rectangles[:] = np.array([[0, sides[0]], [0, sides[1]]])
    return Target(
        layer,
        as_array(layer.kernel).astype("float32"),
        as_array(layer.bias).astype("float32") if layer.use_bias else None,
        as_array(layer.attention_window(*sides, clip=layer.roi != "full")).astype("float32"),
        rectangles,
    )


def convolve(target: Target, source: Map, batch: int) -> Map:
    """Computes a target layer's regions in the way that costs the least.

    Args:
        target: The layer.
        source: The map that it reads.
        batch: Images of a call, for the cost.
    """
    cost = ConvolutionCost()
    groups = group_rois(
        target.rectangles,
        target.sides,
        target.layer.kernel_size,
        source.layout.channels,
        cost,
        batch,
        target.layer.dilation_rate,
    )
    if _matrix_seconds(target, source, batch) < _groups_seconds(
        target, source, groups, cost, batch
    ):
        entries = source if isinstance(source, EntryMap) else entry_map(source)
        return _by_matrix(target, entries)
    return _by_groups(target, source.as_regions() if isinstance(source, EntryMap) else source, groups)


def _groups_seconds(
    target: Target, source: Map, groups: Any, cost: ConvolutionCost, batch: int
) -> float:
    seconds = 0.0
    for group in groups:
        union = union_of(target.rectangles[list(group)])
        reads = target.reads(union)[0]
        pixels = np.prod(union[:, 1] - union[:, 0])
        read = np.prod(reads[:, 1] - reads[:, 0]) * source.layout.channels
        products = int(np.prod(target.kernel.shape[:3]))
        seconds += float(cost.seconds(pixels, len(group), products, read, batch))
    return seconds


def _matrix_seconds(target: Target, source: Map, batch: int) -> float:
    inputs = len(_readable(target, source.entries() if isinstance(source, EntryMap) else
                           entries_of(source.layout.support)).rows)
    outputs = int(np.prod(np.diff(target.rectangles)[..., 0], axis=-1).sum())
    elements = inputs * outputs
    if elements > MOST_MATRIX_ELEMENTS:
        return float("inf")
    seconds = max(elements * batch / MATRIX_RATE, elements / MATRIX_READ_RATE)
    if isinstance(source, RegionMap):
        seconds += inputs * batch * SECONDS_OF_ENTRY
    return seconds


def _by_groups(target: Target, source: RegionMap, groups: Any) -> RegionMap:
    unions = [union_of(target.rectangles[list(group)]) for group in groups]
    # Pieces in the order of their places, so that those out of a group's reach lie at an end.
    pieces = tuple(sorted(source.pieces, key=lambda piece: piece.rectangle.sum(axis=1).tolist()))
    source = RegionMap(source.layout, pieces, source.name, source.steps)
    everything = target.reads(union_of(np.stack(unions)))[0]
    tensor = source.assembled(everything)
    order = source.order()
    skips = not source.background().any()
    results = []
    for group, union in zip(groups, unions, strict=True):
        kernels = np.array(group)
        reads, padding = target.reads(union)
        start, stop = _channels_in(source, reads) if skips else (0, len(order))
        (top, bottom), (left, right) = union
        config = _kernel_config(target.layer)
        layer = RegionConvolution(
            len(kernels),
            target.layer.kernel_size,
            read=reads - everything[:, :1],
            padding=padding,
            channels=None if (start, stop) == (0, len(order)) else (start, stop),
            dilation_rate=target.layer.dilation_rate,
            name=source.name(target.layer.name),
            **config,
        )
        outputs = layer(tensor)
        weights = [target.kernel[:, :, order[start:stop]][..., kernels]]
        if target.bias is not None:
            weights.append(target.bias[kernels])
        layer.set_weights([*weights, target.window[top:bottom, left:right, kernels]])
        results.append(Piece(outputs, union, kernels))
    return RegionMap(target.layout(), tuple(results), source.name)


def _channels_in(source: RegionMap, rectangle: Array) -> tuple[int, int]:
    """The channels, in the order of the pieces, between which all that meet a rectangle lie."""
    starts = np.cumsum([0, *(len(piece.channels) for piece in source.pieces)])
    meets = [
        index
        for index, piece in enumerate(source.pieces)
        if (piece.rectangle[:, 0] < rectangle[:, 1]).all()
        and (piece.rectangle[:, 1] > rectangle[:, 0]).all()
    ]
    if not meets:
        return 0, int(starts[1])  # all are zero there, and one has to be read
    return int(starts[meets[0]]), int(starts[meets[-1] + 1])


def _by_matrix(target: Target, source: EntryMap) -> EntryMap:
    inputs = source.entries()
    read = _readable(target, inputs)
    constants = source.background()
    tensor = source.tensor() if len(read.rows) == len(inputs.rows) else source.emit(read)

    def produce(entries: Entries) -> Any:
        inside = _inside(target.rectangles, entries)
        matrix = convolution_matrix(target, read, entries) * inside
        bias = np.zeros(len(entries.rows), "float32")
        if target.bias is not None:
            bias += target.bias[entries.channels]
        if constants.any():
            bias += _of_constants(target, constants, entries) - constants[read.channels] @ matrix
        layer = EntryConvolution(
            len(entries.rows),
            name=source.name(target.layer.name),
            **{**_kernel_config(target.layer), "use_bias": bool(bias.any())},
        )
        outputs = layer(tensor)
        window = target.window[entries.rows, entries.columns, entries.channels] * inside
        layer.set_weights([matrix, *([bias] if layer.use_bias else []), window])
        return outputs

    return EntryMap(target.layout(), produce, source.name)


def convolution_matrix(target: Target, inputs: Entries, outputs: Entries) -> Array:
    """Writes a convolution as a matrix from entries to entries, `(inputs, outputs)`."""
    shape = (len(inputs.rows), len(outputs.rows))
    valid, taps = np.ones(shape, bool), []
    for axis, (before, _) in enumerate(target.reach):
        steps = (
            inputs[axis].astype("int32")[:, None]
            - outputs[axis].astype("int32")[None]
            + np.int32(before)
        )
        rate = target.layer.dilation_rate[axis]
        valid &= (steps >= 0) & (steps // rate < target.kernel.shape[axis]) & (steps % rate == 0)
        taps.append(np.clip(steps // rate, 0, target.kernel.shape[axis] - 1))
    matrix = target.kernel[
        taps[0], taps[1], inputs.channels[:, None], outputs.channels[None]
    ]
    return np.where(valid, matrix, np.float32(0))


def _of_constants(target: Target, constants: Array, entries: Entries) -> Array:
    """The convolution of a map that holds one constant per channel, at the given entries."""
    total = np.zeros(len(entries.rows), "float32")
    for row in range(target.kernel.shape[0]):
        for column in range(target.kernel.shape[1]):
            inside = np.ones(len(entries.rows), bool)
            for axis, tap in enumerate((row, column)):
                pixel = entries[axis] - target.reach[axis][0]
                pixel = pixel + tap * target.layer.dilation_rate[axis]
                inside &= (pixel >= 0) & (pixel < target.sides[axis])
            total += inside * (constants @ target.kernel[row, column])[entries.channels]
    return total


def _readable(target: Target, entries: Entries) -> Entries:
    """The entries that some region reads."""
    reads, _ = target.reads(hull(target.rectangles))
    keep = np.ones(len(entries.rows), bool)
    for axis in range(2):
        keep &= (entries[axis] >= reads[axis, 0]) & (entries[axis] < reads[axis, 1])
    return Entries(*(values[keep] for values in entries))


def _inside(rectangles: Array, entries: Entries) -> Array:
    bounds = rectangles[entries.channels]
    inside = np.ones(len(entries.rows), bool)
    for axis in range(2):
        inside &= (entries[axis] >= bounds[:, axis, 0]) & (entries[axis] < bounds[:, axis, 1])
    return inside


def _kernel_config(layer: TargetLayer) -> dict[str, Any]:
    return {
        "activation": keras.activations.serialize(layer.activation),
        "use_bias": layer.use_bias,
        "dtype": layer.dtype_policy,
    }
