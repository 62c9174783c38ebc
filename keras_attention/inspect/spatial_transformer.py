"""Draws where spatial transformers look, and what the network behind them sees.

Reference: Jaderberg et al., Spatial Transformer Networks (2015), section 3.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.calls import Call, call_on_images
from keras_attention.inspect.pictures import as_image, channels_last

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_SHOWN = 6


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of layers that warp images by transforms."""
    return [call for call in calls if hasattr(call.layer, "transforms")]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws two rows a layer: images with the frame that is looked at, and the warped images."""
    from matplotlib.figure import Figure

    images = images[:IMAGES_SHOWN]
    size = (1.6 * max(len(images), 2) + 0.6, 3.4 * len(calls) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    rows: Any = figure.subplots(2 * len(calls), len(images), squeeze=False)
    for index, call in enumerate(calls):
        upper, lower = rows[2 * index], rows[2 * index + 1]
        seen, warped = call_on_images(model, call.layer, images)
        transforms = keras.ops.convert_to_numpy(call.layer.transforms(seen))
        pictures = (channels_last(array, call.layer) for array in (seen, warped))
        for above, below, image, result, transform in zip(
            upper, lower, *pictures, transforms, strict=True
        ):
            _show(above, image)
            _frame(above, transform, image.shape[:2])
            _show(below, result)
        upper[0].set_ylabel(f"{call.layer.name}: looks at", fontsize=style.NAME)
        lower[0].set_ylabel("passes on", fontsize=style.NAME)
    figure.suptitle(title or f"Where {model.name} looks", fontsize=style.TITLE)
    return figure


def _show(axes: "Axes", image: np.ndarray) -> None:
    height, width = image.shape[:2]
    frame = (0, width, height, 0)
    style.show(axes, as_image(image), extent=frame)
    axes.set(xlim=(0, width), ylim=(height, 0))
    style.without_marks(axes)


def _frame(axes: "Axes", transform: np.ndarray, sides: tuple[int, ...]) -> None:
    """Draws the border of the output in the input, with a dot at its upper left corner."""
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]])
    x, y = transform @ corners.T
    columns, rows = (x + 1) * sides[1] / 2, (y + 1) * sides[0] / 2
    axes.plot(columns, rows, color=style.FRAME, linewidth=1.8, clip_on=False)
    axes.plot(columns[:1], rows[:1], "o", color=style.FRAME, markersize=4, clip_on=False)
