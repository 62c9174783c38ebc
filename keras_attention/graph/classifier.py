"""Finds the classifier of a model: what it reads, its weights, and the last map before it."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import functional, is_functional, nodes
from keras_attention.graph.structure import COLLAPSES, Graph

Tensor = Any
# What may come after a classifier's products without changing what they are.
_FOLLOWS = (
    keras.layers.Activation,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
# What returns the values that it reads, or means of them, by the names of layers and operations.
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
    """The last products of a model.

    Attributes:
        map_node: The call that makes the last map.
        read: The vector that the products read; None for the mean of the last map.
        kernel: `(C, classes)`; None where the model has no top.
        bias: `(classes,)`.
    """

    map_node: Any
    read: Tensor = None
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart; None without a top."""
        return None if self.kernel is None else self.kernel.shape[1]


def find_classifier(model: keras.Model) -> Classifier:
    """Looks for a last dense layer, or a 1x1 convolution on means in its stead.

    Args:
        model: A functional model with one output. Where neither is the last, it has no top.

    Raises:
        ValueError: For a model of several outputs, or without a map.
    """
    if len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one output, the classes or the features. "
            f"Received: {model.name!r} with {len(model.outputs)}"
        )
    graph = Graph(model)
    node = last = graph.maker(model.outputs[0])
    while node is not None and isinstance(node.operation, _FOLLOWS):
        node = graph.before(node)
    layer = node.operation if node is not None else None
    if isinstance(layer, keras.layers.Dense) and len(node.outputs[0].shape) == 2:
        return Classifier(
            _last_map(graph, node, model), node.input_tensors[0], *_weights(layer, layer.kernel)
        )
    if isinstance(layer, keras.layers.Conv2D) and not graph.is_map(node):
        kernel = keras.ops.reshape(layer.kernel, layer.kernel.shape[-2:])
        name = "rectify_features"
        read = keras.layers.Flatten(name=name)(node.input_tensors[0])
        return Classifier(_last_map(graph, node, model), read, *_weights(layer, kernel))
    found = _last_map(graph, last, model)
    is_vector = len(model.outputs[0].shape) == 2
    return Classifier(found, model.outputs[0] if is_vector else None)


def _weights(layer: keras.Layer, kernel: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32"))
    if not layer.use_bias:
        return kernel, np.zeros(kernel.shape[1], "float32")
    return kernel, keras.ops.convert_to_numpy(keras.ops.cast(layer.bias, "float32"))


def _last_map(graph: Graph, node: Any, model: keras.Model) -> Any:
    """The call whose map is collapsed before the classifier, also to one of 1x1 pixels."""
    here = node
    while here is not None:
        before = graph.before(here)
        if isinstance(here.operation, COLLAPSES) and before is not None:
            return before
        here = before
    while node is not None and not graph.is_map(node):
        node = graph.before(node)
    if node is None:
        raise ValueError(
            "`model` must have a map (B, H, W, C) before its classifier. "
            f"Received: {model.name!r} without one"
        )
    return node


def says_probabilities(model: keras.Model, output: int = 0) -> bool:
    """Whether a softmax is the last that happens to what a model returns, or means of it.

    Args:
        model: A functional or sequential model.
        output: Which of several outputs.

    Example:
    >>> import keras_attention as ka
    >>> says_probabilities(ka.applications.DN10(classifier_activation=None))
    False
    """
    graph = functional(model)
    return _after_softmax(graph, graph.outputs[output]) is True


def _after_softmax(graph: keras.Model, tensor: Any) -> bool | None:
    """None where nothing happens to the model's input."""
    makers = {id(made): node for node in nodes(graph) for made in node.outputs}
    while (node := makers.get(id(tensor))) is not None:
        operation = node.operation
        if is_functional(operation):
            inner = functional(operation)
            place = [id(made) for made in node.outputs].index(id(tensor))
            found = _after_softmax(inner, inner.outputs[place])
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
