"""Figures of activation-based attention, of one network or of a student beside its teacher.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figures 4 and 6.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_attention.inspect.calls import Call, LayerNames, layer_outputs, refuse_ambiguous_name
from keras_attention.inspect.examples import Examples, predicted_classes
from keras_attention.inspect.figures import (
    ROWS_SHOWN,
    Column,
    display_images,
    draw_panels,
    grad_cam_columns,
    input_column,
    overlays,
)
from keras_attention.ops.attention_transfer import (
    attention_map,
    paired_attention_maps,
)
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
    index = LayerNames(calls)
    found = [index.find(name) if isinstance(name, str) else [] for name in names]
    shapes = {id(call.layer): call.output_shape for call in calls}  # the last call counts
    maps = {id(call.layer) for call in calls if is_feature_map(call)}
    for name, layers in zip(names, found, strict=True):
        if len(layers) > 1 and any(id(one) in maps for one in layers):
            refuse_ambiguous_name(name, layers, index)
    is_map = [len(layers) == 1 and _is_map_shape(shapes[id(layers[0])]) for layers in found]
    if all(is_map):
        return names
    wrong = is_map.index(False)
    known = map_names(calls)
    allowed = f"one of {', '.join(map(repr, (None, *mechanisms)))}, or " if mechanisms else ""
    example = f", such as {known[-1]!r}" if known else ""
    shape = f" {shapes[id(found[wrong][0])]}" if found[wrong] else ""
    raise ValueError(
        f"`layer` must be {allowed}the name of a layer with an output of shape "
        f"(B, H, W, channels){example}, or a list of such names. Received: layer={layer!r}"
        + (f", where {names[wrong]!r} has the output shape{shape}." if shape else ".")
        + (
            did_you_mean(names[wrong], [*mechanisms, *known], 3)
            if isinstance(names[wrong], str)
            else ""
        )
    )


def map_names(calls: Sequence[Call]) -> list[str]:
    """Returns the names by which `plot_attention` finds the layers that return feature maps."""
    index, last = LayerNames(calls), {id(call.layer): call for call in calls}
    return index.known([call.layer for call in last.values() if is_feature_map(call)])


def _is_map_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4


def draw_maps(
    names: Sequence[str],
    calls: Sequence[Call],
    model: keras.Model,
    examples: Examples,
    before: keras.Model | None,
) -> "Figure":
    """Draws a row for each image: maps of each layer, before training and now, and an overlay."""
    examples = examples.first(ROWS_SHOWN)
    sources = {name: _layer_with_data_format(calls, name) for name in names}
    columns = [input_column(examples, sources[names[0]])]
    shown = display_images(examples.images, sources[names[0]])
    current = _run("model", model, names, examples).features
    earlier = _run("before", before, names, examples).features if before is not None else {}
    for name, source in sources.items():
        data_format = getattr(source, "data_format", None)
        if earlier:
            maps = _attention_maps(earlier[name], data_format)
            columns.append(Column(f"{name}\nbefore", maps, color_scale=name, quantity=QUANTITY))
        maps = _attention_maps(current[name], data_format)
        title = f"{name}\n{maps.shape[1]} x {maps.shape[2]}"
        columns.append(Column(title, maps, color_scale=name, quantity=QUANTITY))
        columns.append(Column(f"{name}\nover the image", overlays(shown, maps), is_image=True))
    columns += grad_cam_columns(examples, sources[names[0]])
    return draw_panels(columns, f"Attention of {model.name}: {', '.join(names)}")


def draw_grad_cam(calls: Sequence[Call], model: keras.Model, examples: Examples) -> "Figure":
    """Draws a row for each image: the image, and its Grad-CAM heat map over it."""
    examples = examples.first(ROWS_SHOWN)
    source = next((one.layer for one in calls if hasattr(one.layer, "data_format")), None)
    columns = [input_column(examples, source), *grad_cam_columns(examples, source)]
    return draw_panels(columns, f"Grad-CAM of {model.name}")


def _layer_with_data_format(calls: Sequence[Call], name: str) -> keras.Layer:
    """Returns the named layer, or the last one before it that has a data format."""
    [layer] = LayerNames(calls).find(name)
    last = max(index for index, call in enumerate(calls) if call.layer is layer)
    before = [call.layer for call in reversed(calls[: last + 1])]
    return next((layer for layer in before if hasattr(layer, "data_format")), before[0])


class _Outputs(NamedTuple):
    """Predictions of a network, and the outputs of some of its layers by name."""

    predictions: Any
    features: dict[str, Any]
    network: Any = None


def _run(
    argument: str,
    network: keras.Model,
    names: Sequence[str],
    examples: Examples,
    inputs: Any = None,
) -> _Outputs:
    """Runs the network that was passed as `argument`, which must call all layers."""
    inputs = examples.inputs if inputs is None else inputs
    outputs = _Outputs(*layer_outputs(network, names, inputs), network)
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


def is_distiller(model: Any) -> bool:
    """Returns True for models with a student, a teacher, and a loss between pairs of layers.

    Example:
    >>> is_distiller(keras.Sequential())
    False
    """
    return all(hasattr(model, name) for name in ("student", "teacher", "pairs", "attention"))


def draw_distiller(
    distiller: Any, examples: Examples, layer: Any, before: keras.Model | None
) -> "Figure":
    """Draws a row for each image: the student's map of each pair beside the teacher's.

    Without pairs, the maps are those of the gradients.
    """
    examples = examples.first(ROWS_SHOWN)
    predicted = examples.notes(predicted=False)  # the classes are below the maps
    source = distiller.attention
    columns = [dataclasses.replace(input_column(examples, source), notes=predicted)]
    if distiller.pairs:
        columns += _pairs_columns(distiller, examples, layer, before)
    else:
        columns += _gradient_columns(distiller, examples, layer, before)
    columns += grad_cam_columns(examples, source)
    teachers = "teachers" if len(_teachers(distiller)) > 1 else "teacher"
    return draw_panels(columns, f"Attention of {distiller.student.name} and its {teachers}")


def _pairs_columns(
    distiller: Any, examples: Examples, layer: Any, before: keras.Model | None
) -> list[Column]:
    pairs = _selected_pairs(distiller, layer)
    if distiller.precomputed:
        raise ValueError(
            "`model` must contain its teacher. Received: a distiller with precomputed=True, whose "
            "teacher's maps are in the dataset. To show the student, pass `distiller.student` as "
            f"`model`, and layer={pairs[0][0]!r}."
        )
    student_names = [name for name, _ in pairs]
    students = {"student": _run("model", distiller.student, student_names, examples)}
    if before is not None:
        earlier = _run("before", before, student_names, examples)
        students = {"student before": earlier, "student after": students["student"]}
    teachers = []
    inputs = distiller.teacher_inputs(examples.inputs)
    for index, (teacher, own_inputs) in enumerate(zip(_teachers(distiller), inputs, strict=True)):
        names = [of_teachers[index] for _, of_teachers in pairs]
        teachers.append(_run("model", teacher, names, examples, own_inputs))
    columns: list[Column] = []
    for pair in pairs:
        notes = pair == pairs[-1]
        columns += _pair_columns(distiller.attention, pair, students, teachers, examples, notes)
    return columns


def _selected_pairs(distiller: Any, layer: Any) -> list[tuple[str, tuple[str, ...]]]:
    """The pairs whose student layer is named, or all."""
    names = [student for student, _ in distiller.pairs]
    wanted = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    for name in wanted:
        one_of("layer", name, (None, *names))
    return [pair for pair in distiller.pairs if None in wanted or pair[0] in wanted]


def _teachers(distiller: Any) -> list[keras.Model]:
    teacher = distiller.teacher
    return [] if teacher is None else list(teacher) if isinstance(teacher, list) else [teacher]


def _pair_columns(
    attention: Any,
    pair: tuple[str, tuple[str, ...]],
    students: dict[str, _Outputs],
    teachers: Sequence[_Outputs],
    examples: Examples,
    with_classes: bool,
) -> list[Column]:
    """A column for each student and one for the teachers, all with the same color scale."""
    options = {name: getattr(attention, name) for name in MAP_OPTIONS if hasattr(attention, name)}
    own, others = pair
    targets = [one.features[name] for one, name in zip(teachers, others, strict=True)]
    parts: list[tuple[str, Any, tuple[int, ...], _Outputs | None]] = []
    for title, student in students.items():
        source = student.features[own]
        maps = [paired_attention_maps(target, source, **options) for target in targets]
        student_maps = maps[0][1]
        # The loss compares maps at the smaller size along each axis.
        sizes = [spatial_shape(x.shape, options.get("data_format")) for x in (targets[0], source)]
        sides = tuple(map(min, zip(*sizes, strict=True)))
        parts.append((f"{title}\n{own}", student_maps, sides, student))
    # The loss of several teachers compares the student's map with the mean of theirs.
    mean = sum(teacher_maps for teacher_maps, _ in maps) / len(maps)
    title = "teacher" if len(maps) == 1 else f"mean of {len(maps)} teachers"
    names = ", ".join(dict.fromkeys(others))
    parts.append((f"{title}\n{names}", mean, sides, teachers[0] if len(maps) == 1 else None))
    return [
        Column(
            title,
            _unflatten(maps, sides),
            axis_names=None if len(sides) == 2 else ("step", ""),
            color_scale=str(pair),
            quantity=QUANTITY,
            notes=_class_notes(network, examples) if with_classes and network else (),
        )
        for title, maps, sides, network in parts
    ]


def _gradient_columns(
    distiller: Any, examples: Examples, layer: Any, before: keras.Model | None
) -> list[Column]:
    """Columns of the gradient attention of student and teachers, for a distiller without pairs."""
    if not distiller.uses_gradients:
        raise ValueError(
            "`model` must compare attention maps of `pairs` of layers, or gradients. Received: a "
            "distiller without pairs. To show a layer of its student, pass `distiller.student` as "
            "`model`, and `layer`."
        )
    if layer is not None or before is not None:
        raise ValueError(
            "`layer` and `before` must be None for a distiller without `pairs`, whose gradients "
            f"are shown. Received: layer={layer!r}, before={before!r}"
        )
    data_format = getattr(distiller.attention, "data_format", None)
    student, teachers = distiller.input_gradients(examples.inputs, examples.classes)
    maps = {"student": _attention_maps(student, data_format)}
    if teachers:
        of_teachers = [_attention_maps(one, data_format) for one in teachers]
        title = "teacher" if len(teachers) == 1 else f"mean of {len(teachers)} teachers"
        maps[title] = np.mean(of_teachers, axis=0)
    predictions = {"student": distiller.student(examples.inputs, training=False)}
    if len(teachers) == 1:
        teacher, [inputs] = _teachers(distiller)[0], distiller.teacher_inputs(examples.inputs)
        predictions["teacher"] = teacher(inputs, training=False)
    networks = {"student": distiller.student, "teacher": next(iter(_teachers(distiller)), None)}
    return [
        Column(
            f"{title}\ngradient",
            array,
            color_scale="gradient",
            quantity="gradient attention",
            notes=_class_notes(_Outputs(predictions[title], {}, networks[title]), examples)
            if title in predictions
            else (),
        )
        for title, array in maps.items()
    ]


def _unflatten(maps: Any, sides: tuple[int, ...]) -> np.ndarray:
    height, width = sides if len(sides) == 2 else (1, sides[0])
    return keras.ops.convert_to_numpy(maps).reshape(-1, height, width)


def _class_notes(outputs: _Outputs, examples: Examples) -> list[str]:
    """Predicted class of each image; none if the network is not a classifier."""
    names = predicted_classes(outputs.network, outputs.predictions, examples.class_names)
    if names is None:
        return []
    return [f"class {name}" if examples.class_names is None else name for name in names]
