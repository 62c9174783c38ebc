"""A map kept as rectangles: what compaction passes from layer to layer instead of whole maps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_attention.layers.region import AssembleRegions
from keras_attention.surgery.compaction.steps import Name, Step

Tensor = Any
Array = Any


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
