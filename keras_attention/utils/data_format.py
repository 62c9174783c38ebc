"""Shapes and maps of one data format."""

from dataclasses import dataclass
from typing import Any

from keras import ops

Tensor = Any
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class MapFormat:
    """Where the channels of maps are.

    Attributes:
        data_format: `"channels_last"` or `"channels_first"`.
    """

    data_format: str

    @property
    def is_last(self) -> bool:
        """Whether the channels are the last axis."""
        return self.data_format == "channels_last"

    @property
    def channel_axis(self) -> int:
        """Where the channels are."""
        return -1 if self.is_last else 1

    def sides(self, shape: Any) -> Any:
        """Height, width and channels of a map's shape."""
        return tuple(shape[1:]) if self.is_last else (*shape[2:], shape[1])

    def shape(self, batch: Any, height: Any, width: Any, channels: Any) -> Shape:
        """The shape of a map.

        Example:
        >>> MapFormat("channels_first").shape(None, 5, 4, 3)
        (None, 3, 5, 4)
        """
        last = self.is_last
        return (batch, height, width, channels) if last else (batch, channels, height, width)

    def length(self, shape: Any) -> Any:
        """The length of vectors: of `(B, D)`, or of each place of a map."""
        return shape[-1] if len(shape) == 2 else self.sides(shape)[2]

    def to_last(self, maps: Tensor) -> Tensor:
        """Maps with their channels moved to the end."""
        return maps if self.is_last else ops.transpose(maps, (0, 2, 3, 1))

    def from_last(self, maps: Tensor) -> Tensor:
        """Maps that have their channels at the end, as the format has them."""
        return maps if self.is_last else ops.transpose(maps, (0, 3, 1, 2))
