"""What surgeries share when they copy a model."""

from typing import Any

import keras


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
