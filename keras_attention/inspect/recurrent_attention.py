"""Draws the masks through which recurrent cells see a sequence.

Reference: the competitor RAN of Garg et al., SAN: Scale-Space Attention Networks (2020).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.calls import Call, arguments_on_images
from keras_attention.inspect.panels import ROWS_SHOWN, Column, draw_panels, input_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES = {"read": "value", "mask": "mask", "read times mask": "value"}


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of recurrent layers whose cell sees its input through a mask."""
    return [call for call in calls if hasattr(getattr(call.layer, "cell", None), "attention")]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer: a row a sequence, with what the layer reads and what its cell sees."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    arguments, options, _ = arguments_on_images(model, layer, images)
    masks = _masks(layer, *arguments, **options)
    read = keras.ops.convert_to_numpy(keras.ops.cast(arguments[0], "float32"))
    shown = {"read": read, "mask": masks, "read times mask": read * masks}
    columns = [
        Column(name, arrays.swapaxes(1, 2), axes=("step", "feature"), quantity=QUANTITIES[name])
        for name, arrays in shown.items()
    ]
    title = title or f"What {model.name} attends to: {layer.name}"
    return draw_panels([input_column(images, layer), *columns], title)


class _MaskCell(keras.Layer):
    """Gives the mask of each step, and remembers what the attending cell remembers."""

    def __init__(self, cell: Any):
        super().__init__(dtype=cell.dtype_policy)
        self.cell = cell
        self.state_size = cell.state_size

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return self.cell.get_initial_state(batch_size)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        mask = self.cell.attention(inputs, keras.tree.flatten(states)[0])
        _, states = self.cell(inputs, states, training=training)
        return mask, states


def _masks(layer: Any, *arguments: Any, **options: Any) -> np.ndarray:
    """Repeats a layer's call for its masks, `(B, T, features)`; 0 where a step is masked out."""
    recurrent = keras.layers.RNN(
        _MaskCell(layer.cell),
        return_sequences=True,
        go_backwards=layer.go_backwards,
        zero_output_for_mask=True,
        dtype=layer.dtype_policy,
    )
    masks = keras.ops.convert_to_numpy(recurrent(*arguments, **options))
    return masks[:, ::-1] if layer.go_backwards else masks
