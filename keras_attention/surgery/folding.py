"""Folds batch normalization into the weights of the layers before it, for inference."""

from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import (
    Node,
    first_tensor,
    functional_graph,
    inputs_like,
    is_functional,
    replay,
)
from keras_attention.graph.structure import Graph
from keras_attention.layers.dynamic_capacity import MODEL_ARGUMENTS, PatchRefiner

Tensor = Any

# Layers whose kernels have the output channels last.
FOLDABLE = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)


def fold_batch_normalization(model: keras.Model) -> keras.Model:
    """Creates an inference model in which batch normalization is part of convolutions.

    In inference, batch normalization multiplies its inputs by constants and adds constants. If it
    follows a convolution or a dense layer without activation, both are merged into the kernel and
    the bias. This includes nested models and the models of a `PatchRefiner`. Other batch
    normalization layers remain.

    Args:
        model: Functional or sequential Keras model.

    Returns:
        A model with the same inputs, and the same outputs up to rounding. It shares the layers that
        do not change with `model`, which stays as it is. It is not intended for training.

    Raises:
        ValueError: If `model` is neither functional nor sequential.

    Example:
    >>> model = keras.Sequential([
    ...     keras.Input((8, 8, 1)),
    ...     keras.layers.Conv2D(4, 3, use_bias=False),
    ...     keras.layers.BatchNormalization(),
    ... ])
    >>> [layer.name.split("_")[0] for layer in fold_batch_normalization(model).layers[1:]]
    ['conv2d']
    """
    graph = functional_graph(model)
    structure = Graph(graph)
    replacements: dict[int, Any] = {}

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        if _is_foldable(node, structure):
            return first_tensor(args, kwargs)
        layer = node.operation
        if id(layer) not in replacements:
            replacements[id(layer)] = _replacement(node, structure)
        return replacements[id(layer)](*args, **kwargs)

    inputs = inputs_like(graph)
    return keras.Model(inputs, replay(graph, inputs, call), name=model.name)


def _is_foldable(node: Node, structure: Graph) -> bool:
    """Returns True if the node is a normalization that the layer before it can take over."""
    layer = node.operation
    if not isinstance(layer, keras.layers.BatchNormalization):
        return False
    if node.arguments.kwargs.get("training"):  # It uses the statistics of the batch in inference.
        return False
    before = structure.producer(node.input_tensors[0])
    if before is None or type(before.operation) not in FOLDABLE:
        return False
    is_only_reader = (
        structure.consumers(before) == [node] and id(before.outputs[0]) not in structure.outputs
    )
    is_called_once = all(
        sum(other.operation is one.operation for other in structure.nodes) == 1
        for one in (node, before)
    )
    is_linear = before.operation.activation is keras.activations.linear
    # The kernel attribute of a quantized layer does not hold its weights.
    is_linear = is_linear and before.operation.quantization_mode is None
    return is_only_reader and is_called_once and is_linear and _normalizes_channels(layer, before)


def _normalizes_channels(layer: keras.layers.BatchNormalization, before: Node) -> bool:
    rank = len(before.outputs[0].shape)
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    first = getattr(before.operation, "data_format", None) == "channels_first"
    return axis % rank == (1 if first else rank - 1)


def _replacement(node: Node, structure: Graph) -> Any:
    """Returns the operation to call for a node: the same one, or one with folded weights."""
    layer = node.operation
    if is_functional(layer):
        return fold_batch_normalization(layer)
    if isinstance(layer, PatchRefiner):
        return _fold_refiner(layer)
    consumers = structure.consumers(node) if type(layer) in FOLDABLE else []
    if len(consumers) == 1 and _is_foldable(consumers[0], structure):
        return _fold_layer(layer, consumers[0].operation, node.input_tensors[0].shape)
    return layer


def _fold_layer(layer: keras.Layer, normalization: keras.Layer, shape: Any) -> keras.Layer:
    """Returns a layer that computes a layer and the batch normalization after it."""
    factor = 1.0 / np.sqrt(_array(normalization.moving_variance) + normalization.epsilon)
    if normalization.scale:
        factor = factor * _array(normalization.gamma)
    shift = -_array(normalization.moving_mean) * factor
    if normalization.center:
        shift = shift + _array(normalization.beta)
    if layer.use_bias:
        shift = shift + _array(layer.bias) * factor
    config = {**layer.get_config(), "use_bias": True}
    # `layer.kernel` is the sum of the kernel and of the LoRA product.
    for name in ("lora_rank", "lora_alpha"):
        config.pop(name, None)
    folded = type(layer).from_config(config)
    folded.build(shape)
    folded.set_weights([_array(layer.kernel) * factor, shift])
    return folded


def _fold_refiner(layer: PatchRefiner) -> PatchRefiner:
    config = layer.get_config()
    for argument in MODEL_ARGUMENTS:
        model = getattr(layer, argument)
        config[argument] = fold_batch_normalization(model) if is_functional(model) else model
    return PatchRefiner(**config)


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype("float64")
