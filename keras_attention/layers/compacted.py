"""Layers of compacted models, which `surgery.compact` builds.

Feature maps are computed on rectangles (`CroppedConv2D`, `AssembleRegions`) or, if the regions of
interest have few pixels, as lists of pixels of one channel each. A convolution is then one small
matrix product (`GatherPixels`, `PixelDense`, `PoolPixels`).
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.layers.base import ConfigurableLayer
from keras_attention.utils.validation import one_of, positive_integer, positive_integers

Tensor = Any
Shape = tuple[Any, ...]
Rectangle = Sequence[Sequence[int]]


@keras.saving.register_keras_serializable(package="keras_attention")
class CroppedConv2D(ConfigurableLayer):
    """Convolution of a fixed rectangle of its input: `window * activation(conv(crop) + bias)`.

    Args:
        filters: Number of kernels.
        kernel_size: Kernel size, one integer or `(rows, columns)`.
        read: Rectangle of the input to read, `[[top, bottom], [left, right]]`.
        padding: Zeros around it at the border of the map, `[[above, below], [left, right]]`.
        channels: First input channel to read and the one after the last; None for all.
        dilation_rate: Dilation of the kernels in pixels, one integer or a pair.
        activation: Activation before the window; None for none.
        use_bias: If True, a bias is added.

    Weights:
        kernel: `(kh, kw, channels, filters)`; bias, if used: `(filters,)`.
        window: `(height, width, filters)`, not trainable; initially 1.

    Example:
    >>> layer = CroppedConv2D(4, 3, read=[[2, 7], [0, 4]], padding=[[0, 0], [1, 0]])
    >>> tuple(layer(ops.ones((2, 9, 9, 3))).shape)
    (2, 3, 3, 4)

    Reference:
        Chitta, Targeted Kernel Networks (2018), eq. 16 and 17.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        read: Rectangle,
        padding: Rectangle = ((0, 0), (0, 0)),
        channels: Sequence[int] | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = positive_integer("filters", filters)
        self.kernel_size = positive_integers("kernel_size", kernel_size, rank=2)
        self.dilation_rate = positive_integers("dilation_rate", dilation_rate, rank=2)
        self.read, self.padding = _integers(read), _integers(padding)
        self.channels = None if channels is None else [int(channel) for channel in channels]
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: Shape) -> None:
        kernel = (*self.kernel_size, self._channels_read(input_shape), self.filters)
        self.kernel = self.add_weight(name="kernel", shape=kernel, initializer="he_normal")
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.window = self.add_weight(
            name="window",
            shape=(*self._output_size(), self.filters),
            initializer="ones",
            trainable=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        crops: dict[int, Any] = {axis: tuple(pair) for axis, pair in enumerate(self.read, start=1)}
        if self.channels is not None:
            crops[3] = tuple(self.channels)
        if any(pair != (0, inputs.shape[axis]) for axis, pair in crops.items()):
            inputs = backend.crop(inputs, crops)
        padding = [(before, after) for before, after in self.padding]
        kernel = ops.convert_to_tensor(self.kernel)
        outputs = backend.padded_convolution(inputs, kernel, padding, self.dilation_rate)
        if self.use_bias:
            outputs = outputs + self.bias
        if self.activation is not None:
            outputs = self.activation(outputs)
        return outputs * self.window

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._output_size(), self.filters)

    def macs(self, input_shape: Shape, executed: bool = False) -> int:
        """Counts multiply-accumulates for one image."""
        taps = int(np.prod(self.kernel_size)) * self._channels_read(input_shape)
        return taps * self.filters * int(np.prod(self._output_size()))

    def _output_size(self) -> tuple[int, ...]:
        return tuple(
            stop - start + sum(pads) - (taps - 1) * rate
            for (start, stop), pads, taps, rate in zip(
                self.read, self.padding, self.kernel_size, self.dilation_rate, strict=True
            )
        )

    def _channels_read(self, input_shape: Shape) -> int:
        start, stop = self.channels or (0, input_shape[-1])
        return stop - start


@keras.saving.register_keras_serializable(package="keras_attention")
class AssembleRegions(keras.Layer):
    """Assembles rectangles of a map: crops or pads each to a target, and concatenates the channels.

    Args:
        rectangles: `[[top, bottom], [left, right]]` of each input, in pixels of the whole map.
        target: Rectangle of the output. Its pixels that an input does not cover are background.
        order: Permutation of the concatenated channels, or None.
        background: If True, the background is a weight `background`, `(channels,)` in the order of
            the concatenated channels; if False, it is 0.

    Call arguments:
        inputs: List of tensors `(B, bottom - top, right - left, channels)`, or one such tensor.

    Example:
    >>> layer = AssembleRegions([[[0, 2], [0, 2]], [[3, 5], [1, 4]]], target=[[0, 4], [0, 4]])
    >>> tuple(layer([ops.ones((1, 2, 2, 3)), ops.ones((1, 2, 3, 5))]).shape)
    (1, 4, 4, 8)
    """

    def __init__(
        self,
        rectangles: Sequence[Rectangle],
        target: Rectangle,
        order: Sequence[int] | None = None,
        background: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rectangles = [_integers(rectangle) for rectangle in rectangles]
        self.target = _integers(target)
        self.order = None if order is None else [int(channel) for channel in order]
        self.has_background = bool(background)

    def build(self, input_shape: Any) -> None:
        shapes = _list_shapes(input_shape)
        if len(shapes) != len(self.rectangles):
            raise ValueError(
                f"The input of AssembleRegions must be {len(self.rectangles)} tensors, one per "
                f"rectangle. Received: {len(shapes)} inputs"
            )
        if self.has_background:
            channels = sum(shape[-1] for shape in shapes)
            self.background = self.add_weight(
                name="background", shape=(channels,), initializer="zeros", trainable=False
            )

    def call(self, inputs: Any) -> Tensor:
        tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        parts, start = [], 0
        for tensor, rectangle in zip(tensors, self.rectangles, strict=True):
            stop = start + tensor.shape[-1]
            base = self.background[start:stop] if self.has_background else None
            parts.append(self._crop_and_pad(tensor, rectangle, base))
            start = stop
        joined = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
        return joined if self.order is None else ops.take(joined, self.order, axis=-1)

    def _crop_and_pad(self, tensor: Tensor, rectangle: Rectangle, base: Tensor | None) -> Tensor:
        crops, pads = {}, {}
        pairs = zip(rectangle, self.target, strict=True)
        for axis, (source, target) in enumerate(pairs, start=1):
            low, high = max(source[0], target[0]), min(source[1], target[1])
            if low >= high:  # no overlap: an empty slice, all padding
                low = high = min(max(source[0], target[0]), target[1])
                crops[axis] = (0, 0)
            else:
                crops[axis] = (low - source[0], high - source[0])
            pads[axis] = (low - target[0], target[1] - high)
        if any(crops[axis] != (0, tensor.shape[axis]) for axis in crops):
            tensor = backend.crop(tensor, crops)
        if not any(amount for pair in pads.values() for amount in pair):
            return tensor
        if base is None:
            return backend.pad(tensor, pads)
        return backend.pad(tensor - base, pads) + base

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = _list_shapes(input_shape)
        sides = [stop - start for start, stop in self.target]
        return (shapes[0][0], *sides, sum(shape[-1] for shape in shapes))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rectangles": self.rectangles,
            "target": self.target,
            "order": self.order,
            "background": self.has_background,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaleShift(ConfigurableLayer):
    """Multiplies the last axis by a weight and adds another: batch normalization at inference.

    Weights:
        scale, shift: `(channels,)`; initially 1 and 0.

    Example:
    >>> tuple(ScaleShift()(keras.ops.ones((2, 5, 5, 3))).shape)
    (2, 5, 5, 3)
    """

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1],)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale + self.shift

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="keras_attention")
class GatherPixels(ConfigurableLayer):
    """Gathers pixels of all inputs, in any order, with repetitions.

    Args:
        count: Number of pixels to gather.
        with_zero: If True, the index after the last pixel stands for a zero.

    Call arguments:
        inputs: Tensor `(B, ...)`, or a list of such tensors.

    Weights:
        indices: `(count,)`, int32, not trainable; indices into the flattened, concatenated inputs.

    Example:
    >>> tuple(GatherPixels(3)([ops.ones((2, 4, 4, 1)), ops.ones((2, 5))]).shape)
    (2, 3)
    """

    def __init__(self, count: int, with_zero: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.count, self.with_zero = positive_integer("count", count), bool(with_zero)

    def build(self, input_shape: Any) -> None:
        self.indices = self.add_weight(
            name="indices",
            shape=(self.count,),
            initializer="zeros",
            dtype="int32",
            trainable=False,
        )

    def call(self, inputs: Any) -> Tensor:
        tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        sizes = [math.prod(side or 0 for side in tensor.shape[1:]) for tensor in tensors]
        flat = [ops.reshape(x, (-1, size)) for x, size in zip(tensors, sizes, strict=True)]
        if self.with_zero:
            flat.append(ops.zeros_like(flat[0][:, :1]))
        joined = flat[0] if len(flat) == 1 else ops.concatenate(flat, axis=-1)
        return ops.take(joined, ops.convert_to_tensor(self.indices), axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (_list_shapes(input_shape)[0][0], self.count)


@keras.saving.register_keras_serializable(package="keras_attention")
class PixelDense(ConfigurableLayer):
    """Convolution of a list of pixels: `window * activation(inputs @ matrix + bias)`.

    Args:
        units: Number of output pixels.
        activation: Activation before the window; None for none.
        use_bias: If True, a bias is added.
        use_window: If True (default), the output is multiplied by an attention window.

    Weights:
        matrix: `(inputs, units)`; bias and window, if used: `(units,)`.

    Example:
    >>> tuple(PixelDense(7)(ops.ones((2, 5))).shape)
    (2, 7)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = False,
        use_window: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = positive_integer("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias, self.use_window = bool(use_bias), bool(use_window)

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1], self.units)
        self.matrix = self.add_weight(name="matrix", shape=shape, initializer="he_normal")
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        if self.use_window:
            self.window = self.add_weight(
                name="window", shape=(self.units,), initializer="ones", trainable=False
            )

    def call(self, inputs: Tensor) -> Tensor:
        outputs = ops.matmul(inputs, self.matrix)
        if self.use_bias:
            outputs = outputs + self.bias
        if self.activation is not None:
            outputs = self.activation(outputs)
        return outputs * self.window if self.use_window else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.units)

    def macs(self, input_shape: Shape, executed: bool = False) -> int:
        """Counts multiply-accumulates for one image."""
        return input_shape[-1] * self.units


@keras.saving.register_keras_serializable(package="keras_attention")
class PoolPixels(ConfigurableLayer):
    """Pools lists of pixels: the maximum or mean of `pool_size` consecutive lists of equal length.

    The inputs are `(B, pool_size * n)`: the first pixels of all windows, then the second ones, and
    so on. The outputs are `(B, n)`.

    Example:
    >>> tuple(PoolPixels(4)(ops.ones((2, 12))).shape)
    (2, 3)
    """

    def __init__(self, pool_size: int, reduce: str = "max", **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = positive_integer("pool_size", pool_size)
        self.reduce = one_of("reduce", reduce, ("max", "mean"))

    def call(self, inputs: Tensor) -> Tensor:
        windows = ops.reshape(inputs, (-1, self.pool_size, inputs.shape[-1] // self.pool_size))
        return ops.max(windows, axis=1) if self.reduce == "max" else ops.mean(windows, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1] // self.pool_size)


def _list_shapes(input_shape: Any) -> list[Shape]:
    nested = isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple))
    return list(input_shape) if nested else [input_shape]


def _integers(rectangle: Rectangle) -> list[list[int]]:
    return [[int(start), int(stop)] for start, stop in rectangle]
