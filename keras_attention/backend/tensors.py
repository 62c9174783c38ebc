"""Operations that Keras has, in the form that is fast on the backend."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.backend.which import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf

Tensor = Any


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
