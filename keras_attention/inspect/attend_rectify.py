"""Draws what attention heads look at, what each layer says of it, and how much that counts.

Reference: Rodriguez et al., Attend and Rectify (2018), section 3.
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect import style
from keras_attention.inspect.calls import Call, arguments_on_images
from keras_attention.inspect.heads import Heads, as_pictures, show_heads, show_image
from keras_attention.inspect.panels import ROWS_SHOWN
from keras_attention.inspect.pictures import channels_last
from keras_attention.inspect.shares import show_gates, show_predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
PANEL, MARGIN = 2.1, 1.3
KEY = "where a head looks, by its own maximum\nnumber: the head's gate"
# Characters of a title in its full size.
TITLE = 26


def find(calls: Sequence[Call]) -> list[Call]:
    """Keeps the calls of layers that return masks and gates, the outer of those inside others."""
    return [
        call
        for call in calls
        if _has_gates(call.layer) and not any(_has_gates(caller) for caller in call.callers)
    ]


def draw(
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws the first layer: a row an image, with the heads of each module, gates and answers."""
    layer: Any = calls[0].layer
    images = images[:ROWS_SHOWN]
    arguments = _arguments(model, layer, images)
    pictures = as_pictures(images, layer)
    title = title or f"What {model.name} attends to: {layer.name}"
    if not hasattr(layer, "modules"):
        options = {"training": False, "return_attention": True, "return_gates": True}
        _, masks, gates = layer(**arguments, **options)
        heads = _heads(layer, [masks], [gates])
        return _figure(pictures, heads, title, gates=_numbers(gates))
    found = layer.steps(**arguments, training=False)
    heads = _heads(layer, found["masks"], found["head_gates"])
    said = _probabilities(layer, found)
    return _figure(pictures, heads, title, gates=_numbers(found["gates"]), said=said)


def _has_gates(layer: keras.Layer) -> bool:
    return "return_gates" in inspect.signature(layer.call).parameters


def _arguments(model: keras.Model, layer: Any, images: np.ndarray) -> dict[str, Any]:
    """What the model gives the layer, by name."""
    args, kwargs, _ = arguments_on_images(model, layer, images)
    arguments = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    options = ("training", "return_attention", "return_gates")
    return {name: value for name, value in arguments.items() if name not in options}


def _heads(layer: Any, masks: Sequence[Any], gates: Sequence[Any]) -> list[Heads]:
    heads = []
    parts = zip(_sources(layer, len(masks)), masks, gates, strict=True)
    for depth, (source, mask, gate) in enumerate(parts, start=1):
        array = channels_last(mask, layer)
        name = f"module {depth}" if hasattr(layer, "modules") else layer.name
        title = f"{name} ({array.shape[1]} x {array.shape[2]})\n{source}".strip()
        heads.append(Heads(title, array, _numbers(gate)))
    return heads


def _sources(layer: Any, count: int) -> list[str]:
    """The layers whose maps the modules read; empty names where the model does not say."""
    if not layer._inbound_nodes:
        return [""] * count
    maps = layer._inbound_nodes[-1].input_tensors[:count]
    return [f"reads {tensor._keras_history.operation.name}" for tensor in maps]


def _probabilities(layer: Any, found: dict[str, Any]) -> np.ndarray:
    """`(B, hypotheses + 1, classes)`, the answer last."""
    answer = found["answer"]
    if layer.space == "log":
        answer = keras.ops.softmax(answer)
    said = keras.ops.softmax(found["hypotheses"])
    return np.concatenate([_numbers(said), _numbers(answer)[:, None]], axis=1)


def _numbers(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def _figure(
    pictures: np.ndarray,
    heads: Sequence[Heads],
    title: str,
    *,
    gates: np.ndarray,
    said: np.ndarray | None = None,
) -> "Figure":
    from matplotlib.figure import Figure

    count, modules = 2 + len(heads) + (said is not None), len(heads)
    size = (PANEL * count + 0.4, PANEL * len(pictures) + MARGIN)
    figure = Figure(figsize=size, layout="constrained")
    grid: Any = figure.subplots(len(pictures), count, squeeze=False)
    names = _names(heads, gates, said)
    for row, axes in enumerate(grid):
        show_image(axes[0], pictures[row])
        axes[0].set_ylabel(f"image {row + 1}", fontsize=style.NAME)
        for part, place in zip(heads, axes[1:], strict=False):
            show_heads(place, pictures[row], part.masks[row], part.gates[row])
        show_gates(axes[modules + 1], gates[row], names)
        if said is not None:
            show_predictions(axes[-1], said[row])
    _write_titles(grid[0], heads, said)
    _add_key(figure, grid[:, 1 : modules + 1])
    figure.suptitle(title, fontsize=style.TITLE)
    return figure


def _add_key(figure: "Figure", grid: Any) -> None:
    """Says below the masks what their colors and numbers are."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(0.0, 1.0), style.COLORS)
    place: Any = {"location": "bottom", "panchor": False, "shrink": 0.9}
    bar = figure.colorbar(colors, ax=grid, aspect=16 * grid.shape[1], **place)
    bar.set_ticks([0.0, 1.0], labels=["0", "maximum"], fontsize=style.LABEL)
    bar.set_label(KEY, fontsize=style.LABEL)


def _names(heads: Sequence[Heads], gates: np.ndarray, said: np.ndarray | None) -> list[str]:
    if said is None:
        return [f"head {number}" for number in range(1, gates.shape[1] + 1)]
    modules = [f"module {number}" for number in range(1, len(heads) + 1)]
    return [*modules, "network", "answer"]


def _write_titles(row: Any, heads: Sequence[Heads], said: np.ndarray | None) -> None:
    gates = "gates\nshare of each head" if said is None else "gates\nshare in the answer"
    titles = ["image", *(part.title for part in heads), gates]
    if said is not None:
        titles.append("class (probability)\nstriped: not the answer")
    for axes, title in zip(row, titles, strict=True):
        longest = max(map(len, title.splitlines()))
        axes.set_title(title, fontsize=style.HEADING * min(1.0, TITLE / longest))
