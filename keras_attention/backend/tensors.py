"""Tensor operations with a fast implementation per backend, and shapes that depend on values."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
Tensor = Any
_FIXED_SHAPES = ContextVar("fixed_shapes", default=False)


def permute(inputs: Tensor, order: Sequence[int], axis: int = -1) -> Tensor:
    """Permutes positions along one axis; the gradient is permuted back instead of summed.

    Example:
    >>> [int(v) for v in permute(keras.ops.convert_to_tensor([5, 6, 7]), [2, 0, 1])]
    [7, 5, 6]
    """
    order = [int(position) for position in order]
    if order == list(range(len(order))):
        return inputs
    if BACKEND != "tensorflow":
        return keras.ops.take(inputs, keras.ops.convert_to_tensor(order, "int32"), axis=axis)
    inverse = sorted(range(len(order)), key=order.__getitem__)

    @tf.custom_gradient
    def permuted(values: Tensor) -> tuple[Tensor, Any]:
        return _gather(values, order, axis), lambda upstream: _gather(upstream, inverse, axis)

    # tf.custom_gradient does not accept variables.
    return permuted(tf.convert_to_tensor(keras.ops.convert_to_tensor(inputs)))


def _gather(values: Tensor, order: Sequence[int], axis: int) -> Tensor:
    """Gathers along an axis. The last axis is transposed first, which is twice as fast."""
    if len(values.shape) < 2 or axis not in (-1, len(values.shape) - 1):
        return tf.gather(values, order, axis=axis)
    rows = tf.transpose(tf.reshape(values, (-1, len(order))))
    return tf.reshape(tf.transpose(tf.gather(rows, order)), tf.shape(values))


def padded_convolution(
    inputs: Tensor,
    kernel: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation_rate: Sequence[int] = (1, 1),
) -> Tensor:
    """Convolves zero-padded inputs `(B, H, W, Cin)` with stride 1, without materialising the zeros.

    `padding` gives the zeros before and after the rows and the columns.

    Example:
    >>> x, kernel = keras.ops.ones((1, 4, 4, 2)), keras.ops.ones((3, 3, 2, 5))
    >>> tuple(padded_convolution(x, kernel, ((1, 0), (0, 0))).shape)
    (1, 3, 2, 5)
    """
    if BACKEND == "tensorflow":
        explicit = [[0, 0], *(list(pair) for pair in padding), [0, 0]]
        return tf.nn.conv2d(inputs, kernel, 1, explicit, dilations=list(dilation_rate))
    if any(amount for pair in padding for amount in pair):
        inputs = keras.ops.pad(inputs, ((0, 0), *padding, (0, 0)))
    return keras.ops.conv(inputs, kernel, padding="valid", dilation_rate=tuple(dilation_rate))


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Multiplies matrices along the last two axes, optionally transposed first.

    `keras.ops.matmul` of a transposed tensor would make TensorFlow's oneDNN kernels copy it.

    Example:
    >>> x, y = keras.ops.ones((2, 5, 3)), keras.ops.ones((2, 5, 4))
    >>> tuple(matmul(x, y, transpose_x=True).shape)
    (2, 3, 4)
    """
    if BACKEND == "tensorflow":
        return tf.matmul(x, y, transpose_a=transpose_x, transpose_b=transpose_y)
    x = keras.ops.swapaxes(x, -1, -2) if transpose_x else x
    y = keras.ops.swapaxes(y, -1, -2) if transpose_y else y
    return keras.ops.matmul(x, y)


def resize_bilinear(images: Tensor, size: Sequence[Tensor], data_format: str) -> Tensor:
    """Resizes images bilinearly, as `keras.ops.image.resize` does, also to sizes that are tensors.

    Sizes may be scalar int32 tensors if `supports_dynamic_shapes()`. The dtype does not change.

    Example:
    >>> tuple(resize_bilinear(keras.ops.ones((1, 5, 4, 2)), (3, 7), "channels_last").shape)
    (1, 3, 7, 2)
    """
    dtype = images.dtype
    if BACKEND != "tensorflow":
        options = {"interpolation": "bilinear", "data_format": data_format}
        return keras.ops.cast(keras.ops.image.resize(images, tuple(size), **options), dtype)
    first = data_format == "channels_first"
    images = tf.transpose(images, (0, 2, 3, 1)) if first else images
    resized = tf.cast(tf.image.resize(images, tf.stack(size)), dtype)
    return tf.transpose(resized, (0, 3, 1, 2)) if first else resized


def require(values: Tensor, condition: Tensor, message: str) -> Tensor:
    """Returns values that must meet a condition, or raises an error.

    Where errors cannot depend on values, under XLA and inside of functions that JAX compiles,
    values that do not meet the condition become NaN.

    Args:
        values: Tensor.
        condition: Boolean tensor of its shape.
        message: Message of the ValueError, or of TensorFlow's InvalidArgumentError in a graph.

    Example:
    >>> x = keras.ops.ones((2,))
    >>> require(x, x > 2, "`x` must be above 2.")
    Traceback (most recent call last):
    ValueError: `x` must be above 2.
    """
    try:
        is_met = bool(keras.ops.convert_to_numpy(keras.ops.all(condition)))
    except Exception:  # the values are not known yet
        is_met = None
    if is_met is False:
        raise ValueError(message)
    if is_met:
        return values
    if BACKEND == "tensorflow" and supports_dynamic_shapes():
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(condition), [message])]):
            return tf.identity(values)
    return keras.ops.where(condition, values, keras.ops.cast(float("nan"), values.dtype))


def supports_dynamic_shapes() -> bool:
    """Returns True if shapes may depend on values, such as those of a learned rectangle.

    TensorFlow allows it, except in functions compiled by XLA (`jit_compile=True`) and inside
    `fixed_shapes()`. There, and with JAX, all shapes are fixed while the graph is traced.
    """
    if BACKEND != "tensorflow" or _FIXED_SHAPES.get():
        return False
    return tf.__internal__.get_enclosing_xla_context() is None


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """Traces graphs whose shapes do not depend on values, for formats that do not support them.

    Example:
    >>> with fixed_shapes():
    ...     supports_dynamic_shapes()
    False
    """
    token = _FIXED_SHAPES.set(True)
    try:
        yield
    finally:
        _FIXED_SHAPES.reset(token)


def crop(inputs: Tensor, ranges: Mapping[int, tuple[Tensor, Tensor]]) -> Tensor:
    """Keeps the range `[start, stop)` along the given axes.

    The ends may be scalar int32 tensors if `supports_dynamic_shapes()`.

    Example:
    >>> tuple(crop(keras.ops.zeros((1, 6, 6, 2)), {1: (2, 5)}).shape)
    (1, 3, 6, 2)
    """
    if _all_integers(ranges):
        index = [slice(None)] * len(inputs.shape)
        for axis, (start, stop) in ranges.items():
            index[axis] = slice(int(start), int(stop))
        return inputs[tuple(index)]
    _require_dynamic_shapes()
    starts, sizes = [0] * len(inputs.shape), [-1] * len(inputs.shape)
    for axis, (start, stop) in ranges.items():
        starts[axis], sizes[axis] = start, stop - start
    cropped = tf.slice(inputs, tf.stack(starts), tf.stack(sizes))
    return _with_known_sides(cropped, inputs, ranges)


def pad(
    inputs: Tensor,
    amounts: Mapping[int, tuple[Tensor, Tensor]],
    shape: Sequence[int | None] | None = None,
) -> Tensor:
    """Adds zeros before and after the given axes.

    The amounts may be scalar int32 tensors if `supports_dynamic_shapes()`. `shape` is the static
    shape of the result, if the caller knows more of it than follows from the amounts.

    Example:
    >>> tuple(pad(keras.ops.zeros((1, 3, 6, 2)), {1: (2, 1)}).shape)
    (1, 6, 6, 2)
    """
    paddings = [[0, 0] for _ in inputs.shape]
    for axis, (before, after) in amounts.items():
        paddings[axis] = [before, after]
    if _all_integers(amounts):
        return keras.ops.pad(inputs, paddings)
    _require_dynamic_shapes()
    padded = tf.pad(inputs, tf.stack([tf.stack(pair) for pair in paddings]))
    if shape is not None:
        padded.set_shape(shape)
    return _with_known_sides(padded, inputs, amounts)


def _with_known_sides(outputs: Tensor, inputs: Tensor, changed: Mapping[int, Any]) -> Tensor:
    """Restores the static sizes of unchanged axes; without them Keras uses XLA for convolutions."""
    shape = [None if axis in changed else side for axis, side in enumerate(inputs.shape)]
    outputs.set_shape(tf.TensorShape(shape).merge_with(outputs.shape))
    return outputs


def _all_integers(pairs: Mapping[int, tuple[Tensor, Tensor]]) -> bool:
    return all(isinstance(value, int) for pair in pairs.values() for value in pair)


def _require_dynamic_shapes() -> None:
    if not supports_dynamic_shapes():
        raise RuntimeError(
            "Sizes that are tensors need the TensorFlow backend outside XLA. "
            f"Received: backend={BACKEND!r}. Pass Python integers instead."
        )
