"""Vector-Jacobian products of a model, computed by forward operations only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.functional import Node, functional_graph, is_functional, nodes
from keras_attention.graph.vjp_rules import (
    GRADIENTS_WITH_NORMS,
    ChannelSlice,
    Convolution,
    GlobalAverage,
    GlobalMaximum,
    Gradient,
    MatrixProduct,
    Normalization,
    Padding,
    Pointwise,
    Pooling,
    Reshape,
    Softmax,
    SparseRows,
    VJPRule,
)

Tensor = Any
# Intermediate values of a model are numbered; value 0 is its input.
ValueIndex = int
Values = dict[ValueIndex, Tensor]
INPUT: ValueIndex = 0
IDENTITIES = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout2D,
)
# Derivatives of activations as functions of the value before and the value after.
_DERIVATIVES: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    keras.activations.relu: lambda x, y: y > 0,
    keras.activations.tanh: lambda x, y: 1.0 - ops.square(y),
    keras.activations.sigmoid: lambda x, y: y * (1.0 - y),
    keras.activations.elu: lambda x, y: ops.where(x > 0, 1.0, y + 1.0),
    keras.activations.softplus: lambda x, y: ops.sigmoid(x),
    keras.activations.silu: lambda x, y: y + ops.sigmoid(x) * (1.0 - y),
}


class SymbolicVJP:
    """The inference computation of a model, and its gradient with respect to the input.

    ONNX and LiteRT have no gradients. The gradients of convolution, batch normalization, common
    activations, pooling and dense layers are forward operations themselves, so that a model with
    such a gradient inside can be exported.

    Args:
        model: Functional or sequential model that is built, with one input, whose layers each read
            one tensor.

    Attributes:
        steps: Rules of the model in order, each with the indices of its input and its output.
        output_indices: Indices of the outputs of the model.

    Example:
    >>> from keras import ops
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("tanh")])
    >>> symbolic_vjp = SymbolicVJP(model)
    >>> values = symbolic_vjp.forward(ops.zeros((1, 3)))
    >>> [float(g) for g in symbolic_vjp.backward(values, [ops.ones((1, 3))])[0]]
    [1.0, 1.0, 1.0]
    """

    def __init__(self, model: keras.Model):
        self.steps: list[tuple[VJPRule, ValueIndex, ValueIndex]] = []
        self._last = INPUT
        self.output_indices = self._add_model(functional_graph(model), INPUT)
        self._move_maxima_before_relu()

    def _add_model(self, graph: keras.Model, source: ValueIndex) -> list[ValueIndex]:
        """Adds the steps of a model; returns the indices of its outputs."""
        indices = {id(graph.inputs[0]): source}
        for node in nodes(graph):
            if len(node.input_tensors) != 1:
                raise UnusualLayerError(f"{node.operation.name!r} reads several tensors.")
            index = indices[id(node.input_tensors[0])]
            if is_functional(node.operation):
                results = self._add_model(functional_graph(node.operation), index)
            else:
                results = [self._add_rules(rules_of_node(node), index)]
            indices.update(zip(map(id, node.outputs), results, strict=True))
        return [indices[id(tensor)] for tensor in graph.outputs]

    def _add_rules(self, rules: Sequence[VJPRule], index: ValueIndex) -> ValueIndex:
        for rule in rules:
            self._last += 1
            self.steps.append((rule, index, self._last))
            index = self._last
        return index

    def _move_maxima_before_relu(self) -> None:
        """Computes a global maximum before ReLU, which saves a pass over the map."""
        readers = self._readers()
        for index, (rule, source, result) in enumerate(self.steps):
            is_relu = isinstance(rule, Pointwise) and rule.is_relu
            if not is_relu or result in self.output_indices:
                continue
            behind = readers[result]
            if len(behind) == 1 and isinstance(self.steps[behind[0]][0], GlobalMaximum):
                maximum, _, end = self.steps[behind[0]]
                self.steps[index] = maximum, source, result
                self.steps[behind[0]] = rule, result, end

    def _readers(self) -> dict[ValueIndex, list[int]]:
        readers: dict[ValueIndex, list[int]] = {index: [] for index in range(self._last + 1)}
        for index, (_, source, _) in enumerate(self.steps):
            readers[source].append(index)
        return readers

    @property
    def first_convolution(self) -> tuple[Convolution, ValueIndex] | None:
        """The convolution that alone reads the input, and the index of its output."""
        reading = self._readers()[INPUT]
        rule, _, result = self.steps[reading[0]] if len(reading) == 1 else (None, 0, 0)
        return (rule, result) if isinstance(rule, Convolution) else None

    def forward(
        self, inputs: Tensor = None, known: Mapping[ValueIndex, Tensor] | None = None
    ) -> Values:
        """Computes all intermediate values.

        Args:
            inputs: Input of the model.
            known: Intermediate values that are known, in place of the inputs. Only values that
                depend on them are computed.
        """
        values: Values = {INPUT: inputs} if known is None else dict(known)
        for rule, source, result in self.steps:
            if result not in values:
                values[result] = rule.forward(values[source])
        return values

    def outputs(self, values: Values) -> list[Tensor]:
        """Returns the outputs of the model as a flat list."""
        return [values[index] for index in self.output_indices]

    def backward(self, values: Values, gradients: Sequence[Gradient]) -> Tensor:
        """Computes the gradient with respect to the input; None if all gradients are None.

        Args:
            values: Result of `forward`.
            gradients: Gradient with respect to each output; None for outputs without influence.
        """
        gradient = self.sparse_backward(values, gradients)
        return None if gradient is None else _to_dense(gradient, values[INPUT])

    def sparse_backward(self, values: Values, gradients: Sequence[Gradient]) -> Gradient:
        """Computes the gradient with respect to the input, in sparse or factored form if possible.

        Args:
            values: Result of `forward`.
            gradients: Gradient with respect to each output; None for outputs without influence.
        """
        found: dict[ValueIndex, Gradient] = {}
        for index, gradient in zip(self.output_indices, gradients, strict=True):
            _accumulate(found, values, index, gradient)
        for rule, source, result in reversed(self.steps):
            if result in found:
                gradient = found.pop(result)
                if not (isinstance(gradient, SparseRows) and rule.accepts_sparse_rows):
                    gradient = _to_dense(gradient, values[result])
                gradient = rule.backward(values[source], values[result], gradient)
                _accumulate(found, values, source, gradient)
        return found.get(INPUT)


def _accumulate(
    found: dict[ValueIndex, Gradient], values: Values, index: ValueIndex, gradient: Gradient
) -> None:
    """Adds a gradient to the other gradients with respect to the same value."""
    if gradient is None:
        return
    if index not in found:
        found[index] = gradient
        return
    found[index] = _to_dense(found[index], values[index]) + _to_dense(gradient, values[index])


def _to_dense(gradient: Gradient, like: Tensor) -> Tensor:
    if isinstance(gradient, SparseRows):
        return gradient.to_dense(like)
    return gradient.to_dense() if isinstance(gradient, GRADIENTS_WITH_NORMS) else gradient


class UnusualLayerError(ValueError):
    """Raised for layers without a rule; their gradient is left to the backend."""


def rules_of_node(node: Node) -> list[VJPRule]:
    """Returns the rules of one node of a model."""
    if type(node.operation).__name__ == "GetItem":
        return _channel_slice(node)
    return rules_of_layer(node.operation)


def rules_of_layer(layer: Any) -> list[VJPRule]:
    """Returns the rules of a layer in inference.

    Args:
        layer: Keras layer that is built and is not a model.

    Example:
    >>> layer = keras.layers.Dense(2, activation="relu")
    >>> layer.build((None, 3))
    >>> [type(rule).__name__ for rule in rules_of_layer(layer)]
    ['MatrixProduct', 'Pointwise']
    """
    if getattr(layer, "quantization_mode", None) not in (None, "int8", "float8"):
        raise UnusualLayerError(f"{layer.name!r} is quantized to another type than int8.")
    for kinds, make_rules in _RULES:
        if type(layer) in kinds and getattr(layer, "data_format", None) != "channels_first":
            return make_rules(layer)
    raise UnusualLayerError(f"{layer.name!r} ({type(layer).__name__}) has no known gradient.")


def _channel_slice(node: Node) -> list[VJPRule]:
    """Returns the rule of a slice of the last axis."""
    call = node.arguments
    key = call.args[1] if len(call.args) > 1 else call.kwargs["key"]
    rank = len(node.input_tensors[0].shape)
    key = key if isinstance(key, tuple) else (key,)
    other_axes = [part for part in key[:-1] if part not in (Ellipsis, slice(None))]
    is_last_axis = Ellipsis in key[:-1] or len(key) == rank
    if other_axes or not is_last_axis or not isinstance(key[-1], slice):
        raise UnusualLayerError(f"{node.operation.name!r} has indices other than channels.")
    start, stop, step = key[-1].indices(node.input_tensors[0].shape[-1])
    if step != 1:
        raise UnusualLayerError(f"{node.operation.name!r} has a step between channels.")
    return [ChannelSlice(start, stop)]


def _activation(function: Any) -> list[VJPRule]:
    if function in (None, keras.activations.linear):
        return []
    if function is keras.activations.softmax:
        return [Softmax()]
    derivative = _DERIVATIVES.get(function)
    if derivative is None:
        raise UnusualLayerError(f"The activation {function!r} has no known derivative.")
    return [Pointwise(function, derivative, function is keras.activations.relu)]


def _convolution(layer: Any) -> list[VJPRule]:
    if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
        raise UnusualLayerError(f"{layer.name!r} has groups or dilation.")
    return [Convolution(layer), *_activation(layer.activation)]


def _dense(layer: Any) -> list[VJPRule]:
    return [MatrixProduct(layer), *_activation(layer.activation)]


def _normalization(layer: Any) -> list[VJPRule]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    rank = layer.input_spec.ndim
    if axes not in ([-1], [rank - 1]):
        raise UnusualLayerError(f"{layer.name!r} does not normalize the last axis.")
    return [Normalization(layer)]


def _relu(layer: Any) -> list[VJPRule]:
    if (layer.max_value, float(layer.negative_slope), float(layer.threshold)) != (None, 0.0, 0.0):
        raise UnusualLayerError(f"{layer.name!r} is not the plain ReLU.")
    return _activation(keras.activations.relu)


def _leaky_relu(layer: Any) -> list[VJPRule]:
    slope = float(layer.negative_slope)

    def function(x: Tensor) -> Tensor:
        return ops.leaky_relu(x, slope)

    return [Pointwise(function, lambda x, y: ops.where(x > 0, 1.0, slope))]


def _softmax(layer: Any) -> list[VJPRule]:
    if layer.axis != -1:
        raise UnusualLayerError(f"{layer.name!r} is not over the last axis.")
    return [Softmax()]


def _pooling(layer: Any) -> list[VJPRule]:
    if layer.padding != "valid":
        raise UnusualLayerError(f"{layer.name!r} pools over the border.")
    return [Pooling(layer)]


_RULES: tuple[tuple[tuple[Any, ...], Callable[[Any], list[VJPRule]]], ...] = (
    (IDENTITIES, lambda layer: []),
    ((keras.layers.Conv2D,), _convolution),
    ((keras.layers.Dense,), _dense),
    ((keras.layers.BatchNormalization,), _normalization),
    ((keras.layers.Activation,), lambda layer: _activation(layer.activation)),
    ((keras.layers.ReLU,), _relu),
    ((keras.layers.LeakyReLU,), _leaky_relu),
    ((keras.layers.Softmax,), _softmax),
    ((keras.layers.GlobalMaxPooling2D,), lambda layer: [GlobalMaximum(layer.keepdims)]),
    ((keras.layers.GlobalAveragePooling2D,), lambda layer: [GlobalAverage(layer.keepdims)]),
    ((keras.layers.MaxPooling2D, keras.layers.AveragePooling2D), _pooling),
    ((keras.layers.ZeroPadding2D,), lambda layer: [Padding(layer.padding)]),
    ((keras.layers.Reshape,), lambda layer: [Reshape(tuple(layer.target_shape))]),
    ((keras.layers.Flatten,), lambda layer: [Reshape((-1,))]),
)
