"""Shapes that depend on values, and what is cut out and put around by them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from keras_attention.backend.which import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf

Tensor = Any

_FIXED = ContextVar("fixed", default=False)


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
