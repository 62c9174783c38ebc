"""Draws masks over the channels and the places of a map.

References: Woo et al., CBAM: Convolutional Block Attention Module (2018); Park et al., BAM:
Bottleneck Attention Module (2018); shown as in figure 8 of Garg et al., SAN: Scale-Space Attention
Networks (2020).
"""

import inspect
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
    """Keeps the calls of layers that give the mask by which they multiply a map of images."""
    return [
        call
        for call in calls
        if call.output_shape == call.input_shape
        and len(call.output_shape) == 4
        and "return_attention" in inspect.signature(call.layer.call).parameters
    ]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer: a row an image, with its map, the mask, and the map that leaves."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    inputs, outputs = call_on_images(model, layer, images)
    _, mask = layer(inputs, training=False, return_attention=True)
    arrays = [channels_last(array, layer) for array in (inputs, mask, outputs)]
    title = title or f"What {model.name} attends to: {layer.name}"
    return draw_panels([input_column(images, layer), *_columns(*arrays)], title)


def _columns(inputs: np.ndarray, mask: np.ndarray, outputs: np.ndarray) -> list[Column]:
    shown, total = most_varied(mask, CHANNELS_SHOWN), mask.shape[-1]
    by_channel, of_all = mask.mean(axis=(1, 2)), f"mean of {channels_shown(total, total)}"
    tiles = f"mask\n{channels_shown(len(shown), total)}"
    return [
        Column(f"map\n{of_all}", inputs.mean(axis=-1), quantity="activation"),
        Column(
            "mask of channels\nmean of places",
            by_channel[:, None],
            axes=("channel", ""),
            quantity="mask",
        ),
        Column(f"mask of places\n{of_all}", mask.mean(axis=-1), quantity="mask"),
        Column(tiles, square_mosaics(mask, shown), quantity="mask"),
        Column(f"attended map\n{of_all}", outputs.mean(axis=-1), quantity="activation"),
    ]
