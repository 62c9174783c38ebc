"""Digits as sequences of rows."""

import numpy as np
import pytest

from keras_attention import datasets


def arrays(dataset):
    return next(dataset.batch(5000).as_numpy_iterator())


@pytest.mark.parametrize("size", [None, 8])
def test_sequences_are_the_rows_of_the_digits(size):
    sequences, labels = arrays(datasets.load("digit_sequences", "test", size=size))
    images, classes = arrays(datasets.load("digits", "test", size=size))
    np.testing.assert_array_equal(sequences, images[..., 0])
    np.testing.assert_array_equal(labels, classes)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_the_label_is_the_row_below(size):
    dataset = datasets.load("digit_forecast", "test", size=size)
    sequences, rows = arrays(dataset)
    images, _ = arrays(datasets.load("digits", "test", size=8))
    assert sequences.shape == (len(images) * (8 - size), size, 8)
    assert (sequences.dtype, rows.dtype) == (np.float32, np.float32)
    for example, digit in ((0, 0), (8 - size, 1), (-1, -1)):
        start = 7 - size if example == -1 else 0
        np.testing.assert_array_equal(sequences[example], images[digit, start : start + size, :, 0])
        np.testing.assert_array_equal(rows[example], images[digit, start + size, :, 0])


@pytest.mark.parametrize("name", ["digit_sequences", "digit_forecast"])
def test_shapes_are_those_of_the_list(name):
    info = datasets.find(name)
    spec, label = datasets.load(name, "train", train_size=20).element_spec
    assert spec.shape == info.example_shape
    assert label.shape == ((info.classes,) if info.regression else ())
    with pytest.raises(ValueError, match=r"use `example_shape`. Received: kind='sequences'"):
        _ = info.image_shape


def test_train_size_counts_digits():
    assert int(datasets.load("digit_forecast", "train", train_size=20).cardinality()) == 80
    assert int(datasets.load("digit_forecast", "test", train_size=20).cardinality()) == 4 * 1777


def test_no_row_to_forecast():
    with pytest.raises(ValueError, match=r"from 1 to 7.*Received: size=8"):
        datasets.load("digit_forecast", "train", size=8)
