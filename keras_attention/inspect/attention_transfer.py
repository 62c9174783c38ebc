"""Draws what a student attends to beside its teacher.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figure 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_attention.inspect.activations import maps_on_images
from keras_attention.inspect.panels import ROWS_SHOWN, Column, draw_panels, input_column
from keras_attention.ops.attention_transfer import paired_maps
from keras_attention.utils.validation import one_of, standard_data_format

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pair = tuple[str, str]

# What of a loss says how maps are made of features, with the defaults where it does not say.
OPTIONS: dict[str, Any] = {
    "p": 2,
    "reduce": "mean",
    "normalization": "l2",
    "resize": "average",
    "data_format": None,
}


@dataclass(frozen=True)
class Seen:
    """What a network makes of images.

    Attributes:
        title: Which network.
        features: Of its layers, by name.
        classes: That it predicts, a line an image; none where it does not classify.
    """

    title: str
    features: dict[str, Any]
    classes: list[str]


def is_distiller(model: Any) -> bool:
    """Whether a model has a student, a teacher, and a loss of pairs of their layers.

    Example:
    >>> is_distiller(keras.Sequential())
    False
    """
    return all(hasattr(model, name) for name in ("student", "teacher", "pairs", "attention"))


def draw(
    distiller: Any,
    images: np.ndarray,
    layer: str | Sequence[str] | None,
    before: keras.Model | None,
    title: str | None,
) -> "Figure":
    """Draws a row an image: the student's map of each pair beside the teacher's."""
    pairs = _pairs(distiller, layer)
    own, others = zip(*pairs, strict=True)
    images = images[:ROWS_SHOWN]
    students = [_seen("student", distiller.student, own, images)]
    if before is not None:
        students[0] = _seen("student after", distiller.student, own, images)
        students.insert(0, _seen("student before", before, own, images, "before"))
    teacher = _seen("teacher", distiller.teacher, others, images)
    columns = [input_column(images, distiller.attention)]
    for pair in pairs:
        columns += _columns(distiller.attention, pair, students, teacher, pair == pairs[-1])
    return draw_panels(columns, title or f"What {distiller.student.name} and its teacher attend to")


def _pairs(distiller: Any, layer: str | Sequence[str] | None) -> list[Pair]:
    """The pairs to draw: those of the student's layers that are named, or all."""
    if not distiller.pairs:
        raise ValueError(
            "`model` must compare attention maps of `pairs` of layers. Received: a distiller "
            "without pairs. With its `student` as `model`, `layer=` shows a layer's attention"
        )
    names = [student for student, _ in distiller.pairs]
    wanted = list(layer) if isinstance(layer, (list, tuple)) and layer else [layer]
    for name in wanted:
        one_of("layer", name, (None, *names))
    return [pair for pair in distiller.pairs if None in wanted or pair[0] in wanted]


def _seen(
    title: str,
    model: keras.Model,
    names: Sequence[str],
    images: np.ndarray,
    argument: str = "model",
) -> Seen:
    answer, features = maps_on_images(argument, model, names, images)
    return Seen(title, features, _classes(answer))


def _classes(answer: Any) -> list[str]:
    if keras.tree.is_nested(answer) or len(answer.shape) != 2 or answer.shape[-1] < 2:
        return []
    best = keras.ops.convert_to_numpy(keras.ops.argmax(answer, axis=-1))
    return [f"class {index}" for index in best]


def _columns(
    attention: Any, pair: Pair, students: Sequence[Seen], teacher: Seen, with_classes: bool
) -> list[Column]:
    """A column a student, then the teacher's, of one scale: equal colors are equal values."""
    options = {name: getattr(attention, name, value) for name, value in OPTIONS.items()}
    target, columns = teacher.features[pair[1]], []
    for student in students:
        source = student.features[pair[0]]
        wanted, own = paired_maps(target, source, **options)
        sides = _sides(target, source, options["data_format"])
        columns.append((student, pair[0], _pictures(own, sides)))
    columns.append((teacher, pair[1], _pictures(wanted, sides)))
    axes = None if len(sides) == 2 else ("step", "")
    return [
        Column(
            f"{seen.title}\n{name}",
            pictures,
            axes,
            scale=str(pair),
            quantity="attention",
            notes=seen.classes if with_classes else (),
        )
        for seen, name, pictures in columns
    ]


def _sides(teacher: Any, student: Any, data_format: str | None) -> tuple[int, ...]:
    """Of the maps as the loss compares them: the smaller side along each axis."""
    last = standard_data_format(data_format) == "channels_last"
    sides = [one.shape[1:-1] if last else one.shape[2:] for one in (teacher, student)]
    return tuple(map(min, zip(*sides, strict=True)))


def _pictures(maps: Any, sides: tuple[int, ...]) -> np.ndarray:
    height, width = sides if len(sides) == 2 else (1, sides[0])
    return keras.ops.convert_to_numpy(maps).reshape(-1, height, width)
