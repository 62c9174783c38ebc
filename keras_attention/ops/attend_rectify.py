"""Attention heads and the gates that combine their hypotheses.

References: Rodriguez et al., Attend and Rectify (2018), equations 1 to 8; for the regularizer, Zhao
et al., Diversified visual attention networks (2017).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from keras_attention import backend
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.utils.data_format import is_channels_last, spatial_axes, spatial_shape
from keras_attention.utils.tensor_validation import validate_arguments, validate_channels
from keras_attention.utils.validation import non_negative_number, one_of

Tensor = Any
MASKS = ("softmax", "sigmoid")
GATES = ("softmax", "sigmoid", "mean")
SPACES = ("log", "probability")
# Keeps the sum of sigmoid gates above 0, as in the authors' code.
GATE_EPSILON = 1e-6
# Kernels with fewer values are faster in one product of all sums with all kernels, of which only
# each head's own part is kept; larger kernels are faster in one product per head.
_BATCHED_FROM = 100_000
Size = tuple[int, int]


@validate_arguments(logits="_ _ _ _")
def spatial_softmax(logits: Tensor, data_format: str | None = None) -> Tensor:
    """Computes the softmax of each head's mask over the positions (eq. 1), in float32.

    Args:
        logits: `(B, H, W, K)`, or `(B, K, H, W)` with channels first.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Masks of the same shape; each one sums to 1.

    Example:
    >>> masks = spatial_softmax(ops.zeros((2, 4, 5, 3)))
    >>> [round(float(value), 6) for value in ops.sum(masks, axis=(1, 2))[0]]
    [1.0, 1.0, 1.0]
    """
    return _softmax(at_least_float32(logits), spatial_axes(4, data_format))


@validate_arguments(masks="_ _ _ _")
def head_overlap(masks: Tensor, data_format: str | None = None) -> Tensor:
    """Computes the overlap of attention heads: their regularizer, without its weight.

    With P the masks averaged over 2x2 pixels, this is the mean over images and pairs of heads of
    `(P_i . P_j)^2`, where the pair of a head with itself counts as 0.

    Args:
        masks: `(B, H, W, K)`, or `(B, K, H, W)` with channels first.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        A float32 scalar; 0 for one head.

    Example:
    >>> masks = ops.convert_to_tensor([[[[1.0, 0.0], [0.0, 1.0]]]])  # one left, one right
    >>> float(head_overlap(masks)), float(head_overlap(ops.ones((1, 2, 2, 2))))
    (0.03125, 0.5)
    """
    masks = at_least_float32(masks)
    if is_channels_last(data_format):
        masks = ops.transpose(masks, (0, 3, 1, 2))
    # Maps with a side of one pixel are averaged along the other side only.
    window = tuple(1 if side == 1 else 2 for side in masks.shape[2:])
    return backend.jit_elementwise(_overlap, window)(masks)


def _overlap(window: tuple[int, int], masks: Tensor) -> Tensor:
    heads = masks.shape[1]
    rows, columns = (side // size for side, size in zip(ops.shape(masks)[2:], window, strict=True))
    whole = masks[:, :, : rows * window[0], : columns * window[1]]
    cells = ops.reshape(whole, (-1, heads, rows, window[0], columns, window[1]))
    pooled = ops.reshape(ops.mean(cells, axis=(3, 5)), (-1, heads, rows * columns))
    products = ops.matmul(pooled, ops.swapaxes(pooled, 1, 2))
    return ops.mean(ops.square(products * (1.0 - ops.eye(heads, dtype=products.dtype))))


@validate_arguments(features="_ _ _ _", kernel="_ _ _ _")
def attend(
    features: Tensor, kernel: Tensor, mask: str = "softmax", data_format: str | None = None
) -> tuple[Tensor, Tensor]:
    """Computes the masks of the heads (eq. 1) and the sums of features that they weight.

    The sum over the positions of a mask times a convolution of the features (eq. 3 and 5) equals
    the convolution's kernel times sums of the features, weighted by the mask shifted to each kernel
    tap. These sums do not depend on the number of classes, and neither does the cost of computing
    them.

    Args:
        features: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        kernel: Kernel of the attention convolution, `(kh, kw, C, K)`; kh and kw are odd.
        mask: `"softmax"`, or `"sigmoid"` with means over the positions instead of sums.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Masks, float32, `(B, K, H, W)` in both data formats, and weighted sums `(B, K, kh * kw, C)`
        in the dtype of the features.

    Example:
    >>> masks, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> tuple(masks.shape), tuple(sums.shape)
    ((2, 4, 6, 5), (2, 4, 9, 8))
    """
    one_of("mask", mask, MASKS)
    last = is_channels_last(data_format)
    validate_channels("features", features, kernel, "channels_last" if last else "channels_first")
    size, heads = tuple(kernel.shape[:2]), kernel.shape[3]
    count, channels = math.prod(size), kernel.shape[2]
    height, width = spatial_shape(ops.shape(features), data_format)
    pixels = height * width
    flat = ops.reshape(features, (-1, pixels, channels) if last else (-1, channels, pixels))
    kernels = ops.transpose(ops.cast(kernel, flat.dtype), (3, 0, 1, 2))
    kernels = ops.reshape(kernels, (1, heads * count, channels))
    taps = backend.matmul(kernels, flat, transpose_y=last)
    taps = ops.reshape(taps, (-1, heads, count, height, width))
    masks, spread = _masks_and_spread(mask, size)(taps)
    weights = ops.reshape(spread, (-1, heads * count, pixels))
    sums = backend.matmul(weights, flat, transpose_y=not last)
    sums = ops.reshape(sums, (-1, heads, count, channels))
    if mask == "sigmoid":
        sums = sums / ops.cast(pixels, sums.dtype)
    return masks, sums


@validate_arguments(sums="_ K T C", kernel="_ _ C _")
def head_outputs(sums: Tensor, kernel: Tensor) -> Tensor:
    """Computes each head's mask-weighted sum of its own convolution (eq. 2, 3 and 5).

    Args:
        sums: `(B, K, kh * kw, C)`, as returned by `attend`.
        kernel: `(kh, kw, C, K * L)`: kernels of L maps per head, those of the first head first.

    Returns:
        `(B, K, L)`, float32.

    Example:
    >>> _, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> tuple(head_outputs(sums, ops.ones((3, 3, 8, 4 * 10))).shape)
    (2, 4, 10)
    """
    (height, width, _, maps), (_, heads, taps, _) = kernel.shape, sums.shape
    if height * width != taps or maps % heads:
        raise ValueError(
            f"`kernel` must have kh * kw = {taps} and a multiple of {heads} maps. "
            f"Received: kernel of shape {tuple(kernel.shape)}, sums of shape {tuple(sums.shape)}"
        )
    inputs = taps * sums.shape[3]
    kernels = ops.reshape(ops.cast(kernel, sums.dtype), (inputs, heads, -1))
    if math.prod(kernels.shape) > _BATCHED_FROM:
        by_head = ops.reshape(ops.swapaxes(sums, 0, 1), (heads, -1, inputs))
        outputs = ops.matmul(by_head, ops.transpose(kernels, (1, 0, 2)))
        return at_least_float32(ops.transpose(outputs, (1, 0, 2)))
    pairs = ops.matmul(ops.reshape(sums, (-1, inputs)), ops.reshape(kernels, (inputs, -1)))
    pairs = ops.reshape(at_least_float32(pairs), (-1, heads, heads, kernels.shape[2]))
    own = ops.expand_dims(ops.eye(heads, dtype=pairs.dtype), -1)
    return ops.sum(pairs * own, axis=2)


@validate_arguments(sums="_ K T C", outputs="_ _ C _", scores="_ _ C K")
def gated_output(sums: Tensor, outputs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the mean of the heads' outputs, weighted by their gates (eq. 4 and 5).

    Args:
        sums: `(B, K, kh * kw, C)`, as returned by `attend`.
        outputs: Kernels of the logits, `(kh, kw, C, K * L)`, those of the first head first.
        scores: Kernels of the scores, `(kh, kw, C, K)`.

    Returns:
        The mean, `(B, L)`, and the gates, `(B, K)`, float32.

    Example:
    >>> _, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> logits, gates = gated_output(sums, ops.ones((3, 3, 8, 4 * 10)), ops.ones((3, 3, 8, 4)))
    >>> tuple(logits.shape), [float(gate) for gate in gates[0]]
    ((2, 10), [0.25, 0.25, 0.25, 0.25])
    """
    by_head, head_scores = head_outputs(sums, outputs), head_outputs(sums, scores)[:, :, 0]
    gates = _softmax(ops.tanh(head_scores), -1)
    return ops.sum(ops.expand_dims(gates, -1) * by_head, axis=1), gates


@validate_arguments(scores="_ _")
def global_gates(scores: Tensor, gates: str = "softmax") -> Tensor:
    """Computes the gates of the hypotheses from their scores (eq. 7), in float32.

    Args:
        scores: `(B, N)`, the tanh of a dense layer on the last features (eq. 6).
        gates: `"softmax"`; `"sigmoid"`, divided by their sum plus 1e-6; or `"mean"` for equal
            gates.

    Returns:
        `(B, N)`.

    Example:
    >>> [round(float(value), 3) for value in global_gates(ops.convert_to_tensor([[0.0, 1.0]]))[0]]
    [0.269, 0.731]
    """
    one_of("gates", gates, GATES)
    scores = at_least_float32(scores)
    if gates == "softmax":
        return _softmax(scores, -1)
    if gates == "mean":
        return ops.ones_like(scores) / scores.shape[-1]
    values = ops.sigmoid(scores)
    return values / (GATE_EPSILON + ops.sum(values, axis=-1, keepdims=True))


@validate_arguments(hypotheses="B N L", gates="B N")
def aggregate_hypotheses(hypotheses: Tensor, gates: Tensor, space: str = "log") -> Tensor:
    """Computes the gated sum of the hypotheses (eq. 8).

    Args:
        hypotheses: Logits `(B, N, L)`.
        gates: `(B, N)`.
        space: `"log"` for the sum of log-probabilities, as in the authors' code, which is not
            normalized; or `"probability"` for the sum of probabilities, as in the paper.

    Returns:
        `(B, L)`, float32.

    Example:
    >>> outputs = aggregate_hypotheses(ops.zeros((2, 3, 4)), ops.ones((2, 3)) / 3, "probability")
    >>> [float(value) for value in outputs[0]]
    [0.25, 0.25, 0.25, 0.25]
    """
    one_of("space", space, SPACES)
    activation = ops.log_softmax if space == "log" else ops.softmax
    hypotheses = activation(at_least_float32(hypotheses), axis=-1)
    return ops.sum(ops.cast(ops.expand_dims(gates, -1), hypotheses.dtype) * hypotheses, axis=1)


@cache
def _masks_and_spread(mask: str, size: tuple[int, int]) -> Callable[[Tensor], Any]:
    """Returns the function from tap products to masks and shifted masks, with its own gradient."""
    forward = backend.jit_elementwise(_forward, mask, size)
    backward = backend.jit_elementwise(_backward, mask, size)

    @ops.custom_gradient
    def masks_and_spread(taps: Tensor) -> Any:
        masks, spread = forward(taps)

        def gradient(*upstream: Any) -> Tensor:
            # JAX passes both gradients as one tuple.
            masks_gradient, spread_gradient = upstream if len(upstream) == 2 else upstream[0]
            return backward(masks, masks_gradient, spread_gradient)

        return (masks, spread), gradient

    return masks_and_spread


def _forward(mask: str, size: tuple[int, int], taps: Tensor) -> tuple[Tensor, Tensor]:
    logits = at_least_float32(collect_taps(taps, size))
    softmax = mask == "softmax"
    masks = _softmax(logits, (2, 3)) if softmax else ops.sigmoid(logits)
    return masks, ops.cast(spread_taps(masks, size), taps.dtype)


def _backward(
    mask: str,
    size: tuple[int, int],
    masks: Tensor,
    masks_gradient: Tensor,
    spread_gradient: Tensor,
) -> Tensor:
    upstream = masks_gradient + ops.cast(collect_taps(spread_gradient, size), masks.dtype)
    if mask == "softmax":
        upstream = upstream - ops.sum(upstream * masks, axis=(2, 3), keepdims=True)
    else:
        upstream = upstream * (1.0 - masks)
    return ops.cast(spread_taps(upstream * masks, size), spread_gradient.dtype)


def _softmax(logits: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Computes a softmax in elementary operations, faster than oneDNN's for a few scores.

    Keras's softmax supports several axes only if their sizes are known. Export formats get Keras's
    softmax where possible: in int8, a small sum of exponentials would be rounded to zero.
    """
    sizes = logits.shape[1:]
    if not backend.fusion_enabled() and None not in sizes:
        if axes == -1:
            return ops.softmax(logits)
        if axes == (2, 3):
            flat = ops.reshape(logits, (-1, sizes[0], sizes[1] * sizes[2]))
            return ops.reshape(ops.softmax(flat), (-1, *sizes))
    values = ops.exp(logits - ops.max(logits, axis=axes, keepdims=True))
    return values / ops.sum(values, axis=axes, keepdims=True)


def collect_taps(taps: Tensor, kernel_size: Size) -> Tensor:
    """Sums the contributions of all kernel taps at each position.

    For taps `(B, K, kh * kw, H, W)`, the products of each tap's kernel with the features at each
    position, this is the convolution with "same" padding, `(B, K, H, W)`. kh and kw are odd.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 1, 3))
    >>> ops.convert_to_numpy(collect_taps(ops.repeat(row, 3, axis=2), (1, 3)))[0, 0, 0].tolist()
    [3.0, 7.0, 6.0]
    """
    return _tap_functions(kernel_size)[0](ops.convert_to_tensor(taps))


def spread_taps(maps: Tensor, kernel_size: Size) -> Tensor:
    """Shifts maps to the positions that each tap of a kernel reads.

    The sum over all positions of a map times a convolution is the convolution's kernel times sums
    of its input, weighted by these shifted maps. Maps `(B, K, H, W)` become
    `(B, K, kh * kw, H, W)`, zero at positions that a tap does not read.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 3))
    >>> ops.convert_to_numpy(spread_taps(row, (1, 3)))[0, 0, :, 0].tolist()
    [[2.0, 4.0, 0.0], [1.0, 2.0, 4.0], [0.0, 1.0, 2.0]]
    """
    return _tap_functions(kernel_size)[1](ops.convert_to_tensor(maps))


@cache
def _tap_functions(
    kernel_size: Size,
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Returns `collect` and `spread`. Each is the gradient of the other, so no slice is padded."""

    @ops.custom_gradient
    def collect(taps: Tensor) -> Any:
        return _collect(taps, kernel_size), spread

    @ops.custom_gradient
    def spread(maps: Tensor) -> Any:
        return _spread(maps, kernel_size), collect

    return collect, spread


def _collect(taps: Tensor, kernel_size: Size) -> Tensor:
    # Rows are summed first, so that fewer maps have to be shifted along the columns. Images and
    # maps share one axis, because LiteRT supports at most five axes.
    height, width = ops.shape(taps)[3:]
    rows, columns = kernel_size
    by_tap = ops.reshape(taps, (-1, rows, columns, height, width))
    padded = ops.pad(by_tap, [(0, 0)] * 3 + [(rows // 2, rows // 2), (0, 0)])
    by_column = sum(padded[:, row, :, row : row + height] for row in range(rows))
    padded = ops.pad(by_column, [(0, 0)] * 3 + [(columns // 2, columns // 2)])
    total = sum(padded[:, column, :, column : column + width] for column in range(columns))
    return ops.reshape(total, (-1, taps.shape[1], height, width))


def _spread(maps: Tensor, kernel_size: Size) -> Tensor:
    # The last tap reads pixels below and to the right, so its map is shifted up and to the left.
    height, width = ops.shape(maps)[2:]
    rows, columns = kernel_size
    flat = ops.reshape(maps, (-1, height, width))
    padded = ops.pad(flat, [(0, 0), (0, 0), (columns // 2, columns // 2)])
    shifted = [padded[:, :, left : left + width] for left in reversed(range(columns))]
    margins = [(0, 0), (0, 0), (rows // 2, rows // 2), (0, 0)]
    padded = ops.pad(ops.stack(shifted, axis=1), margins)
    shifted = [padded[:, :, top : top + height] for top in reversed(range(rows))]
    shape = (-1, maps.shape[1], rows * columns, height, width)
    return ops.reshape(ops.stack(shifted, axis=1), shape)


@validate_arguments(inputs="...", scale=non_negative_number)
def scale_gradient(inputs: Tensor, scale: float) -> Tensor:
    """Returns a tensor unchanged, with its gradient multiplied by a factor.

    Args:
        inputs: Tensor of floats.
        scale: The factor; 0 blocks gradients.

    Returns:
        The same values.

    Example:
    >>> float(scale_gradient(ops.convert_to_tensor(3.0), 0.1))
    3.0
    """
    if scale == 0.0:
        return ops.stop_gradient(inputs)
    return _scaling(float(scale))(ops.convert_to_tensor(inputs))


@cache
def _scaling(scale: float) -> Callable[[Tensor], Tensor]:
    @ops.custom_gradient
    def scaled(inputs: Tensor) -> Any:
        return inputs, lambda upstream: upstream * ops.cast(scale, upstream.dtype)

    return scaled
