"""Reading a model's graph: what follows a convolution, what reduces a map."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import nodes

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
# What belongs to a convolution before it: normalization and activation, each value by itself.
FINISHES = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.ELU,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)
PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)
COLLAPSES = (
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
)


@dataclass(frozen=True)
class Place:
    """Where a mechanism goes: after a call of a layer.

    Attributes:
        node: The call whose output it refines.
        convolution: The call of the convolution that this output comes from.
    """

    node: Any
    convolution: Any


class Graph:
    """The calls of a functional model's layers."""

    def __init__(self, model: keras.Model):
        self.nodes = nodes(model)
        self.outputs = {id(tensor) for tensor in model.outputs}
        self._makers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._readers: dict[int, list[Any]] = defaultdict(list)
        self._levels: dict[int, int] = {}
        self._reductions: dict[int, int] = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._readers[id(tensor)].append(node)
            before = [self._levels[id(maker)] for maker in self._before(node)]
            self._levels[id(node)] = 1 + max(before, default=0)
            before = [self._reductions[id(maker)] for maker in self._before(node)]
            self._reductions[id(node)] = _reduces(node) + max(before, default=0)

    def after_convolutions(self) -> list[Place]:
        """After every convolution, its normalization and its activation."""
        convolutions = [node for node in self.nodes if _is_convolution(node)]
        places = [Place(self._finished(node), node) for node in convolutions]
        return [place for place in places if _is_map(place.node) and not _is_answer(place.node)]

    def before_reductions(self) -> list[Place]:
        """Where a map that came from a convolution goes on in smaller ones only."""
        places = []
        for node in self.nodes:
            readers = self._readers_behind_padding(node)
            reduced = readers and all(_reduces(reader) for reader in readers)
            if reduced and _is_map(node) and not isinstance(node.operation, PADDINGS):
                convolution = self._last_convolution(node)
                if convolution is not None:
                    places.append(Place(node, convolution))
        return places

    def maps(self) -> list[Any]:
        """The calls that return a map of an image."""
        return [node for node in self.nodes if self.is_map(node)]

    def is_map(self, node: Any) -> bool:
        """Whether a call returns a map of an image."""
        return _is_map(node) and len(node.outputs[0].shape) == 4

    def level(self, node: Any) -> int:
        """How many calls lead to this one, on the longest way."""
        return self._levels[id(node)]

    def reductions(self, node: Any) -> int:
        """How many of these calls make a map smaller."""
        return self._reductions[id(node)]

    def maker(self, tensor: Any) -> Any:
        """The call that made a tensor; None for an input."""
        return self._makers.get(id(tensor))

    def before(self, node: Any) -> Any:
        """The call whose output a call reads, that of the longest way; None for an input."""
        return max(self._before(node), key=self.level, default=None)

    def readers(self, node: Any) -> list[Any]:
        """The calls that read the output of a call."""
        return [reader for tensor in node.outputs for reader in self._readers[id(tensor)]]

    def convolution_of(self, node: Any) -> Any:
        """A convolution on the way to a call, the nearest."""
        here = node
        while here is not None and not _is_convolution(here):
            here = self.before(here)
        if here is None:
            raise ValueError(
                "`model` must make its maps by convolutions. Received: "
                f"{node.operation.name!r} without one before it"
            )
        return here.operation

    def _before(self, node: Any) -> list[Any]:
        makers = [self._makers.get(id(tensor)) for tensor in node.input_tensors]
        return [maker for maker in makers if maker is not None]

    def _finished(self, node: Any) -> Any:
        """The last of the layers that finish a convolution."""
        readers = self._readers[id(node.outputs[0])]
        is_alone = len(readers) == 1 and id(node.outputs[0]) not in self.outputs
        if is_alone and isinstance(readers[0].operation, FINISHES):
            return self._finished(readers[0])
        return node

    def _readers_behind_padding(self, node: Any) -> list[Any]:
        found = []
        for reader in self._readers[id(node.outputs[0])] if len(node.outputs) == 1 else []:
            is_padding = isinstance(reader.operation, PADDINGS)
            found += self._readers_behind_padding(reader) if is_padding else [reader]
        return found

    def _last_convolution(self, node: Any) -> Any:
        """The convolution that a map comes from; where branches meet that of the longest.

        None where the map was reduced since: what came before that is attended to already.
        """
        seen: set[int] = set()
        waiting, found = [node], []
        while waiting:
            here = waiting.pop()
            if id(here) in seen:
                continue
            seen.add(id(here))
            if _is_convolution(here) and _is_map(here):
                found.append(here)
            elif not _reduces(here):
                waiting += self._before(here)
        return max(found, key=lambda maker: self._levels[id(maker)], default=None)


def _is_convolution(node: Any) -> bool:
    return isinstance(node.operation, CONVOLUTIONS)


def _is_map(node: Any) -> bool:
    """A map has sides, and not all of them of 1 pixel, as what weighs channels has."""
    shape = node.outputs[0].shape
    if len(node.outputs) != 1 or len(shape) not in (3, 4):
        return False
    first = getattr(node.operation, "data_format", keras.config.image_data_format())
    sides = shape[2:] if first == "channels_first" else shape[1:-1]
    return any(side != 1 for side in sides)


def _is_answer(node: Any) -> bool:
    """Whether probabilities come out: they are for the reader, not for a layer."""
    activation = getattr(node.operation, "activation", None)
    return activation in (keras.activations.softmax, keras.activations.sigmoid)


def _reduces(node: Any) -> bool:
    strides = keras.tree.flatten(getattr(node.operation, "strides", 1))
    return isinstance(node.operation, COLLAPSES) or any(stride > 1 for stride in strides)
