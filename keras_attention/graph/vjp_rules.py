"""Gradients of maps that are not written out: zero at most places, in blocks, or as products."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from keras_attention import backend
from keras_attention.graph.receptive_field import padding_before
from keras_attention.ops.dynamic_capacity import group_taps_by_stride

Tensor = Any
Gradient = Any  # A tensor, Rows, Blocks or Projected.


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
    return backend.supports_dynamic_shapes() and backend.fusion_enabled()


# What knows the norms of its places.
NORMED = (Blocks, Projected)


class Step(ABC):
    """One thing that is done to one tensor. Maps have their channels last.

    Attributes:
        takes_rows: Whether `backward` takes `Rows` as they are.
    """

    takes_rows: ClassVar[bool] = False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """What comes out."""

    @abstractmethod
    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        """The gradient by what went in, from that by what came out."""


@dataclass(frozen=True)
class Convolution(Step):
    """The products of a convolution, without its activation."""

    layer: keras.layers.Conv2D
    takes_rows: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        x = ops.cast(x, layer.compute_dtype)
        y = ops.conv(x, _cast(layer.kernel, x), layer.strides, layer.padding, "channels_last")
        return y + _cast(layer.bias, x) if layer.use_bias else y

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        if isinstance(gradient, Rows):
            return self._of_rows(x, y, gradient)
        if self._reads_one_place() and self.layer.filters < x.shape[-1]:
            kernel = ops.reshape(_cast(self.layer.kernel, gradient), (x.shape[-1], -1))
            return Projected(gradient, kernel)
        layer, sides = self.layer, ops.shape(x)[1:3]
        kernel = _cast(layer.kernel, gradient)
        if backend.fusion_enabled() and not backend.supports_dynamic_shapes():
            whole = _folded(gradient, kernel, layer.strides)
        else:
            whole = ops.conv_transpose(
                gradient, kernel, layer.strides, "valid", None, "channels_last"
            )
        return _crop(whole, self.before(sides), sides, layer.strides)

    def _of_rows(self, x: Tensor, y: Tensor, gradient: Rows) -> Blocks:
        """The products of the rows alone, added up in blocks of the strides."""
        layer, channels = self.layer, x.shape[-1]
        down, right = layer.strides
        kernel = _cast(layer.kernel, gradient.values)
        kernel = group_taps_by_stride(kernel, layer.strides, (0, 1, 2, 3, 4))
        products = backend.matmul(gradient.values, kernel, transpose_y=True)
        sizes = zip(layer.kernel_size, layer.strides, strict=True)
        times = [-(-size // step) for size, step in sizes]
        shape, (rows, columns) = ops.shape(x), ops.shape(y)[1:3]
        high, wide = rows + times[0] - 1, columns + times[1] - 1
        place = gradient.places
        first = (place // columns + place // (rows * columns) * (times[0] - 1)) * wide
        first = ops.expand_dims(first + place % columns, -1)
        offsets = ops.reshape(ops.arange(times[0], dtype="int32"), (-1, 1)) * wide
        offsets = ops.reshape(offsets + ops.arange(times[1], dtype="int32"), (1, -1))
        block = down * right * channels
        flat = ops.scatter(
            ops.reshape(first + offsets, (-1, 1)),
            ops.reshape(products, (-1, block)),
            (shape[0] * high * wide, block),
        )
        values = ops.reshape(flat, (shape[0], high, wide, down, right, channels))
        return Blocks(values, self.before(shape[1:3]), shape[1:3])

    def _reads_one_place(self) -> bool:
        return tuple(self.layer.kernel_size) == tuple(self.layer.strides) == (1, 1)

    def before(self, sides: Any) -> tuple[Any, Any]:
        """Zeros that are padded before the rows and the columns of an input of these sides."""
        if self.layer.padding == "valid":
            return 0, 0
        parts = zip(sides, self.layer.kernel_size, self.layer.strides, strict=True)
        rows, columns = (_padding_before(*part) for part in parts)
        return rows, columns


@dataclass(frozen=True)
class Matrix(Step):
    """The products of a dense layer, without its activation."""

    layer: keras.layers.Dense

    def forward(self, x: Tensor) -> Tensor:
        x = ops.cast(x, self.layer.compute_dtype)
        y = ops.matmul(x, _cast(self.layer.kernel, x))
        return y + _cast(self.layer.bias, x) if self.layer.use_bias else y

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        return backend.matmul(gradient, _cast(self.layer.kernel, gradient), transpose_y=True)


@dataclass(frozen=True)
class Normalization(Step):
    """Batch normalization of inference, over the last axis."""

    layer: keras.layers.BatchNormalization
    takes_rows: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        layer, x = self.layer, ops.cast(x, self.layer.compute_dtype)
        factor = self._factor()
        shift = -ops.cast(layer.moving_mean, "float32") * factor
        if layer.center:
            shift = shift + ops.cast(layer.beta, "float32")
        return x * _cast(factor, x) + _cast(shift, x)

    def _factor(self) -> Tensor:
        layer = self.layer
        factor = ops.rsqrt(ops.cast(layer.moving_variance, "float32") + layer.epsilon)
        return factor * ops.cast(layer.gamma, "float32") if layer.scale else factor

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        if isinstance(gradient, Rows):
            return Rows(gradient.places, gradient.values * self._factor())
        return gradient * self._factor()


@dataclass(frozen=True)
class Pointwise(Step):
    """A function of each value by itself.

    Attributes:
        function: The activation.
        slope: Its derivative, of the value before and the value after.
        keeps_maxima: Whether it is 0 up to a value and rises by 1 from there on, as ReLU.
    """

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    keeps_maxima: bool = False
    takes_rows: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        if isinstance(gradient, Rows):
            slope = self.slope(gradient.of(x), gradient.of(y))
            return Rows(gradient.places, gradient.values * _cast(slope, gradient.values))
        return gradient * _cast(self.slope(x, y), gradient)


@dataclass(frozen=True)
class Softmax(Step):
    """Over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        # By hand: of a few values the backend's own operation costs ten times as much.
        powers = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
        return powers / ops.sum(powers, axis=-1, keepdims=True)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        y = _cast(y, gradient)
        return y * (gradient - ops.sum(gradient * y, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Reshaping(Step):
    """The same values in another shape, of these sides behind the batch."""

    sides: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (ops.shape(x)[0], *self.sides))

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        return ops.reshape(gradient, ops.shape(x))


@dataclass(frozen=True)
class Padding(Step):
    """Zeros around a map, before and after its rows and columns."""

    amounts: tuple[tuple[int, int], tuple[int, int]]

    def forward(self, x: Tensor) -> Tensor:
        return ops.pad(x, ((0, 0), *self.amounts, (0, 0)))

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        (top, _), (left, _) = self.amounts
        height, width = ops.shape(x)[1:3]
        return gradient[:, top : top + height, left : left + width]


def _padding_before(side: Any, window: int, step: int) -> Any:
    """The same for sides that only a tensor knows."""
    if isinstance(side, int):
        return padding_before(side, window, step)
    rest = ops.where(side % step == 0, step, side % step)
    return ops.maximum(window - rest, 0) // 2


@dataclass(frozen=True)
class Channels(Step):
    """Some channels of a map or a vector, one behind the other."""

    start: int
    stop: int

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop]

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        around = [(0, 0)] * (len(x.shape) - 1)
        return ops.pad(gradient, [*around, (self.start, x.shape[-1] - self.stop)])


def _folded(gradient: Tensor, kernel: Tensor, strides: Any) -> Tensor:
    """A transposed convolution as one product and a few sums, which XLA makes loops of.

    Taps that are a stride apart go to the same place within a block of the stride's size.
    """
    (down, right), (height, width, channels, filters) = strides, kernel.shape
    rows, columns = -(-height // down), -(-width // right)
    extra = ((0, rows * down - height), (0, columns * right - width), (0, 0), (0, 0))
    kernel = ops.reshape(ops.pad(kernel, extra), (-1, filters))
    products = backend.matmul(gradient, kernel, transpose_y=True)
    _, high, wide, _ = sizes = ops.shape(gradient)
    products = ops.reshape(products, (sizes[0], high, wide, rows, down, columns, right * channels))
    blocks: Any = 0.0
    for row in range(rows):
        for column in range(columns):
            amounts = ((0, 0), (row, rows - 1 - row), (column, columns - 1 - column))
            part = products[:, :, :, row, :, column]
            blocks = blocks + ops.pad(part, (*amounts, (0, 0), (0, 0)))
    blocks = ops.transpose(blocks, (0, 1, 3, 2, 4))
    shape = (sizes[0], (high + rows - 1) * down, (wide + columns - 1) * right, channels)
    return ops.reshape(blocks, shape)


def _crop(maps: Tensor, before: Any, sides: Any, strides: Any) -> Tensor:
    """Leaves out what lies before, and brings the sides to those given."""
    missing = []
    for first, side, there, step in zip(before, sides, ops.shape(maps)[1:3], strides, strict=True):
        known = all(isinstance(part, int) for part in (first, side, there))
        # A stride leaves less than itself unread.
        missing.append(max(first + side - there, 0) if known else step - 1)
    if any(missing):
        maps = ops.pad(maps, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    (top, left), (height, width) = before, sides
    return maps[:, top : top + height, left : left + width]


def _cast(weight: Any, like: Tensor) -> Tensor:
    return ops.cast(weight, keras.backend.standardize_dtype(like.dtype))


@dataclass(frozen=True)
class GlobalMaximum(Step):
    """The maximum over a map; equal ones share the gradient."""

    keepdims: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return ops.max(x, axis=(1, 2), keepdims=self.keepdims)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        shape = (-1, x.shape[-1])
        y, gradient = ops.reshape(y, shape), ops.reshape(gradient, shape)
        if pay():
            return rows_of_maxima(x, y, gradient)
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
