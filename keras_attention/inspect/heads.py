"""Panels that show the masks of attention heads over an image."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.pictures import as_image, channels_last, mosaic, over

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the image below the masks, so that white is not as bright as attention.
BRIGHTEST = 0.45
# Of a mask's color where it is 0 and where it is greatest.
OPACITY = (0.2, 0.85)
# Of a mosaic's side; smaller tiles have no room for a number.
TILES_WITH_NUMBERS = 4


@dataclass(frozen=True)
class Heads:
    """What the heads of a module look at.

    Attributes:
        title: Above it.
        masks: `(B, H, W, K)`.
        gates: `(B, K)`, what each head counts.
    """

    title: str
    masks: np.ndarray
    gates: np.ndarray


def as_pictures(images: np.ndarray, layer: Any) -> np.ndarray:
    """Images `(B, H, W)`, or `(B, H, W, 3)` in color, in `[0, 1]`."""
    if images.ndim == 3:  # sequences, time to the right
        return np.clip(images.swapaxes(1, 2), 0.0, 1.0)
    return np.stack([as_image(image) for image in channels_last(images, layer)])


def show_image(axes: "Axes", picture: np.ndarray) -> None:
    """Draws an image as it is, 0 in black."""
    style.show(axes, picture)
    style.without_marks(axes)


def show_heads(axes: "Axes", picture: np.ndarray, masks: np.ndarray, gates: np.ndarray) -> None:
    """Draws a tile a head: the image in gray, below the mask from 0 to its own maximum.

    Args:
        axes: Where.
        picture: `(H, W)`, or `(H, W, 3)`.
        masks: `(h, w, K)`, of any size.
        gates: `(K,)`, written into the tiles.
    """
    count = masks.shape[-1]
    columns = math.ceil(math.sqrt(count))
    gray = picture.mean(axis=-1) if picture.ndim == 3 else picture
    below = mosaic(np.repeat(gray[..., None], count, axis=-1), columns)
    style.show(axes, below, vmax=1.0 / BRIGHTEST)
    tiles = mosaic(over(masks, gray.shape), columns)
    opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * np.nan_to_num(tiles)
    scale: dict[str, Any] = {"cmap": style.COLORS, "vmin": 0.0, "vmax": 1.0}
    axes.imshow(tiles, alpha=opacity, interpolation="nearest", **scale)
    if columns <= TILES_WITH_NUMBERS:
        _number_tiles(axes, gates, tiles.shape, columns)
    style.without_marks(axes)


def _number_tiles(axes: "Axes", gates: np.ndarray, shape: tuple[int, ...], columns: int) -> None:
    rows = -(-len(gates) // columns)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
    for index, gate in enumerate(gates):
        y, x = shape[0] / rows * (index // columns), shape[1] / columns * (index % columns)
        place: dict[str, Any] = {"fontsize": 6.5, "va": "top", "ha": "left", "bbox": box}
        axes.text(x + 0.02 * shape[1], y + 0.02 * shape[0], f"{gate:.2f}", **place)
