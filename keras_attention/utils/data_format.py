"""Axes and shapes of feature maps in both data formats."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.utils.validation import one_of

Tensor = Any
Shape = tuple[int | None, ...]


def standardize_data_format(value: str | None) -> str:
    """Returns the data format, `keras.config.image_data_format()` for None."""
    if value is None:
        return keras.config.image_data_format()
    return one_of("data_format", value, ("channels_last", "channels_first"))


def is_channels_last(data_format: str | None = None) -> bool:
    """Returns True for `"channels_last"`."""
    return standardize_data_format(data_format) == "channels_last"


def channel_axis(data_format: str | None = None) -> int:
    """Returns the index of the channel axis: -1 for channels last, 1 for channels first."""
    return -1 if is_channels_last(data_format) else 1


def spatial_axes(rank: int, data_format: str | None = None) -> tuple[int, ...]:
    """Returns the indices of the spatial axes.

    Args:
        rank: Number of axes of the tensor, 4 for images.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Example:
    >>> spatial_axes(4, "channels_last"), spatial_axes(4, "channels_first")
    ((1, 2), (2, 3))
    """
    first = 1 if is_channels_last(data_format) else 2
    return tuple(range(first, first + rank - 2))


def spatial_shape(shape: Sequence[Any], data_format: str | None = None) -> tuple[Any, ...]:
    """Returns the spatial sizes in the shape of a batch of maps.

    Example:
    >>> spatial_shape((None, 3, 5, 4), "channels_first")
    (5, 4)
    """
    return tuple(shape[1:-1] if is_channels_last(data_format) else shape[2:])


def map_shape(
    batch: Any, sides: Sequence[Any], channels: Any, data_format: str | None = None
) -> Shape:
    """Returns the shape of a batch of maps.

    Example:
    >>> map_shape(None, (5, 4), 3, "channels_first")
    (None, 3, 5, 4)
    """
    if is_channels_last(data_format):
        return (batch, *sides, channels)
    return (batch, channels, *sides)


def to_channels_last(maps: Tensor, data_format: str | None = None) -> Tensor:
    """Transposes images from a data format to channels last."""
    return maps if is_channels_last(data_format) else ops.transpose(maps, (0, 2, 3, 1))


def from_channels_last(maps: Tensor, data_format: str | None = None) -> Tensor:
    """Transposes images from channels last to a data format."""
    return maps if is_channels_last(data_format) else ops.transpose(maps, (0, 3, 1, 2))
