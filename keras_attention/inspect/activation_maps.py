"""Figures of activation-based attention, of one network or of a student beside its teacher.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figures 4 and 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.validation import did_you_mean, one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pair = tuple[str, str]

# Label of the color bars: the mean square of the activations, divided by its norm.
QUANTITY = "attention"
# Attributes of a loss that define its attention maps, with defaults for other losses.
MAP_OPTIONS: dict[str, Any] = {
    "p": 2,
    "reduce": "mean",
    "normalization": "l2",
    "resize": "average",
    "data_format": None,
}


def find_maps(calls: Sequence[Call]) -> list[Call]:
    """Selects the calls of layers whose output is a feature map of images."""
    return [
        call
        for call in calls
        if isinstance(call.output_shape, tuple) and len(call.output_shape) == 4
    ]


def validate_map_layers(layer: Any, calls: Sequence[Call], mechanisms: Sequence[str]) -> list[str]:
    """Returns the names in the argument `layer` as a list.

    Args:
        layer: Name of a layer, or a list of names.
        calls: Calls of the model's layers.
        mechanisms: Names of the layers with an attention mechanism, for the error message.

    Raises:
        ValueError: If one of them is not a layer whose output is a feature map of images.
    """
    names = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    maps = dict.fromkeys(call.layer.name for call in find_maps(calls))
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
    calls: Sequence[Call],
    names: Sequence[str],
    model: keras.Model,
    images: np.ndarray,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws a row for each image: the map of each layer, the one before, and both over the image.

    Args:
        calls: Calls of the model's layers.
        names: Names of the layers.
        model: The model.
        images: Images in the model's data format.
        before: The model before training, whose maps are drawn too, or None.
        title: Title of the figure, or None.
    """
    images = images[:ROWS_SHOWN]
    sources = {name: _layer_with_data_format(calls, name) for name in names}
    columns = [input_column(images, sources[names[0]])]
    shown = display_images(images, sources[names[0]])
    current = _outputs_by_name("model", model, names, images)[1]
    earlier = _outputs_by_name("before", before, names, images)[1] if before is not None else {}
    for name, source in sources.items():
        data_format = getattr(source, "data_format", None)
        maps = _attention_maps(current[name], data_format)
        past = _attention_maps(earlier[name], data_format) if earlier else None
        columns += _layer_columns(name, shown, maps, past)
    return draw_panels(columns, title or f"Attention of {model.name}: {', '.join(names)}")


def _layer_with_data_format(calls: Sequence[Call], name: str) -> keras.Layer:
    """Returns the named layer, or the last one before it that has a data format."""
    last = max(index for index, call in enumerate(calls) if call.layer.name == name)
    before = [call.layer for call in reversed(calls[: last + 1])]
    return next((layer for layer in before if hasattr(layer, "data_format")), before[0])


def _outputs_by_name(
    argument: str, model: keras.Model, names: Sequence[str], images: np.ndarray
) -> tuple[Any, dict[str, Any]]:
    """Predictions of a model, and the outputs of some of its layers by name.

    Raises:
        ValueError: If the model does not call one of the layers. The message names `argument`.
    """
    predictions, outputs = layer_outputs(model, list(names), images)
    missing = [name for name in names if name not in outputs]
    if missing:
        existing = [layer.name for layer in model._flatten_layers()]
        raise ValueError(
            f"`{argument}` must call layers with the names {', '.join(map(repr, names))}. "
            f"Received: {argument}={model.name!r} without {missing[0]!r}."
            + did_you_mean(missing[0], existing, 3)
        )
    return predictions, outputs


def _attention_maps(features: Any, data_format: str | None) -> np.ndarray:
    """Attention maps `(B, H, W)`: the mean square over the channels, with norm 1."""
    last = standardize_data_format(data_format) == "channels_last"
    sides = features.shape[1:3] if last else features.shape[2:4]
    flat = attention_map(features, data_format=data_format)
    return keras.ops.convert_to_numpy(flat).reshape(-1, *sides)


def _layer_columns(
    name: str, images: np.ndarray, maps: np.ndarray, before: np.ndarray | None
) -> list[Column]:
    size = " x ".join(map(str, maps.shape[1:]))
    columns = [
        Column(f"{name}\n{size}", maps, color_scale=name, quantity=QUANTITY),
        Column(f"{name}\nover the image", _overlays(images, maps), is_image=True),
    ]
    if before is None:
        return columns
    return [Column(f"{name}\nbefore", before, color_scale=name, quantity=QUANTITY), *columns]


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
    distiller: Any,
    images: np.ndarray,
    layer: str | Sequence[str] | None,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws a row for each image: the student's map of each pair beside the teacher's."""
    pairs = _selected_pairs(distiller, layer)
    student_names, teacher_names = zip(*pairs, strict=True)
    images = images[:ROWS_SHOWN]
    students = [_network_outputs("student", distiller.student, student_names, images)]
    if before is not None:
        students[0] = _network_outputs("student after", distiller.student, student_names, images)
        earlier = _network_outputs("student before", before, student_names, images, "before")
        students.insert(0, earlier)
    teacher = _network_outputs("teacher", distiller.teacher, teacher_names, images)
    columns = [input_column(images, distiller.attention)]
    for pair in pairs:
        columns += _pair_columns(distiller.attention, pair, students, teacher, pair == pairs[-1])
    return draw_panels(columns, title or f"Attention of {distiller.student.name} and its teacher")


@dataclass(frozen=True)
class _NetworkOutputs:
    """Outputs of a student or teacher.

    Attributes:
        title: Title of the network's columns.
        features: Outputs of its layers by name.
        classes: Text with the predicted class of each image; empty if the network is not a
            classifier.
    """

    title: str
    features: dict[str, Any]
    classes: list[str]


def _selected_pairs(distiller: Any, layer: str | Sequence[str] | None) -> list[Pair]:
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


def _network_outputs(
    title: str,
    model: keras.Model,
    names: Sequence[str],
    images: np.ndarray,
    argument: str = "model",
) -> _NetworkOutputs:
    predictions, features = _outputs_by_name(argument, model, names, images)
    return _NetworkOutputs(title, features, _class_notes(predictions))


def _class_notes(predictions: Any) -> list[str]:
    nested = keras.tree.is_nested(predictions)
    if nested or len(predictions.shape) != 2 or predictions.shape[-1] < 2:
        return []
    classes = keras.ops.convert_to_numpy(keras.ops.argmax(predictions, axis=-1))
    return [f"class {index}" for index in classes]


def _pair_columns(
    attention: Any,
    pair: Pair,
    students: Sequence[_NetworkOutputs],
    teacher: _NetworkOutputs,
    with_classes: bool,
) -> list[Column]:
    """A column for each student and one for the teacher, all with the same color scale."""
    options = {name: getattr(attention, name, value) for name, value in MAP_OPTIONS.items()}
    target, columns = teacher.features[pair[1]], []
    for student in students:
        source = student.features[pair[0]]
        teacher_maps, student_maps = paired_attention_maps(target, source, **options)
        sides = _compared_size(target, source, options["data_format"])
        columns.append((student, pair[0], _unflatten(student_maps, sides)))
    columns.append((teacher, pair[1], _unflatten(teacher_maps, sides)))
    axis_names = None if len(sides) == 2 else ("step", "")
    return [
        Column(
            f"{network.title}\n{name}",
            maps,
            axis_names,
            color_scale=str(pair),
            quantity=QUANTITY,
            notes=network.classes if with_classes else (),
        )
        for network, name, maps in columns
    ]


def _compared_size(teacher: Any, student: Any, data_format: str | None) -> tuple[int, ...]:
    """Size at which the loss compares two maps: the smaller one along each axis."""
    last = standardize_data_format(data_format) == "channels_last"
    sides = [maps.shape[1:-1] if last else maps.shape[2:] for maps in (teacher, student)]
    return tuple(map(min, zip(*sides, strict=True)))


def _unflatten(maps: Any, sides: tuple[int, ...]) -> np.ndarray:
    height, width = sides if len(sides) == 2 else (1, sides[0])
    return keras.ops.convert_to_numpy(maps).reshape(-1, height, width)
