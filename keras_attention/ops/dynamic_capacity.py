"""Entropy, saliency, patches at salient positions, and refinement of feature maps.

Reference: Almahairi et al., Dynamic Capacity Networks (2016).
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.utils.data_format import channel_axis, is_channels_last, to_channels_last
from keras_attention.utils.tensor_validation import (
    function_argument,
    side_length,
    validate_arguments,
)
from keras_attention.utils.validation import (
    boolean,
    is_integer,
    non_negative_number,
    positive_integers,
)

Tensor = Any
# Smaller probabilities are clipped before the logarithm, as in the authors' code.
SMALLEST_PROBABILITY = 1e-10
# Number of pixels of the largest patch, 4,096 along each side.
LARGEST_PATCH = 2**24
# Loss scale of half-precision gradients, so that small ones do not underflow.
_HALF_SCALE = 1024.0
# Index of no position: negative after any position is added, and two of them fit into int32.
NO_POSITION = -(2**29)


@validate_arguments(values="... _", from_logits=boolean, multi_label=boolean)
def entropy(values: Tensor, from_logits: bool = False, multi_label: bool = False) -> Tensor:
    """Computes `H = -sum p log p` over the last axis, in nats (equation 2).

    Args:
        values: Probabilities `(..., classes)`, or logits.
        from_logits: If True, `values` are logits; False by default.
        multi_label: If True, each value is the probability of a label of its own, as computed by a
            sigmoid, and the result is the sum of `-p log p - (1 - p) log(1 - p)`. False by default.

    Returns:
        `(...)`, float32 or wider; 0 if one class has probability 1.

    Example:
    >>> [round(float(h), 4) for h in entropy(ops.convert_to_tensor([[0.5, 0.5], [0.9, 0.1]]))]
    [0.6931, 0.3251]
    """
    values = at_least_float32(values)
    if multi_label:
        if from_logits:
            terms = ops.softplus(values) - ops.sigmoid(values) * values
            return ops.sum(terms, axis=-1)
        return sum(
            ops.sum(p * -ops.log(ops.clip(p, SMALLEST_PROBABILITY, 1.0)), axis=-1)
            for p in (values, 1.0 - values)
        )
    if from_logits:
        logarithms = ops.log_softmax(values, axis=-1)
        return -ops.sum(ops.exp(logarithms) * logarithms, axis=-1)
    return ops.sum(values * -ops.log(ops.clip(values, SMALLEST_PROBABILITY, 1.0)), axis=-1)


@validate_arguments(
    top=function_argument,
    features="_ _ _ _",
    from_logits=boolean,
    multi_label=boolean,
    epsilon=non_negative_number,
)
def entropy_saliency(
    top: Callable[[Tensor], Any],
    features: Tensor,
    *,
    from_logits: bool = False,
    multi_label: bool = False,
    outputs: Sequence[int] | None = None,
    epsilon: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Computes the sensitivity of the entropy to the features at each position (eq. 2, 3 and 10).

    Args:
        top: Function from features to probabilities `(B, classes)`, or to a list of several such
            outputs, whose entropies are added. It must not change any state.
        features: Feature map `(B, H, W, D)`, or `(B, D, H, W)` with channels first.
        from_logits: If True, `top` returns logits; False by default.
        multi_label: If True, `top` returns independent probabilities; see `entropy`.
        outputs: Indices of the outputs whose entropy is used; None for all.
        epsilon: Added to the squared norm; 0 by default, 1e-8 in the authors' code.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, H, W)`, float32: the norm over the channels of the entropy's gradient. No gradient
        flows through it.

    Raises:
        RuntimeError: On a backend that is neither TensorFlow nor JAX.

    Example:
    >>> top = keras.Sequential([
    ...     keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(10, activation="softmax")
    ... ])
    >>> tuple(entropy_saliency(top, ops.ones((2, 5, 4, 3))).shape)
    (2, 5, 4)
    """
    dtype = keras.backend.standardize_dtype(features.dtype)
    scale = _HALF_SCALE if dtype in ("float16", "bfloat16") else 1.0

    def uncertainty(values: Tensor) -> Tensor:
        predictions = select_outputs(top(values), outputs)
        return scale * sum(ops.sum(entropy(one, from_logits, multi_label)) for one in predictions)

    gradient = backend.input_gradient(uncertainty, ops.stop_gradient(features))
    gradient = at_least_float32(gradient) / scale
    return gradient_norm(gradient, epsilon, data_format)


def gradient_norm(gradient: Tensor, epsilon: float = 0.0, data_format: str | None = None) -> Tensor:
    """Computes the norm of a gradient over the channels (equation 3), without a gradient.

    Example:
    >>> [float(m) for m in gradient_norm(ops.convert_to_tensor([[[[3.0, 4.0]]]]))[0, 0]]
    [5.0]
    """
    squares = ops.sum(ops.square(gradient), axis=channel_axis(data_format))
    return ops.stop_gradient(ops.sqrt(squares + epsilon))


def entropy_gradient(
    predictions: Tensor, from_logits: bool = False, multi_label: bool = False
) -> Tensor:
    """Computes the gradient of the entropy with respect to the predictions `(..., classes)`.

    Example:
    >>> [round(float(g), 4) for g in entropy_gradient(ops.convert_to_tensor([0.5, 0.2]))]
    [-0.3069, 0.6094]
    """
    predictions = at_least_float32(predictions)
    if multi_label:
        if from_logits:
            probabilities = ops.sigmoid(predictions)
            return -predictions * probabilities * (1.0 - probabilities)
        clipped = (ops.clip(p, SMALLEST_PROBABILITY, 1.0) for p in (1.0 - predictions, predictions))
        return ops.subtract(*map(ops.log, clipped))
    if not from_logits:
        return -(ops.log(ops.clip(predictions, SMALLEST_PROBABILITY, 1.0)) + 1.0)
    logarithms = ops.log_softmax(predictions, axis=-1)
    probabilities = ops.exp(logarithms)
    entropies = -ops.sum(probabilities * logarithms, axis=-1, keepdims=True)
    return -probabilities * (logarithms + entropies)


def select_outputs(predictions: Any, outputs: Sequence[int] | None) -> list[Tensor]:
    """Returns the selected outputs of a model as a list, all for None."""
    flat = keras.tree.flatten(predictions)
    if outputs is None:
        return flat
    is_list = isinstance(outputs, (list, tuple))
    if not is_list or not all(
        is_integer(index) and 0 <= int(index) < len(flat) for index in outputs
    ):
        raise ValueError(
            f"`outputs` must be None or a list of integers from 0 to {len(flat) - 1}. "
            f"Received: outputs={outputs!r}"
        )
    return [flat[index] for index in outputs]


@validate_arguments(saliency="_ _ _", patches=side_length)
def top_positions(saliency: Tensor, patches: Any) -> Tensor:
    """Finds the positions of highest saliency, without suppression; the first of equal ones.

    Args:
        saliency: `(B, H, W)`.
        patches: Number of positions, at most `H * W`.

    Returns:
        `(B, patches, 2)`, int32: row and column, highest saliency first.

    Example:
    >>> saliency = ops.convert_to_tensor([[[0.0, 3.0], [3.0, 1.0]]])
    >>> [[int(i) for i in position] for position in top_positions(saliency, 3)[0]]
    [[0, 1], [1, 0], [1, 1]]
    """
    width = ops.shape(saliency)[2]
    flat = ops.reshape(saliency, (ops.shape(saliency)[0], -1))
    pixels = flat.shape[1]
    if isinstance(patches, int) and pixels is not None and patches > pixels:
        raise ValueError(
            f"`patches` must be at most the number of positions of the map, {pixels}. "
            f"Received: patches={patches}"
        )
    _, indices = ops.top_k(flat, patches)
    indices = ops.cast(indices, "int32")
    return ops.stack([indices // width, indices % width], axis=-1)


@validate_arguments(images="B _ _ _", positions="int B k 2")
def gather_patches(
    images: Tensor,
    positions: Tensor,
    patch_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    offset: int | Sequence[int] | Tensor = 0,
    data_format: str | None = None,
) -> Tensor:
    """Gathers patches of images at positions of a feature map, without reading other pixels.

    Args:
        images: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        positions: `(B, k, 2)`, integers: row and column in the map, from 0.
        patch_size: Height and width of a patch in pixels, one integer for both.
        stride: Pixels between neighboring positions of the map.
        offset: Number of pixels that a patch starts before `position * stride`, or an integer
            tensor `(B, k, 2)` with one offset per patch.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, k, height, width, C)`, or `(B, k, C, height, width)`; zero outside the images.

    Raises:
        ValueError: For images or positions of another shape or dtype, sizes or strides that are not
            positive, patches of more than 16,777,216 pixels, or an offset of another form.

    Example:
    >>> images = ops.reshape(ops.arange(16.0), (1, 4, 4, 1))
    >>> patch = gather_patches(images, ops.convert_to_tensor([[[1, 0]]]), 2, stride=2, offset=1)
    >>> [[int(value) for value in row] for row in patch[0, 0, :, :, 0]]
    [[0, 4], [0, 8]]
    """
    height, width = positive_integers("patch_size", patch_size, 2)
    if height * width > LARGEST_PATCH:
        raise ValueError(
            f"`patch_size` must be at most {LARGEST_PATCH} pixels. "
            f"Received: patch_size={patch_size}"
        )
    strides = positive_integers("stride", stride, 2)
    images = to_channels_last(images, data_format)
    positions, offset = ops.cast(positions, "int32"), _offsets(offset)
    block, shift = _blocks(images.shape[2], strides[1], offset)
    row, column = ops.split(positions * np.array(strides, "int32") - offset, 2, axis=-1)
    row = row + np.arange(height, dtype="int32")
    column = (column - shift) // block + np.arange(-(-(shift + width) // block), dtype="int32")
    rows, columns = ops.shape(images)[1], ops.shape(images)[2] // block
    is_row, is_column = (row >= 0) & (row < rows), (column >= 0) & (column < columns)
    inside = _cross(is_row, is_column, ops.logical_and)
    number = ops.reshape(ops.arange(ops.shape(images)[0], dtype="int32"), (-1, 1, 1))
    first = (number * rows + ops.clip(row, 0, rows - 1)) * columns
    indices = _cross(first, ops.clip(column, 0, columns - 1), ops.add)
    channels, count = images.shape[-1], ops.shape(positions)[1]
    patches = ops.take(ops.reshape(images, (-1, block * channels)), indices, axis=0)
    patches = ops.where(ops.expand_dims(inside, -1), patches, ops.zeros((), patches.dtype))
    patches = ops.reshape(patches, (-1, count, height, inside.shape[-1] * block, channels))
    patches = patches[:, :, :, shift : shift + width]
    return patches if is_channels_last(data_format) else ops.transpose(patches, (0, 1, 4, 2, 3))


def _blocks(columns: int | None, stride: int, offset: Any) -> tuple[int, int]:
    """Returns the number of pixels per block, and those before a patch in its first block.

    All patches start at the same pixel of a block whose size is the stride, so that whole blocks
    can be read with fewer indices.
    """
    if not isinstance(offset, np.ndarray) or columns is None or columns % stride:
        return 1, 0
    return stride, -int(offset[1]) % stride


@validate_arguments(features="B _ _ D", positions="int B k 2", vectors="B k D")
def swap_vectors(features: Tensor, positions: Tensor, vectors: Tensor) -> Tensor:
    """Replaces vectors of a feature map (equations 7 and 8).

    Args:
        features: `(B, H, W, D)`.
        positions: `(B, k, 2)`, integers, without repetitions.
        vectors: `(B, k, D)`.

    Returns:
        The map with `k` replaced vectors. The replaced vectors get no gradient.

    Example:
    >>> positions = ops.convert_to_tensor([[[1, 2]]])
    >>> refined = swap_vectors(ops.zeros((1, 2, 3, 1)), positions, [[[5.0]]])
    >>> [float(value) for value in refined[0, 1, :, 0]]
    [0.0, 0.0, 5.0]
    """
    shape = ops.shape(features)
    indices = _flat_indices(positions, shape[1], shape[2])
    flat = ops.reshape(features, (-1, features.shape[-1]))
    vectors = ops.cast(ops.reshape(vectors, (-1, features.shape[-1])), flat.dtype)
    refined = ops.scatter_update(flat, ops.reshape(indices, (-1, 1)), vectors)
    return ops.reshape(refined, shape)


def gather_vectors(features: Tensor, positions: Tensor) -> Tensor:
    """Gathers vectors `(B, k, D)` of a map `(B, H, W, D)` at integer positions `(B, k, 2)`.

    Example:
    >>> tuple(gather_vectors(ops.ones((2, 4, 4, 3)), ops.zeros((2, 5, 2), "int32")).shape)
    (2, 5, 3)
    """
    shape = ops.shape(features)
    flat = ops.reshape(features, (-1, features.shape[-1]))
    return ops.take(flat, _flat_indices(positions, shape[1], shape[2]), axis=0)


@validate_arguments(coarse="B k D", fine="B k D")
def hint_loss(coarse: Tensor, fine: Tensor) -> Tensor:
    """Computes the mean squared distance between coarse and fine vectors (equation 6).

    Args:
        coarse: `(B, k, D)`.
        fine: `(B, k, D)`; it gets no gradient.

    Returns:
        A float32 scalar: the squared distance, averaged over images and patches.

    Example:
    >>> float(hint_loss(ops.ones((2, 3, 4)), ops.zeros((2, 3, 4))))
    4.0
    """
    coarse = at_least_float32(coarse)
    difference = coarse - ops.stop_gradient(ops.cast(fine, coarse.dtype))
    return ops.mean(ops.sum(ops.square(difference), axis=-1))


def _flat_indices(positions: Tensor, height: Any, width: Any) -> Tensor:
    positions = ops.cast(positions, "int32")
    number = ops.reshape(ops.arange(ops.shape(positions)[0], dtype="int32"), (-1, 1, 1))
    row, column = ops.split(positions, 2, axis=-1)
    return ops.squeeze((number * height + row) * width + column, axis=-1)


def _cross(rows: Tensor, columns: Tensor, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combines every row with every column: `(..., h)` and `(..., w)` to `(..., h, w)`."""
    return join(ops.expand_dims(rows, -1), ops.expand_dims(columns, -2))


def _offsets(offset: Any) -> Any:
    """Returns an offset as two integers of any sign, or as an int32 tensor."""
    if is_integer(offset):
        return np.array([offset, offset], "int32")
    if isinstance(offset, (tuple, list)) and len(offset) == 2 and all(map(is_integer, offset)):
        return np.array(offset, "int32")
    if getattr(offset, "ndim", 0) == 3 and offset.shape[-1] == 2:
        return ops.cast(offset, "int32")
    raise ValueError(
        "`offset` must be an integer, two of them, or a tensor of integers (B, k, 2). "
        f"Received: offset={offset!r}"
    )


def update_convolution(
    products: Tensor,
    change: Tensor,
    positions: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    before: Sequence[Any] = (0, 0),
) -> Tensor:
    """Updates the outputs of a convolution after its input has changed at some positions.

    It takes `k kh kw D C` multiply-accumulates per image, and `k H' W' C` for each output that
    reads a position.

    Args:
        products: Outputs of the convolution for the old input, `(B, H', W', C)`.
        change: New vectors minus old vectors, `(B, k, D)`.
        positions: Positions of the vectors in the input, `(B, k, 2)`, without repetitions.
        kernel: `(kh, kw, D, C)`, without dilation.
        strides: Strides of the convolution, for rows and columns.
        before: Zero padding before the rows and the columns.

    Example:
    >>> kernel = ops.ones((3, 3, 1, 1))
    >>> old = ops.conv(ops.zeros((1, 5, 5, 1)), kernel, padding="valid")
    >>> change, positions = ops.ones((1, 1, 1)), ops.convert_to_tensor([[[2, 0]]])
    >>> new = update_convolution(old, change, positions, kernel, (1, 1))
    >>> [float(ops.sum(new[0, :, column])) for column in range(3)]
    [3.0, 0.0, 0.0]
    """
    shape, filters = ops.shape(products), products.shape[-1]
    _, rows, columns, _ = shape
    channels, count = kernel.shape[2], ops.shape(change)[1]
    # The taps that read a position depend on its remainder modulo the stride.
    row, column = ops.split(ops.cast(positions, "int32"), 2, axis=-1)
    row, column = row + before[0], column + before[1]
    phase = row % strides[0] * strides[1] + column % strides[1]
    phases = strides[0] * strides[1]
    is_phase = ops.cast(phase == ops.arange(phases, dtype="int32"), change.dtype)
    vectors = ops.expand_dims(change, -2) * ops.expand_dims(is_phase, -1)
    taps = group_taps_by_stride(ops.cast(kernel, change.dtype), strides, (2, 3, 4, 0, 1))
    matrix = ops.reshape(taps, (phases * channels, -1))
    added = ops.matmul(ops.reshape(vectors, (-1, phases * channels)), matrix)
    added = ops.reshape(added, (shape[0], -1, filters))
    reads = [-(-kernel.shape[axis] // strides[axis]) for axis in (0, 1)]
    changed = _cross(
        _affected_outputs(row, reads[0], strides[0], rows, columns),
        _affected_outputs(column, reads[1], strides[1], columns),
        ops.add,
    )
    changed = ops.reshape(changed, (shape[0], count * reads[0] * reads[1]))
    outputs = ops.reshape(ops.arange(rows * columns, dtype="int32"), (-1, 1))
    is_changed = outputs == ops.expand_dims(changed, 1)
    return products + ops.reshape(backend.matmul(ops.cast(is_changed, added.dtype), added), shape)


def group_taps_by_stride(kernel: Tensor, strides: Sequence[int], order: Sequence[int]) -> Tensor:
    """Reorders the taps of a kernel by their quotient and remainder with respect to the strides.

    A kernel `(kh, kw, D, C)` becomes `(rows, C)`, with zeros for taps beyond the kernel. `order`
    permutes five axes: quotients of row and column, remainders of row and column, channel.

    Example:
    >>> kernel = ops.reshape(ops.arange(3), (1, 3, 1, 1))
    >>> [int(row[0]) for row in group_taps_by_stride(kernel, (1, 2), (3, 1, 0, 2, 4))]
    [0, 2, 1, 0]
    """
    (down, right), (height, width, channels, filters) = strides, kernel.shape
    axes = (-(-height // down), -(-width // right), down, right, channels)
    block_row, block_column, phase_row, phase_column, channel = np.indices(axes, dtype="int32")
    row, column = block_row * down + phase_row, block_column * right + phase_column
    indices = (row * width + column) * channels + channel
    beyond = (row >= height) | (column >= width)
    rows = ops.reshape(kernel, (-1, filters))
    if beyond.any():
        rows = ops.concatenate([rows, ops.zeros((1, filters), rows.dtype)], axis=0)
    indices = np.where(beyond, height * width * channels, indices).astype("int32")
    # A gather, because the backend's transpose of five axes takes a hundred times as long.
    return ops.take(rows, indices.transpose(order).reshape(-1), axis=0)


def _affected_outputs(
    position: Tensor, reads: int, stride: int, side: Any, width: Any = 1
) -> Tensor:
    """Finds the outputs along an axis that read a position of the padded input."""
    output = position // stride - ops.arange(reads, dtype="int32")
    return ops.where((output >= 0) & (output < side), output * width, NO_POSITION)
