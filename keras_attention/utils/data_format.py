"""Axes of feature maps in both data formats."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class MapFormat:
    """Position of the channels in feature maps.

    Attributes:
        data_format: `"channels_last"` or `"channels_first"`.
    """

    data_format: str

    @property
    def is_last(self) -> bool:
        """True if the channels are the last axis."""
        return self.data_format == "channels_last"

    @property
    def channel_axis(self) -> int:
        """Index of the channel axis."""
        return -1 if self.is_last else 1

    def sides(self, shape: Any) -> Any:
        """Height, width and channels in the shape of a map."""
        return tuple(shape[1:]) if self.is_last else (*shape[2:], shape[1])

    def shape(self, batch: Any, height: Any, width: Any, channels: Any) -> Shape:
        """Shape of a map.

        Example:
        >>> MapFormat("channels_first").shape(None, 5, 4, 3)
        (None, 3, 5, 4)
        """
        last = self.is_last
        return (batch, height, width, channels) if last else (batch, channels, height, width)

    def length(self, shape: Any) -> Any:
        """Number of features: `D` of vectors `(B, D)`, channels of a map."""
        return shape[-1] if len(shape) == 2 else self.sides(shape)[2]

    def to_last(self, maps: Tensor) -> Tensor:
        """Transposes maps to channels last."""
        return maps if self.is_last else ops.transpose(maps, (0, 2, 3, 1))

    def from_last(self, maps: Tensor) -> Tensor:
        """Transposes maps from channels last to this data format."""
        return maps if self.is_last else ops.transpose(maps, (0, 3, 1, 2))
