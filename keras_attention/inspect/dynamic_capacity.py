"""Draws which patches of an image are looked at finely, and why.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), figures 3 and 6.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.calls import Call, call_on_images
from keras_attention.inspect.panels import ROWS_SHOWN, Column, draw_panels, input_column
from keras_attention.inspect.pictures import as_image, channels_last, mosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of layers that refine patches."""
    return [call for call in calls if "positions" in getattr(call.layer, "attention_names", ())]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer: a row an image with its patches, its saliency, and the patches."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    seen, _ = call_on_images(model, layer, images)
    answer, saliency, positions = layer(seen, training=False, return_attention=True)
    pictures = channels_last(seen, layer)
    positions = keras.ops.convert_to_numpy(positions)
    starts = positions * layer.place.stride - np.array(layer.place.offset)
    notes = _notes(layer, seen, answer)
    columns = [
        Column("image", input_column(images, layer).pictures, is_input=True, notes=notes),
        Column("saliency", keras.ops.convert_to_numpy(saliency), quantity="saliency"),
        Column(
            f"{starts.shape[1]} patches",
            _patches(pictures, starts, layer.place.size),
            is_input=True,
        ),
    ]
    figure = draw_panels(columns, title or f"Where {model.name} looks finely: {layer.name}")
    for row, places in enumerate(starts):
        _outline(figure.axes[row * len(columns)], places, layer.place.size)
    return figure


def _notes(layer: Any, seen: Any, answer: Any) -> list[str]:
    """What the top said first, and of the refined map."""
    if not layer.include_top:
        return []
    first = _classes(layer.top(layer.coarse(seen)), layer.outputs)
    then = _classes(answer, layer.outputs)
    return [f"first {one}, then {other}" for one, other in zip(first, then, strict=True)]


def _classes(answers: Any, outputs: Sequence[int] | None) -> list[str]:
    """The likeliest class of each image, or those of all answers that count."""
    flat = keras.tree.flatten(answers)
    flat = flat if outputs is None else [flat[index] for index in outputs]
    likeliest = [keras.ops.convert_to_numpy(keras.ops.argmax(part, axis=-1)) for part in flat]
    return [" ".join(map(str, image)) for image in zip(*likeliest, strict=True)]


def _patches(pictures: np.ndarray, starts: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The patches of each image, the most salient first, side by side; zeros beyond its border."""
    height, width = size
    margin = max(size) + int(np.abs(starts).max())
    around = ((margin, margin), (margin, margin), (0, 0))
    laid_out = []
    for picture, places in zip(pictures, starts + margin, strict=True):
        padded = np.pad(picture, around)
        cut = [padded[top : top + height, left : left + width] for top, left in places]
        gray = [as_image(patch) if patch.shape[-1] != 3 else patch.mean(axis=-1) for patch in cut]
        laid_out.append(mosaic(np.stack(gray, axis=-1), math.ceil(math.sqrt(len(gray)))))
    return np.stack(laid_out)


def _outline(axes: Any, places: np.ndarray, size: Sequence[int]) -> None:
    """Frames the patches on an image, the most salient last and widest."""
    from matplotlib.patches import Rectangle

    for rank, (top, left) in reversed(list(enumerate(places))):
        frame = Rectangle(
            (left - 0.5, top - 0.5),
            size[1],
            size[0],
            fill=False,
            edgecolor=style.FRAME,
            linewidth=2.0 if rank == 0 else 0.9,
        )
        axes.add_patch(frame)
