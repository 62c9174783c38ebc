"""Operations that Keras has, in the form that is fast on the backend."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
Tensor = Any
if BACKEND == "tensorflow":
    import tensorflow as tf
_FIXED = ContextVar("fixed", default=False)


def permute(inputs: Tensor, order: Sequence[int], axis: int = -1) -> Tensor:
    """Reorders along one axis; the gradient is reordered back, not summed.

    Args:
        inputs: Tensor of any rank.
        order: A permutation of the positions along the axis.
        axis: The axis.

    Returns:
        A tensor of the same shape.

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

    # Not a variable: custom gradients take none.
    return permuted(tf.convert_to_tensor(keras.ops.convert_to_tensor(inputs)))


def _gather(values: Tensor, order: Sequence[int], axis: int) -> Tensor:
    """Gathers along an axis; along the last one between transposes, at twice the speed."""
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
    """Convolves with stride 1 after adding zeros, which are never written to memory.

    Args:
        inputs: Shape `(B, H, W, Cin)`.
        kernel: Shape `(kh, kw, Cin, C)`.
        padding: Zeros before and after, along the rows and the columns.
        dilation_rate: Steps between the kernel's taps, per axis.

    Returns:
        `(B, H', W', C)`, the "valid" convolution of the padded inputs.

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
    """Multiplies matrices, those along the last two axes, of which either may be turned first.

    TensorFlow's oneDNN operations would write a transposed copy of what `keras.ops` turns.

    Args:
        x: `(..., n, k)`, or `(..., k, n)` where it is to be turned.
        y: `(..., k, m)`, or `(..., m, k)` where it is to be turned.
        transpose_x: Whether to turn `x`.
        transpose_y: Whether to turn `y`.

    Returns:
        `(..., n, m)`.

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
    """Resizes images between their pixels, as `keras.ops.image.resize` does.

    Args:
        images: `(B, H, W, C)`, channels second with channels first.
        size: Height and width: integers, or scalar int32 tensors where
            `supports_dynamic_shapes()`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The resized images, in their type.

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


def supports_dynamic_shapes() -> bool:
    """Whether sizes may depend on the values of weights, as a learned rectangle's do.

    TensorFlow allows it, but for what XLA compiles (`jit_compile=True`) and for what is traced
    `with_fixed_shapes()`: there, as in JAX, every shape is fixed in tracing.
    """
    if BACKEND != "tensorflow" or _FIXED.get():
        return False
    return tf.__internal__.get_enclosing_xla_context() is None


@contextmanager
def with_fixed_shapes() -> Iterator[None]:
    """Traces shapes that do not depend on values meanwhile, for formats that know no others.

    Example:
    >>> with with_fixed_shapes():
    ...     supports_dynamic_shapes()
    False
    """
    token = _FIXED.set(True)
    try:
        yield
    finally:
        _FIXED.reset(token)


def crop(inputs: Tensor, ranges: Mapping[int, tuple[Tensor, Tensor]]) -> Tensor:
    """Keeps `[start, stop)` along the given axes.

    Args:
        inputs: Tensor of any rank.
        ranges: For each axis to crop, its start and stop: integers, or scalar int32 tensors
            where `supports_dynamic_shapes()`.

    Returns:
        The cropped tensor.

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
    """Adds zeros before and after along the given axes.

    Args:
        inputs: Tensor of any rank.
        amounts: For each axis to pad, the zeros before and after: integers, or scalar int32
            tensors where `supports_dynamic_shapes()`.
        shape: Static shape of the result, where the caller knows more than the sizes tell.

    Returns:
        The padded tensor.

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
    """Keeps the static size of the other axes; without it Keras compiles convolutions by XLA."""
    shape = [None if axis in changed else side for axis, side in enumerate(inputs.shape)]
    outputs.set_shape(tf.TensorShape(shape).merge_with(outputs.shape))
    return outputs


def _all_integers(pairs: Mapping[int, tuple[Tensor, Tensor]]) -> bool:
    return all(isinstance(value, int) for pair in pairs.values() for value in pair)


def _require_dynamic_shapes() -> None:
    if not supports_dynamic_shapes():
        raise RuntimeError(
            "Sizes that depend on tensors need the TensorFlow backend; "
            f"pass Python integers. Received: backend={BACKEND!r}"
        )
