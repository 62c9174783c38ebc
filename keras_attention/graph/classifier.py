"""The classifier of a model: its weights, its inputs, and the last feature map before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import Node, functional_graph, is_functional, nodes
from keras_attention.graph.structure import GLOBAL_REDUCTIONS, Graph, float_kernel

Tensor = Any
# Layers that may follow the matrix product of a classifier.
_CLASSIFIER_FOLLOWERS = (
    keras.layers.Activation,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
SOFTMAX, SIGMOID, LOGITS = "softmax", "sigmoid", "logits"
# Layers and operations whose outputs are their inputs, or means over positions.
_KEEPS_VALUES = (
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "Cast",
    "Dropout",
    "ExpandDims",
    "Flatten",
    "GetItem",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "Identity",
    "Permute",
    "Reshape",
    "Squeeze",
    "Transpose",
    "UpSampling2D",
    "ZeroPadding2D",
)
# Operations whose results are logits if all of their tensors are.
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Mean", "Sum")


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
    is_activated = output_kind(model) in (SOFTMAX, SIGMOID)
    while node is not None and _may_follow(node, is_activated):
        node = graph.predecessor(node)
    layer = node.operation if node is not None else None
    if isinstance(layer, keras.layers.Dense) and len(node.outputs[0].shape) == 2:
        weights = _weights(layer, float_kernel(layer))
        return Classifier(_last_map(graph, node, model), node.input_tensors[0], *weights)
    if isinstance(layer, keras.layers.Conv2D) and not graph.is_map(node):
        weights = _weights(layer, keras.ops.reshape(float_kernel(layer), layer.kernel.shape[-2:]))
        inputs = keras.layers.Flatten(name="rectify_features")(node.input_tensors[0])
        return Classifier(_last_map(graph, node, model), inputs, *weights)
    map_node = _last_map(graph, last, model)
    is_vector = len(model.outputs[0].shape) == 2
    return Classifier(map_node, model.outputs[0] if is_vector else None)


def _may_follow(node: Node, is_activated: bool) -> bool:
    """Returns True for what may come after the matrix product of a classifier.

    Args:
        node: Node of the graph.
        is_activated: If True, the model returns probabilities, so an operation from one tensor to
            another of its shape may be the activation, unless it is arithmetic, such as a division
            by a temperature.
    """
    if isinstance(node.operation, _CLASSIFIER_FOLLOWERS):
        return True
    shapes = [tensor.shape for tensor in (*node.input_tensors, *node.outputs)]
    has_weights = bool(getattr(node.operation, "weights", ()))
    is_function = len(shapes) == 2 and shapes[0] == shapes[1] and not has_weights
    return is_activated and is_function and type(node.operation).__name__ not in _ARITHMETIC


def classifier_layer(model: keras.Model, output: int = 0) -> keras.Layer | None:
    """Returns the last layer with weights before an output if it is dense or a 1x1 convolution.

    Args:
        model: Functional or sequential model.
        output: Index of the output among several.

    Example:
    >>> import keras_attention as ka
    >>> classifier_layer(ka.applications.DN10()).name
    'predictions'
    """
    functional = functional_graph(model)
    graph, tensor = Graph(functional), functional.outputs[output]
    node = graph.producer(tensor)
    while node is not None and not getattr(node.operation, "weights", ()):
        tensor, node = node.input_tensors[0], graph.predecessor(node)
    if node is None:
        return None
    if is_functional(node.operation):
        indices = [id(one) for one in node.outputs]
        return classifier_layer(
            node.operation, indices.index(id(tensor)) if id(tensor) in indices else 0
        )
    kernel_size = getattr(node.operation, "kernel_size", (1,))
    is_kind = isinstance(node.operation, (keras.layers.Dense, keras.layers.Conv2D))
    return node.operation if is_kind and set(kernel_size) == {1} else None


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


def output_kind(model: keras.Model, output: int = 0) -> str | None:
    """Determines from the graph of a model whether an output consists of probabilities.

    Args:
        model: Functional or sequential model.
        output: Index of the output among several.

    Returns:
        `"softmax"` for the probabilities of classes of which one is right, `"sigmoid"` for
        independent probabilities, `"logits"`, or None if the graph does not show it.

    Example:
    >>> import keras_attention as ka
    >>> output_kind(ka.applications.DN10(classifier_activation=None))
    'logits'
    """
    graph = functional_graph(model)
    kind = _Kinds(graph).of(graph.outputs[output])
    return kind if isinstance(kind, str) else None


def require_output_kind(
    argument: str, model: keras.Model, from_logits: bool | None, output: int = 0
) -> str:
    """Returns the kind of an output, or raises a ValueError if it is unknown.

    Args:
        argument: Name of the user's argument that is the model, for the error.
        model: Keras model.
        from_logits: The user's argument: True for logits, False for probabilities, or None.
        output: Index of the output among several.
    """
    if from_logits is True:
        return LOGITS
    kind = output_kind(model, output) if is_functional(model) else None
    if from_logits is False:
        units = model.outputs[output].shape[-1] if is_functional(model) else None
        return SIGMOID if kind == SIGMOID or units == 1 else SOFTMAX
    if kind is None:
        raise ValueError(
            "`from_logits` must be True or False for a model whose graph does not show if it "
            "returns logits or probabilities. "
            f"Received: {argument}={model.name!r}, from_logits=None"
        )
    return kind


class _Kinds:
    """Kinds of the tensors of a graph, found backwards from an output.

    `of` returns the index of an input of the graph for a tensor that has the kind of this input.
    """

    def __init__(self, graph: keras.Model):
        self._producers = {id(tensor): node for node in nodes(graph) for tensor in node.outputs}
        self._found: dict[int, str | int | None] = {
            id(tensor): index for index, tensor in enumerate(graph.inputs)
        }

    def of(self, tensor: Tensor) -> str | int | None:
        if id(tensor) not in self._found:
            self._found[id(tensor)] = self._of_node(self._producers[id(tensor)], tensor)
        return self._found[id(tensor)]

    def _of_node(self, node: Node, tensor: Tensor) -> str | int | None:
        operation, sources = node.operation, node.input_tensors
        if is_functional(operation):
            nested = functional_graph(operation)
            position = [id(output) for output in node.outputs].index(id(tensor))
            kind = _Kinds(nested).of(nested.outputs[position])
            return self.of(sources[kind]) if isinstance(kind, int) else kind
        if isinstance(operation, keras.layers.Wrapper):
            operation = operation.layer
        if hasattr(operation, "output_kind"):
            return operation.output_kind
        name = type(operation).__name__
        if getattr(operation, "keeps_probabilities", False) or name in _KEEPS_VALUES:
            return self.of(sources[0])
        if _has_known_weights(operation):
            activation = getattr(operation, "activation", None)
            return LOGITS if activation is None else _kind_of_function(activation, tensor.shape)
        return self._of_operation(operation, sources)

    def _of_operation(self, operation: Any, sources: Sequence[Tensor]) -> str | int | None:
        """Returns the kind of the output of an operation without weights."""
        name, kinds = type(operation).__name__, {self.of(source) for source in sources}
        kind = kinds.pop() if len(kinds) == 1 else None
        if len(sources) > 1 or name in _ARITHMETIC:
            is_kept = (
                kind == LOGITS or name == "Average" or (name, kind) == ("Concatenate", SIGMOID)
            )
            return kind if is_kept else None
        if name == "Log" and kind == SOFTMAX:
            return LOGITS
        return _kind_of_function(operation, sources[0].shape, kind)


def _has_known_weights(operation: Any) -> bool:
    """Returns True for layers with weights whose output is that of their activation."""
    bases = [kind.__module__ for kind in type(operation).__mro__ if kind is not keras.Layer]
    is_known = any(name.startswith(("keras.src.layers.", "keras_attention.")) for name in bases)
    return is_known and bool(getattr(operation, "weights", ()))


def _kind_of_function(function: Any, shape: Any, kind: Any = LOGITS) -> Any:
    """Determines the kind of a function's values by calling it on random logits.

    Args:
        function: Activation, or operation without weights, from one tensor to one.
        shape: Shape of the tensor.
        kind: Kind of the tensor. Only of logits, which can be any numbers, the values are known.
    """
    generator = np.random.default_rng(0)
    logits = generator.normal(0.0, 10.0, (8, *(side or 2 for side in shape[1:]))).astype("float32")
    try:
        values = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(logits)))
    except Exception:  # any function of a user
        return None
    if values.shape == logits.shape and np.array_equal(values, logits):
        return kind
    if kind != LOGITS or not np.isfinite(values).all() or np.ptp(values) == 0.0:
        return None  # also for a softmax over one unit, which is constant
    if values.min() < 0.0 or values.max() > 1.001:
        return LOGITS
    sums_to_one = values.shape[-1] > 1 and np.allclose(values.sum(axis=-1), 1.0, atol=1e-3)
    return SOFTMAX if sums_to_one else SIGMOID
