"""The structure of a model's graph: producers and consumers of tensors, and insertion points."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import Node, nodes

Tensor = Any

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
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
# Layers whose outputs over time are feature maps of a sequence.
RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)
PADDINGS = (
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
)
GLOBAL_REDUCTIONS = (
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
UPSAMPLINGS = (
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.Resizing,
)


@dataclass(frozen=True)
class InsertionPoint:
    """Position of a mechanism: after a node.

    Attributes:
        node: Node whose output the mechanism refines.
        convolution: Node of the convolution or recurrent layer that this output comes from; None
            if there is none.
    """

    node: Node
    convolution: Node | None


class Graph:
    """Producers, consumers and depths of the nodes of a functional model.

    Attributes:
        nodes: Nodes in an order of execution.
        outputs: Identities of the output tensors of the model.

    Args:
        model: Functional model.
        reduced_outputs: If True, the maps that the model returns are reduced behind it, as those of
            a network without its top are by global pooling.
    """

    def __init__(self, model: keras.Model, reduced_outputs: bool = True):
        self._reduced_outputs = reduced_outputs
        self.nodes = nodes(model)
        self.outputs = {id(tensor) for tensor in model.outputs}
        self._producers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._consumers: dict[int, list[Node]] = defaultdict(list)
        self._depths: dict[int, int] = {}
        self._reductions: dict[int, int] = {}
        self._convolved: dict[int, bool] = {}
        self._upsampled: dict[int, bool] = {}
        self._skips: dict[int, bool] = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._consumers[id(tensor)].append(node)
            before = [self._depths[id(producer)] for producer in self._predecessors(node)]
            self._depths[id(node)] = 1 + max(before, default=0)
            before = [self._reductions[id(producer)] for producer in self._predecessors(node)]
            self._reductions[id(node)] = reduces(node) + max(before, default=0)
            before = self._predecessors(node)
            convolved = any(self._convolved[id(producer)] for producer in before)
            self._convolved[id(node)] = convolved or _is_convolution(node)
            # Images that are resized before the first convolution are not in a decoder.
            is_upsampling = convolved and _upsamples(node)
            self._upsampled[id(node)] = is_upsampling or any(
                self._upsampled[id(producer)] for producer in before
            )

    def after_convolutions(self) -> list[InsertionPoint]:
        """Returns the points after every convolution, its normalization and its activation."""
        convolutions = [node for node in self.nodes if _is_convolution(node) or _is_recurrent(node)]
        points = [InsertionPoint(self._last_follower(node), node) for node in convolutions]
        return [
            point
            for point in points
            if _is_map(point.node) and not _returns_probabilities(point.node)
        ]

    def before_reductions(self) -> list[InsertionPoint]:
        """Returns the points whose map comes from a convolution and is only read by reductions.

        Decoders of encoder-decoder networks may read the map, too, by skip connections.
        """
        points = []
        for node in self.nodes:
            is_candidate = _is_map(node) and not isinstance(node.operation, PADDINGS)
            if is_candidate and not self._upsampled[id(node)] and self.is_reduced(node):
                convolution = self._last_convolution(node)
                if convolution is not None:
                    points.append(InsertionPoint(node, convolution))
        return points

    def after_residual_branches(self) -> list[InsertionPoint]:
        """Returns the ends of the residual branches, one for each addition of two maps.

        The longer of the two is the residual branch, the other one the shortcut.
        """
        points = []
        for node in self.nodes:
            is_addition = type(node.operation).__name__ == "Add" and len(node.input_tensors) == 2
            branches = self._predecessors(node)
            if not is_addition or self._upsampled[id(node)] or not branches:
                continue
            end = max(branches, key=self.depth)
            convolution = self._last_convolution(end) if _is_map(end) else None
            if convolution is not None and self._consumers[id(end.outputs[0])] == [node]:
                points.append(InsertionPoint(end, convolution))
        return points

    def after_layers(self, names: Sequence[str]) -> list[InsertionPoint]:
        """Returns the points after the layers with some names."""
        chosen = [node for node in self.nodes if node.operation.name in names]
        return [InsertionPoint(node, self._last_convolution(node)) for node in chosen]

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

    def is_reduced(self, node: Node) -> bool:
        """Returns True if the map of a node is only read by reductions and by skip connections."""
        consumers = self._consumers_behind_padding(node)
        is_returned = id(node.outputs[0]) in self.outputs
        if is_returned and not (self._reduced_outputs and not _returns_probabilities(node)):
            return False
        others = [consumer for consumer in consumers if not reduces(consumer)]
        has_reduction = is_returned or len(others) < len(consumers)
        return has_reduction and all(self._is_skip(consumer) for consumer in others)

    def _is_skip(self, node: Node) -> bool:
        """Returns True if a node belongs to a skip connection: it only leads to a decoder."""
        if id(node) not in self._skips:
            consumers = self._consumers[id(node.outputs[0])]
            is_inside = not reduces(node) and consumers and id(node.outputs[0]) not in self.outputs
            self._skips[id(node)] = self._upsampled[id(node)] or (
                bool(is_inside) and all(self._is_skip(consumer) for consumer in consumers)
            )
        return self._skips[id(node)]

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
            if (_is_convolution(current) or _is_recurrent(current)) and _is_map(current):
                found.append(current)
            elif not reduces(current):
                pending += self._predecessors(current)
        return max(found, key=self.depth, default=None)


def _is_convolution(node: Node) -> bool:
    return isinstance(node.operation, CONVOLUTIONS)


def _is_recurrent(node: Node) -> bool:
    return isinstance(node.operation, RECURRENT)


def _is_map(node: Node) -> bool:
    """Returns True for feature maps with more than one pixel."""
    shape = node.outputs[0].shape
    if len(node.outputs) != 1 or len(shape) not in (3, 4, 5):
        return False
    first = getattr(node.operation, "data_format", keras.config.image_data_format())
    sides = shape[2:] if first == "channels_first" else shape[1:-1]
    return any(side != 1 for side in sides)


def _returns_probabilities(node: Node) -> bool:
    """Returns True if the activation shows that the output is a prediction of the model."""
    activation = getattr(node.operation, "activation", None)
    return activation in (keras.activations.softmax, keras.activations.sigmoid)


def reduces(node: Node) -> bool:
    """Returns True if a node makes a map smaller by strides, pooling or the end of a sequence.

    Example:
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.MaxPooling2D(2)])
    >>> [reduces(node) for node in nodes(model._functional)]
    [True]
    """
    operation = node.operation
    if isinstance(operation, TRANSPOSED):
        return False
    if isinstance(operation, RECURRENT):
        return len(node.outputs[0].shape) == 2
    strides = getattr(operation, "strides", None) or getattr(operation, "pool_size", None)
    return isinstance(operation, GLOBAL_REDUCTIONS) or any(
        isinstance(stride, int) and stride > 1 for stride in keras.tree.flatten(strides)
    )


def _upsamples(node: Node) -> bool:
    operation = node.operation
    if isinstance(operation, TRANSPOSED):
        return any(stride > 1 for stride in keras.tree.flatten(operation.strides))
    if isinstance(operation, UPSAMPLINGS):
        return True
    return type(operation).__name__ == "Resize"  # keras.ops.image.resize


def float_kernel(layer: keras.Layer) -> Tensor:
    """Returns the kernel with which a layer computes: LoRA is merged and int8 is dequantized.

    Raises:
        ValueError: If the layer is quantized to another type than int8 or float8.

    Example:
    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> layer.quantize("int8")
    >>> float_kernel(layer).dtype == "float32"
    True
    """
    mode = getattr(layer, "quantization_mode", None)
    if mode in (None, "float8"):
        return layer.kernel
    if mode != "int8":
        raise ValueError(
            "Quantized layers must be quantized to 'int8'. "
            f"Received: {layer.name!r} with quantization_mode={mode!r}"
        )
    kernel = keras.ops.cast(layer._kernel, "float32") / keras.ops.cast(
        layer.kernel_scale, "float32"
    )
    if layer.lora_enabled:
        product = keras.ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)
        kernel = kernel + layer.lora_alpha / layer.lora_rank * product
    return kernel


def merged_weights(layer: keras.Layer) -> list[Any]:
    """Returns the kernel of `float_kernel` and the bias, if there is one, as arrays.

    Example:
    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> [weight.shape for weight in merged_weights(layer)]
    [(3, 2), (2,)]
    """
    weights = [float_kernel(layer), *([layer.bias] if layer.use_bias else [])]
    return [keras.ops.convert_to_numpy(weight) for weight in weights]
