"""Figures with a row per example and a column per quantity, and the style of all figures."""

import itertools
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.examples import Examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

# Lightness rises with the value, so that the map is legible in gray and to the color-blind.
COLORMAP = "cividis"
# Images are shown with 0 in black and 1 in white.
GRAY = "gray"
# Frames and points drawn over images, from the color-blind safe palette of Okabe and Ito (2008).
FRAME_COLOR, POINT_COLOR = "#d55e00", "#56b4e9"
# Font sizes in points.
TITLE_SIZE, HEADING_SIZE, NAME_SIZE, LABEL_SIZE, TICK_SIZE = 12, 10, 9, 8, 7
# Smallest font size, to which text shrinks in narrow figures.
SMALLEST_SIZE = 4.5
# Mean width of a character, as a share of the font size.
CHARACTER_WIDTH = 0.62
# Smallest width of a panel in inches, and number of layouts until the panels have their height.
SMALLEST_PANEL, LAYOUT_STEPS = 0.2, 6
# Number of examples in a figure.
ROWS_SHOWN = 3
# Size of a panel in inches, and the height that a line of notes below it adds.
PANEL_WIDTH, PANEL_HEIGHT, NOTE_HEIGHT = 2.0, 1.9, 0.4
# White of an image below an attention map, so that it stays darker than high attention.
BACKGROUND_BRIGHTNESS = 0.45
# Opacity of an attention map over an image, at 0 and at its maximum.
OPACITY = (0.2, 0.85)


@dataclass(frozen=True)
class Column:
    """A column of a figure.

    Attributes:
        title: Title above the column.
        images: Values of shape `(rows, height, width)`, NaN for empty pixels, or colors of shape
            `(rows, height, width, 3)`. Without `is_image`, the lowest and the highest value of all
            rows get the ends of the colormap.
        axis_names: Names of the horizontal and the vertical axis, such as `("step", "feature")`,
            `""` for an axis without a meaning. None for images, which get square pixels and no
            axes.
        is_image: If True, the values are drawn as gray or color images in `[0, 1]`, without a
            color bar.
        color_scale: Neighboring columns with the same name share the colors and a color bar.
        quantity: Label of the color bar.
        notes: A line below each panel.
        row_names: Names of the rows, in the first column.
    """

    title: str
    images: np.ndarray
    axis_names: tuple[str, str] | None = None
    is_image: bool = False
    color_scale: str = ""
    quantity: str = ""
    notes: Sequence[str] = ()
    row_names: Sequence[str] = ()


def input_column(examples: Examples, layer: Any) -> Column:
    """Column of images in the data format of `layer`, or of sequences `(B, T, features)`."""
    images = examples.images
    options: dict[str, Any] = {"notes": examples.notes(), "row_names": examples.titles}
    if images.ndim == 3:
        values, axis_names = images.swapaxes(1, 2), ("step", "feature")
        return Column("sequence", values, axis_names, quantity="value", **options)
    return Column("image", display_images(images, layer), is_image=True, **options)


def grad_cam_columns(examples: Examples, layer: Any) -> list[Column]:
    """Column of Grad-CAM heat maps over the images; none if they are not to be shown."""
    if examples.heat_maps is None:
        return []
    colors = overlays(display_images(examples.images, layer), examples.heat_maps)
    return [Column("Grad-CAM\nover the image", colors, is_image=True)]


def overlays(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Colors `(B, H, W, 3)`: each map, relative to its maximum, over the darkened gray image."""
    from matplotlib import colormaps

    shares = np.stack([resize_to_image(one[..., None], images.shape[1:3])[..., 0] for one in maps])
    gray = images.mean(axis=-1) if images.ndim == 4 else images
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * shares)[..., None]
    colors = colormaps[COLORMAP](shares)[..., :3]
    return opacity * colors + (1.0 - opacity) * BACKGROUND_BRIGHTNESS * gray[..., None]


def draw_panels(columns: Sequence[Column], title: str) -> "Figure":
    """Draws columns of panels with a color bar below each column, or below each shared scale.

    All columns have the same number of rows. The first one has the names of the rows.
    """
    from matplotlib.figure import Figure

    count = len(columns[0].images)
    # Without the additional height, the notes would overlap the row below.
    height = PANEL_HEIGHT + NOTE_HEIGHT * any(column.notes for column in columns)
    size = (PANEL_WIDTH * len(columns) + 0.4, height * count + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(count, len(columns), squeeze=False)
    # A column without a named scale forms a group of its own.
    scales = [column.color_scale or index for index, column in enumerate(columns)]
    for _, group in itertools.groupby(range(len(columns)), key=scales.__getitem__):
        indices = list(group)
        _draw_columns(figure, [columns[index] for index in indices], grid[:, indices])
    for row_name, axes in zip(columns[0].row_names, grid[:, 0], strict=True):
        label = axes.get_ylabel()
        axes.set_ylabel(f"{row_name}\n{label}" if label else row_name, fontsize=NAME_SIZE)
    figure.suptitle(title, fontsize=TITLE_SIZE)
    return figure


def _draw_columns(figure: "Figure", columns: Sequence[Column], grid: np.ndarray) -> None:
    """Draws columns that share a color scale into axes of shape `(rows, columns)`."""
    from matplotlib.colors import Normalize

    is_image = columns[0].is_image
    colors, scale = (GRAY, Normalize(0.0, 1.0)) if is_image else (COLORMAP, Normalize())
    values = np.concatenate([np.ravel(column.images) for column in columns])
    scale.autoscale_None(np.ma.masked_invalid(values))
    for column, column_axes in zip(columns, grid.T, strict=True):
        for axes, image in zip(column_axes, column.images, strict=True):
            mesh = axes.imshow(image, cmap=colors, norm=scale, interpolation="nearest")
            _label_axes(axes, column.axis_names)
        for axes, note in zip(column_axes, column.notes, strict=False):
            axes.set_xlabel(f"{axes.get_xlabel()}\n{note}".strip(), fontsize=LABEL_SIZE)
        column_axes[0].set_title(column.title, fontsize=HEADING_SIZE)
    if not is_image:
        add_color_bar(figure, mesh, grid, columns[0].quantity)


def add_color_bar(
    figure: "Figure", colors: Any, grid: Any, quantity: str, ticks: dict[float, str] | None = None
) -> None:
    """Adds a color bar below axes of shape `(rows, columns)`, by default with ticks at its ends."""
    options: dict[str, Any] = {"location": "bottom", "panchor": False, "shrink": 0.9}
    bar = figure.colorbar(colors, ax=list(grid.ravel()), aspect=16 * grid.shape[1], **options)
    # The color bar widens a scale of equal values, so the ends are read from it afterwards.
    ticks = ticks or _color_bar_ticks(colors.norm)
    bar.set_ticks(list(ticks), labels=list(ticks.values()), fontsize=LABEL_SIZE)
    bar.set_label(quantity, fontsize=LABEL_SIZE)


def _label_axes(axes: "Axes", names: tuple[str, str] | None) -> None:
    from matplotlib.ticker import MaxNLocator

    if names is None:
        hide_ticks(axes)
        return
    axes.set_aspect("auto")
    axes.set_xlabel(names[0], fontsize=LABEL_SIZE)
    axes.set_ylabel(names[1], fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if not names[1]:
        axes.set_yticks([])


def _color_bar_ticks(scale: "Normalize") -> dict[float, str]:
    """Both ends of the scale, and 0 if it is far enough from them, with at most four digits."""
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 0.0)
    span, margin = high - low, (high - low) / 5
    ticks = sorted({low, high, *([0.0] if low + margin < 0.0 < high - margin else [])})
    digits = min(4, max(0, 1 - math.floor(math.log10(span)))) if span > 0.0 else 2
    return {tick: f"{round(tick, digits) + 0.0:.{digits}f}" for tick in ticks}


def write_below(figure: "Figure", text: str) -> None:
    """Writes a line of text at the bottom of a figure, or several lines if it is long."""
    if text:
        length = _characters(figure.get_figwidth() - 0.2, LABEL_SIZE)
        figure.supxlabel(textwrap.fill(text, length), fontsize=LABEL_SIZE)


def fit_to_width(figure: Any, width: float) -> None:
    """Scales a figure to a width in inches, with its fonts, lines and markers.

    Fonts keep a legible size, text that becomes wider than its panel is wrapped, and the figure
    becomes as high as that requires.
    """
    figure.draw_without_rendering()
    factor = width / figure.get_figwidth()
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    heights = [factor * _size(axes)[1] for axes in panels]
    figure.set_size_inches(width, figure.get_figheight() * max(factor, 0.6))
    _scale_style(figure, min(factor, 1.0))
    for text in (figure._suptitle, figure._supxlabel):
        if text is not None:
            _wrap(text, width - 0.1)
    for axes in panels:
        _wrap(axes.title, _panel_width(axes, width))
        _wrap(axes.xaxis.label, _panel_width(axes, width))
    rows = panels[0].get_subplotspec().get_gridspec().nrows
    with warnings.catch_warnings():
        # Panels may have no height at first.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        for _ in range(LAYOUT_STEPS):
            figure.draw_without_rendering()
            for axes in figure.axes:
                if axes not in panels and axes.xaxis.label.get_text():
                    _wrap(axes.xaxis.label, 1.2 * _size(axes)[0])
            sizes = [_size(axes) for axes in panels]
            missing = max(h - s[1] for h, s in zip(heights, sizes, strict=True))
            figure.set_figheight(max(figure.get_figheight() + rows * missing, 0.3 * width))
    if min(size[0] for size in sizes) < SMALLEST_PANEL:
        raise ValueError(
            f"`width` must be large enough for {len(panels) // rows} panels side by side. "
            f"Received: width={width}. Pass a larger width, or fewer layers."
        )


def _scale_style(figure: Any, factor: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.text import Text

    texts: Any = figure.findobj(Text)
    lines: Any = [*figure.findobj(Line2D), *figure.findobj(Rectangle)]
    for text in texts:
        size = text.get_fontsize()
        text.set_fontsize(max(size * factor, min(size, SMALLEST_SIZE)))
    for line in lines:
        line.set_linewidth(line.get_linewidth() * factor)
    for line in figure.findobj(Line2D):
        line.set_markersize(line.get_markersize() * factor)
    figure.get_layout_engine().set(w_pad=0.04 * factor, h_pad=0.04 * factor)
    for axes in figure.axes:
        axes.set_title(axes.get_title(), fontsize=axes.title.get_fontsize(), pad=6.0 * factor)
        for axis in (axes.xaxis, axes.yaxis):
            axis.labelpad *= factor
        for spine in axes.spines.values():
            spine.set_linewidth(spine.get_linewidth() * factor)
        axes.tick_params(pad=3.5 * factor, length=3.5 * factor, width=0.8 * factor)
        for axis in (axes.xaxis, axes.yaxis):
            labels = axis.get_ticklabels()
            if labels:  # also of ticks that another size of the figure adds
                axis.set_tick_params(labelsize=labels[0].get_fontsize())
        ticks, names = axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()]
        if axes.get_subplotspec() is None and len(ticks) == 3 and factor < 1.0:
            axes.set_xticks(ticks[::2], labels=names[::2])  # the middle one would overlap


def _size(axes: Any) -> tuple[float, float]:
    """Width and height in inches of the space that the layout gives to axes."""
    box, figure = axes.get_position(original=True), axes.figure
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def _panel_width(axes: "Axes", width: float) -> float:
    """Width in inches of the column of a panel in a figure."""
    spec: Any = axes.get_subplotspec()
    grid = spec.get_gridspec()
    shares = np.broadcast_to(np.asarray(grid.get_width_ratios() or 1.0, float), (grid.ncols,))
    return 0.92 * width * float(shares[spec.colspan.start : spec.colspan.stop].sum() / shares.sum())


def _wrap(text: Any, width: float) -> None:
    """Breaks each line of a text that is wider than a width in inches."""
    length = _characters(width, text.get_fontsize())
    lines = (
        textwrap.fill(line, length, break_long_words=False) for line in text.get_text().splitlines()
    )
    text.set_text("\n".join(lines))


def _characters(width: float, size: float) -> int:
    """Number of characters of a font size that fit a width in inches."""
    return max(6, int(width * 72 / (CHARACTER_WIDTH * size)))


def show_image(axes: "Axes", image: Any, **options: Any) -> Any:
    """Draws an image `(H, W)` or `(H, W, 3)` in `[0, 1]`, without rescaling its values."""
    scale: dict[str, Any] = {"cmap": GRAY, "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
    return axes.imshow(image, **{**scale, **options})


def hide_ticks(axes: "Axes") -> None:
    """Removes ticks and borders, which images do not need."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_anchor("N")  # aligns the titles of mosaics with different numbers of rows
    for spine in axes.spines.values():
        spine.set_visible(False)


def to_float32(tensor: Any) -> np.ndarray:
    """Converts a tensor to a float32 array."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def to_channels_last(array: Any, layer: Any) -> np.ndarray:
    """Converts a feature map or sequence of a layer to a float32 array with channels last."""
    array = to_float32(array)
    # Recurrent layers have no data format: images of such models are in Keras's global format.
    data_format = getattr(layer, "data_format", keras.config.image_data_format())
    return array if data_format == "channels_last" else np.moveaxis(array, 1, -1)


def display_images(inputs: np.ndarray, layer: Any) -> np.ndarray:
    """Converts examples to images `(B, H, W)` or `(B, H, W, 3)` in `[0, 1]`."""
    if inputs.ndim == 3:  # sequences, with time on the horizontal axis
        low, high = float(inputs.min()), float(inputs.max())
        if low >= 0.0 and high <= 1.0:
            low, high = 0.0, 1.0
        return (inputs.swapaxes(1, 2) - low) / (high - low)
    return np.stack([display_image(image) for image in to_channels_last(inputs, layer)])


def display_image(image: np.ndarray) -> np.ndarray:
    """Clips an image to `[0, 1]`; images without three channels become gray."""
    colors = image if image.shape[-1] == 3 else image.mean(axis=-1)
    return np.clip(colors, 0.0, 1.0)


def most_variable_channels(maps: np.ndarray, count: int) -> np.ndarray:
    """Returns the sorted indices of the channels of `(B, ..., channels)` with the largest spread.

    The spread is the standard deviation over the positions, averaged over the batch.
    """
    positions = tuple(range(1, maps.ndim - 1))
    spread = maps.std(axis=positions).mean(axis=0)
    return np.sort(np.argsort(-spread, kind="stable")[:count])


def mosaic(maps: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arranges the channels of `(H, W, channels)` as tiles in rows, with NaN between them.

    By default, there are about as many rows as columns.
    """
    height, width, count = maps.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = -(-count // columns)
    gap_y, gap_x = max(1, height // 14), max(1, width // 14)
    canvas = np.full((rows * (height + gap_y) - gap_y, columns * (width + gap_x) - gap_x), np.nan)
    for index in range(count):
        top = (index // columns) * (height + gap_y)
        left = (index % columns) * (width + gap_x)
        canvas[top : top + height, left : left + width] = maps[..., index]
    return canvas


def channel_count(shown: int, total: int) -> str:
    """Describes how many channels of a map are shown.

    Example:
    >>> channel_count(16, 64), channel_count(6, 6), channel_count(1, 1)
    ('16 of 64 channels', '6 channels', '1 channel')
    """
    if shown < total:
        return f"{shown} of {total} channels"
    return f"{total} channel{'s' * (total > 1)}"


def resize_to_image(maps: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Resizes maps `(H, W, K)` to the size of an image, each relative to its own maximum."""
    shares = maps / np.maximum(maps.max(axis=(0, 1)), np.finfo("float32").tiny)
    options: dict[str, Any] = {"interpolation": "bilinear", "data_format": "channels_last"}
    return keras.ops.convert_to_numpy(keras.ops.image.resize(shares, sides, **options))
