"""Draws learned attention windows and regions of interest.

Reference: Chitta, Targeted Kernel Networks (2018), figure 4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.calls import Call
from keras_attention.inspect.pictures import mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNELS_SHOWN = 12
COLUMNS_OF_MOSAIC = 6


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls on images of layers that have a window per channel."""
    return [
        call
        for call in calls
        if hasattr(call.layer, "attention_window") and len(call.output_shape) == 4
    ]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws a row a layer: windows before, windows now, regions over the first image."""
    from matplotlib.figure import Figure

    earlier = keras.models.clone_model(model) if before is None else before
    earlier_layers = {layer.name: layer for layer in earlier._flatten_layers()}
    figure = Figure(figsize=(11.0, 1.5 * len(calls) + 1.1), layout="constrained")
    rows: Any = figure.subplots(len(calls), 3, squeeze=False, width_ratios=(3, 3, 1.25))
    for call, (left, middle, right) in zip(calls, rows, strict=True):
        layer, sides = call.layer, _sides(call)
        now = _windows(layer, sides)
        shown = _spread(now)
        mesh = _mosaic(middle, now[..., shown])
        _mosaic(left, _windows(earlier_layers[layer.name], sides)[..., shown])
        share = _regions(right, layer, sides, _gray(images[0], layer))
        left.set_ylabel(f"{layer.name}\n{sides[0]} x {sides[1]}", fontsize=style.NAME)
        right.set_xlabel(f"regions: {share:.0%} of the map", fontsize=style.LABEL)
    rows[0][0].set_title(
        f"before training, {KERNELS_SHOWN} kernels a layer", fontsize=style.HEADING
    )
    rows[0][1].set_title("now, the same kernels", fontsize=style.HEADING)
    rows[0][2].set_title("all regions,\nover an image", fontsize=style.HEADING)
    figure.colorbar(mesh, ax=rows[:, :2], label="attention window", shrink=0.5, aspect=30)
    figure.suptitle(title or f"Where the kernels of {model.name} look", fontsize=style.TITLE)
    return figure


def _sides(call: Call) -> tuple[int, int]:
    shape = call.output_shape
    return shape[1:3] if call.layer.data_format == "channels_last" else shape[2:]


def _windows(layer: Any, sides: tuple[int, int]) -> np.ndarray:
    clip = getattr(layer, "roi", "full") != "full"
    return keras.ops.convert_to_numpy(layer.attention_window(*sides, clip=clip))


def _spread(windows: np.ndarray) -> np.ndarray:
    """Picks kernels evenly from the widest window to the narrowest."""
    order = np.argsort(-windows.mean(axis=(0, 1)), kind="stable")
    count = min(KERNELS_SHOWN, len(order))
    return order[np.linspace(0, len(order) - 1, count).round().astype(int)]


def _mosaic(axes: "Axes", windows: np.ndarray) -> Any:
    canvas = mosaic(windows, COLUMNS_OF_MOSAIC)
    mesh = axes.imshow(canvas, cmap=style.COLORS, vmin=0.0, vmax=1.0, interpolation="nearest")
    style.without_marks(axes)
    return mesh


def _regions(axes: "Axes", layer: Any, sides: tuple[int, int], image: np.ndarray) -> float:
    """Draws the regions of all kernels; returns the share of the map that they cover."""
    from matplotlib.patches import Rectangle

    height, width = sides
    style.show(axes, image, extent=(0, width, height, 0))
    rois = layer.rois(height, width)
    opacity = float(np.clip(6.0 / len(rois), 0.06, 0.8))
    for (top, bottom), (left, right) in rois:
        box = Rectangle((left, top), right - left, bottom - top, clip_on=False)
        box.set(fill=False, edgecolor=style.FRAME, linewidth=1.5, alpha=opacity)
        axes.add_patch(box)
    center_y, center_x = keras.ops.convert_to_numpy(layer.center)
    axes.plot(center_x * width, center_y * height, ".", color=style.POINT, markersize=4, alpha=0.7)
    axes.set(xlim=(0, width), ylim=(height, 0))
    style.without_marks(axes)
    return float(np.prod(rois[..., 1] - rois[..., 0], axis=-1).mean() / (height * width))


def _gray(image: np.ndarray, layer: Any) -> np.ndarray:
    return image.mean(axis=-1 if layer.data_format == "channels_last" else 0)
