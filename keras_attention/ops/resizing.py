"""Brings a map to the size of another one."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention import backend
from keras_attention.arguments import standard_data_format

Tensor = Any


def resized_like(inputs: Tensor, like: Tensor, data_format: str | None = None) -> Tensor:
    """Average-pools a map that is a whole number of times larger, resizes others bilinearly.

    Args:
        inputs: `(B, T, C)` or `(B, H, W, C)`, channels second with channels first.
        like: A map of the same rank, whose sides are wanted.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        The inputs, with the sides of `like`; as they are where these are the same.

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (1, 4, 2, 1))
    >>> [float(value) for value in resized_like(x, ops.ones((1, 2, 1, 5)))[0, :, 0, 0]]
    [1.5, 5.5]
    """
    data_format = standard_data_format(data_format)
    if not needs_resizing(inputs.shape, like.shape, data_format):
        return inputs
    here, there = _sides(ops.shape(inputs), data_format), _sides(ops.shape(like), data_format)
    ratios = [side // want for side, want in zip(here, there, strict=True)]
    if all(isinstance(side, int) for side in (*here, *there)):
        fits = all(
            ratio > 0 and ratio * want == side
            for side, want, ratio in zip(here, there, ratios, strict=True)
        )
        return (_pooled if fits else _bilinear)(inputs, there, ratios, data_format)
    # The model takes any size: the sides are tensors.
    here, there, ratio = (ops.stack(sizes) for sizes in (here, there, ratios))
    return ops.cond(
        ops.all(ops.logical_and(ratio > 0, ratio * there == here)),
        lambda: _pooled(inputs, there, ratio, data_format),
        lambda: _bilinear(inputs, there, ratio, data_format),
    )


def needs_resizing(
    shape: Sequence[int | None], like: Sequence[int | None], data_format: str
) -> bool:
    """Whether a map may have other sides than another one: False where it surely has not.

    Example:
    >>> needs_resizing((None, 8, 6, 3), (None, 8, 6, 16), "channels_last")
    False
    """
    here, there = _sides(shape, data_format), _sides(like, data_format)
    return None in here or tuple(here) != tuple(there)


def _sides(shape: Sequence[Any], data_format: str) -> Sequence[Any]:
    return tuple(shape[1:-1] if data_format == "channels_last" else shape[2:])


def _pooled(
    inputs: Tensor, sides: Sequence[Any], ratios: Sequence[Any], data_format: str
) -> Tensor:
    """The means of equal blocks; any number of axes, and sizes that only tensors know."""
    shape, rank = ops.shape(inputs), len(inputs.shape) - 2
    blocks = [size for axis in range(rank) for size in (sides[axis], ratios[axis])]
    if data_format == "channels_last":
        blocks, first = [shape[0], *blocks, inputs.shape[-1]], 2
    else:
        blocks, first = [shape[0], inputs.shape[1], *blocks], 3
    split = ops.reshape(ops.cast(inputs, "float32"), blocks)
    means = ops.mean(split, axis=tuple(range(first, first + 2 * rank, 2)))
    return ops.cast(means, inputs.dtype)


def _bilinear(
    inputs: Tensor, sides: Sequence[Any], ratios: Sequence[Any], data_format: str
) -> Tensor:
    axis = -2 if data_format == "channels_last" else -1
    is_sequence = len(inputs.shape) == 3
    images = ops.expand_dims(inputs, axis) if is_sequence else inputs
    size = (sides[0], 1 if is_sequence else sides[1])
    resized = backend.resize_bilinear(images, size, data_format)
    return ops.squeeze(resized, axis) if is_sequence else resized
