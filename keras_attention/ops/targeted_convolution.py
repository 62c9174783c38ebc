"""A convolution whose kernels each have an attention window.

Reference: Chitta, Targeted Kernel Networks (2018), section 3.5, eq. 16 and 17.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_attention.ops.shapes import a_function, check_channels, optional, pair, takes

Tensor = Any
Activation = Callable[[Tensor], Tensor] | None


@takes(
    inputs="_ _ _ _",
    kernel="_ _ _ C",
    window="_ _ C",
    bias="maybe C",
    activation=optional(a_function),
    dilation_rate=pair,
)
def targeted_convolution(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    bias: Tensor | None = None,
    activation: Activation = None,
    dilation_rate: Sequence[int] = (1, 1),
    data_format: str = "channels_last",
) -> Tensor:
    """Computes `window * activation(inputs * kernel + bias)` on the whole map.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`; stride 1 and "same" padding.
        window: Shape `(H, W, C)`, each kernel's attention, clipped or not.
        bias: Shape `(C,)`, or None.
        activation: A function of tensors, or None.
        dilation_rate: Steps between the kernel's taps, per axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `(B, H, W, C)` or `(B, C, H, W)`.

    Example:
    >>> x, kernel = ops.ones((2, 6, 5, 3)), ops.ones((3, 3, 3, 4))
    >>> tuple(targeted_convolution(x, kernel, ops.ones((6, 5, 4))).shape)
    (2, 6, 5, 4)
    """
    check_channels("inputs", inputs, kernel, data_format)
    outputs = ops.conv(
        inputs,
        ops.cast(kernel, inputs.dtype),
        padding="same",
        dilation_rate=tuple(dilation_rate),
        data_format=data_format,
    )
    return attend(outputs, window, bias, activation, data_format)


def attend(
    outputs: Tensor,
    window: Tensor,
    bias: Tensor | None,
    activation: Activation,
    data_format: str,
) -> Tensor:
    """Adds the bias, applies the activation and multiplies by the window `(H, W, C)`."""
    if bias is not None:
        shape = (-1,) if data_format == "channels_last" else (-1, 1, 1)
        outputs = outputs + ops.reshape(bias, shape)
    if activation is not None:
        outputs = activation(outputs)
    if data_format == "channels_first":
        window = ops.moveaxis(window, -1, 0)
    return outputs * ops.cast(window, outputs.dtype)
