"""Pooling, forwards and backwards: over windows and over whole maps."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_attention.graphs import gradients
from keras_attention.graphs.steps import Gradient, Step, Tensor


@dataclass(frozen=True)
class GlobalMaximum(Step):
    """The maximum over a map; equal ones share the gradient."""

    keepdims: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return ops.max(x, axis=(1, 2), keepdims=self.keepdims)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        shape = (-1, x.shape[-1])
        y, gradient = ops.reshape(y, shape), ops.reshape(gradient, shape)
        if gradients.pay():
            return gradients.rows_of_maxima(x, y, gradient)
        at_maximum = ops.cast(x == y[:, None, None], gradient.dtype)
        shared = ops.sum(at_maximum, axis=(1, 2))
        return at_maximum * (gradient / shared)[:, None, None]


@dataclass(frozen=True)
class GlobalMean(Step):
    """The mean over a map."""

    keepdims: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return ops.mean(x, axis=(1, 2), keepdims=self.keepdims)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        shape = ops.shape(x)
        gradient = ops.reshape(gradient, (-1, 1, 1, x.shape[-1]))
        each = gradient / ops.cast(shape[1] * shape[2], gradient.dtype)
        return each * ops.ones_like(x, dtype=gradient.dtype)


@dataclass(frozen=True)
class Pooling(Step):
    """The maximum or the mean over windows that fit into the map."""

    layer: Any

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        pool = ops.max_pool if self._is_maximum() else ops.average_pool
        return pool(x, layer.pool_size, layer.strides, "valid", "channels_last")

    def _is_maximum(self) -> bool:
        return isinstance(self.layer, keras.layers.MaxPooling2D)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        height, width = self.layer.pool_size
        sides = ops.shape(y)[1:3]
        taps = [(row, column) for row in range(height) for column in range(width)]
        share, whole, taken = gradient / len(taps), 0.0, False
        for tap in taps:
            if self._is_maximum():
                # Of equal values the first one has been chosen.
                chosen = (_read(x, tap, self.layer.strides, sides) == y) & ~ops.cast(taken, "bool")
                taken = taken | chosen
                share = ops.where(chosen, gradient, ops.zeros((), gradient.dtype))
            whole = whole + self._placed(share, tap, ops.shape(x)[1:3])
        return whole

    def _placed(self, values: Tensor, tap: tuple[int, int], sides: Any) -> Tensor:
        """Puts a value of each window where a tap reads it; zeros elsewhere."""
        for axis, (first, step, side) in enumerate(
            zip(tap, self.layer.strides, sides, strict=True), start=1
        ):
            values = _spread(values, axis, step)
            before = [(0, 0)] * 4
            before[axis] = (first, self.layer.pool_size[axis - 1] + step)
            values = ops.pad(values, before)
            values = values[:, :side] if axis == 1 else values[:, :, :side]
        return values


def _read(x: Tensor, tap: tuple[int, int], strides: Any, sides: Any) -> Tensor:
    """What a tap of all windows reads."""
    (row, column), (down, right), (height, width) = tap, strides, sides
    rows_read = x[:, row : row + (height - 1) * down + 1 : down]
    return rows_read[:, :, column : column + (width - 1) * right + 1 : right]


def _spread(values: Tensor, axis: int, step: int) -> Tensor:
    """Puts `step - 1` zeros behind each value along an axis."""
    if step == 1:
        return values
    shape = list(ops.shape(values))
    apart = ops.expand_dims(values, axis + 1)
    amounts = [(0, 0)] * 5
    amounts[axis + 1] = (0, step - 1)
    shape[axis] = shape[axis] * step
    return ops.reshape(ops.pad(apart, amounts), shape)
