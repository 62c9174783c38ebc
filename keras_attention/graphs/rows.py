"""Gradients that are zero at most places of a map, kept as the rows that are not."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_attention import backend

Tensor = Any


@dataclass(frozen=True)
class Rows:
    """Some places of a map, counted over the batch, and the vectors there; all others are zero.

    Attributes:
        places: `(R,)`, int32: `(image * H + row) * W + column`, no two the same.
        values: `(R, C)`.
    """

    places: Tensor
    values: Tensor

    def of(self, maps: Tensor) -> Tensor:
        """The vectors of a map at these places, `(R, C)`, of `(B, H, W, C)`."""
        return ops.take(ops.reshape(maps, (-1, maps.shape[-1])), self.places, axis=0)

    def whole(self, like: Tensor) -> Tensor:
        """The map itself, of the shape of another."""
        shape = ops.shape(like)
        flat = ops.segment_sum(self.values, self.places, shape[0] * shape[1] * shape[2])
        return ops.reshape(flat, shape)


def rows_of_maxima(maps: Tensor, maxima: Tensor, gradient: Tensor) -> Rows:
    """The gradient behind a global maximum; equal ones share it.

    Args:
        maps: `(B, H, W, C)`.
        maxima: `(B, C)`.
        gradient: By the maxima, `(B, C)`.
    """
    shape = ops.shape(maps)
    counts = shape[1] * shape[2]
    flat = ops.reshape(maps, (shape[0], counts, maps.shape[-1]))
    at_maximum = (flat == maxima[:, None]) & (gradient != 0)[:, None]
    anywhere = ops.reshape(ops.any(at_maximum, axis=-1), (-1,))
    places = ops.cast(ops.nonzero(anywhere)[0], "int32")
    rows = ops.take(ops.reshape(at_maximum, (-1, maps.shape[-1])), places, axis=0)
    rows, images = ops.cast(rows, gradient.dtype), places // counts
    shared = ops.segment_sum(rows, images, shape[0])
    each = gradient / ops.maximum(shared, 1.0)
    return Rows(places, rows * ops.take(each, images, axis=0))


def pay() -> bool:
    """Whether rows may be kept: their number depends on values."""
    return backend.supports_dynamic_shapes() and backend.fuses()
