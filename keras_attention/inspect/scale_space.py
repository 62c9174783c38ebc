"""Draws how a mask arises from the outputs of two layers.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), figures 4 and 8.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.calls import Call, call_on_images
from keras_attention.inspect.panels import ROWS_SHOWN, Column, draw_panels, input_column
from keras_attention.inspect.pictures import (
    channels_last,
    channels_shown,
    most_varied,
    square_mosaics,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS_SHOWN = 16


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of layers that compare two outputs, of images or sequences."""
    return [
        call
        for call in calls
        if callable(getattr(call.layer, "steps", None))
        and isinstance(call.input_shape, list)
        and len(call.output_shape) in (3, 4)
    ]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer's steps: a row an image, with up to 16 channels of each map."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    inputs, _ = call_on_images(model, layer, images)
    maps = {"y_prev": inputs[0], "y": inputs[1], **layer.steps(inputs)}
    arrays = {name: channels_last(array, layer) for name, array in maps.items()}
    title = title or f"What {model.name} attends to: {layer.name}"
    of_maps = _of_sequences if arrays["y"].ndim == 3 else _of_images
    return draw_panels([input_column(images, layer), *of_maps(arrays)], title)


def _of_images(arrays: dict[str, np.ndarray]) -> list[Column]:
    shown = most_varied(arrays["mask"], CHANNELS_SHOWN)
    columns = []
    for name, maps in arrays.items():
        # The previous layer's channels are others, and not as many.
        kept = most_varied(maps, CHANNELS_SHOWN) if name == "y_prev" else shown
        heading = f"{name}\n{channels_shown(len(kept), maps.shape[-1])}"
        columns.append(Column(heading, square_mosaics(maps, kept), quantity=_quantity(name)))
    return columns


def _of_sequences(arrays: dict[str, np.ndarray]) -> list[Column]:
    return [
        Column(name, maps.swapaxes(1, 2), axes=("step", "channel"), quantity=_quantity(name))
        for name, maps in arrays.items()
    ]


def _quantity(name: str) -> str:
    return "activation" if name in ("y_prev", "y") else name
