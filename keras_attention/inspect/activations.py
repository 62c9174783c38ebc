"""Draws activation-based attention: where the map that a layer makes is active.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figure 4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.calls import Call, outputs_on_images
from keras_attention.inspect.heads import BRIGHTEST, OPACITY, as_pictures
from keras_attention.inspect.panels import (
    ROWS_SHOWN,
    Column,
    draw_panels,
    input_column,
)
from keras_attention.inspect.pictures import over
from keras_attention.ops.attention_transfer import attention_map
from keras_attention.utils.validation import nearest, standard_data_format

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Mean squares of the activations, divided by their norm over the places.
QUANTITY = "attention"


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of layers that make a map of images."""
    return [call for call in calls if _is_map(call.output_shape)]


def checked_names(layer: Any, calls: Sequence[Call], attending: Sequence[str]) -> list[str]:
    """Returns the names of layers that make maps, of one or several.

    Args:
        layer: What the user gave.
        calls: Of the model's layers.
        attending: Names of the layers with a mechanism, for the error.

    Raises:
        ValueError: For another name, with the nearest of those allowed.
    """
    names = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    maps = dict.fromkeys(call.layer.name for call in find(calls))
    wrong = [name for name in names if not (isinstance(name, str) and name in maps)]
    if not wrong:
        return names
    attend = f"one of {', '.join(map(repr, (None, *attending)))}, or " if attending else ""
    such = f", such as {list(maps)[-1]!r}" if maps else ""
    made = [call.output_shape for call in calls if call.layer.name == wrong[0]]
    raise ValueError(
        f"`layer` must be {attend}the name of a layer that makes a map (B, H, W, channels){such}, "
        f"or a list of them. Received: layer={layer!r}"
        + (f", and {wrong[0]!r} makes {made[-1]}." if made else ".")
        + (nearest(wrong[0], [*attending, *maps], 3) if isinstance(wrong[0], str) else "")
    )


def draw(
    calls: Sequence[Call],
    names: Sequence[str],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws a row an image: each layer's map, also of the model before, and it over the image."""
    images = images[:ROWS_SHOWN]
    sources = {name: _source(calls, name) for name in names}
    columns = [input_column(images, sources[names[0]])]
    pictures = as_pictures(images, sources[names[0]])
    now = maps_on_images("model", model, names, images)[1]
    earlier = maps_on_images("before", before, names, images)[1] if before is not None else {}
    for name, source in sources.items():
        data_format = getattr(source, "data_format", None)
        activity = _activity(now[name], data_format)
        past = _activity(earlier[name], data_format) if earlier else None
        columns += _columns(name, pictures, activity, past)
    return draw_panels(columns, title or f"What {model.name} attends to: {', '.join(names)}")


def maps_on_images(
    argument: str, model: keras.Model, names: Sequence[str], images: np.ndarray
) -> tuple[Any, dict[str, Any]]:
    """A model's answer, and what its layers put out by name.

    Raises:
        ValueError: Where the model, given as `argument`, does not call one of them.
    """
    answer, found = outputs_on_images(model, list(names), images)
    missing = [name for name in names if name not in found]
    if missing:
        own = [layer.name for layer in model._flatten_layers()]
        raise ValueError(
            f"`{argument}` must call layers of the names {', '.join(map(repr, names))}. "
            f"Received: {argument}={model.name!r} without {missing[0]!r}."
            + nearest(missing[0], own, 3)
        )
    return answer, found


def _is_map(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4


def _source(calls: Sequence[Call], name: str) -> keras.Layer:
    """The last layer up to this one that says where its channels are, such as a convolution."""
    last = max(index for index, call in enumerate(calls) if call.layer.name == name)
    before = [call.layer for call in reversed(calls[: last + 1])]
    return next((layer for layer in before if hasattr(layer, "data_format")), before[0])


def _columns(
    name: str, pictures: np.ndarray, activity: np.ndarray, before: np.ndarray | None
) -> list[Column]:
    size = " x ".join(map(str, activity.shape[1:]))
    columns = [
        Column(f"{name}\n{size}", activity, scale=name, quantity=QUANTITY),
        Column(f"{name}\nover the image", _overlays(pictures, activity), is_input=True),
    ]
    if before is None:
        return columns
    return [Column(f"{name}\nbefore", before, scale=name, quantity=QUANTITY), *columns]


def _activity(features: Any, data_format: str | None) -> np.ndarray:
    """`(B, H, W)`, the mean of squares, each of norm 1."""
    last = standard_data_format(data_format) == "channels_last"
    sides = features.shape[1:3] if last else features.shape[2:4]
    flat = attention_map(features, data_format=data_format)
    return keras.ops.convert_to_numpy(flat).reshape(-1, *sides)


def _overlays(pictures: np.ndarray, activities: np.ndarray) -> np.ndarray:
    """`(B, H, W, 3)`: the image in dark gray below the map, from 0 to its own maximum."""
    from matplotlib import colormaps

    shares = np.stack([over(one[..., None], pictures.shape[1:3])[..., 0] for one in activities])
    gray = pictures.mean(axis=-1) if pictures.ndim == 4 else pictures
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * shares)[..., None]
    colors = colormaps[style.COLORS](shares)[..., :3]
    return opacity * colors + (1.0 - opacity) * BRIGHTEST * gray[..., None]
