"""Attentive Regularization as a layer on its own."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.ops.targeted import WINDOWS, roi_rectangles, separable_window
from keras_attention.utils.validation import (
    checked_shape,
    map_spec,
    one_of,
    standard_data_format,
    taken_map,
)

Tensor = Any
# Lower limit of a scale where the side of the map is unknown when the layer is built.
SMALLEST_SCALE = 1e-3


@keras.saving.register_keras_serializable(package="keras_attention")
class Between(keras.constraints.Constraint):
    """Clips weights of shape `(rank, C)` to a range, with one lower limit per axis.

    Args:
        low: `rank` numbers, the lower limits.
        high: The upper limit.

    Example:
    >>> clipped = Between([0.1, 0.2], 1.0)(np.array([[0.0, 2.0], [0.1, 0.5]]))
    >>> [[round(float(v), 1) for v in row] for row in clipped]
    [[0.1, 1.0], [0.2, 0.5]]
    """

    def __init__(self, low: Sequence[float], high: float):
        self.low, self.high = [float(value) for value in low], float(high)

    def __call__(self, w: Tensor) -> Tensor:
        low = ops.cast(ops.reshape(ops.convert_to_tensor(self.low), (-1, 1)), w.dtype)
        return ops.minimum(ops.maximum(w, low), self.high)

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


class WindowedLayer(keras.Layer):
    """Base of layers that multiply each channel by a learned, separable attention window.

    Args:
        window: `"cauchy"` or `"gaussian"`.
        scale_regularizer: Regularizer of the scales, any Keras identifier.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
    """

    def __init__(
        self,
        window: str = "cauchy",
        scale_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.window = one_of("window", window, tuple(WINDOWS))
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.data_format = standard_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "window": self.window,
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "data_format": self.data_format,
        }

    def rois(self, *sides: int) -> np.ndarray:
        """Gives each channel's region of interest on a map of the given size (eq. 15).

        Args:
            *sides: Pixels along each axis, for images height and width.

        Returns:
            Int array of shape `(C, rank, 2)`, half-open; for images
            `[[top, bottom], [left, right]]`.
        """
        self._require_built()
        return ops.convert_to_numpy(roi_rectangles(sides, *self._window_of_channels()))

    def attention_window(self, *sides: int, clip: bool = False) -> Tensor:
        """Samples each channel's attention window on a map of the given size (eq. 13).

        Args:
            *sides: Pixels along each axis, for images height and width.
            clip: Whether values outside the region of interest become 0.

        Returns:
            Float32 tensor of shape `(*sides, C)`.
        """
        self._require_built()
        return separable_window(sides, *self._window_of_channels(), self.window, clip)

    def _add_window(self, sides: Sequence[int | None], count: int, smallest: Sequence[int]) -> None:
        """Adds `center` and `scale`, `(rank, count)`, with the limits of section 3.5."""
        rank = len(sides)
        low = [
            SMALLEST_SCALE if side is None else min(size / (2.0 * side), 1.0)
            for side, size in zip(sides, smallest, strict=True)
        ]
        # Without autocast: half precision would move the windows.
        self.center = self.add_weight(
            name="center",
            shape=(rank, count),
            initializer=keras.initializers.Constant(0.5),
            constraint=Between([0.0] * rank, 1.0),
            autocast=False,
        )
        self.scale = self.add_weight(
            name="scale",
            shape=(rank, count),
            initializer="ones",
            constraint=Between(low, 1.0),
            regularizer=self.scale_regularizer,
            autocast=False,
        )

    def _window_of_channels(self) -> tuple[Tensor, Tensor]:
        """Center and scale of every channel, `(rank, C)`."""
        return ops.convert_to_tensor(self.center), ops.convert_to_tensor(self.scale)

    def _sides_of(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(shape[1:-1] if self.data_format == "channels_last" else shape[2:])

    def _channels_of(self, shape: Sequence[Any]) -> int:
        return shape[self._channel_axis]

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _to_data_format(self, window: Tensor) -> Tensor:
        """Turns `(*sides, C)` into the layout of the inputs without their batch axis."""
        return window if self.data_format == "channels_last" else ops.moveaxis(window, -1, 0)

    def _attention_of_batch(self, window: Tensor, outputs: Tensor) -> Tensor:
        """Repeats a window for every image, so that a model can return it and predict."""
        return ops.broadcast_to(self._to_data_format(window), ops.shape(outputs))

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has no window before it is built: "
                "call it on data, or `build(input_shape)`."
            )

    def compute_output_spec(self, inputs: Any, return_attention: bool = False) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        return (outputs, keras.KerasTensor(shape, dtype="float32")) if return_attention else outputs


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentiveRegularization(WindowedLayer):
    """Multiplies each channel by a window whose place and size are learned (eq. 1, 13, 14).

    One window per channel, a product of one-dimensional windows along the axes, for sequences,
    images and volumes. Positions are relative to the side, so the weights serve any input size.
    The center stays in `[0, 1]`; the scale stays between one pixel, `1 / (2 * side)`, and 1.

    Args:
        window: `"cauchy"` (default; the paper found it easier to tune, section 4.4) or
            `"gaussian"`.
        scale_regularizer: Regularizer of the scales; the paper uses
            `keras.regularizers.L2(1e-4)` to make kernels look at less. None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Activations of a convolution.
        return_attention: Whether to return the windows too, repeated for every example, float32.

    Weights:
        center: `(rank, C)`, row 0 is the first spatial axis; 0.5 at first.
        scale: `(rank, C)`; 1 at first.

    Input shape:
        `(B, L, C)`, `(B, H, W, C)` or `(B, D, H, W, C)`; `(B, C, ...)` with channels first.

    Output shape:
        That of the input. Masks pass through.

    Raises:
        ValueError: For an unknown window, or an input of another rank.

    Example:
    >>> layer = AttentiveRegularization("gaussian")
    >>> tuple(layer(ops.ones((2, 7, 10, 5))).shape)
    (2, 7, 10, 5)

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.
    """

    def __init__(
        self,
        window: str = "cauchy",
        scale_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(window, scale_regularizer, data_format, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        input_shape = checked_shape(self, input_shape, self._channel_axis, ranks=(3, 4, 5))
        self.input_spec = map_spec(input_shape, self._channel_axis)
        sides = self._sides_of(input_shape)
        self._add_window(sides, self._channels_of(input_shape), smallest=(1,) * len(sides))

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = taken_map(self, inputs)
        window = self.attention_window(*self._sides_of(ops.shape(inputs)))
        outputs = inputs * ops.cast(self._to_data_format(window), inputs.dtype)
        if return_attention:
            return outputs, self._attention_of_batch(window, outputs)
        return outputs

    def macs(self, input_shape: tuple[int, ...], executed: bool = False) -> int:
        """Counts the multiplications for one example of the given shape."""
        return math.prod(input_shape[1:])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)
