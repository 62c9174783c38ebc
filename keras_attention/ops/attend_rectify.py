"""Attention heads, and the gates that put their hypotheses together.

Reference: Rodriguez et al., Attend and Rectify (2018), equations 1 to 8. The regularizer: Zhao et
al., Diversified visual attention networks (2017).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from keras_attention import backend
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.tensor_validation import validate_arguments, validate_channels
from keras_attention.utils.validation import non_negative_number, one_of

Tensor = Any
MASKS = ("softmax", "sigmoid")
GATES = ("softmax", "sigmoid", "mean")
SPACES = ("log", "probability")
# What keeps the sum of sigmoid gates from 0, in the authors' code.
LEAST_GATE = 1e-6
# Numbers of a kernel. Smaller ones are faster where every head's sums meet every head's kernel and
# what they have to do with each other is kept, larger ones where they are turned around first.
_TURNED_FROM = 100_000
Size = tuple[int, int]


@validate_arguments(logits="_ _ _ _")
def spatial_softmax(logits: Tensor, data_format: str | None = None) -> Tensor:
    """Makes each head's mask a distribution over the places (eq. 1), in float32.

    Args:
        logits: `(B, H, W, K)`, or `(B, K, H, W)` with channels first.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Masks of that shape; each head's sum to 1.

    Example:
    >>> masks = spatial_softmax(ops.zeros((2, 4, 5, 3)))
    >>> [round(float(value), 6) for value in ops.sum(masks, axis=(1, 2))[0]]
    [1.0, 1.0, 1.0]
    """
    places = (1, 2) if standardize_data_format(data_format) == "channels_last" else (2, 3)
    return _softmax(ops.cast(logits, "float32"), places)


@validate_arguments(masks="_ _ _ _")
def head_overlap(masks: Tensor, data_format: str | None = None) -> Tensor:
    """How much the heads look at the same places: their regularizer, before its weight.

    With P the masks averaged over 2x2 pixels, the mean over images and pairs of heads of
    `(P_i . P_j)^2`, where a head with itself counts as 0.

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
    masks = ops.cast(masks, "float32")
    if standardize_data_format(data_format) == "channels_last":
        masks = ops.transpose(masks, (0, 3, 1, 2))
    # A map of one row has no 2x2 pixels: they are averaged along the other side.
    window = tuple(1 if side == 1 else 2 for side in masks.shape[2:])
    return backend.jit_elementwise(_overlap, window)(masks)


def _overlap(window: tuple[int, int], masks: Tensor) -> Tensor:
    heads = masks.shape[1]
    rows, columns = (side // size for side, size in zip(ops.shape(masks)[2:], window, strict=True))
    whole = masks[:, :, : rows * window[0], : columns * window[1]]
    cells = ops.reshape(whole, (-1, heads, rows, window[0], columns, window[1]))
    pooled = ops.reshape(ops.mean(cells, axis=(3, 5)), (-1, heads, rows * columns))
    products = ops.matmul(pooled, ops.swapaxes(pooled, 1, 2))
    return ops.mean(ops.square(products * (1.0 - ops.eye(heads))))


@validate_arguments(features="_ _ _ _", kernel="_ _ _ _")
def attend(
    features: Tensor, kernel: Tensor, mask: str = "softmax", data_format: str | None = None
) -> tuple[Tensor, Tensor]:
    """Masks of the heads (eq. 1), and what they make of the features.

    The sum over the places of a mask times a convolution of the features (eq. 3 and 5) is the
    convolution's kernel times sums of the features, weighted by the mask as each tap sees it. These
    sums do not depend on how many classes there are, nor does the cost of a pass over the map.

    Args:
        features: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        kernel: `(kh, kw, C, K)` of the convolution that attends; kh and kw odd.
        mask: `"softmax"`; or `"sigmoid"`, with means over the places in the stead of sums.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        Masks `(B, K, H, W)`, whatever the data format, float32. Weighted sums
        `(B, K, kh * kw, C)`, in the type of the features.

    Example:
    >>> masks, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> tuple(masks.shape), tuple(sums.shape)
    ((2, 4, 6, 5), (2, 4, 9, 8))
    """
    one_of("mask", mask, MASKS)
    last = standardize_data_format(data_format) == "channels_last"
    validate_channels("features", features, kernel, standardize_data_format(data_format))
    size, heads = tuple(kernel.shape[:2]), kernel.shape[3]
    count, channels = math.prod(size), kernel.shape[2]
    height, width = ops.shape(features)[1:3] if last else ops.shape(features)[2:4]
    places = height * width
    flat = ops.reshape(features, (-1, places, channels) if last else (-1, channels, places))
    kernels = ops.expand_dims(_by_taps(kernel, flat.dtype), 0)
    taps = backend.matmul(kernels, flat, transpose_y=last)
    taps = ops.reshape(taps, (-1, heads, count, height, width))
    masks, spread = _masks_and_spread(mask, size)(taps)
    weights = ops.reshape(spread, (-1, heads * count, places))
    sums = backend.matmul(weights, flat, transpose_y=not last)
    sums = ops.reshape(sums, (-1, heads, count, channels))
    if mask == "sigmoid":
        sums = sums / ops.cast(places, sums.dtype)
    return masks, sums


@validate_arguments(sums="_ K T C", kernel="_ _ C _")
def head_outputs(sums: Tensor, kernel: Tensor) -> Tensor:
    """Each head's weighted sum of its own convolution (eq. 2, 3 and 5).

    Args:
        sums: `(B, K, kh * kw, C)`, what `attend` returns.
        kernel: `(kh, kw, C, K * L)`, the kernels of L maps for each head, a head after the other.

    Returns:
        `(B, K, L)`, float32.

    Example:
    >>> _, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> tuple(head_outputs(sums, ops.ones((3, 3, 8, 4 * 10))).shape)
    (2, 4, 10)
    """
    _check_kernels(sums, kernel)
    heads, inputs = sums.shape[1], sums.shape[2] * sums.shape[3]
    kernels = ops.reshape(ops.cast(kernel, sums.dtype), (inputs, heads, -1))
    if math.prod(kernels.shape) > _TURNED_FROM:
        by_head = ops.reshape(ops.swapaxes(sums, 0, 1), (heads, -1, inputs))
        outputs = ops.matmul(by_head, ops.transpose(kernels, (1, 0, 2)))
        return ops.cast(ops.transpose(outputs, (1, 0, 2)), "float32")
    every = ops.matmul(ops.reshape(sums, (-1, inputs)), ops.reshape(kernels, (inputs, -1)))
    every = ops.reshape(ops.cast(every, "float32"), (-1, heads, heads, kernels.shape[2]))
    own = ops.expand_dims(ops.eye(heads), -1)
    return ops.sum(every * own, axis=2)


@validate_arguments(sums="_ K T C", outputs="_ _ C _", scores="_ _ C K")
def gated_output(sums: Tensor, outputs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the heads, weighted by their gates (eq. 4 and 5).

    Args:
        sums: `(B, K, kh * kw, C)`, what `attend` returns.
        outputs: `(kh, kw, C, K * L)`, the kernels of the heads' logits, a head after the other.
        scores: `(kh, kw, C, K)`, the kernels of their scores.

    Returns:
        `(B, L)` and the gates `(B, K)`, float32.

    Example:
    >>> _, sums = attend(ops.ones((2, 6, 5, 8)), ops.ones((3, 3, 8, 4)))
    >>> answer, gates = gated_output(sums, ops.ones((3, 3, 8, 4 * 10)), ops.ones((3, 3, 8, 4)))
    >>> tuple(answer.shape), [float(gate) for gate in gates[0]]
    ((2, 10), [0.25, 0.25, 0.25, 0.25])
    """
    answers, scored = head_outputs(sums, outputs), head_outputs(sums, scores)[:, :, 0]
    gates = _softmax(ops.tanh(scored), -1)
    return ops.sum(ops.expand_dims(gates, -1) * answers, axis=1), gates


@validate_arguments(scores="_ _")
def global_gates(scores: Tensor, gates: str = "softmax") -> Tensor:
    """Shares of the hypotheses in the answer (eq. 7), in float32.

    Args:
        scores: `(B, N)`, the tanh of what the last features say of each hypothesis.
        gates: `"softmax"`; `"sigmoid"`, divided by 1e-6 more than their sum; or `"mean"`, equal
            shares.

    Returns:
        `(B, N)`.

    Example:
    >>> [round(float(value), 3) for value in global_gates(ops.convert_to_tensor([[0.0, 1.0]]))[0]]
    [0.269, 0.731]
    """
    one_of("gates", gates, GATES)
    scores = ops.cast(scores, "float32")
    if gates == "softmax":
        return _softmax(scores, -1)
    if gates == "mean":
        return ops.ones_like(scores) / scores.shape[-1]
    passed = ops.sigmoid(scores)
    return passed / (LEAST_GATE + ops.sum(passed, axis=-1, keepdims=True))


@validate_arguments(hypotheses="B N L", gates="B N")
def aggregate_hypotheses(hypotheses: Tensor, gates: Tensor, space: str = "log") -> Tensor:
    """The answer: the hypotheses, each with its share (eq. 8).

    Args:
        hypotheses: `(B, N, L)`, logits.
        gates: `(B, N)`, their shares.
        space: `"log"`, the sum of logarithms of probabilities, as in the authors' code: it is not
            normalized; or `"probability"`, that of probabilities, as in the paper.

    Returns:
        `(B, L)`, float32.

    Example:
    >>> answer = aggregate_hypotheses(ops.zeros((2, 3, 4)), ops.ones((2, 3)) / 3, "probability")
    >>> [float(value) for value in answer[0]]
    [0.25, 0.25, 0.25, 0.25]
    """
    one_of("space", space, SPACES)
    act = ops.log_softmax if space == "log" else ops.softmax
    shares = ops.cast(ops.expand_dims(gates, -1), "float32")
    return ops.sum(shares * act(ops.cast(hypotheses, "float32"), axis=-1), axis=1)


def _check_kernels(sums: Tensor, kernel: Tensor) -> None:
    (height, width, _, maps), (_, heads, taps, _) = kernel.shape, sums.shape
    if height * width != taps or maps % heads:
        raise ValueError(
            f"The kernel must have {taps} taps and as many maps for each of {heads} heads. "
            f"Received: a kernel of shape {tuple(kernel.shape)}, for sums of {tuple(sums.shape)}"
        )


@cache
def _masks_and_spread(mask: str, size: tuple[int, int]) -> Callable[[Tensor], Any]:
    """From products with the taps to masks, and to masks as the taps see them, and back."""
    forward = backend.jit_elementwise(_forward, mask, size)
    backward = backend.jit_elementwise(_backward, mask, size)

    @ops.custom_gradient
    def masks_and_spread(taps: Tensor) -> Any:
        masks, spread = forward(taps)

        def gradient(*upstream: Any) -> Tensor:
            # JAX passes both as one.
            by_masks, by_spread = upstream if len(upstream) == 2 else upstream[0]
            return backward(masks, by_masks, by_spread)

        return (masks, spread), gradient

    return masks_and_spread


def _forward(mask: str, size: tuple[int, int], taps: Tensor) -> tuple[Tensor, Tensor]:
    logits = ops.cast(collect_taps(taps, size), "float32")
    softmax = mask == "softmax"
    masks = spatial_softmax(logits, "channels_first") if softmax else ops.sigmoid(logits)
    return masks, ops.cast(spread_taps(masks, size), taps.dtype)


def _backward(
    mask: str, size: tuple[int, int], masks: Tensor, by_masks: Tensor, by_spread: Tensor
) -> Tensor:
    upstream = by_masks + ops.cast(collect_taps(by_spread, size), "float32")
    if mask == "softmax":
        upstream = upstream - ops.sum(upstream * masks, axis=(2, 3), keepdims=True)
    else:
        upstream = upstream * (1.0 - masks)
    return ops.cast(spread_taps(upstream * masks, size), by_spread.dtype)


def _by_taps(kernel: Tensor, dtype: Any) -> Tensor:
    """`(K * kh * kw, C)`."""
    taps = ops.transpose(ops.cast(kernel, dtype), (3, 0, 1, 2))
    return ops.reshape(taps, (-1, taps.shape[3]))


def _softmax(logits: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """In small steps: of a few scores, oneDNN's takes longer to start than to compute.

    Keras's own takes several axes of known sizes only. Other formats get it where they can: in
    bytes, a small sum among large ones is zero.
    """
    sizes = logits.shape[1:]
    if not backend.fusion_enabled() and None not in sizes:
        if axes == -1:
            return ops.softmax(logits)
        if axes == (2, 3):
            flat = ops.reshape(logits, (-1, sizes[0], sizes[1] * sizes[2]))
            return ops.reshape(ops.softmax(flat), (-1, *sizes))
    shares = ops.exp(logits - ops.max(logits, axis=axes, keepdims=True))
    return shares / ops.sum(shares, axis=axes, keepdims=True)


def collect_taps(taps: Tensor, kernel_size: Size) -> Tensor:
    """Adds what every tap of a kernel brings to each place.

    Args:
        taps: `(B, K, kh * kw, H, W)`: at every place, the products of what is there with the
            kernels of K maps, a tap after the other, row by row.
        kernel_size: kh and kw, odd.

    Returns:
        `(B, K, H, W)`, the convolution with zeros around.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 1, 3))
    >>> ops.convert_to_numpy(collect_taps(ops.repeat(row, 3, axis=2), (1, 3)))[0, 0, 0].tolist()
    [3.0, 7.0, 6.0]
    """
    return _halves(kernel_size)[0](ops.convert_to_tensor(taps))


def spread_taps(maps: Tensor, kernel_size: Size) -> Tensor:
    """Shifts maps to where each tap of a kernel reads for them.

    A sum over all places of a map times a convolution is the convolution's kernel times sums of
    these over what the convolution reads.

    Args:
        maps: `(B, K, H, W)`.
        kernel_size: kh and kw, odd.

    Returns:
        `(B, K, kh * kw, H, W)`, with zeros where nothing is read.

    Example:
    >>> row = ops.reshape(ops.convert_to_tensor([1.0, 2.0, 4.0]), (1, 1, 1, 3))
    >>> ops.convert_to_numpy(spread_taps(row, (1, 3)))[0, 0, :, 0].tolist()
    [[2.0, 4.0, 0.0], [1.0, 2.0, 4.0], [0.0, 1.0, 2.0]]
    """
    return _halves(kernel_size)[1](ops.convert_to_tensor(maps))


@cache
def _halves(kernel_size: Size) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Both functions, each with the other as its gradient: no slice's gradient is a padded map."""

    @ops.custom_gradient
    def collect(taps: Tensor) -> Any:
        return _collect(taps, kernel_size), spread

    @ops.custom_gradient
    def spread(maps: Tensor) -> Any:
        return _spread(maps, kernel_size), collect

    return collect, spread


def _collect(taps: Tensor, kernel_size: Size) -> Tensor:
    # Along the rows first: what is left to shift is a kernel's row of maps. All maps of all images
    # together, as LiteRT knows no more than five axes.
    height, width = ops.shape(taps)[3:]
    rows, columns = kernel_size
    by_tap = ops.reshape(taps, (-1, rows, columns, height, width))
    padded = ops.pad(by_tap, [(0, 0)] * 3 + [_margin(rows), (0, 0)])
    by_column = sum(padded[:, row, :, row : row + height] for row in range(rows))
    padded = ops.pad(by_column, [(0, 0)] * 3 + [_margin(columns)])
    total = sum(padded[:, column, :, column : column + width] for column in range(columns))
    return ops.reshape(total, (-1, taps.shape[1], height, width))


def _spread(maps: Tensor, kernel_size: Size) -> Tensor:
    # The last tap reads below and to the right, so its maps move up and to the left.
    height, width = ops.shape(maps)[2:]
    rows, columns = kernel_size
    flat = ops.reshape(maps, (-1, height, width))
    padded = ops.pad(flat, [(0, 0), (0, 0), _margin(columns)])
    shifted = [padded[:, :, left : left + width] for left in reversed(range(columns))]
    padded = ops.pad(ops.stack(shifted, axis=1), [(0, 0), (0, 0), _margin(rows), (0, 0)])
    shifted = [padded[:, :, top : top + height] for top in reversed(range(rows))]
    shape = (-1, maps.shape[1], rows * columns, height, width)
    return ops.reshape(ops.stack(shifted, axis=1), shape)


def _margin(size: int) -> tuple[int, int]:
    return size // 2, size // 2


@validate_arguments(inputs="...", scale=non_negative_number)
def scale_gradient(inputs: Tensor, scale: float) -> Tensor:
    """Passes a tensor on as it is, and its gradient times a factor.

    Args:
        inputs: Any tensor of floats.
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
