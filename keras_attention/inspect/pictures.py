"""Turns feature maps into arrays that can be shown."""

import math
from typing import Any

import keras
import numpy as np


def channels_last(array: Any, layer: Any) -> np.ndarray:
    """Fetches a map or sequence of a layer in float32, its channels moved to the end."""
    array = keras.ops.convert_to_numpy(keras.ops.cast(array, "float32"))
    # Recurrent layers have no such setting: images before them are as Keras has them.
    data_format = getattr(layer, "data_format", keras.config.image_data_format())
    return array if data_format == "channels_last" else np.moveaxis(array, 1, -1)


def as_image(image: np.ndarray) -> np.ndarray:
    """Keeps `(H, W, 3)` as colors, makes anything else gray, and clips to `[0, 1]`."""
    picture = image if image.shape[-1] == 3 else image.mean(axis=-1)
    return np.clip(picture, 0.0, 1.0)


def most_varied(maps: np.ndarray, count: int) -> np.ndarray:
    """Picks the channels that vary most over the places of `(B, ..., channels)`, in their order."""
    places = tuple(range(1, maps.ndim - 1))
    spread = maps.std(axis=places).mean(axis=0)
    return np.sort(np.argsort(-spread, kind="stable")[:count])


def mosaic(maps: np.ndarray, columns: int) -> np.ndarray:
    """Lays the channels of `(H, W, channels)` out in rows of tiles, with NaN between them."""
    height, width, count = maps.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    gap_y, gap_x = max(1, height // 14), max(1, width // 14)
    canvas = np.full((rows * (height + gap_y) - gap_y, columns * (width + gap_x) - gap_x), np.nan)
    for index in range(count):
        top = (index // columns) * (height + gap_y)
        left = (index % columns) * (width + gap_x)
        canvas[top : top + height, left : left + width] = maps[..., index]
    return canvas


def channels_shown(shown: int, total: int) -> str:
    """Says how many of a map's channels a picture has.

    Example:
    >>> channels_shown(16, 64), channels_shown(6, 6), channels_shown(1, 1)
    ('16 of 64 channels', '6 channels', '1 channel')
    """
    if shown < total:
        return f"{shown} of {total} channels"
    return f"{total} channel{'s' * (total > 1)}"


def square_mosaics(maps: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Lays some channels of `(B, H, W, channels)` out as a mosaic for each of the `B`."""
    columns = math.ceil(math.sqrt(len(channels)))
    return np.stack([mosaic(image[..., channels], columns) for image in maps])


def over(maps: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Maps `(H, W, K)` of the size of an image, interpolated, each from 0 to 1 at its maximum."""
    shares = maps / np.maximum(maps.max(axis=(0, 1)), np.finfo("float32").tiny)
    options: dict[str, Any] = {"interpolation": "bilinear", "data_format": "channels_last"}
    return keras.ops.convert_to_numpy(keras.ops.image.resize(shares, sides, **options))
