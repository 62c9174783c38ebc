"""Figures of mechanisms that compute masks: CBAM, BAM, SAN, recurrent attention and heads.

References: Woo et al., CBAM: Convolutional Block Attention Module (2018); Park et al., BAM:
Bottleneck Attention Module (2018); Garg et al., SAN: Scale-Space Attention Networks (2020), figures
4 and 8, and the baseline RAN there; Rodriguez et al., Attend and Rectify (2018), section 3.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_attention.inspect import figures
from keras_attention.inspect.calls import Call, RecordedCall, record_call
from keras_attention.inspect.examples import Examples
from keras_attention.inspect.figures import (
    BACKGROUND_BRIGHTNESS,
    OPACITY,
    ROWS_SHOWN,
    Column,
    add_color_bar,
    channel_count,
    display_images,
    draw_panels,
    grad_cam_columns,
    hide_ticks,
    input_column,
    mosaic,
    most_variable_channels,
    resize_to_image,
    show_image,
    to_channels_last,
    to_float32,
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


def draw_first_layer(
    make_columns: Callable[[Any, RecordedCall], list[Column]],
    calls: Sequence[Call],
    model: keras.Model,
    examples: Examples,
    before: keras.Model | None,
) -> "Figure":
    """Draws a row for each image: the image, and the columns of the first layer's call."""
    layer, examples = calls[0].layer, examples.first(ROWS_SHOWN)
    columns = make_columns(layer, record_call(model, layer, examples.inputs))
    columns = [input_column(examples, layer), *columns, *grad_cam_columns(examples, layer)]
    return draw_panels(columns, f"Attention of {model.name}: {layer.name}")


def returns_attention(call: Call) -> bool:
    """Returns True for all layers with `return_attention`, unless they are nested in others."""
    return _is_outermost_with("return_attention", call)


def attention_columns(layer: Any, call: RecordedCall) -> list[Column]:
    """Makes the columns of attention of any shape."""
    attention = layer(*call.args, **{**call.kwargs, "return_attention": True})[1]
    return [_attention_column(array, layer) for array in keras.tree.flatten(attention)]


def _attention_column(attention: Any, layer: Any) -> Column:
    array = to_float32(attention)
    if array.ndim == 4:
        return _mosaic_column("attention", to_channels_last(array, layer), "attention")
    if array.ndim == 3:
        return Column("attention", array, quantity="attention")
    strips = array.reshape(len(array), 1, -1)
    return Column("attention", strips, axis_names=("channel", ""), quantity="attention")


def _mosaic_column(
    name: str, maps: np.ndarray, quantity: str, channels: np.ndarray | None = None
) -> Column:
    """Shows some channels of `(B, H, W, channels)` as tiles, by default the most variable ones."""
    if channels is None:
        channels = most_variable_channels(maps, CHANNELS_SHOWN)
    tiles = np.stack([mosaic(image[..., channels]) for image in maps])
    title = f"{name}\n{channel_count(len(channels), maps.shape[-1])}"
    return Column(title, tiles, quantity=quantity)


def _has_option(layer: keras.Layer, name: str) -> bool:
    return name in inspect.signature(layer.call).parameters


def _is_outermost_with(option: str, call: Call) -> bool:
    nested = any(_has_option(caller, option) for caller in call.callers)
    return _has_option(call.layer, option) and not nested


def returns_mask(call: Call) -> bool:
    """Returns True for layers that return the mask by which they multiply an image's map."""
    is_map = call.output_shape == call.input_shape and len(call.output_shape) == 4
    return is_map and _has_option(call.layer, "return_attention")


def mask_columns(layer: Any, call: RecordedCall) -> list[Column]:
    """Makes the columns of a layer's input map, mask, and output map."""
    mask = layer(call.inputs, training=False, return_attention=True)[1]
    if keras.tree.is_nested(mask) or tuple(mask.shape) != tuple(call.outputs.shape):
        return attention_columns(layer, call)
    tensors = (call.inputs, mask, call.outputs)
    inputs, mask, outputs = (to_channels_last(tensor, layer) for tensor in tensors)
    by_channel = mask.mean(axis=(1, 2))[:, None]
    mean = f"mean of {channel_count(mask.shape[-1], mask.shape[-1])}"
    heading = "channel mask\nmean of positions"
    return [
        Column(f"input map\n{mean}", inputs.mean(axis=-1), quantity="activation"),
        Column(heading, by_channel, axis_names=("channel", ""), quantity="mask"),
        Column(f"spatial mask\n{mean}", mask.mean(axis=-1), quantity="mask"),
        _mosaic_column("mask", mask, "mask"),
        Column(f"output map\n{mean}", outputs.mean(axis=-1), quantity="activation"),
    ]


def compares_maps(call: Call) -> bool:
    """Returns True for layers that compare two maps of images or sequences."""
    has_steps = callable(getattr(call.layer, "intermediates", None))
    return has_steps and isinstance(call.input_shape, list) and len(call.output_shape) in (3, 4)


def scale_space_columns(layer: Any, call: RecordedCall) -> list[Column]:
    """Makes a column for each step of the layer, with up to 16 channels of each map of images."""
    y_prev, y = call.inputs
    tensors = {"y_prev": y_prev, "y": y, **layer.intermediates(call.inputs)}
    maps = {name: to_channels_last(tensor, layer) for name, tensor in tensors.items()}
    quantities = {name: "activation" if name in ("y_prev", "y") else name for name in maps}
    if maps["y"].ndim == 3:
        names = ("step", "channel")
        return [
            Column(name, array.swapaxes(1, 2), axis_names=names, quantity=quantities[name])
            for name, array in maps.items()
        ]
    shown = most_variable_channels(maps["mask"], CHANNELS_SHOWN)
    # The previous layer has channels of its own, possibly of another number.
    return [
        _mosaic_column(name, array, quantities[name], None if name == "y_prev" else shown)
        for name, array in maps.items()
    ]


def has_attending_cell(call: Call) -> bool:
    """Returns True for recurrent layers whose cell multiplies its input by a mask."""
    return hasattr(getattr(call.layer, "cell", None), "attention")


def recurrent_columns(layer: Any, call: RecordedCall) -> list[Column]:
    """Makes the columns of a layer's input, the mask, and their product."""
    inputs, masks = to_float32(call.args[0]), _recurrent_masks(layer, *call.args, **call.kwargs)
    parts = {"input": inputs, "mask": masks, "input times mask": inputs * masks}
    return [
        Column(
            name,
            array.swapaxes(1, 2),
            axis_names=("step", "feature"),
            quantity="mask" if name == "mask" else "value",
        )
        for name, array in parts.items()
    ]


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
    """Recurrent cell with the states of an attending cell, whose outputs are its masks."""

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


class _Module(NamedTuple):
    """Title of a column, masks `(B, H, W, K)` and gates `(B, K)` of an attention module's heads."""

    title: str
    masks: np.ndarray
    gates: np.ndarray


def returns_gates(call: Call) -> bool:
    """Returns True for layers that return masks and gates, unless they are nested in others."""
    return _is_outermost_with("return_gates", call)


def draw_heads(
    calls: Sequence[Call], model: keras.Model, examples: Examples, before: keras.Model | None
) -> "Figure":
    """Draws the first layer, a row for each image: heads of each module, gates, and classes."""
    layer: Any = calls[0].layer
    examples = examples.first(ROWS_SHOWN)
    call = record_call(model, layer, examples.inputs)
    arguments = inspect.signature(layer.call).bind(*call.args, **call.kwargs).arguments
    options = {"training": False, "return_attention": True, "return_gates": True}
    arguments = {name: value for name, value in arguments.items() if name not in options}
    probabilities = None
    if hasattr(layer, "modules"):
        tensors = layer.intermediates(**arguments, training=False)
        modules = _modules(layer, tensors["masks"], tensors["head_gates"])
        gates, probabilities = tensors["gates"], _probabilities(layer, tensors)
        names = [f"module {number}" for number in range(1, len(modules) + 1)]
        names += ["network", "prediction"]
    else:
        _, masks, gates = layer(**arguments, **options)
        modules = _modules(layer, [masks], [gates])
        names = [f"head {number}" for number in range(1, gates.shape[1] + 1)]
    figure = _draw_modules(layer, examples, modules, to_float32(gates), names, probabilities)
    figure.suptitle(f"Attention of {model.name}: {layer.name}", fontsize=figures.TITLE_SIZE)
    return figure


def _modules(layer: Any, masks: Sequence[Any], gates: Sequence[Any]) -> list[_Module]:
    # Names of the layers whose maps the modules read; unknown in subclassed models.
    sources = [""] * len(masks)
    if layer._inbound_nodes:
        maps = layer._inbound_nodes[-1].input_tensors[: len(masks)]
        sources = [f"input: {tensor._keras_history.operation.name}" for tensor in maps]
    modules = []
    for depth, (source, mask, gate) in enumerate(zip(sources, masks, gates, strict=True), start=1):
        array = to_channels_last(mask, layer)
        name = f"module {depth}" if hasattr(layer, "modules") else layer.name
        title = f"{name} ({array.shape[1]} x {array.shape[2]})\n{source}".strip()
        modules.append(_Module(title, array, to_float32(gate)))
    return modules


def _probabilities(layer: Any, tensors: dict[str, Any]) -> np.ndarray:
    """Class probabilities `(B, hypotheses + 1, classes)`, those of the layer's output last."""
    output = tensors["output"]
    if layer.space == "log":
        output = keras.ops.softmax(output)
    hypotheses = keras.ops.softmax(tensors["hypotheses"])
    return np.concatenate([to_float32(hypotheses), to_float32(output)[:, None]], axis=1)


def _draw_modules(
    layer: Any,
    examples: Examples,
    modules: Sequence[_Module],
    gates: np.ndarray,
    names: Sequence[str],
    probabilities: np.ndarray | None,
) -> "Figure":
    """Draws images, heads, bars of the gates with their names, and predicted classes."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    weighted = "heads" if probabilities is None else "hypotheses"
    titles = ["image", *(module.title for module in modules), f"gates\nweights of the {weighted}"]
    if probabilities is not None:
        titles.append("class (probability)\nstriped: differs from prediction")
    cam = grad_cam_columns(examples, layer)
    titles += [column.title for column in cam]
    images = display_images(examples.images, layer)
    # With hypotheses, the predicted classes are in a column of their own.
    notes = examples.notes(predicted=probabilities is None) or [""] * len(images)
    size = (2.1 * len(titles) + 0.4, 2.1 * len(images) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    grid: Any = figure.subplots(len(images), len(titles), squeeze=False)
    for row, axes in enumerate(grid):
        show_image(axes[0], images[row])
        hide_ticks(axes[0])
        axes[0].set_ylabel(examples.titles[row], fontsize=figures.NAME_SIZE)
        axes[0].set_xlabel(notes[row], fontsize=figures.LABEL_SIZE)
        for module, module_axes in zip(modules, axes[1:], strict=False):
            _show_heads(module_axes, images[row], module.masks[row], module.gates[row])
        _show_gates(axes[len(modules) + 1], gates[row], names)
        if probabilities is not None:
            _show_classes(axes[len(modules) + 2], probabilities[row], examples)
        for column in cam:
            show_image(axes[-1], column.images[row])
            hide_ticks(axes[-1])
    for axes, title in zip(grid[0], titles, strict=True):
        longest = max(map(len, title.splitlines()))
        axes.set_title(title, fontsize=figures.HEADING_SIZE * min(1.0, TITLE_LENGTH / longest))
    colors = ScalarMappable(Normalize(0.0, 1.0), figures.COLORMAP)
    ticks = {0.0: "0", 1.0: "maximum"}
    add_color_bar(figure, colors, grid[:, 1 : len(modules) + 1], HEADS_LABEL, ticks)
    return figure


def _show_heads(axes: "Axes", image: np.ndarray, masks: np.ndarray, gates: np.ndarray) -> None:
    """Draws a tile for each head: its mask, relative to its maximum, over the gray image."""
    count = masks.shape[-1]
    columns = math.ceil(math.sqrt(count))
    gray = image.mean(axis=-1) if image.ndim == 3 else image
    below = mosaic(np.repeat(gray[..., None], count, axis=-1), columns)
    show_image(axes, below, vmax=1.0 / BACKGROUND_BRIGHTNESS)
    tiles = mosaic(resize_to_image(masks, gray.shape), columns)
    opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * np.nan_to_num(tiles)
    show_image(axes, tiles, cmap=figures.COLORMAP, alpha=opacity)
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
    """Draws a bar for each gate. There may be more names than gates."""
    for row, gate in enumerate(gates):
        _draw_bar(axes, row, gate, f"{gate:.2f}", BAR)
    _finish_bars(axes, names, max(float(gates.max()), 1e-6))


def _show_classes(axes: "Axes", probabilities: np.ndarray, examples: Examples) -> None:
    """Draws a bar for the predicted class of each hypothesis, striped if the output's differs.

    The last row of `probabilities` is that of the layer's output.
    """
    best = probabilities.argmax(axis=-1)
    for row, (index, hypothesis) in enumerate(zip(best, probabilities, strict=True)):
        style = BAR if index == best[-1] else STRIPED_BAR
        value = hypothesis[index]
        _draw_bar(axes, row, value, f"{examples.class_name(index)} ({value:.2f})", style)
    _finish_bars(axes, [""] * len(probabilities), 1.0)


def _draw_bar(axes: "Axes", row: int, value: float, text: str, style: dict[str, Any]) -> None:
    offset: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
    axes.barh(row, value, height=0.7, **style)
    axes.annotate(text, (value, row), va="center", fontsize=7.5, annotation_clip=False, **offset)


def _finish_bars(axes: "Axes", names: Sequence[str], largest: float) -> None:
    axes.set(xlim=(0.0, 1.55 * largest), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
