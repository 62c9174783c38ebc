"""Rules for vector-Jacobian products of layers, and sparse and factored forms of gradients.

The gradient with respect to a large feature map is often zero at most positions, or a product of
small matrices. It is then kept in that form (`SparseRows`, `Blocks`, `Projected`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from keras_attention import backend
from keras_attention.graph.receptive_field import padding_before
from keras_attention.graph.structure import float_kernel
from keras_attention.ops.dynamic_capacity import group_taps_by_stride

Tensor = Any
Gradient = Any  # A tensor, or SparseRows, Blocks or Projected.


@dataclass(frozen=True)
class SparseRows:
    """A gradient that is zero except at some positions of the maps of a batch.

    Attributes:
        positions: Different integers `(image * H + row) * W + column`, int32 of shape `(R,)`.
        values: Vectors at these positions, `(R, C)`.
    """

    positions: Tensor
    values: Tensor

    def gather(self, maps: Tensor) -> Tensor:
        """Returns the vectors of maps `(B, H, W, C)` at these positions, `(R, C)`."""
        return ops.take(ops.reshape(maps, (-1, maps.shape[-1])), self.positions, axis=0)

    def to_dense(self, like: Tensor) -> Tensor:
        """Returns the gradient as a tensor of the shape of another."""
        shape = ops.shape(like)
        flat = ops.segment_sum(self.values, self.positions, shape[0] * shape[1] * shape[2])
        return ops.reshape(flat, shape)


@dataclass(frozen=True)
class Blocks:
    """A gradient in blocks of the size of the strides of a convolution.

    Attributes:
        values: `(B, H, W, s, t, C)`: block, position in the block, channel.
        padding: Number of rows and of columns before those of the map.
        sides: Height and width of the map.
    """

    values: Tensor
    padding: tuple[Any, Any]
    sides: tuple[Any, Any]

    def to_dense(self) -> Tensor:
        """Returns the gradient as a tensor, `(B, height, width, C)`."""
        return self._in_order(self.values)

    def squared_norms(self) -> Tensor:
        """Returns the squared norm at each position, `(B, height, width)`."""
        squared = ops.sum(ops.square(self.values), axis=-1, keepdims=True)
        return ops.squeeze(self._in_order(squared), axis=-1)

    def _in_order(self, values: Tensor) -> Tensor:
        _, high, wide, down, right, channels = shape = ops.shape(values)
        values = ops.transpose(values, (0, 1, 3, 2, 4, 5))
        values = ops.reshape(values, (shape[0], high * down, wide * right, channels))
        axes = zip(self.padding, self.sides, (high * down, wide * right), strict=True)
        missing = [_at_least_zero(before + side - size) for before, side, size in axes]
        if any(not isinstance(amount, int) or amount for amount in missing):
            values = backend.pad(values, {1: (0, missing[0]), 2: (0, missing[1])})
        (top, left), (height, width) = self.padding, self.sides
        return values[:, top : top + height, left : left + width]


@dataclass(frozen=True)
class Projected:
    """A gradient that is a product of a smaller map and a matrix.

    Attributes:
        values: Gradient with respect to the outputs of a 1x1 convolution, `(B, H, W, C)`.
        kernel: Kernel of the convolution, `(D, C)`.
    """

    values: Tensor
    kernel: Tensor

    def to_dense(self) -> Tensor:
        """Returns the gradient as a tensor, `(B, H, W, D)`."""
        return backend.matmul(self.values, self.kernel, transpose_y=True)

    def squared_norms(self) -> Tensor:
        """Returns the squared norm at each position, `(B, H, W)`.

        It is computed from the `(C, C)` products of the kernel with itself, which takes fewer
        operations than the dense gradient if `C` is smaller than `D`.
        """
        products = backend.matmul(self.kernel, self.kernel, transpose_x=True)
        squared = ops.sum(ops.matmul(self.values, products) * self.values, axis=-1)
        return ops.maximum(squared, 0.0)


def _at_least_zero(amount: Any) -> Any:
    return max(amount, 0) if isinstance(amount, int) else ops.maximum(amount, 0)


def maximum_gradient(maps: Tensor, maxima: Tensor, gradient: Tensor) -> SparseRows:
    """Returns the gradient of a global maximum; it is divided equally among equal maxima.

    Args:
        maps: Maps of shape `(B, H, W, C)`.
        maxima: Maximum of each channel, `(B, C)`.
        gradient: Gradient with respect to the maxima, `(B, C)`.
    """
    shape = ops.shape(maps)
    counts = shape[1] * shape[2]
    flat = ops.reshape(maps, (shape[0], counts, maps.shape[-1]))
    # Maxima with a zero gradient need no positions: no value equals infinity.
    infinity = ops.cast(float("inf"), maxima.dtype)
    at_maximum = flat == ops.where(gradient != 0, maxima, infinity)[:, None]
    anywhere = ops.reshape(ops.any(at_maximum, axis=-1), (-1,))
    positions = ops.cast(ops.nonzero(anywhere)[0], "int32")
    rows = ops.take(ops.reshape(at_maximum, (-1, maps.shape[-1])), positions, axis=0)
    rows, images = ops.cast(rows, gradient.dtype), positions // counts
    shared = ops.segment_sum(rows, images, shape[0])
    each = gradient / ops.maximum(shared, 1.0)
    return SparseRows(positions, rows * ops.take(each, images, axis=0))


def use_sparse_gradients() -> bool:
    """Returns True if tensors may have a size that depends on values, as `SparseRows` have."""
    return backend.supports_dynamic_shapes() and backend.fusion_enabled()


# Forms of gradients with a method `squared_norms`.
GRADIENTS_WITH_NORMS = (Blocks, Projected)


class VJPRule(ABC):
    """An operation on one tensor, and its vector-Jacobian product. Maps have channels last.

    Attributes:
        accepts_sparse_rows: True if `backward` accepts `SparseRows`.
    """

    accepts_sparse_rows: ClassVar[bool] = False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Computes the output."""

    @abstractmethod
    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        """Computes the gradient with respect to the input.

        Args:
            x: Input.
            y: Output.
            gradient: Gradient with respect to the output.
        """


@dataclass(frozen=True)
class Convolution(VJPRule):
    """A convolution with its bias, without its activation."""

    layer: keras.layers.Conv2D
    accepts_sparse_rows: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        x = ops.cast(x, layer.compute_dtype)
        y = ops.conv(x, _cast(layer.kernel, x), layer.strides, layer.padding, "channels_last")
        return y + _cast(layer.bias, x) if layer.use_bias else y

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        if isinstance(gradient, SparseRows):
            return self._blocks_of_rows(x, y, gradient)
        if self._is_pointwise() and self.layer.filters < x.shape[-1]:
            kernel = ops.reshape(_cast(self.layer.kernel, gradient), (x.shape[-1], -1))
            return Projected(gradient, kernel)
        layer, sides = self.layer, ops.shape(x)[1:3]
        kernel = _cast(layer.kernel, gradient)
        if backend.fusion_enabled() and not backend.supports_dynamic_shapes():
            dense = _transposed_convolution(gradient, kernel, layer.strides)
        else:
            dense = ops.conv_transpose(
                gradient, kernel, layer.strides, "valid", None, "channels_last"
            )
        return _crop(dense, self.padding(sides), sides, layer.strides)

    def _blocks_of_rows(self, x: Tensor, y: Tensor, gradient: SparseRows) -> Blocks:
        """Computes the products of the rows only, and adds them up in blocks of the strides."""
        layer, channels = self.layer, x.shape[-1]
        down, right = layer.strides
        kernel = _cast(layer.kernel, gradient.values)
        kernel = group_taps_by_stride(kernel, layer.strides, (0, 1, 2, 3, 4))
        products = backend.matmul(gradient.values, kernel, transpose_y=True)
        sizes = zip(layer.kernel_size, layer.strides, strict=True)
        times = [-(-size // step) for size, step in sizes]
        shape, (rows, columns) = ops.shape(x), ops.shape(y)[1:3]
        high, wide = rows + times[0] - 1, columns + times[1] - 1
        position = gradient.positions
        first = (position // columns + position // (rows * columns) * (times[0] - 1)) * wide
        first = ops.expand_dims(first + position % columns, -1)
        offsets = ops.reshape(ops.arange(times[0], dtype="int32"), (-1, 1)) * wide
        offsets = ops.reshape(offsets + ops.arange(times[1], dtype="int32"), (1, -1))
        block = down * right * channels
        flat = ops.scatter(
            ops.reshape(first + offsets, (-1, 1)),
            ops.reshape(products, (-1, block)),
            (shape[0] * high * wide, block),
        )
        values = ops.reshape(flat, (shape[0], high, wide, down, right, channels))
        return Blocks(values, self.padding(shape[1:3]), shape[1:3])

    def _is_pointwise(self) -> bool:
        return tuple(self.layer.kernel_size) == tuple(self.layer.strides) == (1, 1)

    def padding(self, sides: Any) -> tuple[Any, Any]:
        """Returns the padding before the rows and the columns of an input of this size."""
        if self.layer.padding == "valid":
            return 0, 0
        axes = zip(sides, self.layer.kernel_size, self.layer.strides, strict=True)
        rows, columns = (_padding_before(*axis) for axis in axes)
        return rows, columns


@dataclass(frozen=True)
class MatrixProduct(VJPRule):
    """A dense layer with its bias, without its activation; int8 kernels are dequantized."""

    layer: keras.layers.Dense

    def forward(self, x: Tensor) -> Tensor:
        x = ops.cast(x, self.layer.compute_dtype)
        y = ops.matmul(x, _cast(float_kernel(self.layer), x))
        return y + _cast(self.layer.bias, x) if self.layer.use_bias else y

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        return backend.matmul(gradient, _cast(float_kernel(self.layer), gradient), transpose_y=True)


@dataclass(frozen=True)
class Normalization(VJPRule):
    """Batch normalization of the last axis in inference."""

    layer: keras.layers.BatchNormalization
    accepts_sparse_rows: ClassVar[bool] = True

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
        if isinstance(gradient, SparseRows):
            return SparseRows(gradient.positions, gradient.values * self._factor())
        return gradient * self._factor()


@dataclass(frozen=True)
class Pointwise(VJPRule):
    """An elementwise activation.

    Attributes:
        function: The activation.
        derivative: Its derivative as a function of input and output.
        is_relu: True for ReLU, which commutes with the maximum.
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    is_relu: bool = False
    accepts_sparse_rows: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        if isinstance(gradient, SparseRows):
            slope = self.derivative(gradient.gather(x), gradient.gather(y))
            return SparseRows(gradient.positions, gradient.values * _cast(slope, gradient.values))
        return gradient * _cast(self.derivative(x, y), gradient)


@dataclass(frozen=True)
class Softmax(VJPRule):
    """Softmax over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        # For few classes the backend's softmax takes ten times as long.
        powers = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
        return powers / ops.sum(powers, axis=-1, keepdims=True)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        y = _cast(y, gradient)
        return y * (gradient - ops.sum(gradient * y, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Reshape(VJPRule):
    """A change of shape; `sides` is the new shape without the batch."""

    sides: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (ops.shape(x)[0], *self.sides))

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        return ops.reshape(gradient, ops.shape(x))


@dataclass(frozen=True)
class Padding(VJPRule):
    """Zero padding before and after the rows and columns of a map."""

    amounts: tuple[tuple[int, int], tuple[int, int]]

    def forward(self, x: Tensor) -> Tensor:
        return ops.pad(x, ((0, 0), *self.amounts, (0, 0)))

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        (top, _), (left, _) = self.amounts
        height, width = ops.shape(x)[1:3]
        return gradient[:, top : top + height, left : left + width]


def _padding_before(side: Any, window: int, step: int) -> Any:
    """Computes `padding_before` also for sides that are tensors."""
    if isinstance(side, int):
        return padding_before(side, window, step)
    rest = ops.where(side % step == 0, step, side % step)
    return ops.maximum(window - rest, 0) // 2


@dataclass(frozen=True)
class ChannelSlice(VJPRule):
    """A slice of consecutive channels."""

    start: int
    stop: int

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop]

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        around = [(0, 0)] * (len(x.shape) - 1)
        return ops.pad(gradient, [*around, (self.start, x.shape[-1] - self.stop)])


def _transposed_convolution(gradient: Tensor, kernel: Tensor, strides: Any) -> Tensor:
    """Computes a transposed convolution as one matrix product and a few sums, which XLA fuses.

    Kernel elements that are one stride apart contribute to the same position in blocks of the size
    of the strides.
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


def _crop(maps: Tensor, padding: Any, sides: Any, strides: Any) -> Tensor:
    """Removes the padding before a map, and brings the map to the given size."""
    missing = []
    axes = zip(padding, sides, ops.shape(maps)[1:3], strides, strict=True)
    for before, side, size, stride in axes:
        is_known = all(isinstance(value, int) for value in (before, side, size))
        # Fewer rows than the stride remain unread.
        missing.append(max(before + side - size, 0) if is_known else stride - 1)
    if any(missing):
        maps = ops.pad(maps, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    (top, left), (height, width) = padding, sides
    return maps[:, top : top + height, left : left + width]


def _cast(weight: Any, like: Tensor) -> Tensor:
    return ops.cast(weight, keras.backend.standardize_dtype(like.dtype))


@dataclass(frozen=True)
class GlobalMaximum(VJPRule):
    """The maximum of each channel; the gradient is divided equally among equal maxima."""

    keepdims: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return ops.max(x, axis=(1, 2), keepdims=self.keepdims)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        shape = (-1, x.shape[-1])
        y, gradient = ops.reshape(y, shape), ops.reshape(gradient, shape)
        if use_sparse_gradients():
            return maximum_gradient(x, y, gradient)
        at_maximum = ops.cast(x == y[:, None, None], gradient.dtype)
        shared = ops.sum(at_maximum, axis=(1, 2))
        return at_maximum * (gradient / shared)[:, None, None]


@dataclass(frozen=True)
class GlobalAverage(VJPRule):
    """The mean of each channel."""

    keepdims: bool = False

    def forward(self, x: Tensor) -> Tensor:
        return ops.mean(x, axis=(1, 2), keepdims=self.keepdims)

    def backward(self, x: Tensor, y: Tensor, gradient: Gradient) -> Gradient:
        shape = ops.shape(x)
        gradient = ops.reshape(gradient, (-1, 1, 1, x.shape[-1]))
        each = gradient / ops.cast(shape[1] * shape[2], gradient.dtype)
        return each * ops.ones_like(x, dtype=gradient.dtype)


@dataclass(frozen=True)
class Pooling(VJPRule):
    """Max or average pooling with "valid" padding."""

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
        part, dense, is_chosen = gradient / len(taps), 0.0, False
        for tap in taps:
            if self._is_maximum():
                # The first of several equal values in a window gets the gradient.
                values = _read(x, tap, self.layer.strides, sides)
                is_first = (values == y) & ~ops.cast(is_chosen, "bool")
                is_chosen = is_chosen | is_first
                part = ops.where(is_first, gradient, ops.zeros((), gradient.dtype))
            dense = dense + self._scatter(part, tap, ops.shape(x)[1:3])
        return dense

    def _scatter(self, values: Tensor, tap: tuple[int, int], sides: Any) -> Tensor:
        """Places a value of each window at one position of the window; zeros elsewhere."""
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
    """Returns the values at one position of all windows."""
    (row, column), (down, right), (height, width) = tap, strides, sides
    rows_read = x[:, row : row + (height - 1) * down + 1 : down]
    return rows_read[:, :, column : column + (width - 1) * right + 1 : right]


def _spread(values: Tensor, axis: int, step: int) -> Tensor:
    """Inserts `step - 1` zeros after each value along an axis."""
    if step == 1:
        return values
    shape = list(ops.shape(values))
    apart = ops.expand_dims(values, axis + 1)
    amounts = [(0, 0)] * 5
    amounts[axis + 1] = (0, step - 1)
    shape[axis] = shape[axis] * step
    return ops.reshape(ops.pad(apart, amounts), shape)
