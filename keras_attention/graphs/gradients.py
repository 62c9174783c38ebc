"""Gradients of maps that are not written out: zero at most places, in blocks, or as products."""

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


@dataclass(frozen=True)
class Blocks:
    """A gradient in blocks of the strides of the convolution that it went through.

    Attributes:
        values: `(B, H, W, s, t, C)`: block, place in the block, channel.
        before: What comes before the first row and the first column that count.
        sides: How many rows and columns count.
    """

    values: Tensor
    before: tuple[Any, Any]
    sides: tuple[Any, Any]

    def whole(self) -> Tensor:
        """The map, `(B, height, width, C)`."""
        return self._in_order(self.values)

    def squares(self) -> Tensor:
        """The squared norm of each place, `(B, height, width)`, put in order when summed up."""
        squared = ops.sum(ops.square(self.values), axis=-1, keepdims=True)
        return ops.squeeze(self._in_order(squared), axis=-1)

    def _in_order(self, values: Tensor) -> Tensor:
        _, high, wide, down, right, channels = shape = ops.shape(values)
        values = ops.transpose(values, (0, 1, 3, 2, 4, 5))
        values = ops.reshape(values, (shape[0], high * down, wide * right, channels))
        parts = zip(self.before, self.sides, (high * down, wide * right), strict=True)
        missing = [_at_least_zero(first + side - there) for first, side, there in parts]
        if any(not isinstance(amount, int) or amount for amount in missing):
            values = backend.pad(values, {1: (0, missing[0]), 2: (0, missing[1])})
        (top, left), (height, width) = self.before, self.sides
        return values[:, top : top + height, left : left + width]


@dataclass(frozen=True)
class Projected:
    """A gradient that went through products of each place by itself.

    Attributes:
        values: By the products, `(B, H, W, C)`.
        kernel: `(D, C)`.
    """

    values: Tensor
    kernel: Tensor

    def whole(self) -> Tensor:
        """The map, `(B, H, W, D)`."""
        return backend.matmul(self.values, self.kernel, transpose_y=True)

    def squares(self) -> Tensor:
        """The squared norm of each place, by the products of the kernel with itself.

        There are `C` by `C` of them: fewer to multiply than the map, where `C` is less than `D`.
        """
        products = backend.matmul(self.kernel, self.kernel, transpose_x=True)
        squared = ops.sum(ops.matmul(self.values, products) * self.values, axis=-1)
        return ops.maximum(squared, 0.0)


# What knows the norms of its places.
NORMED = (Blocks, Projected)


def _at_least_zero(amount: Any) -> Any:
    return max(amount, 0) if isinstance(amount, int) else ops.maximum(amount, 0)


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
    # What nothing hangs on is nowhere.
    nowhere = ops.cast(float("inf"), maxima.dtype)
    at_maximum = flat == ops.where(gradient != 0, maxima, nowhere)[:, None]
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
