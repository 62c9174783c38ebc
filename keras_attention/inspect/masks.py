"""Figures of mechanisms that compute masks: CBAM, BAM, SAN, recurrent attention and heads.

References: Woo et al., CBAM: Convolutional Block Attention Module (2018); Park et al., BAM:
Bottleneck Attention Module (2018); Garg et al., SAN: Scale-Space Attention Networks (2020), figures
4 and 8, and the baseline RAN there; Rodriguez et al., Attend and Rectify (2018), section 3.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import figures
from keras_attention.inspect.calls import Call, layer_arguments, layer_inputs_and_outputs
from keras_attention.inspect.figures import (
    BACKGROUND_BRIGHTNESS,
    OPACITY,
    ROWS_SHOWN,
    Column,
    channel_count,
    display_images,
    draw_panels,
    hide_ticks,
    input_column,
    mosaic,
    most_variable_channels,
    resize_to_image,
    show_image,
    square_mosaics,
    to_channels_last,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANNELS_SHOWN = 16
# Columns of a mosaic of heads up to which its tiles are large enough for a number.
MAX_NUMBERED_COLUMNS = 4
# Number of characters of a column's title that fit at full size.
TITLE_LENGTH = 26
HEADS_LABEL = "mask of a head, relative to its maximum\nnumber: gate of the head"
# A dark color, and a light one with stripes, which are distinct in gray and to the color-blind.
BAR: dict[str, Any] = {"color": "#0072b2"}
STRIPED_BAR: dict[str, Any] = {"facecolor": "#f0c987", "edgecolor": "#8a6100", "hatch": "////"}


def find_masks(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of layers that return the mask by which they multiply an image's map."""
    return [
        call
        for call in calls
        if call.output_shape == call.input_shape
        and len(call.output_shape) == 4
        and _returns_attention(call.layer)
    ]


def draw_masks(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer, a row for each image: input map, mask, and output map."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    inputs, outputs = layer_inputs_and_outputs(model, layer, images)
    _, mask = layer(inputs, training=False, return_attention=True)
    if tuple(mask.shape) != tuple(outputs.shape):
        return draw_attention(calls, model, images, before, title)
    maps = [to_channels_last(array, layer) for array in (inputs, mask, outputs)]
    title = title or f"Attention of {model.name}: {layer.name}"
    return draw_panels([input_column(images, layer), *_mask_columns(*maps)], title)


def _mask_columns(inputs: np.ndarray, mask: np.ndarray, outputs: np.ndarray) -> list[Column]:
    shown, total = most_variable_channels(mask, CHANNELS_SHOWN), mask.shape[-1]
    by_channel, mean = mask.mean(axis=(1, 2)), f"mean of {channel_count(total, total)}"
    tiles = f"mask\n{channel_count(len(shown), total)}"
    return [
        Column(f"input map\n{mean}", inputs.mean(axis=-1), quantity="activation"),
        Column(
            "channel mask\nmean of positions",
            by_channel[:, None],
            axis_names=("channel", ""),
            quantity="mask",
        ),
        Column(f"spatial mask\n{mean}", mask.mean(axis=-1), quantity="mask"),
        Column(tiles, square_mosaics(mask, shown), quantity="mask"),
        Column(f"output map\n{mean}", outputs.mean(axis=-1), quantity="activation"),
    ]


def find_scale_space(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of layers that compare two maps of images or sequences."""
    return [
        call
        for call in calls
        if callable(getattr(call.layer, "intermediates", None))
        and isinstance(call.input_shape, list)
        and len(call.output_shape) in (3, 4)
    ]


def draw_scale_space(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the steps of the first layer, a row for each image, with up to 16 channels per map."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    inputs, _ = layer_inputs_and_outputs(model, layer, images)
    tensors = {"y_prev": inputs[0], "y": inputs[1], **layer.intermediates(inputs)}
    maps = {name: to_channels_last(tensor, layer) for name, tensor in tensors.items()}
    title = title or f"Attention of {model.name}: {layer.name}"
    columns = _columns_of_sequences(maps) if maps["y"].ndim == 3 else _columns_of_images(maps)
    return draw_panels([input_column(images, layer), *columns], title)


def _columns_of_images(maps: dict[str, np.ndarray]) -> list[Column]:
    shown = most_variable_channels(maps["mask"], CHANNELS_SHOWN)
    columns = []
    for name, array in maps.items():
        # The previous layer has channels of its own, possibly of another number.
        kept = most_variable_channels(array, CHANNELS_SHOWN) if name == "y_prev" else shown
        heading = f"{name}\n{channel_count(len(kept), array.shape[-1])}"
        columns.append(Column(heading, square_mosaics(array, kept), quantity=_quantity(name)))
    return columns


def _columns_of_sequences(maps: dict[str, np.ndarray]) -> list[Column]:
    names = ("step", "channel")
    return [
        Column(name, array.swapaxes(1, 2), axis_names=names, quantity=_quantity(name))
        for name, array in maps.items()
    ]


def _quantity(name: str) -> str:
    return "activation" if name in ("y_prev", "y") else name


def find_recurrent(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of recurrent layers whose cell multiplies its input by a mask."""
    return [call for call in calls if hasattr(getattr(call.layer, "cell", None), "attention")]


def draw_recurrent(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer, a row for each sequence: its input, the mask, and their product."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    arguments, options, _ = layer_arguments(model, layer, images)
    masks = _recurrent_masks(layer, *arguments, **options)
    inputs = keras.ops.convert_to_numpy(keras.ops.cast(arguments[0], "float32"))
    columns = [
        Column(name, array.swapaxes(1, 2), axis_names=("step", "feature"), quantity=quantity)
        for name, array, quantity in (
            ("input", inputs, "value"),
            ("mask", masks, "mask"),
            ("input times mask", inputs * masks, "value"),
        )
    ]
    title = title or f"Attention of {model.name}: {layer.name}"
    return draw_panels([input_column(images, layer), *columns], title)


def _recurrent_masks(layer: Any, *arguments: Any, **options: Any) -> np.ndarray:
    """Repeats the call of a layer to get its masks `(B, T, features)`; 0 at masked steps."""
    recurrent = keras.layers.RNN(
        _MaskCell(layer.cell),
        return_sequences=True,
        go_backwards=layer.go_backwards,
        zero_output_for_mask=True,
        dtype=layer.dtype_policy,
    )
    masks = keras.ops.convert_to_numpy(recurrent(*arguments, **options))
    return masks[:, ::-1] if layer.go_backwards else masks


class _MaskCell(keras.Layer):
    """Recurrent cell with the states of an attending cell, whose output is the mask of each step.

    Args:
        cell: The attending cell.
    """

    def __init__(self, cell: Any):
        super().__init__(dtype=cell.dtype_policy)
        self.cell = cell
        self.state_size = cell.state_size

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return self.cell.get_initial_state(batch_size)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        mask = self.cell.attention(inputs, keras.tree.flatten(states)[0])
        _, states = self.cell(inputs, states, training=training)
        return mask, states


def find_heads(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of layers that return masks and gates, without those nested in others."""
    return [
        call
        for call in calls
        if _returns_gates(call.layer) and not any(_returns_gates(caller) for caller in call.callers)
    ]


def draw_heads(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer, a row for each image: heads of each module, gates, and classes."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    arguments = _head_arguments(model, layer, images)
    shown = display_images(images, layer)
    title = title or f"Attention of {model.name}: {layer.name}"
    if not hasattr(layer, "modules"):
        options = {"training": False, "return_attention": True, "return_gates": True}
        _, masks, gates = layer(**arguments, **options)
        return _draw_heads(shown, _heads(layer, [masks], [gates]), title, gates=_to_numpy(gates))
    tensors = layer.intermediates(**arguments, training=False)
    heads = _heads(layer, tensors["masks"], tensors["head_gates"])
    probabilities = _probabilities(layer, tensors)
    gates = _to_numpy(tensors["gates"])
    return _draw_heads(shown, heads, title, gates=gates, probabilities=probabilities)


def find_attention(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of all layers with `return_attention`, without those nested in others."""
    return [
        call
        for call in calls
        if _returns_attention(call.layer)
        and not any(_returns_attention(caller) for caller in call.callers)
    ]


def draw_attention(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the attention of the first layer, of any shape, a row for each image."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    args, kwargs, _ = layer_arguments(model, layer, images)
    attention = layer(*args, **{**kwargs, "return_attention": True})[1]
    title = title or f"Attention of {model.name}: {layer.name}"
    columns = [_attention_column(array, layer) for array in keras.tree.flatten(attention)]
    return draw_panels([input_column(images, layer), *columns], title)


def _attention_column(attention: Any, layer: Any) -> Column:
    array = _to_numpy(attention)
    if array.ndim == 4:
        maps = to_channels_last(array, layer)
        shown = most_variable_channels(maps, CHANNELS_SHOWN)
        heading = f"attention\n{channel_count(len(shown), maps.shape[-1])}"
        return Column(heading, square_mosaics(maps, shown), quantity="attention")
    if array.ndim == 3:
        return Column("attention", array, quantity="attention")
    strips = array.reshape(len(array), 1, -1)
    return Column("attention", strips, axis_names=("channel", ""), quantity="attention")


@dataclass(frozen=True)
class _Heads:
    """Heads of an attention module.

    Attributes:
        title: Title of the column.
        masks: Masks `(B, H, W, K)`.
        gates: Weights of the heads, `(B, K)`.
    """

    title: str
    masks: np.ndarray
    gates: np.ndarray


def _returns_attention(layer: keras.Layer) -> bool:
    return "return_attention" in inspect.signature(layer.call).parameters


def _returns_gates(layer: keras.Layer) -> bool:
    return "return_gates" in inspect.signature(layer.call).parameters


def _head_arguments(model: keras.Model, layer: Any, images: np.ndarray) -> dict[str, Any]:
    """Arguments that the model passes to the layer, by name."""
    args, kwargs, _ = layer_arguments(model, layer, images)
    arguments = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    options = ("training", "return_attention", "return_gates")
    return {name: value for name, value in arguments.items() if name not in options}


def _heads(layer: Any, masks: Sequence[Any], gates: Sequence[Any]) -> list[_Heads]:
    heads = []
    parts = zip(_sources(layer, len(masks)), masks, gates, strict=True)
    for depth, (source, mask, gate) in enumerate(parts, start=1):
        array = to_channels_last(mask, layer)
        name = f"module {depth}" if hasattr(layer, "modules") else layer.name
        title = f"{name} ({array.shape[1]} x {array.shape[2]})\n{source}".strip()
        heads.append(_Heads(title, array, _to_numpy(gate)))
    return heads


def _sources(layer: Any, count: int) -> list[str]:
    """Names of the layers whose maps the modules read; empty in subclassed models."""
    if not layer._inbound_nodes:
        return [""] * count
    maps = layer._inbound_nodes[-1].input_tensors[:count]
    return [f"input: {tensor._keras_history.operation.name}" for tensor in maps]


def _probabilities(layer: Any, tensors: dict[str, Any]) -> np.ndarray:
    """Class probabilities `(B, hypotheses + 1, classes)`, those of the layer's output last."""
    output = tensors["output"]
    if layer.space == "log":
        output = keras.ops.softmax(output)
    hypotheses = keras.ops.softmax(tensors["hypotheses"])
    return np.concatenate([_to_numpy(hypotheses), _to_numpy(output)[:, None]], axis=1)


def _to_numpy(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def _draw_heads(
    images: np.ndarray,
    heads: Sequence[_Heads],
    title: str,
    *,
    gates: np.ndarray,
    probabilities: np.ndarray | None = None,
) -> "Figure":
    from matplotlib.figure import Figure

    count, modules = 2 + len(heads) + (probabilities is not None), len(heads)
    figure = Figure(figsize=(2.1 * count + 0.4, 2.1 * len(images) + 1.3), layout="constrained")
    grid: Any = figure.subplots(len(images), count, squeeze=False)
    names = _gate_names(heads, gates, probabilities)
    for row, axes in enumerate(grid):
        show_image(axes[0], images[row])
        hide_ticks(axes[0])
        axes[0].set_ylabel(f"image {row + 1}", fontsize=figures.NAME_SIZE)
        for module, module_axes in zip(heads, axes[1:], strict=False):
            _show_heads(module_axes, images[row], module.masks[row], module.gates[row])
        _show_gates(axes[modules + 1], gates[row], names)
        if probabilities is not None:
            _show_classes(axes[-1], probabilities[row])
    _set_titles(grid[0], heads, probabilities)
    _add_color_bar(figure, grid[:, 1 : modules + 1])
    figure.suptitle(title, fontsize=figures.TITLE_SIZE)
    return figure


def _gate_names(
    heads: Sequence[_Heads], gates: np.ndarray, probabilities: np.ndarray | None
) -> list[str]:
    if probabilities is None:
        return [f"head {number}" for number in range(1, gates.shape[1] + 1)]
    modules = [f"module {number}" for number in range(1, len(heads) + 1)]
    return [*modules, "network", "prediction"]


def _set_titles(row: Any, heads: Sequence[_Heads], probabilities: np.ndarray | None) -> None:
    of = "heads" if probabilities is None else "hypotheses"
    titles = ["image", *(module.title for module in heads), f"gates\nweights of the {of}"]
    if probabilities is not None:
        titles.append("class (probability)\nstriped: differs from prediction")
    for axes, title in zip(row, titles, strict=True):
        longest = max(map(len, title.splitlines()))
        axes.set_title(title, fontsize=figures.HEADING_SIZE * min(1.0, TITLE_LENGTH / longest))


def _add_color_bar(figure: "Figure", grid: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(0.0, 1.0), figures.COLORMAP)
    options: dict[str, Any] = {"location": "bottom", "panchor": False, "shrink": 0.9}
    bar = figure.colorbar(colors, ax=grid, aspect=16 * grid.shape[1], **options)
    bar.set_ticks([0.0, 1.0], labels=["0", "maximum"], fontsize=figures.LABEL_SIZE)
    bar.set_label(HEADS_LABEL, fontsize=figures.LABEL_SIZE)


def _show_heads(axes: "Axes", image: np.ndarray, masks: np.ndarray, gates: np.ndarray) -> None:
    """Draws a tile for each head: its mask, relative to its maximum, over the gray image.

    Args:
        axes: Axes to draw into.
        image: `(H, W)` or `(H, W, 3)`.
        masks: `(h, w, K)`, of any size.
        gates: `(K,)`, written into the tiles.
    """
    count = masks.shape[-1]
    columns = math.ceil(math.sqrt(count))
    gray = image.mean(axis=-1) if image.ndim == 3 else image
    below = mosaic(np.repeat(gray[..., None], count, axis=-1), columns)
    show_image(axes, below, vmax=1.0 / BACKGROUND_BRIGHTNESS)
    tiles = mosaic(resize_to_image(masks, gray.shape), columns)
    opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * np.nan_to_num(tiles)
    scale: dict[str, Any] = {"cmap": figures.COLORMAP, "vmin": 0.0, "vmax": 1.0}
    axes.imshow(tiles, alpha=opacity, interpolation="nearest", **scale)
    if columns <= MAX_NUMBERED_COLUMNS:
        _number_tiles(axes, gates, tiles.shape, columns)
    hide_ticks(axes)


def _number_tiles(axes: "Axes", gates: np.ndarray, shape: tuple[int, ...], columns: int) -> None:
    rows = -(-len(gates) // columns)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
    options: dict[str, Any] = {"fontsize": 6.5, "va": "top", "ha": "left", "bbox": box}
    for index, gate in enumerate(gates):
        y, x = shape[0] / rows * (index // columns), shape[1] / columns * (index % columns)
        axes.text(x + 0.02 * shape[1], y + 0.02 * shape[0], f"{gate:.2f}", **options)


def _show_gates(axes: "Axes", gates: np.ndarray, names: Sequence[str]) -> None:
    """Draws a bar for each gate.

    Args:
        axes: Axes to draw into.
        gates: `(N,)`.
        names: Labels of the rows; the first `N` have a bar.
    """
    for row, gate in enumerate(gates):
        axes.barh(row, gate, height=0.7, **BAR)
        _label_bar(axes, row, gate, f"{gate:.2f}")
    _finish_bars(axes, names, max(float(gates.max()), 1e-6))


def _show_classes(axes: "Axes", probabilities: np.ndarray) -> None:
    """Draws a bar for the predicted class of each hypothesis, striped if the output's differs.

    Args:
        axes: Axes to draw into.
        probabilities: `(N, classes)`, those of the layer's output last.
    """
    prediction = probabilities[-1].argmax()
    for row, hypothesis in enumerate(probabilities):
        best = hypothesis.argmax()
        style = BAR if best == prediction else STRIPED_BAR
        axes.barh(row, hypothesis[best], height=0.7, **style)
        _label_bar(axes, row, hypothesis[best], f"{best} ({hypothesis[best]:.2f})")
    _finish_bars(axes, [""] * len(probabilities), 1.0)


def _label_bar(axes: "Axes", row: int, value: float, text: str) -> None:
    offset: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
    axes.annotate(text, (value, row), va="center", fontsize=7.5, annotation_clip=False, **offset)


def _finish_bars(axes: "Axes", names: Sequence[str], largest: float) -> None:
    axes.set(xlim=(0.0, 1.55 * largest), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
