"""The calls of a functional model's layers, in order."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras

Tensor = Any


def is_functional(layer: Any) -> bool:
    """Whether it is a functional or sequential model that is built."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def functional(model: Any) -> keras.Model:
    """The functional model that a functional or sequential one is.

    Raises:
        ValueError: For any other, or one that is not built.
    """
    if not is_functional(model):
        raise ValueError(
            "`model` must be a functional or sequential Keras model that is built. "
            f"Received: model={model!r}"
        )
    return model._functional if isinstance(model, keras.Sequential) else model


def nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional model, each after those that it needs; without the inputs.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="inside")])
    >>> [node.operation.name for node in nodes(functional(model))]
    ['inside']
    """
    by_depth = model._nodes_by_depth
    ordered = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in ordered if not node.is_input]


def inputs_like(model: keras.Model) -> Any:
    """New inputs of the old names: servers ask for them by name."""
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=tensor._keras_history.operation.name,
        ),
        model.input,
    )


def traced(model: keras.Model) -> keras.Model:
    """The functional model that any model is: a subclassed one is called once, on Keras tensors.

    Args:
        model: A Keras model that is built. Of a subclassed one the call is of inference: what it
            decides by `if training:` in Python stays decided; layers inside still learn of it.

    Raises:
        ValueError: For what is no model, or one that is not built or cannot be called so.

    Example:
    >>> class Own(keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.top = keras.layers.Dense(2, name="top")
    ...     def call(self, inputs):
    ...         return self.top(inputs)
    >>> model = Own()
    >>> _ = model(keras.ops.ones((1, 3)))
    >>> traced(model).get_layer("top") is model.top
    True
    """
    if not isinstance(model, keras.Model) or is_functional(model):
        return functional(model)
    shape: Any = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not _is_shape(shape):
        raise ValueError(
            "A subclassed `model` must have been called on its one input before. "
            f"Received: {model.name!r}"
        )
    inputs = keras.Input(tuple(shape)[1:], name="inputs")
    try:
        outputs = model.call(inputs)
    except Exception as error:
        raise ValueError(
            "A subclassed `model` must be callable on Keras tensors, by layers and keras.ops. "
            f"Received: {model.name!r}, which raised {error}"
        ) from error
    return keras.Model(inputs, outputs, name=model.name)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, (list, tuple)) and all(
        side is None or isinstance(side, int) for side in shape
    )


def unrolled(model: keras.Model) -> keras.Model:
    """The same calls of the same layers, those of models inside among them.

    Args:
        model: A functional or sequential model.

    Returns:
        A functional model of no models: the given one, where it is that already. Weights are
        shared.

    Example:
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="inside")])
    >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(1, name="outside")])
    >>> [layer.name for layer in unrolled(outer).layers[1:]]
    ['inside', 'outside']
    """
    graph = functional(model)
    if not any(is_functional(layer) for layer in graph.layers):
        return graph
    inputs = inputs_like(graph)
    return keras.Model(inputs, run(graph, inputs), name=model.name)


def run(
    model: keras.Model,
    inputs: Any,
    training: bool | None = None,
    behind: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    **_: Any,
) -> Any:
    """Calls a model's layers once more, those of models inside by themselves.

    Args:
        model: A functional or sequential model.
        inputs: Keras tensors, nested as the model's.
        training: As of a call of the model.
        behind: What the output of a layer goes through before others read it, by the layer's name.

    Returns:
        Keras tensors, nested as the model's outputs.
    """
    graph, behind = functional(model), behind or {}
    values = dict(zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True))
    for node in nodes(graph):
        layer = node.operation
        call = partial(run, layer, behind=behind) if is_functional(layer) else layer
        args, kwargs = node.arguments.fill_in(values)
        # What a model was called with counts for its layers.
        if training is not None and isinstance(layer, keras.Layer):
            kwargs = {"training": training} | {k: v for k, v in kwargs.items() if v is not None}
        outputs = keras.tree.flatten(call(*args, **kwargs))
        if layer.name in behind:
            outputs = [behind[layer.name](outputs[0])]
        values.update(zip(map(id, node.outputs), outputs, strict=True))
    return keras.tree.map_structure(lambda old: values[id(old)], graph._outputs_struct)
