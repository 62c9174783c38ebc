"""Figures of activation-based attention, of one network or of a student beside its teacher.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figures 4 and 6.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_attention.inspect import figures
from keras_attention.inspect.calls import Call, layer_outputs
from keras_attention.inspect.figures import (
    BACKGROUND_BRIGHTNESS,
    OPACITY,
    ROWS_SHOWN,
    Column,
    display_images,
    draw_panels,
    input_column,
    resize_to_image,
)
from keras_attention.ops.attention_transfer import attention_map, paired_attention_maps
from keras_attention.utils.data_format import spatial_shape
from keras_attention.utils.validation import did_you_mean, one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Label of the color bars: the mean square of the activations, divided by its norm.
QUANTITY = "attention"
# Attributes of a loss that define its attention maps. Other losses have the defaults.
MAP_OPTIONS = ("p", "reduce", "normalization", "resize", "data_format")


def is_feature_map(call: Call) -> bool:
    """Returns True for layers whose output is a feature map of images."""
    return isinstance(call.output_shape, tuple) and len(call.output_shape) == 4


def validate_map_layers(layer: Any, calls: Sequence[Call], mechanisms: Sequence[str]) -> list[str]:
    """Returns the names in the argument `layer` of `plot_attention` as a list.

    `mechanisms` are the names of the layers with an attention mechanism, for the error message.
    """
    names = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    maps = dict.fromkeys(call.layer.name for call in calls if is_feature_map(call))
    wrong = [name for name in names if not (isinstance(name, str) and name in maps)]
    if not wrong:
        return names
    allowed = f"one of {', '.join(map(repr, (None, *mechanisms)))}, or " if mechanisms else ""
    example = f", such as {list(maps)[-1]!r}" if maps else ""
    shapes = [call.output_shape for call in calls if call.layer.name == wrong[0]]
    raise ValueError(
        f"`layer` must be {allowed}the name of a layer with an output of shape "
        f"(B, H, W, channels){example}, or a list of such names. Received: layer={layer!r}"
        + (f", where {wrong[0]!r} has the output shape {shapes[-1]}." if shapes else ".")
        + (did_you_mean(wrong[0], [*mechanisms, *maps], 3) if isinstance(wrong[0], str) else "")
    )


def draw_maps(
    names: Sequence[str],
    calls: Sequence[Call],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
) -> "Figure":
    """Draws a row for each image: maps of each layer, before training and now, and an overlay."""
    images = images[:ROWS_SHOWN]
    sources = {name: _layer_with_data_format(calls, name) for name in names}
    columns = [input_column(images, sources[names[0]])]
    shown = display_images(images, sources[names[0]])
    current = _run("model", model, names, images).features
    earlier = _run("before", before, names, images).features if before is not None else {}
    for name, source in sources.items():
        data_format = getattr(source, "data_format", None)
        if earlier:
            maps = _attention_maps(earlier[name], data_format)
            columns.append(Column(f"{name}\nbefore", maps, color_scale=name, quantity=QUANTITY))
        maps = _attention_maps(current[name], data_format)
        title = f"{name}\n{maps.shape[1]} x {maps.shape[2]}"
        columns.append(Column(title, maps, color_scale=name, quantity=QUANTITY))
        columns.append(Column(f"{name}\nover the image", _overlays(shown, maps), is_image=True))
    return draw_panels(columns, f"Attention of {model.name}: {', '.join(names)}")


def _layer_with_data_format(calls: Sequence[Call], name: str) -> keras.Layer:
    """Returns the named layer, or the last one before it that has a data format."""
    last = max(index for index, call in enumerate(calls) if call.layer.name == name)
    before = [call.layer for call in reversed(calls[: last + 1])]
    return next((layer for layer in before if hasattr(layer, "data_format")), before[0])


class _Outputs(NamedTuple):
    """Predictions of a network, and the outputs of some of its layers by name."""

    predictions: Any
    features: dict[str, Any]


def _run(argument: str, network: keras.Model, names: Sequence[str], images: np.ndarray) -> _Outputs:
    """Runs the network that was passed as `argument`, which must call all layers."""
    outputs = _Outputs(*layer_outputs(network, names, images))
    missing = [name for name in names if name not in outputs.features]
    if missing:
        existing = [layer.name for layer in network._flatten_layers()]
        raise ValueError(
            f"`{argument}` must call layers with the names {', '.join(map(repr, names))}. "
            f"Received: {argument}={network.name!r} without {missing[0]!r}."
            + did_you_mean(missing[0], existing, 3)
        )
    return outputs


def _attention_maps(features: Any, data_format: str | None) -> np.ndarray:
    """Attention maps `(B, H, W)`: the mean square over the channels, with norm 1."""
    flat = attention_map(features, data_format=data_format)
    sides = spatial_shape(features.shape, data_format)
    return keras.ops.convert_to_numpy(flat).reshape(-1, *sides)


def _overlays(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Colors `(B, H, W, 3)`: each map, relative to its maximum, over the darkened gray image."""
    from matplotlib import colormaps

    shares = np.stack([resize_to_image(one[..., None], images.shape[1:3])[..., 0] for one in maps])
    gray = images.mean(axis=-1) if images.ndim == 4 else images
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * shares)[..., None]
    colors = colormaps[figures.COLORMAP](shares)[..., :3]
    return opacity * colors + (1.0 - opacity) * BACKGROUND_BRIGHTNESS * gray[..., None]


def is_distiller(model: Any) -> bool:
    """Returns True for models with a student, a teacher, and a loss between pairs of layers.

    Example:
    >>> is_distiller(keras.Sequential())
    False
    """
    return all(hasattr(model, name) for name in ("student", "teacher", "pairs", "attention"))


def draw_distiller(
    distiller: Any, images: np.ndarray, layer: Any, before: keras.Model | None
) -> "Figure":
    """Draws a row for each image: the student's map of each pair beside the teacher's."""
    pairs = _selected_pairs(distiller, layer)
    student_names, teacher_names = zip(*pairs, strict=True)
    images = images[:ROWS_SHOWN]
    student = _run("model", distiller.student, student_names, images)
    students = {"student": student}
    if before is not None:
        earlier = _run("before", before, student_names, images)
        students = {"student before": earlier, "student after": student}
    teacher = _run("model", distiller.teacher, teacher_names, images)
    columns = [input_column(images, distiller.attention)]
    for pair in pairs:
        columns += _pair_columns(distiller.attention, pair, students, teacher, pair == pairs[-1])
    return draw_panels(columns, f"Attention of {distiller.student.name} and its teacher")


def _selected_pairs(distiller: Any, layer: Any) -> list[tuple[str, str]]:
    """The pairs whose student layer is named, or all."""
    if not distiller.pairs:
        raise ValueError(
            "`model` must compare attention maps of `pairs` of layers. Received: a distiller "
            "without pairs. To show a layer of its student, pass `distiller.student` as `model`, "
            "and `layer`."
        )
    names = [student for student, _ in distiller.pairs]
    wanted = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    for name in wanted:
        one_of("layer", name, (None, *names))
    return [pair for pair in distiller.pairs if None in wanted or pair[0] in wanted]


def _pair_columns(
    attention: Any,
    pair: tuple[str, str],
    students: dict[str, _Outputs],
    teacher: _Outputs,
    with_classes: bool,
) -> list[Column]:
    """A column for each student and one for the teacher, all with the same color scale."""
    options = {name: getattr(attention, name) for name in MAP_OPTIONS if hasattr(attention, name)}
    target, parts = teacher.features[pair[1]], []
    for title, student in students.items():
        source = student.features[pair[0]]
        teacher_maps, student_maps = paired_attention_maps(target, source, **options)
        # The loss compares maps at the smaller size along each axis.
        sizes = [spatial_shape(x.shape, options.get("data_format")) for x in (target, source)]
        sides = tuple(map(min, zip(*sizes, strict=True)))
        parts.append((f"{title}\n{pair[0]}", student_maps, sides, student))
    parts.append((f"teacher\n{pair[1]}", teacher_maps, sides, teacher))
    return [
        Column(
            title,
            _unflatten(maps, sides),
            axis_names=None if len(sides) == 2 else ("step", ""),
            color_scale=str(pair),
            quantity=QUANTITY,
            notes=_class_notes(network.predictions) if with_classes else (),
        )
        for title, maps, sides, network in parts
    ]


def _unflatten(maps: Any, sides: tuple[int, ...]) -> np.ndarray:
    height, width = sides if len(sides) == 2 else (1, sides[0])
    return keras.ops.convert_to_numpy(maps).reshape(-1, height, width)


def _class_notes(predictions: Any) -> list[str]:
    """Predicted class of each image; none if the network is not a classifier."""
    nested = keras.tree.is_nested(predictions)
    if nested or len(predictions.shape) != 2 or predictions.shape[-1] < 2:
        return []
    classes = keras.ops.convert_to_numpy(keras.ops.argmax(predictions, axis=-1))
    return [f"class {index}" for index in classes]
