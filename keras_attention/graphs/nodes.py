"""The calls of a functional model's layers, in order."""

from typing import Any

import keras


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
