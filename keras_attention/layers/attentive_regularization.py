"""Attentive Regularization: a learned attention window per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.layers.base import AttentionLayer
from keras_attention.ops.targeted import WINDOWS, roi_rectangles, separable_window
from keras_attention.utils.data_format import (
    channel_axis,
    is_channels_last,
    spatial_shape,
    standardize_data_format,
)
from keras_attention.utils.tensor_validation import convert_input
from keras_attention.utils.validation import one_of

Tensor = Any
# Lower limit of a scale if the side of the map is unknown when the layer is built.
SMALLEST_SCALE = 1e-3


class WindowedLayer(AttentionLayer):
    """Base class of layers that multiply each channel by a learned, separable attention window."""

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
        self.data_format = standardize_data_format(data_format)

    def rois(self, *sides: int) -> np.ndarray:
        """Computes each channel's region of interest on a map of the given size (eq. 15).

        Returns an int array `(C, rank, 2)`, half-open; for images `[[top, bottom], [left, right]]`.
        """
        self._require_built()
        return ops.convert_to_numpy(self._rectangles(sides))

    def attention_window(self, *sides: int, clip: bool = False) -> Tensor:
        """Samples each channel's attention window on a map of the given size (eq. 13).

        Returns a float32 tensor `(*sides, C)`; with `clip`, it is 0 outside the region of interest.
        """
        self._require_built()
        return separable_window(sides, *self._window_parameters(), self.window, clip)

    def _rectangles(self, sides: Sequence[Any]) -> Tensor:
        return roi_rectangles(sides, *self._window_parameters())

    def _add_window(self, sides: Sequence[int | None], count: int, smallest: Sequence[int]) -> None:
        """Adds the weights `center` and `scale`, `(rank, count)`, with limits of section 3.5."""
        rank = len(sides)
        low = [
            SMALLEST_SCALE if side is None else min(size / (2.0 * side), 1.0)
            for side, size in zip(sides, smallest, strict=True)
        ]
        # Without autocast: rounding to half precision would move the windows.
        self.center = self.add_weight(
            name="center",
            shape=(rank, count),
            initializer=keras.initializers.Constant(0.5),
            constraint=ClipToRange([0.0] * rank, 1.0),
            autocast=False,
        )
        self.scale = self.add_weight(
            name="scale",
            shape=(rank, count),
            initializer="ones",
            constraint=ClipToRange(low, 1.0),
            regularizer=self.scale_regularizer,
            autocast=False,
        )

    def _window_parameters(self) -> tuple[Tensor, Tensor]:
        """Center and scale of every channel, `(rank, C)`."""
        return ops.convert_to_tensor(self.center), ops.convert_to_tensor(self.scale)

    def _to_data_format(self, window: Tensor) -> Tensor:
        """Transposes `(*sides, C)` to the layout of an input without its batch axis."""
        return window if is_channels_last(self.data_format) else ops.moveaxis(window, -1, 0)

    def _with_attention(self, outputs: Tensor, window: Tensor, return_attention: bool) -> Any:
        """Adds the window if requested, repeated for every example: outputs need a batch axis."""
        if not return_attention:
            return outputs
        return outputs, ops.broadcast_to(self._to_data_format(window), ops.shape(outputs))

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} must be built before its windows are read: "
                "call it on data, or call `build(input_shape)`. Received: built=False"
            )


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentiveRegularization(WindowedLayer):
    """Attentive Regularization layer: multiplies each channel by a learned window (eq. 1, 13, 14).

    Each channel has one window, a product of one-dimensional windows along the axes of a sequence,
    an image or a volume. Center and scale are relative to the side, so the weights fit any input
    size. The center stays in `[0, 1]`; the scale stays between one pixel, `1 / (2 * side)`, and 1.

    The weight decay of an optimizer such as AdamW would move the centers to the upper left corner
    and shrink the windows. Exclude them before the optimizer is built:
    `optimizer.exclude_from_weight_decay(var_list=[weight for weight in model.trainable_weights if
    weight.name in ("center", "scale")])`.

    Args:
        window: `"cauchy"` (default; the paper found it easier to tune, section 4.4) or
            `"gaussian"`.
        scale_regularizer: Regularizer of the scales. The paper uses `keras.regularizers.L2(1e-4)`
            to reduce the area that kernels attend to. None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Outputs of a convolution.
        return_attention: If True, the windows are also returned, repeated for every example,
            float32.

    Weights:
        center: `(rank, C)`, row 0 is the first spatial axis; initially 0.5.
        scale: `(rank, C)`; initially 1.

    Input shape:
        `(B, L, C)`, `(B, H, W, C)` or `(B, D, H, W, C)`; `(B, C, ...)` with channels first.

    Output shape:
        Same as the input shape. Masks pass through.

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
        shape = self._validate_map(input_shape, ranks=(3, 4, 5))
        sides = spatial_shape(shape, self.data_format)
        channels = shape[channel_axis(self.data_format)]
        self._add_window(sides, channels, smallest=(1,) * len(sides))

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = convert_input(self, inputs)
        window = self.attention_window(*spatial_shape(ops.shape(inputs), self.data_format))
        outputs = inputs * ops.cast(self._to_data_format(window), inputs.dtype)
        return self._with_attention(outputs, window, return_attention)

    def macs(self, input_shape: tuple[int, ...], executed: bool = False) -> int:
        """Counts the multiplications for one example of the given shape."""
        return math.prod(input_shape[1:])


@keras.saving.register_keras_serializable(package="keras_attention")
class ClipToRange(keras.constraints.Constraint):
    """Clips weights of shape `(rank, C)` to a range, with one lower limit per axis.

    Args:
        low: `rank` numbers, the lower limits.
        high: The upper limit.

    Example:
    >>> clipped = ClipToRange([0.1, 0.2], 1.0)(np.array([[0.0, 2.0], [0.1, 0.5]]))
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
