"""A map kept as a list of pixels: what compaction passes on where regions are a few pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.layers.entries import TakeEntries
from keras_attention.layers.scale_shift import ScaleShift
from keras_attention.ops.roi_grouping import union_of
from keras_attention.surgery.compaction.region_map import (
    Layout,
    Piece,
    RegionMap,
    apply_steps,
    stepped_background,
)
from keras_attention.surgery.compaction.steps import Name, Step

Tensor = Any
Array = Any


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
        rectangle = union_of(self.layout.support)
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


Map = RegionMap | EntryMap


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
    layer = TakeEntries(
        len(indices), absent=bool(absent.any()), dtype=layout.dtype, name=name("entries")
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
