"""A model as steps that can be gone back by forward operations alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.functional import functional_graph, is_functional, nodes
from keras_attention.graph.vjp_rules import (
    NORMED,
    Channels,
    Convolution,
    GlobalMaximum,
    GlobalMean,
    Gradient,
    Matrix,
    Normalization,
    Padding,
    Pointwise,
    Pooling,
    Reshaping,
    Rows,
    Softmax,
    Step,
)

Tensor = Any
Wire = int
Values = dict[Wire, Tensor]
START: Wire = 0
NOTHING = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout2D,
)
_SLOPES: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    keras.activations.relu: lambda x, y: y > 0,
    keras.activations.tanh: lambda x, y: 1.0 - ops.square(y),
    keras.activations.sigmoid: lambda x, y: y * (1.0 - y),
    keras.activations.elu: lambda x, y: ops.where(x > 0, 1.0, y + 1.0),
    keras.activations.softplus: lambda x, y: ops.sigmoid(x),
    keras.activations.silu: lambda x, y: y + ops.sigmoid(x) * (1.0 - y),
}


class Reversible:
    """What a model computes in inference, step by step, and the gradient by its input.

    A gradient within a model is nothing that ONNX or LiteRT know. Convolution, batch normalization,
    usual activations, pooling and dense layers have gradients that are forward operations again.

    Args:
        model: A functional or sequential model of one input, built, whose layers each read one
            tensor.

    Raises:
        UnusualLayerError: For layers of other kinds.
        ValueError: For a model without a graph.

    Example:
    >>> from keras import ops
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("tanh")])
    >>> reversible = Reversible(model)
    >>> values = reversible.forward(ops.zeros((1, 3)))
    >>> [float(g) for g in reversible.backward(values, [ops.ones((1, 3))])[0]]
    [1.0, 1.0, 1.0]
    """

    def __init__(self, model: keras.Model):
        self.steps: list[tuple[Step, Wire, Wire]] = []
        self._count = START
        self.outputs = self._lay_out(functional_graph(model), START)
        self._put_maxima_first()

    def _lay_out(self, graph: keras.Model, source: Wire) -> list[Wire]:
        """Adds the steps of a model; returns the wires of its outputs."""
        wires = {id(graph.inputs[0]): source}
        for node in nodes(graph):
            if len(node.input_tensors) != 1:
                raise UnusualLayerError(f"{node.operation.name!r} reads several tensors.")
            wire = wires[id(node.input_tensors[0])]
            if is_functional(node.operation):
                made = self._lay_out(functional_graph(node.operation), wire)
            else:
                made = [self._chain(steps_of_call(node), wire)]
            wires.update((id(tensor), end) for tensor, end in zip(node.outputs, made, strict=True))
        return [wires[id(tensor)] for tensor in graph.outputs]

    def _chain(self, chain: Sequence[Step], wire: Wire) -> Wire:
        for step in chain:
            self._count += 1
            self.steps.append((step, wire, self._count))
            wire = self._count
        return wire

    def _put_maxima_first(self) -> None:
        """A global maximum before ReLU instead of behind it: a pass over the map less."""
        readers = self._readers()
        for index, (step, source, made) in enumerate(self.steps):
            if not (isinstance(step, Pointwise) and step.keeps_maxima) or made in self.outputs:
                continue
            behind = readers[made]
            if len(behind) == 1 and isinstance(self.steps[behind[0]][0], GlobalMaximum):
                maximum, _, end = self.steps[behind[0]]
                self.steps[index] = maximum, source, made
                self.steps[behind[0]] = step, made, end

    def _readers(self) -> dict[Wire, list[int]]:
        readers: dict[Wire, list[int]] = {wire: [] for wire in range(self._count + 1)}
        for index, (_, source, _) in enumerate(self.steps):
            readers[source].append(index)
        return readers

    @property
    def first(self) -> tuple[Convolution, Wire] | None:
        """The convolution that alone reads the input, and the wire of its products."""
        reading = self._readers()[START]
        step, _, made = self.steps[reading[0]] if len(reading) == 1 else (None, 0, 0)
        return (step, made) if isinstance(step, Convolution) else None

    def forward(self, inputs: Tensor = None, known: Mapping[Wire, Tensor] | None = None) -> Values:
        """Computes what all wires hold.

        Args:
            inputs: What the model reads.
            known: What some wires hold, which is not computed then; in the stead of the inputs.
        """
        values: Values = {START: inputs} if known is None else dict(known)
        for step, source, made in self.steps:
            if made not in values:
                values[made] = step.forward(values[source])
        return values

    def answers(self, values: Values) -> list[Tensor]:
        """What the model returns, in a flat list."""
        return [values[wire] for wire in self.outputs]

    def backward(self, values: Values, gradients: Sequence[Gradient]) -> Tensor:
        """Computes the gradient by the input, a tensor of its shape; None where nothing counts.

        Args:
            values: What `forward` returned.
            gradients: By each of the answers; None for what does not count.
        """
        gradient = self.sparse_backward(values, gradients)
        return None if gradient is None else _whole(gradient, values[START])

    def sparse_backward(self, values: Values, gradients: Sequence[Gradient]) -> Gradient:
        """Computes the gradient by the input as it comes: a tensor or what stands for one.

        Args:
            values: What `forward` returned.
            gradients: By each of the answers; None for what does not count.
        """
        found: dict[Wire, Gradient] = {}
        for wire, gradient in zip(self.outputs, gradients, strict=True):
            _add(found, values, wire, gradient)
        for step, source, made in reversed(self.steps):
            if made in found:
                gradient = found.pop(made)
                if not (isinstance(gradient, Rows) and step.takes_rows):
                    gradient = _whole(gradient, values[made])
                gradient = step.backward(values[source], values[made], gradient)
                _add(found, values, source, gradient)
        return found.get(START)


def _add(found: dict[Wire, Gradient], values: Values, wire: Wire, gradient: Gradient) -> None:
    """Adds a gradient to what others brought to the same wire."""
    if gradient is None:
        return
    if wire not in found:
        found[wire] = gradient
        return
    found[wire] = _whole(found[wire], values[wire]) + _whole(gradient, values[wire])


def _whole(gradient: Gradient, like: Tensor) -> Tensor:
    if isinstance(gradient, Rows):
        return gradient.whole(like)
    return gradient.whole() if isinstance(gradient, NORMED) else gradient


class UnusualLayerError(ValueError):
    """A layer whose steps are not known: its gradient is left to the backend."""


def steps_of(layer: Any) -> list[Step]:
    """Takes a layer apart, as it is in inference.

    Args:
        layer: A built Keras layer that is no model.

    Returns:
        The steps, one after the other; none for what changes nothing.

    Raises:
        UnusualLayerError: For a layer of another kind, or with options that are not usual.

    Example:
    >>> layer = keras.layers.Dense(2, activation="relu")
    >>> layer.build((None, 3))
    >>> [type(step).__name__ for step in steps_of(layer)]
    ['Matrix', 'Pointwise']
    """
    if getattr(layer, "quantization_mode", None) is not None:
        raise UnusualLayerError(f"{layer.name!r} is quantized, so its weights are not its kernel.")
    for kinds, expand in _RULES:
        if type(layer) in kinds and getattr(layer, "data_format", None) != "channels_first":
            return expand(layer)
    raise UnusualLayerError(f"{layer.name!r} ({type(layer).__name__}) has no known ")


def steps_of_call(node: Any) -> list[Step]:
    """Takes the call of a layer or of an operation apart.

    Args:
        node: A call in the graph of a model.

    Raises:
        UnusualLayerError: For what has no known
    """
    if type(node.operation).__name__ == "GetItem":
        return _channels(node)
    return steps_of(node.operation)


def _channels(node: Any) -> list[Step]:
    """Slices of the last axis."""
    call = node.arguments
    key = call.args[1] if len(call.args) > 1 else call.kwargs["key"]
    rank = len(node.input_tensors[0].shape)
    key = key if isinstance(key, tuple) else (key,)
    whole = [part for part in key[:-1] if part not in (Ellipsis, slice(None))]
    is_last = Ellipsis in key[:-1] or len(key) == rank
    if whole or not is_last or not isinstance(key[-1], slice):
        raise UnusualLayerError(f"{node.operation.name!r} takes other parts than channels.")
    start, stop, step = key[-1].indices(node.input_tensors[0].shape[-1])
    if step != 1:
        raise UnusualLayerError(f"{node.operation.name!r} leaves channels out.")
    return [Channels(start, stop)]


def _activation(function: Any) -> list[Step]:
    if function in (None, keras.activations.linear):
        return []
    if function is keras.activations.softmax:
        return [Softmax()]
    slope = _SLOPES.get(function)
    if slope is None:
        raise UnusualLayerError(f"The activation {function!r} has no known derivative.")
    return [Pointwise(function, slope, function is keras.activations.relu)]


def _convolution_rules(layer: Any) -> list[Step]:
    if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
        raise UnusualLayerError(f"{layer.name!r} has groups or dilation.")
    return [Convolution(layer), *_activation(layer.activation)]


def _dense_rules(layer: Any) -> list[Step]:
    return [Matrix(layer), *_activation(layer.activation)]


def _normalization(layer: Any) -> list[Step]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    rank = layer.input_spec.ndim
    if axes not in ([-1], [rank - 1]):
        raise UnusualLayerError(f"{layer.name!r} does not normalize the last axis.")
    return [Normalization(layer)]


def _relu(layer: Any) -> list[Step]:
    if (layer.max_value, float(layer.negative_slope), float(layer.threshold)) != (None, 0.0, 0.0):
        raise UnusualLayerError(f"{layer.name!r} is not the plain ReLU.")
    return _activation(keras.activations.relu)


def _leaky_relu(layer: Any) -> list[Step]:
    slope = float(layer.negative_slope)

    def function(x: Tensor) -> Tensor:
        return ops.leaky_relu(x, slope)

    return [Pointwise(function, lambda x, y: ops.where(x > 0, 1.0, slope))]


def _softmax(layer: Any) -> list[Step]:
    if layer.axis != -1:
        raise UnusualLayerError(f"{layer.name!r} is not over the last axis.")
    return [Softmax()]


def _pooling(layer: Any) -> list[Step]:
    if layer.padding != "valid":
        raise UnusualLayerError(f"{layer.name!r} pools over the border.")
    return [Pooling(layer)]


_RULES: tuple[tuple[tuple[Any, ...], Callable[[Any], list[Step]]], ...] = (
    (NOTHING, lambda layer: []),
    ((keras.layers.Conv2D,), _convolution_rules),
    ((keras.layers.Dense,), _dense_rules),
    ((keras.layers.BatchNormalization,), _normalization),
    ((keras.layers.Activation,), lambda layer: _activation(layer.activation)),
    ((keras.layers.ReLU,), _relu),
    ((keras.layers.LeakyReLU,), _leaky_relu),
    ((keras.layers.Softmax,), _softmax),
    ((keras.layers.GlobalMaxPooling2D,), lambda layer: [GlobalMaximum(layer.keepdims)]),
    ((keras.layers.GlobalAveragePooling2D,), lambda layer: [GlobalMean(layer.keepdims)]),
    ((keras.layers.MaxPooling2D, keras.layers.AveragePooling2D), _pooling),
    ((keras.layers.ZeroPadding2D,), lambda layer: [Padding(layer.padding)]),
    ((keras.layers.Reshape,), lambda layer: [Reshaping(tuple(layer.target_shape))]),
    ((keras.layers.Flatten,), lambda layer: [Reshaping((-1,))]),
)
