"""Layers of compacted models: maps kept as lists of pixels, each of one channel.

Where regions are a few pixels, the pixels that some kernel computes and those that it reads are so
few that the convolution is one small matrix. `surgery.compact` puts these layers together.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.arguments import one_of, positive_integer

Tensor = Any
Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class EntryConvolution(keras.Layer):
    """A convolution written as a matrix: `window * activation(inputs @ matrix + bias)`.

    Args:
        units: Number of output entries.
        activation: Activation before the window; None for none.
        use_bias: Whether there is a bias.
        use_window: Whether there is a window.
        **kwargs: Arguments of `keras.Layer`.

    Weights:
        matrix: `(inputs, units)`; bias, window: `(units,)` where used.

    Input shape:
        `(B, inputs)`.

    Output shape:
        `(B, units)`.

    Example:
    >>> tuple(EntryConvolution(7)(ops.ones((2, 5))).shape)
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "use_window": self.use_window,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class TakeEntries(keras.Layer):
    """Picks entries of everything but the batch, in any order, repeated or absent.

    Args:
        count: Number of entries to give.
        absent: Whether index `inputs` (one past the last) stands for a zero.
        **kwargs: Arguments of `keras.Layer`.

    Weights:
        indices: `(count,)`, int32, not trained.

    Input shape:
        `(B, ...)`, or a list of such; flattened and joined.

    Output shape:
        `(B, count)`.

    Example:
    >>> tuple(TakeEntries(3)([ops.ones((2, 4, 4, 1)), ops.ones((2, 5))]).shape)
    (2, 3)
    """

    def __init__(self, count: int, absent: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.count, self.absent = positive_integer("count", count), bool(absent)

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
        flat = [ops.reshape(tensor, (-1, _size(tensor.shape))) for tensor in tensors]
        if self.absent:
            flat.append(ops.zeros_like(flat[0][:, :1]))
        joined = flat[0] if len(flat) == 1 else ops.concatenate(flat, axis=-1)
        return ops.take(joined, ops.convert_to_tensor(self.indices), axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        nested = isinstance(input_shape, list) and isinstance(input_shape[0], (list, tuple))
        return ((input_shape[0] if nested else input_shape)[0], self.count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "absent": self.absent}


@keras.saving.register_keras_serializable(package="keras_attention")
class PoolEntries(keras.Layer):
    """Pools entries that lie phase by phase: `(phases * n)` become `(n)`.

    Args:
        phases: Entries of a pooling window.
        reduce: `"max"` or `"mean"`.
        **kwargs: Arguments of `keras.Layer`.

    Example:
    >>> tuple(PoolEntries(4)(ops.ones((2, 12))).shape)
    (2, 3)
    """

    def __init__(self, phases: int, reduce: str = "max", **kwargs: Any):
        super().__init__(**kwargs)
        self.phases = positive_integer("phases", phases)
        self.reduce = one_of("reduce", reduce, ("max", "mean"))

    def call(self, inputs: Tensor) -> Tensor:
        phases = ops.reshape(inputs, (-1, self.phases, inputs.shape[-1] // self.phases))
        return ops.max(phases, axis=1) if self.reduce == "max" else ops.mean(phases, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1] // self.phases)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "phases": self.phases, "reduce": self.reduce}


def _size(shape: Sequence[int | None]) -> int:
    size = 1
    for side in shape[1:]:
        size *= int(side or 0)
    return size
