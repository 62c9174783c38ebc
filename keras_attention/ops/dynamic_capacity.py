"""Entropy, saliency and what is read, refined and pooled where it is highest.

Reference: Almahairi et al., Dynamic Capacity Networks (2016).
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.utils.data_format import standardize_data_format
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
# The least probability whose logarithm is taken, as in the authors' code.
SMALLEST_PROBABILITY = 1e-10
# Of a patch: 4,096 along each side.
LARGEST_PATCH = 2**24
# What gradients in half precision are multiplied by on their way, so that small ones last.
_HALF_SCALE = 1024.0
# Below zero with any place added, and no overflow of int32 with another.
NOWHERE = -(2**29)


@validate_arguments(values="... _", from_logits=boolean)
def entropy(values: Tensor, from_logits: bool = False) -> Tensor:
    """Computes `H = -sum p log p` over the last axis, in nats (equation 2).

    Args:
        values: Probabilities `(..., classes)`, or logits.
        from_logits: Whether they are logits; False by default.

    Returns:
        `(...)`, float32 or what is wider; 0 where one class is certain.

    Example:
    >>> [round(float(h), 4) for h in entropy(ops.convert_to_tensor([[0.5, 0.5], [0.9, 0.1]]))]
    [0.6931, 0.3251]
    """
    values = at_least_float32(values)
    if from_logits:
        logarithms = ops.log_softmax(values, axis=-1)
        return -ops.sum(ops.exp(logarithms) * logarithms, axis=-1)
    return ops.sum(values * -ops.log(ops.clip(values, SMALLEST_PROBABILITY, 1.0)), axis=-1)


@validate_arguments(
    top=function_argument, features="_ _ _ _", from_logits=boolean, epsilon=non_negative_number
)
def entropy_saliency(
    top: Callable[[Tensor], Any],
    features: Tensor,
    *,
    from_logits: bool = False,
    outputs: Sequence[int] | None = None,
    epsilon: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Computes how much the entropy of an answer changes with each place (equations 2, 3 and 10).

    Args:
        top: From features to probabilities `(B, classes)`, or a list of several such answers,
            whose entropies are added. It changes no state.
        features: A map `(B, H, W, D)`, or `(B, D, H, W)` with channels first.
        from_logits: Whether `top` returns logits; False by default.
        outputs: Which of several answers count; None for all.
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
        answers = select_outputs(top(values), outputs)
        return scale * sum(ops.sum(entropy(answer, from_logits)) for answer in answers)

    gradient = backend.input_gradient(uncertainty, ops.stop_gradient(features))
    gradient = at_least_float32(gradient) / scale
    return gradient_norm(gradient, epsilon, data_format)


def gradient_norm(gradient: Tensor, epsilon: float = 0.0, data_format: str | None = None) -> Tensor:
    """Computes the norm of a gradient over the channels (equation 3).

    Args:
        gradient: `(B, H, W, D)`, or `(B, D, H, W)` with channels first.
        epsilon: Added to the squared norm.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, H, W)`. No gradient flows through it.

    Example:
    >>> [float(m) for m in gradient_norm(ops.convert_to_tensor([[[[3.0, 4.0]]]]))[0, 0]]
    [5.0]
    """
    axis = -1 if standardize_data_format(data_format) == "channels_last" else 1
    squares = ops.sum(ops.square(gradient), axis=axis)
    return ops.stop_gradient(ops.sqrt(squares + epsilon))


def entropy_gradient(answer: Tensor, from_logits: bool = False) -> Tensor:
    """Computes how an answer's entropy changes with it.

    Args:
        answer: Probabilities `(..., classes)`, or logits.
        from_logits: Whether they are logits.

    Returns:
        `-(log p + 1)` of probabilities, `-p (log p + H)` of logits, float32.

    Example:
    >>> [round(float(g), 4) for g in entropy_gradient(ops.convert_to_tensor([0.5, 0.2]))]
    [-0.3069, 0.6094]
    """
    answer = at_least_float32(answer)
    if not from_logits:
        return -(ops.log(ops.clip(answer, SMALLEST_PROBABILITY, 1.0)) + 1.0)
    logarithms = ops.log_softmax(answer, axis=-1)
    probabilities = ops.exp(logarithms)
    entropies = -ops.sum(probabilities * logarithms, axis=-1, keepdims=True)
    return -probabilities * (logarithms + entropies)


def select_outputs(answers: Any, outputs: Sequence[int] | None) -> list[Tensor]:
    """The answers that count, of one or of a nest of several."""
    flat = keras.tree.flatten(answers)
    if outputs is None:
        return flat
    several = isinstance(outputs, (list, tuple))
    if not several or not all(
        is_integer(index) and 0 <= int(index) < len(flat) for index in outputs
    ):
        raise ValueError(
            f"`outputs` must be None or a list of integers from 0 to {len(flat) - 1}. "
            f"Received: outputs={outputs!r}"
        )
    return [flat[index] for index in outputs]


@validate_arguments(saliency="_ _ _", patches=side_length)
def top_positions(saliency: Tensor, patches: Any) -> Tensor:
    """Finds the places of highest saliency, without suppression; of equal ones the first.

    Args:
        saliency: `(B, H, W)`.
        patches: How many, at most `H * W`.

    Returns:
        `(B, patches, 2)`, int32: row and column, the highest first.

    Example:
    >>> saliency = ops.convert_to_tensor([[[0.0, 3.0], [3.0, 1.0]]])
    >>> [[int(i) for i in place] for place in top_positions(saliency, 3)[0]]
    [[0, 1], [1, 0], [1, 1]]
    """
    width = ops.shape(saliency)[2]
    flat = ops.reshape(saliency, (ops.shape(saliency)[0], -1))
    places = flat.shape[1]
    if isinstance(patches, int) and places is not None and patches > places:
        raise ValueError(
            f"`patches` must be at most the places of the map, {places}. "
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
    """Cuts patches out of images at places of a map; nothing else is read.

    Args:
        images: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        positions: `(B, k, 2)`, integers: row and column in the map, from 0.
        patch_size: Height and width of a patch in pixels, one integer for both.
        stride: Pixels from one place of the map to the next.
        offset: How many pixels before `position * stride` a patch starts; also a tensor of
            integers `(B, k, 2)`, for patches with an offset each.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, k, height, width, C)`, or `(B, k, C, height, width)`; zeros outside of the images.

    Raises:
        ValueError: For sizes or steps that cannot be.

    Example:
    >>> images = ops.reshape(ops.arange(16.0), (1, 4, 4, 1))
    >>> patch = gather_patches(images, ops.convert_to_tensor([[[1, 0]]]), 2, stride=2, offset=1)
    >>> [[int(value) for value in row] for row in patch[0, 0, :, :, 0]]
    [[0, 4], [0, 8]]
    """
    height, width = positive_integers("patch_size", patch_size, 2)
    if height * width > LARGEST_PATCH:
        raise ValueError(
            f"`patch_size` must be at most {LARGEST_PATCH} pixels. Received: patch_size={patch_size}"
        )
    steps = positive_integers("stride", stride, 2)
    if standardize_data_format(data_format) == "channels_first":
        images = ops.transpose(images, (0, 2, 3, 1))
        found = gather_patches(images, positions, patch_size, stride, offset, "channels_last")
        return ops.transpose(found, (0, 1, 4, 2, 3))
    positions, offset = ops.cast(positions, "int32"), _offsets(offset)
    block, shift = _blocks(images.shape[2], steps[1], offset)
    row, column = ops.split(positions * np.array(steps, "int32") - offset, 2, axis=-1)
    row = row + np.arange(height, dtype="int32")
    column = (column - shift) // block + np.arange(-(-(shift + width) // block), dtype="int32")
    rows, columns = ops.shape(images)[1], ops.shape(images)[2] // block
    inside = _cross(_within(row, rows), _within(column, columns), ops.logical_and)
    number = ops.reshape(ops.arange(ops.shape(images)[0], dtype="int32"), (-1, 1, 1))
    first = (number * rows + ops.clip(row, 0, rows - 1)) * columns
    places = _cross(first, ops.clip(column, 0, columns - 1), ops.add)
    channels, count = images.shape[-1], ops.shape(positions)[1]
    read = ops.take(ops.reshape(images, (-1, block * channels)), places, axis=0)
    read = ops.where(ops.expand_dims(inside, -1), read, ops.zeros((), read.dtype))
    read = ops.reshape(read, (-1, count, height, inside.shape[-1] * block, channels))
    return read[:, :, :, shift : shift + width]


def _blocks(columns: int | None, stride: int, offset: Any) -> tuple[int, int]:
    """How many pixels of a row to read at a time, and how many come before a patch then.

    A patch begins at the same place of a block of the stride's size, whichever it is: fewer places
    to read from.
    """
    if not isinstance(offset, np.ndarray) or columns is None or columns % stride:
        return 1, 0
    return stride, -int(offset[1]) % stride


@validate_arguments(features="B _ _ D", positions="int B k 2", vectors="B k D")
def swap_vectors(features: Tensor, positions: Tensor, vectors: Tensor) -> Tensor:
    """Puts vectors in the place of those of a map (equations 7 and 8).

    Args:
        features: `(B, H, W, D)`.
        positions: `(B, k, 2)`, integers, no two the same.
        vectors: `(B, k, D)`.

    Returns:
        The map with `k` other vectors. What was there gets no gradient.

    Example:
    >>> refined = swap_vectors(ops.zeros((1, 2, 3, 1)), ops.convert_to_tensor([[[1, 2]]]), [[[5.0]]])
    >>> [float(value) for value in refined[0, 1, :, 0]]
    [0.0, 0.0, 5.0]
    """
    shape = ops.shape(features)
    places = _flat_places(positions, shape[1], shape[2])
    flat = ops.reshape(features, (-1, features.shape[-1]))
    vectors = ops.cast(ops.reshape(vectors, (-1, features.shape[-1])), flat.dtype)
    refined = ops.scatter_update(flat, ops.reshape(places, (-1, 1)), vectors)
    return ops.reshape(refined, shape)


def gather_vectors(features: Tensor, positions: Tensor) -> Tensor:
    """Reads vectors of a map.

    Args:
        features: `(B, H, W, D)`.
        positions: `(B, k, 2)`, integers.

    Returns:
        `(B, k, D)`.

    Example:
    >>> tuple(gather_vectors(ops.ones((2, 4, 4, 3)), ops.zeros((2, 5, 2), "int32")).shape)
    (2, 5, 3)
    """
    shape = ops.shape(features)
    flat = ops.reshape(features, (-1, features.shape[-1]))
    return ops.take(flat, _flat_places(positions, shape[1], shape[2]), axis=0)


@validate_arguments(coarse="B k D", fine="B k D")
def hint_loss(coarse: Tensor, fine: Tensor) -> Tensor:
    """Computes the mean squared distance of coarse vectors from fine ones (equation 6).

    Args:
        coarse: `(B, k, D)`.
        fine: The same; no gradient reaches it.

    Returns:
        A scalar, float32: the squared distance, its mean over images and patches.

    Example:
    >>> float(hint_loss(ops.ones((2, 3, 4)), ops.zeros((2, 3, 4))))
    4.0
    """
    coarse = at_least_float32(coarse)
    difference = coarse - ops.stop_gradient(ops.cast(fine, coarse.dtype))
    return ops.mean(ops.sum(ops.square(difference), axis=-1))


def _flat_places(positions: Tensor, height: Any, width: Any) -> Tensor:
    positions = ops.cast(positions, "int32")
    number = ops.reshape(ops.arange(ops.shape(positions)[0], dtype="int32"), (-1, 1, 1))
    row, column = ops.split(positions, 2, axis=-1)
    return ops.squeeze((number * height + row) * width + column, axis=-1)


def _cross(rows: Tensor, columns: Tensor, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Every row with every column: `(..., h)` and `(..., w)` become `(..., h, w)`."""
    return join(ops.expand_dims(rows, -1), ops.expand_dims(columns, -2))


def _within(places: Tensor, side: Any) -> Tensor:
    return (places >= 0) & (places < side)


def _offsets(offset: Any) -> Any:
    """A pair of integers, of any sign, or the tensor as it is."""
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
    """Brings the products of a convolution to an input that differs at some places.

    Args:
        products: What the convolution returns for the old input, `(B, H', W', C)`.
        change: New vectors less old ones, `(B, k, D)`.
        positions: Where they are in the input, `(B, k, 2)`, integers, no two the same.
        kernel: `(kh, kw, D, C)`, without dilation.
        strides: Of the convolution, for rows and columns.
        before: Zeros that it pads before the rows and the columns.

    Returns:
        The products for the new input. Cost in multiply-accumulates an image: `k kh kw D C`, and
        `k H' W' C` for each tap that reads one place.

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
    # Which taps read a place depends on how far it is from a multiple of the stride.
    row, column = ops.split(ops.cast(positions, "int32"), 2, axis=-1)
    row, column = row + before[0], column + before[1]
    phase = row % strides[0] * strides[1] + column % strides[1]
    phases = strides[0] * strides[1]
    chosen = ops.cast(phase == ops.arange(phases, dtype="int32"), change.dtype)
    vectors = ops.expand_dims(change, -2) * ops.expand_dims(chosen, -1)
    taps = group_taps_by_stride(ops.cast(kernel, change.dtype), strides, (2, 3, 4, 0, 1))
    matrix = ops.reshape(taps, (phases * channels, -1))
    added = ops.matmul(ops.reshape(vectors, (-1, phases * channels)), matrix)
    added = ops.reshape(added, (shape[0], -1, filters))
    times = [-(-kernel.shape[axis] // strides[axis]) for axis in (0, 1)]
    places = _cross_sum(
        _readers(row, times[0], strides[0], rows, columns),
        _readers(column, times[1], strides[1], columns),
    )
    places = ops.reshape(places, (shape[0], count * times[0] * times[1]))
    every_place = ops.reshape(ops.arange(rows * columns, dtype="int32"), (-1, 1))
    where = every_place == ops.expand_dims(places, 1)
    return products + ops.reshape(backend.matmul(ops.cast(where, added.dtype), added), shape)


def group_taps_by_stride(kernel: Tensor, strides: Sequence[int], order: Sequence[int]) -> Tensor:
    """Sorts the vectors of a kernel's taps by how many strides away they are, and what is left.

    Args:
        kernel: `(kh, kw, D, C)`.
        strides: `(s, t)`.
        order: Of the axes strides down, strides right, pixels down, pixels right, channel.

    Returns:
        `(rows, C)`; zeros for taps beyond the kernel.

    Example:
    >>> kernel = ops.reshape(ops.arange(3), (1, 3, 1, 1))
    >>> [int(row[0]) for row in group_taps_by_stride(kernel, (1, 2), (3, 1, 0, 2, 4))]
    [0, 2, 1, 0]
    """
    (down, right), (height, width, channels, filters) = strides, kernel.shape
    axes = (-(-height // down), -(-width // right), down, right, channels)
    far_down, far_right, near_down, near_right, channel = np.indices(axes, dtype="int32")
    row, column = far_down * down + near_down, far_right * right + near_right
    places = (row * width + column) * channels + channel
    beyond = (row >= height) | (column >= width)
    rows = ops.reshape(kernel, (-1, filters))
    if beyond.any():
        rows = ops.concatenate([rows, ops.zeros((1, filters), rows.dtype)], axis=0)
    places = np.where(beyond, height * width * channels, places).astype("int32")
    # A gather, not a transpose: the backend's own of five axes takes a hundred times as long.
    return ops.take(rows, places.transpose(order).reshape(-1), axis=0)


def _readers(place: Tensor, times: int, step: int, side: Any, width: Any = 1) -> Tensor:
    """For which products along an axis a place of the padded input is read.

    Returns:
        For places `(..., 1)` a tensor `(..., times)` of products times `width`, far below zero
        where there is none.
    """
    product = place // step - ops.arange(times, dtype="int32")
    return ops.where((product >= 0) & (product < side), product * width, NOWHERE)


def _cross_sum(rows: Tensor, columns: Tensor) -> Tensor:
    """Sums of every row with every column: `(..., m)` and `(..., n)` become `(..., m, n)`."""
    return _cross(rows, columns, ops.add)
