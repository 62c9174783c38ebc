"""Numbers of several digits: what many places say, and what several answers say together.

A number has a length and digits, each with probabilities of its own; places behind the last digit
have the class "none", the last one. Labels are `(B, 1 + digits)`, integers: the length less 1,
then the digits from the left.

References: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2; Goodfellow et al.,
Multi-digit Number Recognition from Street View Imagery (2013).
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.ops.dynamic_capacity import entropy
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.tensor_validation import list_of, validate_arguments

Tensor = Any

# The least entropy that is told from certainty.
LEAST_ENTROPY = 1e-6
# The least probability whose logarithm is taken: float32 has no normal one much below.
LEAST_PROBABILITY = 1e-37


@validate_arguments(probabilities="_ _ _ _")
def inverse_entropy_weights(probabilities: Tensor, data_format: str | None = None) -> Tensor:
    """Computes how much each place is to count: one over its entropy (equations 13 and 14).

    Args:
        probabilities: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.

    Returns:
        `(B, H, W)`, float32, with a sum of 1 over the places. Places that are certain share it.

    Example:
    >>> maps = ops.convert_to_tensor([[[[0.5, 0.5], [0.9, 0.1]], [[0.0, 1.0], [1.0, 0.0]]]])
    >>> [round(float(weight), 3) for weight in ops.ravel(inverse_entropy_weights(maps))]
    [0.0, 0.0, 0.5, 0.5]
    >>> [round(float(weight), 3) for weight in ops.ravel(inverse_entropy_weights(maps[:, :1]))]
    [0.319, 0.681]
    """
    if standardize_data_format(data_format) == "channels_first":
        probabilities = ops.transpose(probabilities, (0, 2, 3, 1))
    inverse = 1.0 / ops.maximum(entropy(probabilities), LEAST_ENTROPY)
    return inverse / ops.sum(inverse, axis=(1, 2), keepdims=True)


@validate_arguments(answers=list_of("B _"), labels="int B _")
def sequence_probability(answers: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Computes the probability of a number (equation 9).

    Args:
        answers: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each digit.
        labels: `(B, 1 + digits)`, integers: the length less 1, then the digits. What stands behind
            the last digit does not count.

    Returns:
        `(B,)`, float32.

    Example:
    >>> answers = [[[0.2, 0.8]], [[0.5, 0.4, 0.1]], [[0.1, 0.9, 0.0]]]
    >>> answers = [ops.convert_to_tensor(answer) for answer in answers]
    >>> round(float(sequence_probability(answers, ops.convert_to_tensor([[1, 0, 1]]))[0]), 3)
    0.36
    """
    answers = [at_least_float32(answer) for answer in answers]
    labels = ops.cast(labels, "int32")
    of_each = [
        ops.take_along_axis(answer, labels[:, index, None], axis=-1)[:, 0]
        for index, answer in enumerate(answers)
    ]
    product = of_each[0]
    for index, probability in enumerate(of_each[1:]):
        there = labels[:, 0] >= index
        product = product * ops.where(there, probability, ops.ones_like(probability))
    return product


@validate_arguments(answers=list_of("B _"))
def most_probable_sequence(answers: Sequence[Tensor]) -> Tensor:
    """Finds the number of the highest probability (equation 9).

    Its length need not be the one that is the most probable by itself.

    Args:
        answers: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each digit, the
            last class of which is "none".

    Returns:
        `(B, 1 + digits)`, int32, as labels are: "none" behind the last digit.

    Example:
    >>> answers = [[[0.45, 0.55]], [[0.9, 0.1, 0.0]], [[0.2, 0.3, 0.5]]]
    >>> answers = [ops.convert_to_tensor(answer) for answer in answers]
    >>> [int(label) for label in most_probable_sequence(answers)[0]]
    [0, 0, 2]
    """
    length, *digits = [_logarithm(answer) for answer in answers]
    best = ops.stack([ops.max(digit[:, :-1], axis=-1) for digit in digits], axis=-1)
    chosen = ops.stack([ops.argmax(digit[:, :-1], axis=-1) for digit in digits], axis=-1)
    chosen = ops.cast(chosen, "int32")
    last = ops.cast(ops.argmax(length + ops.cumsum(best, axis=-1), axis=-1), "int32")[:, None]
    none = ops.full_like(chosen, digits[0].shape[-1] - 1)
    there = ops.arange(len(digits), dtype="int32") <= last
    return ops.concatenate([last, ops.where(there, chosen, none)], axis=-1)


@validate_arguments(answers=list_of("B _"), labels="int B _")
def sequence_hits(answers: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Says which numbers are right as a whole.

    Args:
        answers: Probabilities `(B, lengths)` of the length, then `(B, classes)` of each digit.
        labels: `(B, 1 + digits)`, integers.

    Returns:
        `(B,)`, float32: 1 where the most probable number is the labels', else 0.

    Example:
    >>> answers = [[[0.9, 0.1]], [[0.9, 0.1, 0.0]], [[0.2, 0.3, 0.5]]]
    >>> answers = [ops.convert_to_tensor(answer * 2) for answer in answers]
    >>> labels = ops.convert_to_tensor([[0, 0, 2], [0, 1, 2]])
    >>> [float(hit) for hit in sequence_hits(answers, labels)]
    [1.0, 0.0]
    """
    same = ops.equal(most_probable_sequence(answers), ops.cast(labels, "int32"))
    return ops.cast(ops.all(same, axis=-1), "float32")


def split_sequence_labels(labels: Tensor) -> tuple[Tensor, ...]:
    """Takes labels apart, one for each answer of a network.

    Args:
        labels: `(B, 1 + digits)`, of which the second side is known: an array, or a tensor of any
            kind, also inside `tf.data.Dataset.map`.

    Returns:
        `1 + digits` of them, `(B,)`.

    Example:
    >>> length, first, second = split_sequence_labels(ops.convert_to_tensor([[0, 4, 10]]))
    >>> int(length[0]), int(first[0]), int(second[0])
    (0, 4, 10)
    """
    if len(getattr(labels, "shape", ())) != 2:
        raise ValueError(
            f"`labels` must be an array or a tensor (B, 1 + digits). Received: labels={labels!r}"
        )
    return tuple(labels[:, index] for index in range(labels.shape[1]))


def _logarithm(probabilities: Tensor) -> Tensor:
    return ops.log(ops.maximum(at_least_float32(probabilities), LEAST_PROBABILITY))
