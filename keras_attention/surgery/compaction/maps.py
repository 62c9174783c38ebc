"""A map kept as rectangles: what compaction passes from layer to layer instead of whole maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.layers.compacted import AssembleRegions, ScaleShift, GatherPixels
from keras_attention.ops.roi_grouping import union_rectangle

Tensor = Any
Array = Any


Name = Callable[[str], str]


@dataclass(frozen=True)
class Piece:
    """Some channels of a map inside a rectangle, `(B, height, width, channels)`."""

    tensor: Tensor
    rectangle: Array
    channels: Array


@dataclass(frozen=True)
class Layout:
    """What is known of a map in advance.

    Attributes:
        sides: Height and width.
        background: Value of each channel outside its support, `(C,)`.
        support: Rectangle of each channel outside which it is background, `(C, 2, 2)`.
        data_format: That of the original model's tensor.
        dtype: Policy of the layer that made it.
    """

    sides: tuple[int, int]
    background: Array
    support: Array
    data_format: str
    dtype: Any

    @property
    def channels(self) -> int:
        return len(self.background)

    @property
    def whole(self) -> Array:
        return np.array([[0, self.sides[0]], [0, self.sides[1]]])


@dataclass(frozen=True, eq=False)
class RegionMap:
    """A map as pieces, with pointwise steps that are still to be applied.

    Attributes:
        layout: Before the steps.
        pieces: Each channel is in one piece or in none.
        name: Makes unique layer names.
        steps: Applied to whatever is taken from the map.
    """

    layout: Layout
    pieces: tuple[Piece, ...]
    name: Name
    steps: tuple[Step, ...] = ()
    _assembled: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def then(self, step: Step) -> "RegionMap":
        """The map after one more pointwise step."""
        return replace(self, steps=(*self.steps, step), _assembled={})

    def background(self) -> Array:
        """Value of each channel outside its support, after the steps."""
        return stepped_background(self.layout.background, self.steps)

    def order(self) -> Array:
        """Channels in the order of the pieces."""
        return np.concatenate([piece.channels for piece in self.pieces])

    def settled(self) -> "RegionMap":
        """The same map with its steps applied to the pieces."""
        if not self.steps:
            return self
        pieces = tuple(
            replace(piece, tensor=apply_steps(self.steps, piece.tensor, piece.channels))
            for piece in self.pieces
        )
        layout = replace(self.layout, background=self.background())
        return RegionMap(layout, pieces, self.name)

    def mapped(self, layout: Layout, change: Callable[[Piece], Piece]) -> "RegionMap":
        """The map of changed pieces."""
        return RegionMap(layout, tuple(change(piece) for piece in self.pieces), self.name)

    def assembled(self, target: Array, sort: bool = False) -> Tensor:
        """One tensor of a rectangle of the map.

        Args:
            target: `[[top, bottom], [left, right]]`.
            sort: Whether channels are in the order of the original model; else in that of the
                pieces.
        """
        key = (str(target.tolist()), sort)
        if key not in self._assembled:
            self._assembled[key] = self._assemble(target, sort)
        return self._assembled[key]

    def plain(self) -> Tensor:
        """The whole map as the original model has it."""
        tensor = self.assembled(self.layout.whole, sort=True)
        if self.layout.data_format == "channels_first":
            tensor = keras.layers.Permute((3, 1, 2), name=self.name("channels_first"))(tensor)
        return tensor

    def _assemble(self, target: Array, sort: bool) -> Tensor:
        order = self.order()
        covers = len(self.pieces) == 1 and np.array_equal(self.pieces[0].rectangle, target)
        permutation = None
        if sort and not np.array_equal(order, np.arange(len(order))):
            permutation = np.argsort(order)
            order = order[permutation]
        if covers and permutation is None:
            tensor = self.pieces[0].tensor
        else:
            background = self.layout.background[self.order()]
            layer = AssembleRegions(
                [piece.rectangle for piece in self.pieces],
                target,
                order=None if permutation is None else permutation.tolist(),
                background=bool(background.any()),
                dtype=self.layout.dtype,
                name=self.name("regions"),
            )
            tensor = layer([piece.tensor for piece in self.pieces])
            if layer.has_background:
                layer.set_weights([background])
        return apply_steps(self.steps, tensor, order)


def region_map(tensor: Tensor, data_format: str, dtype: Any, name: Name) -> RegionMap:
    """The map of a tensor `(B, H, W, C)` or `(B, C, H, W)`, whole."""
    if data_format == "channels_first":
        tensor = keras.layers.Permute((2, 3, 1), name=name("channels_last"))(tensor)
    _, height, width, channels = tensor.shape
    whole = np.array([[0, height], [0, width]])
    layout = Layout(
        (height, width),
        np.zeros(channels, "float32"),
        np.broadcast_to(whole, (channels, 2, 2)),
        data_format,
        dtype,
    )
    return RegionMap(layout, (Piece(tensor, whole, np.arange(channels)),), name)


def apply_steps(steps: Sequence[Step], tensor: Tensor, channels: Array) -> Tensor:
    """Applies pointwise steps to a tensor whose last axis is of the given channels."""
    for step in steps:
        tensor = step.of_tensor(tensor, channels)
    return tensor


def stepped_background(background: Array, steps: Sequence[Step]) -> Array:
    """What pointwise steps make of the values outside the regions."""
    for step in steps:
        background = step.of_background(background)
    return background


class Entries(NamedTuple):
    """Pixels of a map, each of one channel: three int arrays `(n,)`."""

    rows: Array
    columns: Array
    channels: Array


@dataclass(frozen=True, eq=False)
class EntryMap:
    """A map as entries that are computed in whatever order the next layer likes.

    Attributes:
        layout: Before the steps.
        produce: Makes the tensor `(B, n)` of any entries of the map; those outside the support
            are background.
        name: Makes unique layer names.
        steps: Pointwise steps still to be applied.
    """

    layout: Layout
    produce: Callable[[Entries], Tensor]
    name: Name
    steps: tuple[Step, ...] = ()
    _default: list[Tensor] = field(default_factory=list, repr=False)

    def then(self, step: Step) -> "EntryMap":
        """The map after one more pointwise step."""
        return replace(self, steps=(*self.steps, step), _default=[])

    def background(self) -> Array:
        """Value of each channel outside its support, after the steps."""
        return stepped_background(self.layout.background, self.steps)

    def entries(self) -> Entries:
        """All pixels of all supports."""
        return entries_of(self.layout.support)

    def tensor(self) -> Tensor:
        """`(B, n)` of `entries()`, computed once."""
        if not self._default:
            self._default.append(self.emit(self.entries()))
        return self._default[0]

    def emit(self, entries: Entries) -> Tensor:
        """`(B, n)` of any entries, in their order, after the steps."""
        return apply_steps(self.steps, self.produce(entries), entries.channels)

    def as_regions(self) -> RegionMap:
        """The same map as one rectangle."""
        channels = np.arange(self.layout.channels)
        rectangle = union_rectangle(self.layout.support)
        everywhere = np.broadcast_to(rectangle, (len(channels), 2, 2))
        sides = [int(stop - start) for start, stop in rectangle]
        tensor = keras.layers.Reshape((*sides, len(channels)), name=self.name("rectangle"))(
            self.emit(entries_of(everywhere))
        )
        layout = replace(self.layout, background=self.background())
        return RegionMap(layout, (Piece(tensor, rectangle, channels),), self.name)

    def plain(self) -> Tensor:
        """The whole map as the original model has it."""
        return self.as_regions().plain()


def entries_of(rectangles: Array) -> Entries:
    """All pixels of each channel's rectangle `(C, 2, 2)`, sorted by row, column and channel."""
    low = rectangles[:, :, 0].min(axis=0)
    inside = []
    for axis in range(2):
        pixels = np.arange(low[axis], max(rectangles[:, axis, 1].max(), low[axis] + 1))
        bounds = rectangles[:, axis]
        inside.append((pixels[:, None] >= bounds[:, 0]) & (pixels[:, None] < bounds[:, 1]))
    rows, columns, channels = np.nonzero(inside[0][:, None] & inside[1][None])
    return Entries(rows + low[0], columns + low[1], channels)


def entry_map(source: RegionMap) -> EntryMap:
    """The entries of a map that is kept as rectangles."""
    settled = source.settled()
    layout = settled.layout

    tensors = [piece.tensor for piece in settled.pieces]

    def produce(entries: Entries) -> Tensor:
        indices, total = _indices(settled.pieces, layout.channels, entries)
        return _take(tensors, indices, total, entries, layout, source.name)

    return EntryMap(layout, produce, source.name)


def pick(tensor: Tensor, have: Entries, want: Entries, layout: Layout, name: Name) -> Tensor:
    """Picks entries from a tensor `(B, n)` of others; those it does not have are background."""
    total = len(have.rows)
    place: Array = np.full((*layout.sides, layout.channels), total, "int32")
    place[tuple(have)] = np.arange(total)
    return _take([tensor], place[tuple(want)], total, want, layout, name)


def _take(
    tensors: list[Tensor], indices: Array, total: int, entries: Entries, layout: Layout, name: Name
) -> Tensor:
    """Picks entries by their indices; `total` stands for background."""
    absent = indices == total
    layer = GatherPixels(
        len(indices), with_zero=bool(absent.any()), dtype=layout.dtype, name=name("entries")
    )
    tensor = layer(tensors)
    layer.set_weights([indices])
    shift = np.where(absent, layout.background[entries.channels], 0.0)
    if shift.any():
        adding = ScaleShift(dtype=layout.dtype, name=name("background"))
        tensor = adding(tensor)
        adding.set_weights([np.ones_like(shift), shift])
    return tensor


def _indices(pieces: tuple[Piece, ...], channels: int, entries: Entries) -> tuple[Array, int]:
    """Where entries lie among the flattened pieces; the total where they lie in none."""
    indices = np.full(len(entries.rows), -1)
    start = 0
    for piece in pieces:
        place: Array = np.full(channels, -1)
        place[piece.channels] = np.arange(len(piece.channels))
        (top, bottom), (left, right) = piece.rectangle
        here = (place[entries.channels] >= 0) & (entries.rows >= top) & (entries.rows < bottom)
        here &= (entries.columns >= left) & (entries.columns < right)
        pixel = (entries.rows - top) * (right - left) + (entries.columns - left)
        flat = start + pixel * len(piece.channels) + place[entries.channels]
        indices = np.where(here, flat, indices)
        start += (bottom - top) * (right - left) * len(piece.channels)
    return np.where(indices < 0, start, indices).astype("int32"), start


Map = RegionMap | EntryMap


class Pointwise:
    """A layer that treats every value alike, such as an activation."""

    def __init__(self, layer: keras.Layer, name: Name):
        self.layer, self.name = layer, name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Applies the step; `channels` says whose values lie along the last axis."""
        config = {**self.layer.get_config(), "name": self.name(self.layer.name)}
        return type(self.layer).from_config(config)(tensor)

    def of_background(self, background: Array) -> Array:
        """What becomes of the values outside the regions, `(channels,)`."""
        values = keras.ops.convert_to_tensor(background[None].astype("float32"))
        return keras.ops.convert_to_numpy(self.layer(values))[0].astype("float32")


class Affine:
    """A scale and a shift for each channel: batch normalisation at inference."""

    def __init__(self, layer: keras.layers.BatchNormalization, name: Name):
        statistics = (layer.moving_mean, layer.moving_variance)
        mean, variance = (keras.ops.convert_to_numpy(value) for value in statistics)
        scale = 1.0 / np.sqrt(variance.astype("float64") + layer.epsilon)
        if layer.scale:
            scale = scale * keras.ops.convert_to_numpy(layer.gamma)
        shift = -mean * scale
        if layer.center:
            shift = shift + keras.ops.convert_to_numpy(layer.beta)
        self.scale, self.shift = scale.astype("float32"), shift.astype("float32")
        self.layer, self.name = layer, name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Applies the step; `channels` says whose values lie along the last axis."""
        layer = ScaleShift(dtype=self.layer.dtype_policy, name=self.name(self.layer.name))
        outputs = layer(tensor)
        layer.set_weights([self.scale[channels], self.shift[channels]])
        return outputs

    def of_background(self, background: Array) -> Array:
        """What becomes of the values outside the regions, `(channels,)`."""
        return background * self.scale + self.shift


Step = Pointwise | Affine
