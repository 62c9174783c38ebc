"""The structure of a model's graph: producers and consumers of tensors, and insertion points."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import Node, nodes

Tensor = Any

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
# Layers that belong to the convolution before them: normalization and activation.
CONVOLUTION_FOLLOWERS = (
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
GLOBAL_REDUCTIONS = (
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
)


@dataclass(frozen=True)
class InsertionPoint:
    """Position of a mechanism: after a node.

    Attributes:
        node: Node whose output the mechanism refines.
        convolution: Node of the convolution that this output comes from.
    """

    node: Node
    convolution: Node


class Graph:
    """Producers, consumers and depths of the nodes of a functional model.

    Attributes:
        nodes: Nodes in an order of execution.
        outputs: Identities of the output tensors of the model.
    """

    def __init__(self, model: keras.Model):
        self.nodes = nodes(model)
        self.outputs = {id(tensor) for tensor in model.outputs}
        self._producers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._consumers: dict[int, list[Node]] = defaultdict(list)
        self._depths: dict[int, int] = {}
        self._reductions: dict[int, int] = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._consumers[id(tensor)].append(node)
            before = [self._depths[id(producer)] for producer in self._predecessors(node)]
            self._depths[id(node)] = 1 + max(before, default=0)
            before = [self._reductions[id(producer)] for producer in self._predecessors(node)]
            self._reductions[id(node)] = _reduces(node) + max(before, default=0)

    def after_convolutions(self) -> list[InsertionPoint]:
        """Returns the points after every convolution, its normalization and its activation."""
        convolutions = [node for node in self.nodes if _is_convolution(node)]
        points = [InsertionPoint(self._last_follower(node), node) for node in convolutions]
        return [
            point
            for point in points
            if _is_map(point.node) and not _returns_probabilities(point.node)
        ]

    def before_reductions(self) -> list[InsertionPoint]:
        """Returns the points whose map comes from a convolution and is only read by reductions."""
        points = []
        for node in self.nodes:
            consumers = self._consumers_behind_padding(node)
            is_reduced = consumers and all(_reduces(consumer) for consumer in consumers)
            if is_reduced and _is_map(node) and not isinstance(node.operation, PADDINGS):
                convolution = self._last_convolution(node)
                if convolution is not None:
                    points.append(InsertionPoint(node, convolution))
        return points

    def maps(self) -> list[Node]:
        """Returns the nodes that produce feature maps of images."""
        return [node for node in self.nodes if self.is_map(node)]

    def is_map(self, node: Node) -> bool:
        """Returns True if a node produces a feature map of an image."""
        return _is_map(node) and len(node.outputs[0].shape) == 4

    def depth(self, node: Node) -> int:
        """Returns the number of nodes on the longest path from an input to this node."""
        return self._depths[id(node)]

    def reductions(self, node: Node) -> int:
        """Returns the number of nodes on this path that make a map smaller."""
        return self._reductions[id(node)]

    def producer(self, tensor: Tensor) -> Node | None:
        """Returns the node that produces a tensor; None for an input of the model."""
        return self._producers.get(id(tensor))

    def consumers(self, node: Node) -> list[Node]:
        """Returns the nodes that read the outputs of a node."""
        return [consumer for tensor in node.outputs for consumer in self._consumers[id(tensor)]]

    def predecessor(self, node: Node) -> Node | None:
        """Returns the deepest node whose output a node reads; None if it reads inputs only."""
        return max(self._predecessors(node), key=self.depth, default=None)

    def convolution_before(self, node: Node) -> keras.layers.Layer:
        """Returns the nearest convolution on the path to a node."""
        current: Node | None = node
        while current is not None and not _is_convolution(current):
            current = self.predecessor(current)
        if current is None:
            raise ValueError(
                "`model` must compute its feature maps by convolutions. Received: "
                f"{node.operation.name!r} without a convolution before it"
            )
        return current.operation

    def _predecessors(self, node: Node) -> list[Node]:
        producers = [self._producers.get(id(tensor)) for tensor in node.input_tensors]
        return [producer for producer in producers if producer is not None]

    def _last_follower(self, node: Node) -> Node:
        """Returns the last node of the normalization and activation after a convolution."""
        consumers = self._consumers[id(node.outputs[0])]
        has_one_reader = len(consumers) == 1 and id(node.outputs[0]) not in self.outputs
        if has_one_reader and isinstance(consumers[0].operation, CONVOLUTION_FOLLOWERS):
            return self._last_follower(consumers[0])
        return node

    def _consumers_behind_padding(self, node: Node) -> list[Node]:
        found = []
        for consumer in self._consumers[id(node.outputs[0])] if len(node.outputs) == 1 else []:
            is_padding = isinstance(consumer.operation, PADDINGS)
            found += self._consumers_behind_padding(consumer) if is_padding else [consumer]
        return found

    def _last_convolution(self, node: Node) -> Node | None:
        """Returns the deepest convolution that a map comes from.

        The search ends at reductions, because the maps before them have insertion points of their
        own. Returns None if no convolution follows the last reduction.
        """
        visited: set[int] = set()
        pending, found = [node], []
        while pending:
            current = pending.pop()
            if id(current) in visited:
                continue
            visited.add(id(current))
            if _is_convolution(current) and _is_map(current):
                found.append(current)
            elif not _reduces(current):
                pending += self._predecessors(current)
        return max(found, key=self.depth, default=None)


def _is_convolution(node: Node) -> bool:
    return isinstance(node.operation, CONVOLUTIONS)


def _is_map(node: Node) -> bool:
    """Returns True for feature maps with more than one pixel."""
    shape = node.outputs[0].shape
    if len(node.outputs) != 1 or len(shape) not in (3, 4):
        return False
    first = getattr(node.operation, "data_format", keras.config.image_data_format())
    sides = shape[2:] if first == "channels_first" else shape[1:-1]
    return any(side != 1 for side in sides)


def _returns_probabilities(node: Node) -> bool:
    """Returns True if the activation shows that the output is a prediction of the model."""
    activation = getattr(node.operation, "activation", None)
    return activation in (keras.activations.softmax, keras.activations.sigmoid)


def _reduces(node: Node) -> bool:
    strides = keras.tree.flatten(getattr(node.operation, "strides", 1))
    return isinstance(node.operation, GLOBAL_REDUCTIONS) or any(stride > 1 for stride in strides)
