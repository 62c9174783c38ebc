"""What compaction does with each kind of layer; where there is no rule, it makes whole maps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_attention.layers.compacted import PoolPixels, ScaleShift, GatherPixels
from keras_attention.surgery.compaction.maps import (
    Affine,
    Entries,
    EntryMap,
    Layout,
    Map,
    Name,
    Piece,
    Pointwise,
    RegionMap,
    entry_map,
)
from keras_attention.utils import numerics

Array = Any
# Every value alike, whatever its place and what lies beside it.
POINTWISE = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
# Nothing in inference.
IDENTITIES = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
Tensor = Any


def is_pointwise(layer: keras.Layer) -> bool:
    """Whether a layer changes each value by itself."""
    if type(layer) is keras.layers.Activation:
        return numerics.is_pointwise(layer.activation)
    return type(layer) in POINTWISE


def pointwise(layer: keras.Layer, source: Map) -> Map:
    """An activation, kept for later."""
    return source.then(Pointwise(layer, source.name))


def normalization(layer: keras.layers.BatchNormalization, source: Map) -> Map | None:
    """Batch normalisation of channels, kept for later as a scale and a shift."""
    channels = 3 if source.layout.data_format == "channels_last" else 1
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    return source.then(Affine(layer, source.name)) if axis % 4 == channels else None


def pooling(layer: keras.Layer, source: Map) -> Map | None:
    """Max or average pooling that does not reach over the border."""
    window, steps = tuple(layer.pool_size), tuple(layer.strides)
    fits = layer.padding == "valid" or all(
        side % step == 0 and size <= step
        for side, size, step in zip(source.layout.sides, window, steps, strict=True)
    )
    if not fits or layer.data_format != source.layout.data_format:
        return None
    before = source.layout.sides
    sides = tuple(
        (side - size) // step + 1 for side, size, step in zip(before, window, steps, strict=True)
    )
    pool = _Pooling(layer, window, steps, sides)
    return pool.of_entries(source) if isinstance(source, EntryMap) else pool.of_regions(source)


class _Pooling:
    """Pooling by windows and steps; `sides` are those of the result."""

    def __init__(self, layer: keras.Layer, window: Any, steps: Any, sides: Any):
        self.layer, self.window, self.steps, self.sides = layer, window, steps, sides

    def of_regions(self, source: RegionMap) -> RegionMap:
        settled = source.settled()

        def change(piece: Piece) -> Piece:
            rectangle = self._results(piece.rectangle[None])[0]
            alone = RegionMap(settled.layout, (replace(piece, tensor=piece.tensor),), source.name)
            layer = type(self.layer)(
                self.window,
                self.steps,
                padding="valid",
                data_format="channels_last",
                dtype=self.layer.dtype_policy,
                name=source.name(self.layer.name),
            )
            return Piece(layer(alone.assembled(self._read(rectangle))), rectangle, piece.channels)

        return settled.mapped(self._layout(settled.layout), change)

    def of_entries(self, source: EntryMap) -> EntryMap:
        phases = [
            (row, column) for row in range(self.window[0]) for column in range(self.window[1])
        ]
        reduce = "max" if isinstance(self.layer, keras.layers.MaxPooling2D) else "mean"

        def produce(entries: Entries) -> Any:
            rows = [entries.rows * self.steps[0] + row for row, _ in phases]
            columns = [entries.columns * self.steps[1] + column for _, column in phases]
            pixels = Entries(
                np.concatenate(rows),
                np.concatenate(columns),
                np.tile(entries.channels, len(phases)),
            )
            layer = PoolPixels(
                len(phases),
                reduce,
                dtype=self.layer.dtype_policy,
                name=source.name(self.layer.name),
            )
            return layer(source.emit(pixels))

        layout = replace(source.layout, background=source.background())
        return EntryMap(self._layout(layout), produce, source.name)

    def _layout(self, layout: Layout) -> Layout:
        return replace(layout, sides=self.sides, support=self._results(layout.support))

    def _results(self, rectangles: Array) -> Array:
        """The results that read some pixel of each rectangle, at least one."""
        size, step = np.array(self.window)[None], np.array(self.steps)[None]
        low = np.maximum((rectangles[..., 0] - size) // step + 1, 0)
        high = np.minimum(-(-rectangles[..., 1] // step), np.array(self.sides)[None])
        low = np.minimum(low, np.array(self.sides)[None] - 1)
        return np.stack([low, np.maximum(high, low + 1)], axis=-1)

    def _read(self, rectangle: Array) -> Array:
        size, step = np.array(self.window), np.array(self.steps)
        return np.stack([rectangle[:, 0] * step, (rectangle[:, 1] - 1) * step + size], axis=-1)


def global_average(layer: keras.layers.GlobalAveragePooling2D, source: Map) -> Any:
    """The mean of each channel: that of its piece, and the background around it."""
    if layer.keepdims or layer.data_format != source.layout.data_format:
        return None
    regions = (source.as_regions() if isinstance(source, EntryMap) else source).settled()
    whole, means = float(np.prod(regions.layout.sides)), []
    for piece in regions.pieces:
        share = np.prod(piece.rectangle[:, 1] - piece.rectangle[:, 0]) / whole
        config = {"dtype": layer.dtype_policy, "name": source.name(layer.name)}
        mean = type(layer)(data_format="channels_last", **config)(piece.tensor)
        scaling = ScaleShift(dtype=layer.dtype_policy, name=source.name("share"))
        means.append(scaling(mean))
        background = regions.layout.background[piece.channels]
        scaling.set_weights([np.full_like(background, share), (1 - share) * background])
    order = np.argsort(regions.order())
    if len(means) == 1 and np.array_equal(order, np.arange(len(order))):
        return means[0]
    together = GatherPixels(len(order), dtype=layer.dtype_policy, name=source.name("channels"))
    outputs = together(means)
    together.set_weights([order.astype("int32")])
    return outputs


def concatenation(layer: keras.layers.Concatenate, sources: list[RegionMap]) -> RegionMap | None:
    """Joins the channels of maps."""
    formats = {source.layout.data_format for source in sources}
    channels = 3 if formats == {"channels_last"} else 1
    if len(formats) > 1 or layer.axis % 4 != channels:
        return None
    pieces, start = [], 0
    settled = [source.settled() for source in sources]
    for source in settled:
        pieces += [replace(piece, channels=piece.channels + start) for piece in source.pieces]
        start += source.layout.channels
    layout = replace(
        settled[0].layout,
        background=np.concatenate([source.layout.background for source in settled]),
        support=np.concatenate([source.layout.support for source in settled]),
    )
    return RegionMap(layout, tuple(pieces), settled[0].name)


def dense_of_flat(layer: keras.layers.Dense, source: Map, name: Name) -> Any:
    """A dense layer that reads a flattened map: only the rows of what can differ."""
    entries = source if isinstance(source, EntryMap) else entry_map(source)
    pixels, layout = entries.entries(), entries.layout
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    rows = _flat_index(layout, pixels)
    background = entries.background()
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0
    if background.any():
        everywhere = Entries(
            *(index.ravel() for index in np.indices((*layout.sides, layout.channels)))
        )
        all_rows = _flat_index(layout, everywhere)
        bias = bias + background[everywhere.channels] @ kernel[all_rows]
        bias = bias - background[pixels.channels] @ kernel[rows]
    new = keras.layers.Dense(
        layer.units,
        activation=layer.activation,
        use_bias=layer.use_bias or bool(np.any(bias)),
        dtype=layer.dtype_policy,
        name=name(layer.name),
    )
    outputs = new(entries.tensor())
    new.set_weights([kernel[rows], *([bias] if new.use_bias else [])])
    return outputs


def _flat_index(layout: Layout, entries: Entries) -> Array:
    # Flatten moves the channels last before it flattens, whatever the data format.
    pixels = entries.rows * layout.sides[1] + entries.columns
    return pixels * layout.channels + entries.channels


Rule = Callable[[Any, Any], Any]
RULES: dict[type, Rule] = {
    keras.layers.BatchNormalization: normalization,
    keras.layers.MaxPooling2D: pooling,
    keras.layers.AveragePooling2D: pooling,
    keras.layers.GlobalAveragePooling2D: global_average,
}
