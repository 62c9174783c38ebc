"""Batch normalization of inference, put into the weights of the layer before it."""

from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import functional, inputs_like, is_functional
from keras_attention.graph.structure import Graph
from keras_attention.layers.dynamic_capacity import PARTS, PatchRefiner

Tensor = Any

# Layers of products whose kernels have the outputs last.
FOLDS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)


def fold_batch_normalization(model: keras.Model) -> keras.Model:
    """Makes a model for inference without the batch normalizations that follow products.

    A normalization behind a convolution or a dense layer without activation multiplies and shifts
    what comes out, by constants in inference: so do another kernel and another bias. Models inside,
    and those of a `PatchRefiner`, are folded too. Other normalizations stay.

    Args:
        model: A functional or sequential Keras model.

    Returns:
        A model of the same inputs and outputs, to rounding. Layers that do not change are shared
        with `model`, which stays as it was; it is not for training.

    Raises:
        ValueError: For a model that is neither functional nor sequential.

    Example:
    >>> model = keras.Sequential([
    ...     keras.Input((8, 8, 1)),
    ...     keras.layers.Conv2D(4, 3, use_bias=False),
    ...     keras.layers.BatchNormalization(),
    ... ])
    >>> [layer.name.split("_")[0] for layer in fold_batch_normalization(model).layers[1:]]
    ['conv2d']
    """
    graph = functional(model)
    calls = Graph(graph)
    inputs = inputs_like(graph)
    values = dict(zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True))
    made: dict[int, Any] = {}
    for node in calls.nodes:
        args, kwargs = node.arguments.fill_in(values)
        if _is_folded(node, calls):
            outputs = args[0]
        else:
            outputs = _layer_for(node, calls, made)(*args, **kwargs)
        values.update(zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True))
    outputs = keras.tree.map_structure(lambda old: values[id(old)], graph._outputs_struct)
    return keras.Model(inputs, outputs, name=model.name)


def _is_folded(node: Any, calls: Graph) -> bool:
    """Whether a call is a normalization that the layer before it takes over."""
    layer = node.operation
    if not isinstance(layer, keras.layers.BatchNormalization):
        return False
    before = calls.maker(node.input_tensors[0])
    if before is None or type(before.operation) not in FOLDS:
        return False
    alone = calls.readers(before) == [node] and id(before.outputs[0]) not in calls.outputs
    once = all(
        sum(1 for n in calls.nodes if n.operation is one.operation) == 1 for one in (node, before)
    )
    linear = before.operation.activation is keras.activations.linear
    linear = linear and before.operation.quantization_mode is None  # or its kernel is not its own
    return alone and once and linear and _normalizes_outputs(layer, before)


def _normalizes_outputs(layer: keras.Layer, before: Any) -> bool:
    rank = len(before.outputs[0].shape)
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    first = getattr(before.operation, "data_format", None) == "channels_first"
    return axis % rank == (1 if first else rank - 1)


def _layer_for(node: Any, calls: Graph, made: dict[int, Any]) -> Any:
    """The layer that is called instead: the same, or one with what was folded."""
    layer = node.operation
    if id(layer) not in made:
        made[id(layer)] = _changed(node, calls)
    return made[id(layer)]


def _changed(node: Any, calls: Graph) -> Any:
    layer = node.operation
    if is_functional(layer):
        return fold_batch_normalization(layer)
    if isinstance(layer, PatchRefiner):
        return _refiner(layer)
    readers = calls.readers(node) if type(layer) in FOLDS else []
    if len(readers) == 1 and _is_folded(readers[0], calls):
        return _with_normalization(layer, readers[0].operation, node.input_tensors[0].shape)
    return layer


def _with_normalization(layer: keras.Layer, normalization: keras.Layer, shape: Any) -> keras.Layer:
    """A layer whose kernel and bias do what a normalization did behind it."""
    factor = 1.0 / np.sqrt(_array(normalization.moving_variance) + normalization.epsilon)
    if normalization.scale:
        factor = factor * _array(normalization.gamma)
    shift = -_array(normalization.moving_mean) * factor
    if normalization.center:
        shift = shift + _array(normalization.beta)
    if layer.use_bias:
        shift = shift + _array(layer.bias) * factor
    folded = type(layer).from_config({**layer.get_config(), "use_bias": True})
    folded.build(shape)
    folded.set_weights([_array(layer.kernel) * factor, shift])
    return folded


def _refiner(layer: PatchRefiner) -> PatchRefiner:
    config = layer.get_config()
    for part in PARTS:
        model = getattr(layer, part)
        config[part] = fold_batch_normalization(model) if is_functional(model) else model
    return PatchRefiner(**config)


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype("float64")
