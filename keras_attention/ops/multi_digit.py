"""Probabilities of numbers with several digits, and weights of predictions at many positions.

A number has a length and digits, each predicted independently. Positions behind the last digit have
the class "none", which is the last class. Labels are integers `(B, 1 + digits)`: the length minus
1, then the digits from left to right.

References: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2; Goodfellow et al.,
Multi-digit Number Recognition from Street View Imagery (2013).
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.ops.dynamic_capacity import entropy
from keras_attention.utils.data_format import to_channels_last
from keras_attention.utils.tensor_validation import list_of, validate_arguments

Tensor = Any

# Smaller entropies are treated as this one, which bounds the weights.
SMALLEST_ENTROPY = 1e-6
# Smaller probabilities are clipped before the logarithm: they are subnormal in float32.
SMALLEST_PROBABILITY = 1e-37


@validate_arguments(probabilities="_ _ _ _")
def inverse_entropy_weights(probabilities: Tensor, data_format: str | None = None) -> Tensor:
    """Computes the weight of each position: the inverse of its entropy (equations 13 and 14).

    Args:
        probabilities: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, H, W)`, float32, summing to 1 over the positions.

    Example:
    >>> maps = ops.convert_to_tensor([[[[0.5, 0.5], [0.9, 0.1]], [[0.0, 1.0], [1.0, 0.0]]]])
    >>> [round(float(weight), 3) for weight in ops.ravel(inverse_entropy_weights(maps))]
    [0.0, 0.0, 0.5, 0.5]
    >>> [round(float(weight), 3) for weight in ops.ravel(inverse_entropy_weights(maps[:, :1]))]
    [0.319, 0.681]
    """
    probabilities = to_channels_last(probabilities, data_format)
    inverse = 1.0 / ops.maximum(entropy(probabilities), SMALLEST_ENTROPY)
    return inverse / ops.sum(inverse, axis=(1, 2), keepdims=True)


@validate_arguments(probabilities=list_of("B _"), labels="int B _")
def sequence_probability(probabilities: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Computes the probability of a number (equation 9).

    Args:
        probabilities: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each
            digit.
        labels: `(B, 1 + digits)`, integers: the length minus 1, then the digits. Values behind the
            last digit are ignored.

    Returns:
        `(B,)`, float32.

    Example:
    >>> probabilities = [[[0.2, 0.8]], [[0.5, 0.4, 0.1]], [[0.1, 0.9, 0.0]]]
    >>> probabilities = [ops.convert_to_tensor(one) for one in probabilities]
    >>> labels = ops.convert_to_tensor([[1, 0, 1]])
    >>> round(float(sequence_probability(probabilities, labels)[0]), 3)
    0.36
    """
    probabilities = [at_least_float32(one) for one in probabilities]
    labels = ops.cast(labels, "int32")
    of_labels = [
        ops.take_along_axis(one, labels[:, index, None], axis=-1)[:, 0]
        for index, one in enumerate(probabilities)
    ]
    product = of_labels[0]
    for index, probability in enumerate(of_labels[1:]):
        is_digit = labels[:, 0] >= index
        product = product * ops.where(is_digit, probability, ops.ones_like(probability))
    return product


@validate_arguments(probabilities=list_of("B _"))
def most_probable_sequence(probabilities: Sequence[Tensor]) -> Tensor:
    """Finds the most probable number (equation 9).

    Its length may differ from the most probable length.

    Args:
        probabilities: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each
            digit, whose last class is "none".

    Returns:
        Labels `(B, 1 + digits)`, int32, with "none" behind the last digit.

    Example:
    >>> probabilities = [[[0.45, 0.55]], [[0.9, 0.1, 0.0]], [[0.2, 0.3, 0.5]]]
    >>> probabilities = [ops.convert_to_tensor(one) for one in probabilities]
    >>> [int(label) for label in most_probable_sequence(probabilities)[0]]
    [0, 0, 2]
    """
    length, *digits = [
        ops.log(ops.maximum(at_least_float32(one), SMALLEST_PROBABILITY)) for one in probabilities
    ]
    best = ops.stack([ops.max(digit[:, :-1], axis=-1) for digit in digits], axis=-1)
    labels = ops.stack([ops.argmax(digit[:, :-1], axis=-1) for digit in digits], axis=-1)
    labels = ops.cast(labels, "int32")
    last = ops.cast(ops.argmax(length + ops.cumsum(best, axis=-1), axis=-1), "int32")[:, None]
    none = ops.full_like(labels, digits[0].shape[-1] - 1)
    is_digit = ops.arange(len(digits), dtype="int32") <= last
    return ops.concatenate([last, ops.where(is_digit, labels, none)], axis=-1)


@validate_arguments(probabilities=list_of("B _"), labels="int B _")
def sequence_hits(probabilities: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Returns 1 for numbers whose length and digits are all predicted correctly, and 0 for others.

    Args:
        probabilities: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each
            digit.
        labels: `(B, 1 + digits)`, integers.

    Returns:
        `(B,)`, float32.

    Example:
    >>> probabilities = [[[0.9, 0.1]], [[0.9, 0.1, 0.0]], [[0.2, 0.3, 0.5]]]
    >>> probabilities = [ops.convert_to_tensor(one * 2) for one in probabilities]
    >>> labels = ops.convert_to_tensor([[0, 0, 2], [0, 1, 2]])
    >>> [float(hit) for hit in sequence_hits(probabilities, labels)]
    [1.0, 0.0]
    """
    same = ops.equal(most_probable_sequence(probabilities), ops.cast(labels, "int32"))
    return ops.cast(ops.all(same, axis=-1), "float32")


def split_sequence_labels(labels: Tensor) -> tuple[Tensor, ...]:
    """Splits labels into one tensor per output of a network.

    Args:
        labels: `(B, 1 + digits)` with a known second axis: an array, or a tensor of any kind, also
            inside `tf.data.Dataset.map`.

    Returns:
        `1 + digits` tensors `(B,)`.

    Example:
    >>> length, first, second = split_sequence_labels(ops.convert_to_tensor([[0, 4, 10]]))
    >>> int(length[0]), int(first[0]), int(second[0])
    (0, 4, 10)
    """
    if len(getattr(labels, "shape", ())) != 2:
        raise ValueError(
            "`labels` must be an array or a tensor of shape (B, 1 + digits). "
            f"Received: labels={labels!r}"
        )
    return tuple(labels[:, index] for index in range(labels.shape[1]))
