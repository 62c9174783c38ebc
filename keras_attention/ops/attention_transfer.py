"""Attention maps of activations, and what teacher and student are compared by.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), equations 1 and 2,
and its code.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.tensor_validation import (
    compatible_shapes,
    side_lengths,
    validate_arguments,
)
from keras_attention.utils.validation import at_least_one, one_of, positive_number

Tensor = Any

REDUCTIONS = ("mean", "sum", "max")
NORMALIZATIONS = ("l2", "l1", None)
RESIZES = ("average", "bilinear")
# The least norm that a map is divided by, as in the authors' code: a map of zeros stays one.
LEAST_NORM = 1e-12
# Above, squares of a map's values may not add up in float32; activities end at the second.
LARGEST_SQUARED, MOST_ACTIVITY = 1e15, 1e37


@validate_arguments(features="_ _ ... _", p=at_least_one)
def attention_map(
    features: Tensor,
    p: float = 2,
    reduce: str = "mean",
    normalization: str | None = "l2",
    data_format: str | None = None,
) -> Tensor:
    """How active each place of a map is: `|A|^p` over the channels, then normalized (equation 1).

    Args:
        features: `(B, H, W, C)`, or any number of axes in the place of H and W; channels second
            with channels first.
        p: The power, 1 or more; 2 by default, as in the authors' code.
        reduce: What is taken over the channels: `"mean"` (default, the code's), `"sum"` or `"max"`
            (the paper's; with normalization the mean is the same as the sum).
        normalization: `"l2"` (default) or `"l1"`, by the norm of each example's map; None leaves
            the map as it is.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Maps in float32, or more, flattened: `(B, H * W)`; zeros where all features are.

    Raises:
        ValueError: For another reduction or normalization.

    Example:
    >>> features = ops.convert_to_tensor([[[[3.0, 1.0], [0.0, 1.0]]]])
    >>> [round(float(value), 3) for value in attention_map(features)[0]]
    [0.995, 0.1]
    """
    activity = channel_activity(features, p, reduce, data_format)
    return normalize_map(ops.reshape(activity, (ops.shape(activity)[0], -1)), normalization)


def channel_activity(
    features: Tensor, p: float = 2, reduce: str = "mean", data_format: str | None = None
) -> Tensor:
    """`|A|^p` over the channels, in float32 or more: `(B, H, W)`.

    Args:
        features: As of `attention_map`, and so are the others.
        p: The power.
        reduce: What is taken over the channels.
        data_format: Where the channels are.

    Example:
    >>> float(channel_activity(ops.convert_to_tensor([[[[3.0, 1.0]]]]), reduce="max")[0, 0, 0])
    9.0
    """
    reduction = getattr(ops, one_of("reduce", reduce, REDUCTIONS))
    axis = -1 if standardize_data_format(data_format) == "channels_last" else 1
    # Half precision would not hold squares of more than 256.
    values = at_least_float32(features)
    if p == 2:
        return ops.minimum(reduction(ops.square(values), axis=axis), MOST_ACTIVITY)
    if p == 1:
        # Not `abs`, whose gradient at 0 is 1 in JAX: a map of zeros would divide it by nothing.
        return reduction(values * ops.stop_gradient(ops.sign(values)), axis=axis)
    sizes = ops.minimum(ops.abs(values), MOST_ACTIVITY ** (1 / p))
    return ops.minimum(reduction(ops.power(sizes, p), axis=axis), MOST_ACTIVITY)


def attach_activity(features: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Passes features on, and says their mean square over the channels.

    What comes back to the features is computed only when all of it has arrived.

    Args:
        features: `(B, H, W, C)`, or other axes in the place of H and W.
        axis: That of the channels.

    Returns:
        The features, and their activity in float32 or more, with one channel.

    Example:
    >>> float(attach_activity(ops.convert_to_tensor([[[[3.0, 1.0]]]]))[1][0, 0, 0, 0])
    5.0
    """
    return _watched(axis)(ops.convert_to_tensor(features))


@cache
def _watched(axis: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    @ops.custom_gradient
    def watched(features: Tensor) -> Any:
        def gradient(*upstream: Any) -> Tensor:
            of_features, of_activity = keras.tree.flatten(upstream)
            share = (2.0 / features.shape[axis]) * of_activity
            share = ops.cast(backend.after(share, of_features), features.dtype)
            return of_features + share * features

        squares = ops.square(at_least_float32(features))
        activity = ops.mean(squares, axis=axis, keepdims=True)
        return (features, ops.minimum(activity, MOST_ACTIVITY)), gradient

    return watched


def at_least_float32(values: Tensor) -> Tensor:
    """Casts half precision and integers to float32.

    Example:
    >>> at_least_float32(ops.ones((1,), "float16")).dtype.name
    'float32'
    """
    values = ops.convert_to_tensor(values)
    dtype = keras.backend.standardize_dtype(values.dtype)
    return ops.cast(values, keras.backend.result_type(dtype, "float32"))


def normalize_map(maps: Tensor, normalization: str | None = "l2") -> Tensor:
    """Divides each example's map by its norm, but by 1e-12 at least.

    Args:
        maps: Float32, `(B, H * W)`.
        normalization: `"l2"`, `"l1"` or None.

    Example:
    >>> [round(float(value), 2) for value in normalize_map(ops.convert_to_tensor([[3.0, 4.0]]))[0]]
    [0.6, 0.8]
    """
    one_of("normalization", normalization, NORMALIZATIONS)
    if normalization is None:
        return maps
    maps = _with_squares(maps)
    if normalization == "l1":
        return maps / ops.maximum(ops.sum(ops.abs(maps), axis=-1, keepdims=True), LEAST_NORM)
    squares = ops.sum(ops.square(maps), axis=-1, keepdims=True)
    # The maximum comes before the root, whose gradient at zero is infinite.
    return maps * ops.rsqrt(ops.maximum(squares, LEAST_NORM**2))


def _with_squares(maps: Tensor) -> Tensor:
    """Maps of which a norm can be taken: it is of no scale, but float32 ends."""
    most = ops.stop_gradient(ops.max(ops.abs(maps), axis=-1, keepdims=True))
    return maps / ops.where(most > LARGEST_SQUARED, most, ops.ones_like(most))


def paired_attention_maps(
    teacher: Tensor,
    student: Tensor,
    p: float = 2,
    reduce: str = "mean",
    normalization: str | None = "l2",
    resize: str = "average",
    data_format: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The maps of a teacher and a student, brought to the same places where their sizes differ.

    Along each axis the larger one is brought to the size of the smaller.

    Args:
        teacher: Features as of `attention_map`.
        student: Features as of `attention_map`, with channels and sides of their own.
        p: As of `attention_map`, and so are the others.
        reduce: What is taken over the channels.
        normalization: By what each example's map is divided.
        resize: `"average"` (default), which takes means of the features over the pixels that a
            place covers, in part or in whole; or `"bilinear"`, which interpolates the map.
        data_format: Where the channels are.

    Returns:
        Two tensors `(B, places)`.

    Raises:
        ValueError: For features of another number of axes, or another `resize`.

    Example:
    >>> maps = paired_attention_maps(ops.ones((2, 7, 8, 5)), ops.ones((2, 3, 9, 4)))
    >>> [tuple(one.shape) for one in maps]
    [(2, 24), (2, 24)]
    """
    one_of("resize", resize, RESIZES)
    data_format = standardize_data_format(data_format)
    pair = [ops.convert_to_tensor(features) for features in (teacher, student)]
    shapes = [tuple(features.shape) for features in pair]
    alike = len(shapes[0]) == len(shapes[1]) >= 3 and 0 not in (*shapes[0], *shapes[1])
    if not (alike and compatible_shapes(shapes[0][:1], shapes[1][:1])):
        raise ValueError(
            "Features of teacher and student must be maps of the same examples, with as many axes, "
            "(B, H, W, channels). "
            f"Received: {tuple(pair[0].shape)} and {tuple(pair[1].shape)}"
        )
    if resize == "average":
        sides = _smaller([_sides(features, data_format) for features in pair])
        pair = [adaptive_average_pool(features, sides, data_format) for features in pair]
    activities = [channel_activity(features, p, reduce, data_format) for features in pair]
    if resize == "bilinear":
        sides = _smaller([_sides(activity[..., None]) for activity in activities])
        activities = [_interpolated(activity, sides) for activity in activities]
    flat = [ops.reshape(activity, (ops.shape(activity)[0], -1)) for activity in activities]
    return normalize_map(flat[0], normalization), normalize_map(flat[1], normalization)


@validate_arguments(features="_ _ ... _", sides=side_lengths)
def adaptive_average_pool(
    features: Tensor, sides: Sequence[Any], data_format: str | None = None
) -> Tensor:
    """Takes means over equal shares of the sides, which may cover pixels of two.

    A place `i` of `n` covers the pixels from `floor(i * H / n)` up to `ceil((i + 1) * H / n)`.

    Args:
        features: `(B, H, W, C)`, or other axes in the place of H and W.
        sides: The sizes wanted: integers, or scalar integer tensors.
        data_format: Where the channels are.

    Example:
    >>> rows = ops.reshape(ops.arange(3, dtype="float32"), (1, 3, 1, 1))
    >>> [float(value) for value in adaptive_average_pool(rows, (2, 1))[0, :, 0, 0]]
    [0.5, 1.5]
    """
    data_format = standardize_data_format(data_format)
    if len(sides) != len(features.shape) - 2:
        raise ValueError(
            f"`sides` must be {len(features.shape) - 2}, one for each axis between examples and "
            f"channels. Received: sides={sides!r}"
        )
    first = 1 if data_format == "channels_last" else 2
    for axis, (side, want) in enumerate(zip(_sides(features, data_format), sides, strict=True)):
        if not (isinstance(side, int) and isinstance(want, int) and side == want):
            features = _pooled_along(features, side, want, first + axis)
    return features


def _pooled_along(features: Tensor, side: Any, want: Any, axis: int) -> Tensor:
    """Multiplies by a matrix whose row i has the shares of the pixels of place i."""
    places, pixels = ops.arange(want)[:, None], ops.arange(side)[None, :]
    starts, stops = places * side // want, ((places + 1) * side + want - 1) // want
    covered = ops.cast((pixels >= starts) & (pixels < stops), features.dtype)
    shares = covered / ops.sum(covered, axis=1, keepdims=True)
    return ops.moveaxis(ops.tensordot(features, shares, axes=[[axis], [1]]), -1, axis)


def _interpolated(activity: Tensor, sides: Sequence[Any]) -> Tensor:
    rank = len(activity.shape) - 1
    if rank > 2:
        raise ValueError(
            '`resize="bilinear"` is for maps of one or two axes. '
            f"Received: maps of shape {tuple(activity.shape)}"
        )
    if tuple(activity.shape[1:]) == tuple(sides):
        return activity
    images = activity[..., None] if rank == 2 else activity[..., None, None]
    size = tuple(sides) if rank == 2 else (sides[0], 1)
    resized = backend.resize_bilinear(images, size, "channels_last")
    return resized[..., 0] if rank == 2 else resized[..., 0, 0]


def _sides(features: Tensor, data_format: str = "channels_last") -> tuple[Any, ...]:
    shape = ops.shape(features)
    return tuple(shape[1:-1] if data_format == "channels_last" else shape[2:])


def _smaller(pair: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The smaller side of each axis; known ones stay integers."""
    sides = zip(*pair, strict=True)
    return tuple(
        min(both) if all(isinstance(side, int) for side in both) else ops.minimum(*both)
        for both in sides
    )


@validate_arguments(teacher="B C", student="B C", temperature=positive_number)
def distillation_divergence(teacher: Tensor, student: Tensor, temperature: float = 4.0) -> Tensor:
    """`T^2 * KL(softmax(teacher / T) || softmax(student / T))` of each example.

    Args:
        teacher: Logits `(B, classes)`.
        student: Logits `(B, classes)`.
        temperature: T, above 0; 4 by default, the paper's for residual networks.

    Returns:
        `(B,)` in float32 or more, 0 where both say the same.

    Example:
    >>> float(distillation_divergence(ops.zeros((1, 3)), ops.ones((1, 3)))[0])
    0.0
    """
    student = at_least_float32(student)
    said, wanted = (
        ops.log_softmax(ops.cast(logits, student.dtype) / temperature, axis=-1)
        for logits in (student, teacher)
    )
    divergence = ops.sum(ops.exp(wanted) * (wanted - said), axis=-1)
    return temperature**2 * divergence
