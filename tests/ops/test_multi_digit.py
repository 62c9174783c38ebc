"""Numbers with several digits, compared with an enumeration of all numbers."""

import itertools

import numpy as np
import pytest
from keras import ops

import keras_attention as ka

CLASSES, DIGITS = 3, 2


def softmax(values):
    exponentials = np.exp(values)
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype("float32")


@pytest.fixture
def probabilities(rng):
    sizes = (DIGITS, *[CLASSES + 1] * DIGITS)
    return [ops.convert_to_tensor(softmax(2 * rng.normal(size=(20, size)))) for size in sizes]


def numbers():
    """All labels of one and two digits."""
    for length in range(1, DIGITS + 1):
        for digits in itertools.product(range(CLASSES), repeat=length):
            yield [length - 1, *digits, *[CLASSES] * (DIGITS - length)]


def test_probabilities_of_all_numbers(probabilities):
    """The probabilities of all numbers sum to 1 if no digit can be "none"."""
    length, *digits = probabilities
    digits = [digit[:, :-1] / ops.sum(digit[:, :-1], axis=-1, keepdims=True) for digit in digits]
    digits = [ops.pad(digit, ((0, 0), (0, 1))) for digit in digits]
    each = [
        ka.ops.sequence_probability([length, *digits], np.array([number] * 20))
        for number in numbers()
    ]
    np.testing.assert_allclose(sum(map(np.asarray, each)), 1.0, rtol=1e-5)


def test_probability_of_a_number(probabilities):
    length, first, second = map(np.asarray, probabilities)
    one = ka.ops.sequence_probability(probabilities, np.array([[0, 2, 3]] * 20))
    np.testing.assert_allclose(one, length[:, 0] * first[:, 2], rtol=1e-5)
    two = ka.ops.sequence_probability(probabilities, np.array([[1, 2, 0]] * 20))
    np.testing.assert_allclose(two, length[:, 1] * first[:, 2] * second[:, 0], rtol=1e-5)


def test_most_probable_of_all_numbers(probabilities):
    every = np.array(list(numbers()))
    each = [ka.ops.sequence_probability(probabilities, np.array([number] * 20)) for number in every]
    best = every[np.argmax(np.stack([np.asarray(one) for one in each]), axis=0)]
    labels = ka.ops.most_probable_sequence(probabilities)
    np.testing.assert_array_equal(labels, best)
    np.testing.assert_array_equal(ka.ops.sequence_hits(probabilities, best), np.ones(20))
    wrong = np.where(np.arange(3) == 1, (best + 1) % CLASSES, best)
    np.testing.assert_array_equal(ka.ops.sequence_hits(probabilities, wrong), np.zeros(20))


def test_weights_equal_inverse_entropies(rng):
    maps = softmax(rng.normal(size=(2, 3, 4, 5)))
    inverse = -1.0 / np.sum(maps * np.log(maps), axis=-1)
    expected = inverse / inverse.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(ka.ops.inverse_entropy_weights(maps), expected, rtol=1e-5)
    first = np.moveaxis(maps, -1, 1)
    weights = ka.ops.inverse_entropy_weights(first, "channels_first")
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_certain_positions_share_the_weight():
    maps = np.zeros((1, 1, 3, 2), "float32")
    maps[..., 0] = [1.0, 0.5, 1.0]
    maps[..., 1] = [0.0, 0.5, 0.0]
    weights = ka.ops.inverse_entropy_weights(maps)
    np.testing.assert_allclose(weights, [[[0.5, 0.0, 0.5]]], atol=1e-5)


def test_labels_are_split():
    labels = np.array([[1, 4, 2, 10], [0, 7, 10, 10]])
    split = ka.ops.split_sequence_labels(labels)
    assert len(split) == 4
    np.testing.assert_array_equal(np.stack(split, axis=-1), labels)


def test_labels_are_split_inside_a_dataset():
    import tensorflow as tf

    labels = np.array([[1, 4, 2, 10], [0, 7, 10, 10]])
    dataset = tf.data.Dataset.from_tensor_slices(labels).batch(2)
    (split,) = dataset.map(ka.ops.split_sequence_labels)
    np.testing.assert_array_equal(split[1], [4, 7])
