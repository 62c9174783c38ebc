"""Figures of mechanisms that select regions of an image: windows, frames and patches.

References: Chitta, Targeted Kernel Networks (2018), figure 4; Jaderberg et al., Spatial Transformer
Networks (2015), section 3; Almahairi et al., Dynamic Capacity Networks (2016), figures 3 and 6.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.graph.functional import is_functional
from keras_attention.inspect import figures
from keras_attention.inspect.calls import Call, record_call, trace_calls
from keras_attention.inspect.examples import Examples, display_limits, join_notes
from keras_attention.inspect.figures import (
    ROWS_SHOWN,
    Column,
    display_image,
    display_images,
    draw_panels,
    grad_cam_columns,
    hide_ticks,
    input_column,
    mosaic,
    show_image,
    to_channels_last,
)
from keras_attention.utils.data_format import spatial_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNELS_SHOWN = 12
MOSAIC_COLUMNS = 6
# Number of images in figures of spatial transformers.
IMAGES_SHOWN = 6


def has_windows(call: Call) -> bool:
    """Returns True for layers with an attention window per channel, on images."""
    return hasattr(call.layer, "attention_window") and len(call.output_shape) == 4


def draw_windows(
    calls: Sequence[Call], model: keras.Model, examples: Examples, before: keras.Model | None
) -> "Figure":
    """Draws a row for each layer: windows before training, current windows, and all regions."""
    from matplotlib.figure import Figure

    earlier_layers = _layers_before(calls, model, examples, before)
    examples = examples.first(1)
    cam = grad_cam_columns(examples, calls[0].layer)
    figure = Figure(figsize=(11.0 + 1.8 * len(cam), 1.5 * len(calls) + 1.1), layout="constrained")
    widths = (3, 3, 1.25, *(1.25 for _ in cam))
    rows: Any = figure.subplots(len(calls), len(widths), squeeze=False, width_ratios=widths)
    gray = _first_image(examples, calls[0].layer)
    for call, (left, middle, right, *others) in zip(calls, rows, strict=True):
        layer, sides = call.layer, spatial_shape(call.output_shape, call.layer.data_format)
        current = _windows(layer, sides)
        shown = _widest_to_narrowest(current)
        mesh = _show_windows(middle, current[..., shown])
        if earlier_layers:
            _show_windows(left, _windows(earlier_layers[call.path], sides)[..., shown])
        else:
            hide_ticks(left)
        share = _show_regions(right, layer, sides, gray)
        left.set_ylabel(f"{layer.name}\n{sides[0]} x {sides[1]}", fontsize=figures.NAME_SIZE)
        right.set_xlabel(f"mean area: {share:.0%} of the map", fontsize=figures.LABEL_SIZE)
        for axes in others:
            axes.set_axis_off()
    for axes, column in zip(rows[0, 3:], cam, strict=True):
        axes.set_axis_on()
        show_image(axes, column.images[0])
        hide_ticks(axes)
    titles = [
        f"before training, {KERNELS_SHOWN} kernels per layer" if earlier_layers else "",
        "current, the same kernels" if earlier_layers else f"{KERNELS_SHOWN} kernels per layer",
        _title_of_regions(examples),
        *(column.title for column in cam),
    ]
    for axes, heading in zip(rows[0], titles, strict=True):
        axes.set_title(heading, fontsize=figures.HEADING_SIZE)
    figure.colorbar(mesh, ax=rows[:, :2], label="attention window", shrink=0.5, aspect=30)
    figure.suptitle(f"Attention windows of {model.name}", fontsize=figures.TITLE_SIZE)
    return figure


def _layers_before(
    calls: Sequence[Call],
    model: keras.Model,
    examples: Examples,
    before: keras.Model | None,
) -> dict[str, keras.Layer]:
    """Layers with windows before training, by their paths; none if they are unknown."""
    if before is None and not is_functional(model):
        return {}  # a subclassed model cannot be initialized again
    earlier = keras.models.clone_model(model) if before is None else before
    earlier_calls = trace_calls(earlier, inputs=examples.inputs)
    found = {call.path: call.layer for call in earlier_calls if has_windows(call)}
    missing = [call.path for call in calls if call.path not in found]
    if missing:
        raise ValueError(
            "`before` must have the same layers with attention windows as `model`. Received: "
            f"before={earlier.name!r} without {missing[0]!r}"
        )
    return found


def _first_image(examples: Examples, layer: Any) -> np.ndarray:
    image = display_images(examples.images, layer)[0]
    return image.mean(axis=-1) if image.ndim == 3 else image


def _title_of_regions(examples: Examples) -> str:
    notes = examples.notes()
    is_default = examples.titles[0] == "image 1"
    title = "all regions,\n" + ("on an image" if is_default else f"on {examples.titles[0]}")
    return f"{title}\n{notes[0]}" if notes else title


def _windows(layer: Any, sides: Sequence[int]) -> np.ndarray:
    clip = getattr(layer, "roi", "full") != "full"
    return keras.ops.convert_to_numpy(layer.attention_window(*sides, clip=clip))


def _widest_to_narrowest(windows: np.ndarray) -> np.ndarray:
    """Selects kernels at even steps from the widest window to the narrowest."""
    order = np.argsort(-windows.mean(axis=(0, 1)), kind="stable")
    count = min(KERNELS_SHOWN, len(order))
    return order[np.linspace(0, len(order) - 1, count).round().astype(int)]


def _show_windows(axes: "Axes", windows: np.ndarray) -> Any:
    hide_ticks(axes)
    return show_image(axes, mosaic(windows, MOSAIC_COLUMNS), cmap=figures.COLORMAP)


def _show_regions(axes: "Axes", layer: Any, sides: Sequence[int], image: np.ndarray) -> float:
    """Draws the regions of all kernels and returns their mean area relative to the map."""
    from matplotlib.patches import Rectangle

    height, width = sides
    _show_in_pixels(axes, image, sides)
    rois = layer.rois(height, width)
    opacity = float(np.clip(6.0 / len(rois), 0.06, 0.8))
    for (top, bottom), (left, right) in rois:
        box = Rectangle((left, top), right - left, bottom - top, clip_on=False)
        box.set(fill=False, edgecolor=figures.FRAME_COLOR, linewidth=1.5, alpha=opacity)
        axes.add_patch(box)
    y, x = keras.ops.convert_to_numpy(layer.center)
    axes.plot(x * width, y * height, ".", color=figures.POINT_COLOR, markersize=4, alpha=0.7)
    return float(np.prod(rois[..., 1] - rois[..., 0], axis=-1).mean() / (height * width))


def warps_images(call: Call) -> bool:
    """Returns True for layers that warp images by transforms."""
    return hasattr(call.layer, "transforms")


def draw_transformers(
    calls: Sequence[Call], model: keras.Model, examples: Examples, before: keras.Model | None
) -> "Figure":
    """Draws two rows for each layer: inputs with the sampled frame, and the warped images."""
    from matplotlib.figure import Figure

    examples = examples.first(IMAGES_SHOWN)
    count, notes = len(examples.images), examples.notes()
    cam = grad_cam_columns(examples, calls[0].layer)
    size = (1.6 * max(count, 2) + 0.6, 3.4 * len(calls) + 0.6 + 1.9 * len(cam))
    figure = Figure(figsize=size, layout="constrained")
    rows: Any = figure.subplots(2 * len(calls) + len(cam), count, squeeze=False)
    for call, upper, lower in zip(calls, rows[::2], rows[1::2], strict=False):
        recorded = record_call(model, call.layer, examples.inputs)
        transforms = keras.ops.convert_to_numpy(call.layer.transforms(recorded.inputs))
        inputs = to_channels_last(recorded.inputs, call.layer)
        outputs = to_channels_last(recorded.outputs, call.layer)
        low, high = display_limits(inputs, to_channels_last(examples.images, call.layer))
        inputs, outputs = ((array - low) / (high - low) for array in (inputs, outputs))
        for index, transform in enumerate(transforms):
            _show_in_pixels(upper[index], display_image(inputs[index]), inputs.shape[1:3])
            _show_frame(upper[index], transform, inputs.shape[1:3])
            _show_in_pixels(lower[index], display_image(outputs[index]), outputs.shape[1:3])
        upper[0].set_ylabel(f"{call.layer.name}: input", fontsize=figures.NAME_SIZE)
        lower[0].set_ylabel("output", fontsize=figures.NAME_SIZE)
    for column, row in zip(cam, rows[2 * len(calls) :], strict=True):
        for axes, colors in zip(row, column.images, strict=True):
            _show_in_pixels(axes, colors, colors.shape[:2])
        row[0].set_ylabel(column.title, fontsize=figures.NAME_SIZE)
    if notes or examples.titles[0] != "image 1":
        for index, axes in enumerate(rows[0]):
            heading = "\n".join([examples.titles[index], *notes[index : index + 1]])
            axes.set_title(heading, fontsize=figures.LABEL_SIZE)
    figure.suptitle(f"Sampled regions of {model.name}", fontsize=figures.TITLE_SIZE)
    return figure


def _show_in_pixels(axes: "Axes", image: np.ndarray, sides: Sequence[int]) -> None:
    """Draws an image with axes in pixels of a map, counted from the upper left corner."""
    height, width = sides
    show_image(axes, image, extent=(0, width, height, 0))
    axes.set(xlim=(0, width), ylim=(height, 0))
    hide_ticks(axes)


def _show_frame(axes: "Axes", transform: np.ndarray, sides: tuple[int, ...]) -> None:
    """Draws the border of the output in the input, with a dot at its upper left corner."""
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]])
    x, y = transform @ corners.T
    columns, rows = (x + 1) * sides[1] / 2, (y + 1) * sides[0] / 2
    color = figures.FRAME_COLOR
    axes.plot(columns, rows, color=color, linewidth=1.8, clip_on=False)
    axes.plot(columns[:1], rows[:1], "o", color=color, markersize=4, clip_on=False)


def refines_patches(call: Call) -> bool:
    """Returns True for layers that refine patches."""
    return "positions" in getattr(call.layer, "attention_names", ())


def draw_patches(
    calls: Sequence[Call], model: keras.Model, examples: Examples, before: keras.Model | None
) -> "Figure":
    """Draws the first layer, a row for each image: patches on the image, saliency, and patches."""
    layer: Any = calls[0].layer
    examples, grid = examples.first(ROWS_SHOWN), layer.patch_grid
    inputs = record_call(model, layer, examples.inputs).inputs
    outputs, saliency, positions = layer(inputs, training=False, return_attention=True)
    corners = keras.ops.convert_to_numpy(positions) * grid.stride - np.array(grid.offset)
    images = to_channels_last(inputs, layer)
    low, high = display_limits(images, to_channels_last(examples.images, layer))
    tiles = _patch_mosaics(np.clip((images - low) / (high - low), 0.0, 1.0), corners, grid.size)
    notes = _class_notes(layer, inputs, outputs, examples) or examples.notes()
    columns = [
        dataclasses.replace(input_column(examples, layer), notes=notes),
        Column("saliency", keras.ops.convert_to_numpy(saliency), quantity="saliency"),
        Column(f"{corners.shape[1]} patches", tiles, is_image=True),
        *grad_cam_columns(examples, layer),
    ]
    figure = draw_panels(columns, f"Patches of {model.name}: {layer.name}")
    for axes, of_image in zip(figure.axes[:: len(columns)], corners, strict=False):
        _outline_patches(axes, of_image, grid.size)
    return figure


def _class_notes(layer: Any, inputs: Any, outputs: Any, examples: Examples) -> list[str]:
    """Predicted classes of the coarse and of the refined map; none if the layer has no top."""
    if not layer.include_top:
        return []
    coarse = _predicted_classes(layer.top(layer.coarse(inputs)), layer.outputs, examples)
    refined = _predicted_classes(outputs, layer.outputs, examples)
    true = examples.notes(predicted=False) or [""] * len(coarse)
    return [
        join_notes(first, f"coarse: {one}, refined: {other}")
        for first, one, other in zip(true, coarse, refined, strict=True)
    ]


def _predicted_classes(
    outputs: Any, indices: Sequence[int] | None, examples: Examples
) -> list[str]:
    """Predicted class of each image, or the classes of several outputs (`indices`, None: all)."""
    flat = keras.tree.flatten(outputs)
    flat = flat if indices is None else [flat[index] for index in indices]
    classes = [keras.ops.convert_to_numpy(keras.ops.argmax(part, axis=-1)) for part in flat]
    return [" ".join(map(examples.class_name, image)) for image in zip(*classes, strict=True)]


def _patch_mosaics(images: np.ndarray, corners: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Arranges the patches of each image by saliency, with zeros beyond the image's border."""
    height, width = size
    margin = max(size) + int(np.abs(corners).max())
    mosaics = []
    for image, of_image in zip(images.mean(axis=-1), corners + margin, strict=True):
        padded = np.pad(image, margin)
        patches = [padded[top : top + height, left : left + width] for top, left in of_image]
        mosaics.append(mosaic(np.stack(patches, axis=-1)))
    return np.stack(mosaics)


def _outline_patches(axes: "Axes", corners: np.ndarray, size: Sequence[int]) -> None:
    """Draws frames around the patches, the most salient one last and with the widest line."""
    from matplotlib.patches import Rectangle

    for rank, (top, left) in reversed(list(enumerate(corners))):
        frame = Rectangle((left - 0.5, top - 0.5), size[1], size[0], fill=False)
        frame.set(edgecolor=figures.FRAME_COLOR, linewidth=2.0 if rank == 0 else 0.9)
        axes.add_patch(frame)
