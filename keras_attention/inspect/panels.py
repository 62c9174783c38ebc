"""A figure with a row for each example and a column for each thing to see of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.pictures import as_image, channels_last

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

ROWS_SHOWN = 3
WIDTH, HEIGHT, NOTE = 2.0, 1.9, 0.4


@dataclass(frozen=True)
class Column:
    """What one column shows.

    Attributes:
        title: Above it.
        pictures: `(rows, height, width)`, NaN where nothing is; or `(rows, height, width, 3)`. The
            darkest and the brightest color are the least and the greatest value of all rows.
        axes: What is counted to the right and downwards, `("step", "feature")`, or `""` where
            nothing is; None for places of an image, whose pixels are square.
        is_input: Whether this is an image as it came, or one in colors, which needs no color bar.
        scale: Columns side by side that name the same one share colors and color bar.
        quantity: What the colors are, beside the color bar.
        notes: A line under each picture; none by default.
    """

    title: str
    pictures: np.ndarray
    axes: tuple[str, str] | None = None
    is_input: bool = False
    scale: str = ""
    quantity: str = ""
    notes: Sequence[str] = ()


def input_column(images: np.ndarray, layer: Any) -> Column:
    """What a model was given: images with their channels as `layer` has them, or sequences."""
    if images.ndim == 3:
        return Column("sequence", images.swapaxes(1, 2), axes=("step", "feature"), quantity="value")
    pictures = [as_image(image) for image in channels_last(images, layer)]
    return Column("image", np.stack(pictures), is_input=True)


def draw_panels(columns: Sequence[Column], title: str) -> "Figure":
    """Draws columns of panels, a color bar under each, or under those of one scale.

    Args:
        columns: From left to right, with as many pictures each; the first says what a row is.
        title: Line above the figure.
    """
    from matplotlib.figure import Figure

    count = len(columns[0].pictures)
    # A line of notes under squares would lie on the row below.
    height = HEIGHT + NOTE * any(column.notes for column in columns)
    size = (WIDTH * len(columns) + 0.4, height * count + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(count, len(columns), squeeze=False)
    for indices in _by_scale(columns):
        _draw_columns(figure, [columns[index] for index in indices], grid[:, indices])
    for index, axes in enumerate(grid[:, 0], start=1):
        label = axes.get_ylabel()
        row = f"{columns[0].title} {index}"
        axes.set_ylabel(f"{row}\n{label}" if label else row, fontsize=style.NAME)
    figure.suptitle(title, fontsize=style.TITLE)
    return figure


def _by_scale(columns: Sequence[Column]) -> list[list[int]]:
    """Indices of the columns, those together that share a scale."""
    groups: list[list[int]] = []
    for index, column in enumerate(columns):
        if groups and column.scale and column.scale == columns[index - 1].scale:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _draw_columns(figure: "Figure", columns: Sequence[Column], grid: np.ndarray) -> None:
    """Draws columns of one scale into axes `(rows, columns)`."""
    from matplotlib.colors import Normalize

    is_input = columns[0].is_input
    colors, scale = (style.GRAY, Normalize(0.0, 1.0)) if is_input else (style.COLORS, Normalize())
    values = np.concatenate([np.ravel(column.pictures) for column in columns])
    scale.autoscale_None(np.ma.masked_invalid(values))
    for column, column_axes in zip(columns, grid.T, strict=True):
        for axes, picture in zip(column_axes, column.pictures, strict=True):
            mesh = axes.imshow(picture, cmap=colors, norm=scale, interpolation="nearest")
            _label(axes, column.axes)
        for axes, note in zip(column_axes, column.notes, strict=False):
            axes.set_xlabel(f"{axes.get_xlabel()}\n{note}".strip(), fontsize=style.LABEL)
        column_axes[0].set_title(column.title, fontsize=style.HEADING)
    if not is_input:
        place: Any = {"location": "bottom", "panchor": False, "shrink": 0.9}
        bar = figure.colorbar(mesh, ax=list(grid.ravel()), aspect=16 * len(columns), **place)
        ends = _ends(scale)
        bar.set_ticks(ends, labels=_written(ends), fontsize=style.LABEL)
        bar.set_label(columns[0].quantity, fontsize=style.LABEL)


def _label(axes: "Axes", names: tuple[str, str] | None) -> None:
    if names is None:
        style.without_marks(axes)
        return
    from matplotlib.ticker import MaxNLocator

    axes.set_aspect("auto")
    axes.set_xlabel(names[0], fontsize=style.LABEL)
    axes.set_ylabel(names[1], fontsize=style.LABEL)
    axes.tick_params(labelsize=style.TICK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if not names[1]:
        axes.set_yticks([])


def _ends(scale: "Normalize") -> list[float]:
    """Where a color bar has numbers: at its ends, and at 0 where that is well between them."""
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 0.0)
    margin = (high - low) / 5
    return sorted({low, high, *([0.0] if low + margin < 0.0 < high - margin else [])})


def _written(ends: Sequence[float]) -> list[str]:
    """Numbers with as many digits as tell them apart, up to four."""
    span = ends[-1] - ends[0]
    digits = min(4, max(0, 1 - math.floor(math.log10(span)))) if span > 0.0 else 2
    return [f"{round(end, digits) + 0.0:.{digits}f}" for end in ends]
