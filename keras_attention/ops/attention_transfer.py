"""Attention maps of activations, and losses between teacher and student.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), equations 1 and 2,
and its code.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.utils.data_format import channel_axis, spatial_axes, spatial_shape
from keras_attention.utils.tensor_validation import (
    compatible_shapes,
    side_lengths,
    validate_arguments,
)
from keras_attention.utils.validation import at_least_one, boolean, one_of, positive_number

Tensor = Any

REDUCTIONS = ("mean", "sum", "max")
NORMALIZATIONS = ("l2", "l1", None)
RESIZE_METHODS = ("average", "bilinear")
# Smallest norm that a map is divided by, as in the authors' code; a map of zeros stays zero.
SMALLEST_NORM = 1e-12
# The sum of squares of larger values may overflow float32.
LARGEST_SQUARED = 1e15
# Activities are clipped to this value.
LARGEST_ACTIVITY = 1e37


@validate_arguments(features="_ _ ... _", p=at_least_one)
def attention_map(
    features: Tensor,
    p: float = 2,
    reduce: str = "mean",
    normalization: str | None = "l2",
    data_format: str | None = None,
) -> Tensor:
    """Computes the attention map of features: `|A|^p` over the channels, normalized (equation 1).

    Args:
        features: `(B, H, W, C)`, or with any number of spatial axes; `(B, C, ...)` with channels
            first.
        p: The power, 1 or more; 2 by default, as in the authors' code.
        reduce: Reduction over the channels: `"mean"` (default, as in the code), `"sum"` or `"max"`
            (as in the paper; after normalization, mean and sum are the same).
        normalization: `"l2"` (default) or `"l1"`, the norm that each example's map is divided by;
            None for no normalization.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Flattened maps `(B, H * W)` in float32 or wider; zero if all features are zero.

    Raises:
        ValueError: For features with fewer than three axes, an axis of size 0 or values that are
            not numbers, `p` below 1, or an unknown option.

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
    """Computes `|A|^p` over the channels, in float32 or wider: `(B, H, W)`.

    Example:
    >>> float(channel_activity(ops.convert_to_tensor([[[[3.0, 1.0]]]]), reduce="max")[0, 0, 0])
    9.0
    """
    reduction = getattr(ops, one_of("reduce", reduce, REDUCTIONS))
    axis = channel_axis(data_format)
    # Squares of values above 256 overflow in half precision.
    values = at_least_float32(features)
    if p == 2:
        return ops.minimum(reduction(ops.square(values), axis=axis), LARGEST_ACTIVITY)
    if p == 1:
        # Not `abs`, whose gradient at 0 is 1 in JAX: the gradient of a zero map would be infinite.
        return reduction(values * ops.stop_gradient(ops.sign(values)), axis=axis)
    magnitudes = ops.minimum(ops.abs(values), LARGEST_ACTIVITY ** (1 / p))
    return ops.minimum(reduction(ops.power(magnitudes, p), axis=axis), LARGEST_ACTIVITY)


def attach_activity(features: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Returns features unchanged, together with their mean square over the channels.

    Both gradients are added in one operation, after both have been computed.

    Example:
    >>> float(attach_activity(ops.convert_to_tensor([[[[3.0, 1.0]]]]))[1][0, 0, 0, 0])
    5.0
    """
    return _attach_activity(axis)(ops.convert_to_tensor(features))


@cache
def _attach_activity(axis: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    @ops.custom_gradient
    def attach(features: Tensor) -> Any:
        def gradient(*upstream: Any) -> Tensor:
            features_gradient, activity_gradient = keras.tree.flatten(upstream)
            factor = (2.0 / features.shape[axis]) * activity_gradient
            factor = ops.cast(backend.after(factor, features_gradient), features.dtype)
            return features_gradient + factor * features

        squares = ops.square(at_least_float32(features))
        activity = ops.mean(squares, axis=axis, keepdims=True)
        return (features, ops.minimum(activity, LARGEST_ACTIVITY)), gradient

    return attach


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
    """Divides each example's map `(B, H * W)` by its norm, or by 1e-12 if the norm is smaller.

    Example:
    >>> [round(float(value), 2) for value in normalize_map(ops.convert_to_tensor([[3.0, 4.0]]))[0]]
    [0.6, 0.8]
    """
    one_of("normalization", normalization, NORMALIZATIONS)
    if normalization is None:
        return maps
    maps = _scale_down(maps)
    if normalization == "l1":
        return maps / ops.maximum(ops.sum(ops.abs(maps), axis=-1, keepdims=True), SMALLEST_NORM)
    squares = ops.sum(ops.square(maps), axis=-1, keepdims=True)
    # The maximum is taken before the root, whose gradient at zero is infinite.
    return maps * ops.rsqrt(ops.maximum(squares, SMALLEST_NORM**2))


def _scale_down(maps: Tensor) -> Tensor:
    """Divides maps of large values by their maximum, so that their norm does not overflow."""
    largest = ops.stop_gradient(ops.max(ops.abs(maps), axis=-1, keepdims=True))
    return maps / ops.where(largest > LARGEST_SQUARED, largest, ops.ones_like(largest))


def paired_attention_maps(
    teacher: Tensor,
    student: Tensor,
    p: float = 2,
    reduce: str = "mean",
    normalization: str | None = "l2",
    resize: str = "average",
    data_format: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes the attention maps of a teacher and a student at the same positions.

    Along each axis the larger map is resized to the smaller one: by adaptive average pooling of the
    features, or with `"bilinear"` by interpolation of the maps.

    Example:
    >>> maps = paired_attention_maps(ops.ones((2, 7, 8, 5)), ops.ones((2, 3, 9, 4)))
    >>> [tuple(one.shape) for one in maps]
    [(2, 24), (2, 24)]
    """
    one_of("resize", resize, RESIZE_METHODS)
    pair = [ops.convert_to_tensor(features) for features in (teacher, student)]
    shapes = [tuple(features.shape) for features in pair]
    are_maps = len(shapes[0]) == len(shapes[1]) >= 3 and 0 not in (*shapes[0], *shapes[1])
    if not (are_maps and compatible_shapes(shapes[0][:1], shapes[1][:1])):
        raise ValueError(
            "`teacher` and `student` must have the same batch size and as many axes, "
            f"(B, H, W, C). Received: shapes {shapes[0]} and {shapes[1]}"
        )
    if resize == "average":
        sides = _smaller([spatial_shape(ops.shape(x), data_format) for x in pair])
        pair = [adaptive_average_pool(features, sides, data_format) for features in pair]
    activities = [channel_activity(features, p, reduce, data_format) for features in pair]
    if resize == "bilinear":
        sides = _smaller([ops.shape(activity)[1:] for activity in activities])
        activities = [_resize_bilinear(activity, sides) for activity in activities]
    flat = [ops.reshape(activity, (ops.shape(activity)[0], -1)) for activity in activities]
    return normalize_map(flat[0], normalization), normalize_map(flat[1], normalization)


@validate_arguments(features="_ _ ... _", sides=side_lengths)
def adaptive_average_pool(
    features: Tensor, sides: Sequence[Any], data_format: str | None = None
) -> Tensor:
    """Averages over windows of equal shares of the map, as PyTorch's adaptive average pooling.

    Position `i` of `n` is the mean of the pixels from `floor(i * H / n)` to `ceil((i + 1) * H /
    n)`.

    Args:
        features: `(B, H, W, C)`, or with other spatial axes.
        sides: Output sizes: integers, or scalar integer tensors.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Example:
    >>> rows = ops.reshape(ops.arange(3, dtype="float32"), (1, 3, 1, 1))
    >>> [float(value) for value in adaptive_average_pool(rows, (2, 1))[0, :, 0, 0]]
    [0.5, 1.5]
    """
    if len(sides) != len(features.shape) - 2:
        raise ValueError(
            f"`sides` must have {len(features.shape) - 2} elements, one per spatial axis. "
            f"Received: sides={sides!r}"
        )
    axes = spatial_axes(len(features.shape), data_format)
    for axis, size in zip(axes, sides, strict=True):
        side = ops.shape(features)[axis]
        if not (isinstance(side, int) and isinstance(size, int) and side == size):
            features = _pool_axis(features, side, size, axis)
    return features


def _pool_axis(features: Tensor, side: Any, size: Any, axis: int) -> Tensor:
    """Multiplies an axis by a matrix whose row i averages the pixels of position i."""
    positions, pixels = ops.arange(size)[:, None], ops.arange(side)[None, :]
    starts, stops = positions * side // size, ((positions + 1) * side + size - 1) // size
    covered = ops.cast((pixels >= starts) & (pixels < stops), features.dtype)
    weights = covered / ops.sum(covered, axis=1, keepdims=True)
    return ops.moveaxis(ops.tensordot(features, weights, axes=[[axis], [1]]), -1, axis)


def _resize_bilinear(activity: Tensor, sides: Sequence[Any]) -> Tensor:
    rank = len(activity.shape) - 1
    if rank > 2:
        raise ValueError(
            "Maps must have one or two spatial axes if `resize` is 'bilinear'. "
            f"Received: maps of shape {tuple(activity.shape)}. Use resize='average'."
        )
    if tuple(activity.shape[1:]) == tuple(sides):
        return activity
    images = activity[..., None] if rank == 2 else activity[..., None, None]
    size = tuple(sides) if rank == 2 else (sides[0], 1)
    resized = backend.resize_bilinear(images, size, "channels_last")
    return resized[..., 0] if rank == 2 else resized[..., 0, 0]


def _smaller(pair: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Returns the smaller side of each axis; known ones stay integers."""
    return tuple(
        min(sides) if all(isinstance(side, int) for side in sides) else ops.minimum(*sides)
        for sides in zip(*pair, strict=True)
    )


@validate_arguments(
    teacher="B ... C", student="B ... C", temperature=positive_number, multi_label=boolean
)
def distillation_divergence(
    teacher: Tensor, student: Tensor, temperature: float = 4.0, multi_label: bool = False
) -> Tensor:
    """Computes `T^2 * KL(softmax(teacher / T) || softmax(student / T))` of each example.

    Args:
        teacher: Logits `(B, classes)`, or maps of logits `(B, ..., classes)`.
        student: Logits of the same shape.
        temperature: T, above 0; 4 by default, the paper's value for residual networks.
        multi_label: If True, each logit is that of a label of its own, and the sigmoid replaces the
            softmax: the divergences of all labels are added. False by default.

    Returns:
        `(B,)` in float32 or wider; 0 if both distributions are equal. Of maps, the mean over their
        positions.

    Example:
    >>> float(distillation_divergence(ops.zeros((1, 3)), ops.ones((1, 3)))[0])
    0.0
    """
    if len(teacher.shape) != len(student.shape):
        raise ValueError(
            "`teacher` and `student` must be logits of the same shape. "
            f"Received: teacher.shape={tuple(teacher.shape)}, student.shape={tuple(student.shape)}"
        )
    student = at_least_float32(student)
    student, teacher = (ops.cast(z, student.dtype) / temperature for z in (student, teacher))
    if multi_label:
        # Logarithms of the probabilities that a label is set, and that it is not.
        pairs = [
            (-ops.softplus(-sign * teacher), -ops.softplus(-sign * student)) for sign in (1, -1)
        ]
    else:
        pairs = [(ops.log_softmax(teacher, axis=-1), ops.log_softmax(student, axis=-1))]
    terms = [ops.exp(p) * (p - q) for p, q in pairs]
    divergence = ops.sum(sum(terms), axis=-1)
    if len(divergence.shape) > 1:
        divergence = ops.mean(divergence, axis=tuple(range(1, len(divergence.shape))))
    return temperature**2 * divergence
