"""Where the patch of a place of a map lies in the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.arguments import is_integer, positive_integers
from keras_attention.graphs.receptive_field import receptive_field

Pair = tuple[int, int]


@dataclass(frozen=True)
class PatchPlace:
    """Place `i` has the `size` pixels from `i * stride - offset`, on each axis.

    Attributes:
        size: Height and width of a patch.
        stride: Pixels from one place to the next.
        offset: Pixels before `i * stride` that the patch starts.
    """

    size: Pair
    stride: Pair
    offset: Pair


def patch_place(
    coarse: keras.Model, size: Any = None, offset: Any = None, stride: Any = None
) -> PatchPlace:
    """Fills in what was not said from what a place of the coarse map sees.

    Args:
        coarse: From the image to the map.
        size: Of a patch; None for what a place sees.
        offset: None puts what a place sees in the middle of the patch; one pixel that is left over
            goes behind it.
        stride: None for that of the model.

    Raises:
        ValueError: Where the layers of the model do not tell and not all is said.

    Example:
    >>> model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 5, 2)])
    >>> patch_place(model, size=(8, 8))
    PatchPlace(size=(8, 8), stride=(2, 2), offset=(1, 1))
    """
    if size is not None and offset is not None and stride is not None:
        return PatchPlace(size, stride, offset)
    try:
        field = receptive_field(coarse)
    except ValueError as error:
        raise ValueError(
            "`patch_size`, `offset` and `stride` must be given: they cannot be derived from "
            f"`coarse`. {error} Received: patch_size={size}, offset={offset}, stride={stride}"
        ) from error
    size = field.size if size is None else size
    if offset is None:
        parts = zip(size, field.size, field.start, strict=True)
        rows, columns = ((side - seen) // 2 - start for side, seen, start in parts)
        offset = (rows, columns)
    return PatchPlace(size, field.stride if stride is None else stride, offset)


def checked_pair(argument: str, value: Any) -> Pair | None:
    """Two positive integers from one or two, or None."""
    return None if value is None else positive_integers(argument, value, 2)


def checked_offset(offset: Any) -> Pair | None:
    """Two integers of any sign from one or two, or None."""
    if offset is None:
        return None
    if is_integer(offset):
        return int(offset), int(offset)
    if isinstance(offset, Sequence) and len(offset) == 2 and all(map(is_integer, offset)):
        return int(offset[0]), int(offset[1])
    raise ValueError(f"`offset` must be an integer or two of them. Received: offset={offset!r}")
