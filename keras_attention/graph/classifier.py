"""The classifier of a model: its weights, its inputs, and the last feature map before it."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import Node, functional_graph, is_functional, nodes
from keras_attention.graph.structure import GLOBAL_REDUCTIONS, Graph

Tensor = Any
# Layers that may follow the matrix product of a classifier.
_CLASSIFIER_FOLLOWERS = (
    keras.layers.Activation,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
# Layers and operations whose outputs are their inputs, or means of them.
_KEEPS_PROBABILITIES = (
    "Activation",
    "Average",
    "AveragePooling2D",
    "Cast",
    "Dropout",
    "Flatten",
    "GetItem",
    "GlobalAveragePooling2D",
    "Identity",
    "Reshape",
    "Squeeze",
)


@dataclass(frozen=True)
class Classifier:
    """The last matrix product of a model.

    Attributes:
        map_node: Node that produces the last feature map.
        inputs: Vector that the classifier reads; None for the mean of the last feature map.
        kernel: Array of shape `(C, classes)`; None if the model has no classifier.
        bias: Array of shape `(classes,)`; None if the model has no classifier.
    """

    map_node: Node
    inputs: Tensor = None
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None

    @property
    def classes(self) -> int | None:
        """Number of classes; None if the model has no classifier."""
        return None if self.kernel is None else self.kernel.shape[1]


def find_classifier(model: keras.Model) -> Classifier:
    """Finds the last dense layer of a model, or a 1x1 convolution on pooled features.

    Args:
        model: Functional model with one output. If its last matrix product is neither, the model is
            taken as one without a classifier.
    """
    if len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one output, the predictions or the features. "
            f"Received: model={model.name!r} with {len(model.outputs)} outputs"
        )
    graph = Graph(model)
    node: Any = graph.producer(model.outputs[0])
    last = node
    while node is not None and isinstance(node.operation, _CLASSIFIER_FOLLOWERS):
        node = graph.predecessor(node)
    layer = node.operation if node is not None else None
    if isinstance(layer, keras.layers.Dense) and len(node.outputs[0].shape) == 2:
        weights = _weights(layer, layer.kernel)
        return Classifier(_last_map(graph, node, model), node.input_tensors[0], *weights)
    if isinstance(layer, keras.layers.Conv2D) and not graph.is_map(node):
        weights = _weights(layer, keras.ops.reshape(layer.kernel, layer.kernel.shape[-2:]))
        inputs = keras.layers.Flatten(name="rectify_features")(node.input_tensors[0])
        return Classifier(_last_map(graph, node, model), inputs, *weights)
    map_node = _last_map(graph, last, model)
    is_vector = len(model.outputs[0].shape) == 2
    return Classifier(map_node, model.outputs[0] if is_vector else None)


def _weights(layer: keras.Layer, kernel: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32"))
    if not layer.use_bias:
        return kernel, np.zeros(kernel.shape[1], "float32")
    return kernel, keras.ops.convert_to_numpy(keras.ops.cast(layer.bias, "float32"))


def _last_map(graph: Graph, node: Node | None, model: keras.Model) -> Node:
    """Returns the node whose map is reduced before the classifier; it may have 1x1 pixels."""
    current = node
    while current is not None:
        predecessor = graph.predecessor(current)
        if isinstance(current.operation, GLOBAL_REDUCTIONS) and predecessor is not None:
            return predecessor
        current = predecessor
    while node is not None and not graph.is_map(node):
        node = graph.predecessor(node)
    if node is None:
        raise ValueError(
            "`model` must have a feature map (B, H, W, C) before its classifier. "
            f"Received: model={model.name!r} without one"
        )
    return node


def outputs_probabilities(model: keras.Model, output: int = 0) -> bool:
    """Returns True if an output of a model is that of a softmax, or a mean of such outputs.

    Args:
        model: Functional or sequential model.
        output: Index of the output among several.

    Example:
    >>> import keras_attention as ka
    >>> outputs_probabilities(ka.applications.DN10(classifier_activation=None))
    False
    """
    graph = functional_graph(model)
    return _follows_softmax(graph, graph.outputs[output]) is True


def _follows_softmax(graph: keras.Model, tensor: Tensor) -> bool | None:
    """Returns None if only layers that keep probabilities lie between the input and the tensor."""
    producers = {id(output): node for node in nodes(graph) for output in node.outputs}
    while (node := producers.get(id(tensor))) is not None:
        operation = node.operation
        if is_functional(operation):
            nested = functional_graph(operation)
            index = [id(output) for output in node.outputs].index(id(tensor))
            found = _follows_softmax(nested, nested.outputs[index])
            if found is not None:
                return found
        else:
            activation = getattr(operation, "activation", None)
            if type(operation).__name__ == "Softmax" or activation is keras.activations.softmax:
                return True
            keeps = getattr(operation, "keeps_probabilities", False)
            keeps = keeps or type(operation).__name__ in _KEEPS_PROBABILITIES
            if not keeps or activation not in (None, keras.activations.linear):
                return False
        tensor = node.input_tensors[0]
    return None
