"""Which steps a layer consists of."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention.graphs import reductions, steps
from keras_attention.graphs.steps import Step, Tensor

NOTHING = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout2D,
)


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
    raise UnusualLayerError(f"{layer.name!r} ({type(layer).__name__}) has no known steps.")


def steps_of_call(node: Any) -> list[Step]:
    """Takes the call of a layer or of an operation apart.

    Args:
        node: A call in the graph of a model.

    Raises:
        UnusualLayerError: For what has no known steps.
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
    return [steps.Channels(start, stop)]


def _activation(function: Any) -> list[Step]:
    if function in (None, keras.activations.linear):
        return []
    if function is keras.activations.softmax:
        return [steps.Softmax()]
    slope = _SLOPES.get(function)
    if slope is None:
        raise UnusualLayerError(f"The activation {function!r} has no known derivative.")
    return [steps.Pointwise(function, slope, function is keras.activations.relu)]


def _convolution(layer: Any) -> list[Step]:
    if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
        raise UnusualLayerError(f"{layer.name!r} has groups or dilation.")
    return [steps.Convolution(layer), *_activation(layer.activation)]


def _dense(layer: Any) -> list[Step]:
    return [steps.Matrix(layer), *_activation(layer.activation)]


def _normalization(layer: Any) -> list[Step]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    rank = layer.input_spec.ndim
    if axes not in ([-1], [rank - 1]):
        raise UnusualLayerError(f"{layer.name!r} does not normalize the last axis.")
    return [steps.Normalization(layer)]


def _relu(layer: Any) -> list[Step]:
    if (layer.max_value, float(layer.negative_slope), float(layer.threshold)) != (None, 0.0, 0.0):
        raise UnusualLayerError(f"{layer.name!r} is not the plain ReLU.")
    return _activation(keras.activations.relu)


def _leaky_relu(layer: Any) -> list[Step]:
    slope = float(layer.negative_slope)

    def function(x: Tensor) -> Tensor:
        return ops.leaky_relu(x, slope)

    return [steps.Pointwise(function, lambda x, y: ops.where(x > 0, 1.0, slope))]


def _softmax(layer: Any) -> list[Step]:
    if layer.axis != -1:
        raise UnusualLayerError(f"{layer.name!r} is not over the last axis.")
    return [steps.Softmax()]


def _pooling(layer: Any) -> list[Step]:
    if layer.padding != "valid":
        raise UnusualLayerError(f"{layer.name!r} pools over the border.")
    return [reductions.Pooling(layer)]


_SLOPES: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    keras.activations.relu: lambda x, y: y > 0,
    keras.activations.tanh: lambda x, y: 1.0 - ops.square(y),
    keras.activations.sigmoid: lambda x, y: y * (1.0 - y),
    keras.activations.elu: lambda x, y: ops.where(x > 0, 1.0, y + 1.0),
    keras.activations.softplus: lambda x, y: ops.sigmoid(x),
    keras.activations.silu: lambda x, y: y + ops.sigmoid(x) * (1.0 - y),
}
_RULES: tuple[tuple[tuple[Any, ...], Callable[[Any], list[Step]]], ...] = (
    (NOTHING, lambda layer: []),
    ((keras.layers.Conv2D,), _convolution),
    ((keras.layers.Dense,), _dense),
    ((keras.layers.BatchNormalization,), _normalization),
    ((keras.layers.Activation,), lambda layer: _activation(layer.activation)),
    ((keras.layers.ReLU,), _relu),
    ((keras.layers.LeakyReLU,), _leaky_relu),
    ((keras.layers.Softmax,), _softmax),
    ((keras.layers.GlobalMaxPooling2D,), lambda layer: [reductions.GlobalMaximum(layer.keepdims)]),
    ((keras.layers.GlobalAveragePooling2D,), lambda layer: [reductions.GlobalMean(layer.keepdims)]),
    ((keras.layers.MaxPooling2D, keras.layers.AveragePooling2D), _pooling),
    ((keras.layers.ZeroPadding2D,), lambda layer: [steps.Padding(layer.padding)]),
    ((keras.layers.Reshape,), lambda layer: [steps.Reshaping(tuple(layer.target_shape))]),
    ((keras.layers.Flatten,), lambda layer: [steps.Reshaping((-1,))]),
)
