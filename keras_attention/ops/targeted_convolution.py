"""A convolution whose kernels each have an attention window.

Reference: Chitta, Targeted Kernel Networks (2018), section 3.5, eq. 16 and 17.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.ops.sliced_convolution import bounding_range, place, sliced_convolution

# Share of the map from which on cutting out and putting back costs more than it saves.
SLICED_SHARE = 0.8

Tensor = Any
Activation = Callable[[Tensor], Tensor] | None


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
    outputs = ops.conv(
        inputs,
        kernel,
        padding="same",
        dilation_rate=tuple(dilation_rate),
        data_format=data_format,
    )
    return _attend(outputs, window, bias, activation, data_format)


def sliced_targeted_convolution(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    rectangles: Tensor,
    groups: Sequence[Sequence[int]],
    bias: Tensor | None = None,
    activation: Activation = None,
    dilation_rate: Sequence[int] = (1, 1),
    data_format: str = "channels_last",
) -> Tensor:
    """Computes `targeted_convolution` only where some kernel of a group looks.

    The values and gradients are those of the whole map whatever the groups, as long as the window
    is 0 outside the rectangles. Needs a backend that `supports_dynamic_shapes()`.

    Args:
        inputs: Shape `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first.
        kernel: Shape `(kh, kw, Cin, C)`; stride 1 and "same" padding.
        window: Shape `(H, W, C)`, each kernel's attention, 0 outside its rectangle.
        rectangles: Int tensor of shape `(C, 2, 2)`, as from `roi_rectangles`.
        groups: A partition of the kernels; each group is convolved once.
        bias: Shape `(C,)`, or None.
        activation: A function of tensors, or None.
        dilation_rate: Steps between the kernel's taps, per axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `(B, H, W, C)` or `(B, C, H, W)`.

    Example:
    >>> x, kernel = ops.ones((2, 6, 5, 3)), ops.ones((3, 3, 3, 2))
    >>> window, rectangles = ops.ones((6, 5, 2)), ops.convert_to_tensor([[[0, 6], [0, 5]]] * 2)
    >>> y = sliced_targeted_convolution(x, kernel, window, rectangles, [[1], [0]])
    >>> tuple(y.shape)
    (2, 6, 5, 2)
    """
    rest: dict[str, Any] = {
        "activation": activation,
        "dilation_rate": dilation_rate,
        "data_format": data_format,
    }
    if len(groups) == 1:
        return _convolve_union(inputs, kernel, window, rectangles, bias, **rest)
    maps = []
    for group in groups:
        kernels = list(group)
        part = (
            ops.take(kernel, kernels, axis=-1),
            ops.take(window, kernels, axis=-1),
            ops.take(rectangles, kernels, axis=0),
            None if bias is None else ops.take(bias, kernels),
        )
        maps.append(_convolve_union(inputs, *part, **rest))
    channel_axis = -1 if data_format == "channels_last" else 1
    back_in_order = np.argsort(np.concatenate(groups))
    return ops.take(ops.concatenate(maps, axis=channel_axis), back_in_order, axis=channel_axis)


def _convolve_union(
    inputs: Tensor,
    kernel: Tensor,
    window: Tensor,
    rectangles: Tensor,
    bias: Tensor | None,
    activation: Activation,
    dilation_rate: Sequence[int],
    data_format: str,
) -> Tensor:
    """Convolves kernels over the rectangle that holds all of theirs."""
    shape = ops.shape(inputs)
    sides = shape[1:3] if data_format == "channels_last" else shape[2:4]
    rows = bounding_range(rectangles[:, 0], sides[0])
    columns = bounding_range(rectangles[:, 1], sides[1])
    rest = (bias, activation)

    def whole() -> Tensor:
        return targeted_convolution(inputs, kernel, window, *rest, dilation_rate, data_format)

    def sliced() -> Tensor:
        patch = sliced_convolution(inputs, kernel, rows, columns, dilation_rate, data_format)
        part = backend.crop(window, {0: rows, 1: columns})
        patch = _attend(patch, part, *rest, data_format)
        return place(patch, rows, columns, sides, data_format)

    area = (rows[1] - rows[0]) * (columns[1] - columns[0])
    limit = ops.cast(sides[0] * sides[1], "float32") * SLICED_SHARE
    return ops.cond(ops.cast(area, "float32") > limit, whole, sliced)


def _attend(
    outputs: Tensor,
    window: Tensor,
    bias: Tensor | None,
    activation: Activation,
    data_format: str,
) -> Tensor:
    if bias is not None:
        shape = (-1,) if data_format == "channels_last" else (-1, 1, 1)
        outputs = outputs + ops.reshape(bias, shape)
    if activation is not None:
        outputs = activation(outputs)
    if data_format == "channels_first":
        window = ops.moveaxis(window, -1, 0)
    return outputs * ops.cast(window, outputs.dtype)
