"""Images brought to a share of their size, or to the least that a network reads."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.arguments import positive_integers, positive_number, standard_data_format

Tensor = Any
Shape = tuple[int | None, ...]


class _Sides(keras.Layer, ABC):
    """What changes the height and the width alone."""

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standard_data_format(data_format)

    @abstractmethod
    def new_side(self, axis: int, side: Any) -> Any:
        """The height, of axis 0, or the width: an integer or a tensor."""

    def sides_of(self, shape: Any) -> tuple[Any, ...]:
        """Height and width after the change, of a shape of known or unknown sides."""
        first = 2 if self.data_format == "channels_first" else 1
        sides = enumerate(shape[first : first + 2])
        return tuple(side if side is None else self.new_side(axis, side) for axis, side in sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.data_format == "channels_first":
            return (*input_shape[:2], *self.sides_of(input_shape))
        return (input_shape[0], *self.sides_of(input_shape), input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaledImages(_Sides):
    """Resizes images by a factor, between their pixels.

    Args:
        scale: Of both sides, which are rounded to whole pixels.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(ScaledImages(0.75)(ops.ones((1, 8, 20, 1))).shape)
    (1, 6, 15, 1)
    """

    def __init__(self, scale: float, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.scale = positive_number("scale", scale)

    def new_side(self, axis: int, side: Any) -> Any:
        if isinstance(side, int):
            return max(round(side * self.scale), 1)
        pixels = ops.cast(ops.round(ops.cast(side, "float32") * self.scale), "int32")
        return ops.maximum(pixels, 1)

    def call(self, images: Tensor) -> Tensor:
        sides = self.sides_of(ops.shape(images))
        return backend.resize_bilinear(images, sides, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="keras_attention")
class LeastSides(_Sides):
    """Adds zeros below and to the right of images that are smaller than a network reads.

    What a pixel's row and column are stays as it was.

    Args:
        least: Height and width in pixels, one integer for both.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(LeastSides((6, 10))(ops.ones((1, 8, 8, 1))).shape)
    (1, 8, 10, 1)
    """

    def __init__(self, least: int | Sequence[int], data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.least = positive_integers("least", least, 2)

    def new_side(self, axis: int, side: Any) -> Any:
        least = self.least[axis]
        return max(side, least) if isinstance(side, int) else ops.maximum(side, least)

    def call(self, images: Tensor) -> Tensor:
        first = 2 if self.data_format == "channels_first" else 1
        shape = ops.shape(images)
        amounts: list[Any] = [(0, 0)] * 4
        for axis, side in enumerate(self.sides_of(shape), start=first):
            amounts[axis] = (0, side - shape[axis])
        return ops.pad(images, amounts)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "least": self.least}
