"""Convolutions that keep the size of the map, without the taps that would read zeros only."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention.arguments import standard_data_format

Tensor = Any


def same_convolution(
    inputs: Tensor,
    kernel: Tensor,
    dilation_rate: Sequence[int] = (1, 1),
    depthwise: bool = False,
    data_format: str | None = None,
) -> Tensor:
    """Convolves with stride 1 and as many zeros around the map as keep its size.

    On a map that is smaller than a dilated kernel some taps never see it. They are left out, which
    changes nothing but the time: a 3x3 kernel of dilation 4 on 4x4 pixels is a 1x1 kernel.

    Args:
        inputs: `(B, T, C)` or `(B, H, W, C)`, channels second with channels first.
        kernel: `(k, C, filters)` or `(kh, kw, C, filters)`; the last is 1 if depthwise.
        dilation_rate: Steps between the taps, one an axis.
        depthwise: Whether each channel has a kernel of its own.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        The convolution, with the sides of the inputs.

    Example:
    >>> x, kernel = ops.ones((1, 4, 4, 2)), ops.ones((3, 3, 2, 5))
    >>> outputs = same_convolution(x, kernel, (4, 4))
    >>> tuple(outputs.shape), float(outputs[0, 0, 0, 0])
    ((1, 4, 4, 5), 2.0)
    """
    data_format = standard_data_format(data_format)
    sides = inputs.shape[1:-1] if data_format == "channels_last" else inputs.shape[2:]
    index = tuple(
        slice(*seeing_taps(side, size, step))
        for side, size, step in zip(sides, kernel.shape, dilation_rate, strict=False)
    )
    convolve = ops.depthwise_conv if depthwise else ops.conv
    return convolve(
        inputs,
        ops.convert_to_tensor(kernel)[index],
        padding="same",
        data_format=data_format,
        dilation_rate=tuple(dilation_rate),
    )


def seeing_taps(side: int | None, size: int, step: int) -> tuple[int, int]:
    """Finds the taps that see a map of a side at all, as a half-open range.

    Args:
        side: Pixels of the map; None where that is not known.
        size: Taps of the kernel.
        step: Pixels between them.

    Returns:
        First tap and the one after the last. As many are left out before as after the middle, so
        that the zeros around the map stay on the sides where they were.

    Example:
    >>> seeing_taps(4, 3, 4), seeing_taps(5, 3, 4)
    ((1, 2), (0, 3))
    """
    if side is None or size % 2 == 0:
        return 0, size
    middle = size // 2
    reach = min(middle, (side - 1) // step)
    return middle - reach, middle + reach + 1
