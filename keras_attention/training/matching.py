"""Pairs of layers of a student and a teacher, and whether they can be compared."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.arguments import standard_data_format
from keras_attention.ops.shapes import same_shape
from keras_attention.surgery.taps import graph_with, tap
from keras_attention.training.gradient_attention import GradientAttention
from keras_attention.training.observed import Observed

Pair = tuple[str, str]


def named_pairs(argument: str, pairs: Any) -> list[Pair]:
    """Pairs of names `(student's, teacher's)`, from those or names that both have.

    Raises:
        ValueError: For anything else.

    Example:
    >>> named_pairs("pairs", ["group1", ("block2", "group2")])
    [('group1', 'group1'), ('block2', 'group2')]
    """
    if isinstance(pairs, (list, tuple)):
        named = [(pair, pair) if isinstance(pair, str) else pair for pair in pairs]
        if all(_is_pair(pair) for pair in named):
            return [(own, other) for own, other in named]
    raise ValueError(
        f"`{argument}` must be a list of layers' names, or of pairs (student's, teacher's). "
        f"Received: {argument}={pairs!r}"
    )


def _is_pair(pair: Any) -> bool:
    is_two = isinstance(pair, (list, tuple)) and len(pair) == 2
    return is_two and all(isinstance(name, str) for name in pair)


def check(
    student: keras.Model,
    teacher: Any,
    pairs: Sequence[Pair],
    answers: bool,
    terms: Sequence[GradientAttention],
) -> None:
    """Checks that there is a teacher, where one is needed, and that it can be compared.

    Args:
        student: The model that learns.
        teacher: The model that it learns from, or None.
        pairs: Of layers.
        answers: Whether answers are compared.
        terms: Of gradients.

    Raises:
        ValueError: Where a teacher is missing or takes or returns something else.
    """
    if not _needs_teacher(pairs, answers, terms):
        return
    if not isinstance(teacher, keras.Model):
        raise ValueError(
            "`teacher` must be a Keras model where its maps, answers or gradients are compared. "
            f"Received: teacher={teacher!r}"
        )
    _check_inputs(student, teacher)
    if answers or _transfers(terms):
        _check_answers(student, teacher)


def observed(
    student: keras.Model,
    teacher: keras.Model | None,
    pairs: Sequence[Pair],
    answers: bool,
    terms: Sequence[GradientAttention],
    from_logits: bool | None,
    activity: str | None = None,
) -> tuple[Observed, Observed | None]:
    """Watches the layers of pairs in both networks.

    Args:
        student: As of `check`, and so are the next.
        teacher: The model that the student learns from, or None.
        pairs: Of layers.
        answers: Whether answers are compared.
        terms: Of gradients, of the same layers all.
        from_logits: Whether both models answer with logits; None to look.
        activity: As of `Observed`.

    Returns:
        Both; None for a teacher of whom nothing is asked.
    """
    here, there = terms[0].layers if terms else (None, None)
    names = [name for name, _ in pairs]
    own = Observed(student, names, True, bool(terms), here, from_logits, activity)
    if teacher is None or not _needs_teacher(pairs, answers, terms):
        return own, None
    transfers = _transfers(terms)
    there = there if transfers else None
    names = [name for _, name in pairs]
    return own, Observed(teacher, names, answers, transfers, there, from_logits, activity)


def _needs_teacher(pairs: Sequence[Pair], answers: bool, terms: Sequence[Any]) -> bool:
    return bool(pairs) or answers or _transfers(terms)


def _transfers(terms: Sequence[GradientAttention]) -> bool:
    return any(term.kind == "transfer" for term in terms)


def _check_inputs(student: keras.Model, teacher: keras.Model) -> None:
    """Checks that both models take the same.

    Raises:
        ValueError: Where shapes or the number of inputs differ.
    """
    shapes = [[tuple(tensor.shape) for tensor in model.inputs] for model in (student, teacher)]
    if len(shapes[0]) != len(shapes[1]) or not all(map(same_shape, *shapes)):
        raise ValueError(
            "Student and teacher must take the same images. "
            f"Received: inputs of {shapes[0]} and {shapes[1]}"
        )


def _check_answers(student: keras.Model, teacher: keras.Model) -> None:
    """Checks that both models tell the same classes apart.

    Raises:
        ValueError: For several outputs, or of different shapes.
    """
    shapes = [[tuple(tensor.shape) for tensor in model.outputs] for model in (student, teacher)]
    if len(shapes[0]) != 1 or len(shapes[1]) != 1 or not same_shape(shapes[0][0], shapes[1][0]):
        raise ValueError(
            "Student and teacher must return one answer of the same classes for `alpha` above 0 or "
            f"gradients of the teacher. Received: outputs of {shapes[0]} and {shapes[1]}"
        )


def same_sides(
    student: keras.Model, teacher: keras.Model, pairs: Sequence[Pair], data_format: str | None
) -> bool:
    """Whether the maps of all pairs surely have the same sides."""
    channels = -1 if standard_data_format(data_format) == "channels_last" else 1
    for pair in pairs:
        sides = [list(shape) for shape in shapes_of(student, teacher, pair)]
        for side in sides:
            side.pop(channels)
        if sides[0] != sides[1] or None in sides[0][1:]:
            return False
    return True


def check_maps(student: keras.Model, teacher: Any, pairs: Sequence[Pair]) -> None:
    """Checks that the layers of each pair make maps of as many axes.

    Raises:
        ValueError: For a layer whose output is no map, or another number of axes.
    """
    for pair in pairs:
        shapes = shapes_of(student, teacher, pair)
        if len(shapes[0]) != len(shapes[1]) or len(shapes[0]) < 3:
            raise ValueError(
                "Layers of a pair must make maps (B, H, W, channels), of as many axes both. "
                f"Received: {pair[0]!r} of {shapes[0]} and {pair[1]!r} of {shapes[1]}"
            )


def shapes_of(student: keras.Model, teacher: Any, pair: Pair) -> list[tuple[int | None, ...]]:
    """Shapes of what the layers of a pair put out."""
    return [
        tuple(tap(graph_with(model, [name]), name).shape)
        for model, name in zip((student, teacher), pair, strict=True)
    ]


def regressors(
    student: keras.Model, teacher: Any, pairs: Sequence[Pair], dtype: Any
) -> list[keras.layers.Layer]:
    """Layers that bring a student's features to its teacher's channels: 1x1 convolutions.

    Args:
        student: The model that learns.
        teacher: The model that it learns from.
        pairs: Of layers whose features are compared.
        dtype: Policy of the layers.

    Returns:
        A layer for each pair; where the channels are the same, one that does nothing.

    Raises:
        ValueError: For maps of different sides.
    """
    channels = -1 if standard_data_format(None) == "channels_last" else 1
    found: list[keras.layers.Layer] = []
    for index, (own, other) in enumerate(pairs, start=1):
        here, there = shapes_of(student, teacher, (own, other))
        wanted = list(here)
        wanted[channels] = there[channels]
        if not same_shape(tuple(wanted), there):
            raise ValueError(
                "Layers of a hint must make maps of the same sides. "
                f"Received: {own!r} of {here} and {other!r} of {there}"
            )
        if here[channels] == there[channels]:
            layer: keras.layers.Layer = keras.layers.Identity(name=f"hint{index}", dtype=dtype)
        else:
            layer = keras.layers.Conv2D(there[channels], 1, name=f"hint{index}", dtype=dtype)
        layer.build(here)
        found.append(layer)
    return found
