"""The images of the program of tables 1 to 5."""

from dataclasses import replace

import numpy as np
import pytest
from attention_transfer_parts import (
    sources,
)
from attention_transfer_parts.sources import Source

import keras_attention as ka
from tests.programs.transfer import (
    CLUTTER,
    DIGITS,
)


@pytest.mark.parametrize("data", ["digits", CLUTTER])
def test_a_students_images_are_some_of_its_teachers(data):
    small, whole = Source(data, 20, 50, 300), Source(data, 20, 299, 300)
    images, labels = small.chosen()
    assert np.bincount(labels).tolist() == [5] * 10
    of_teacher, teachers_labels = whole.chosen()
    known = {
        image.tobytes(): label for image, label in zip(of_teacher, teachers_labels, strict=True)
    }
    assert [known[image.tobytes()] for image in images] == labels.tolist()
    # What is for testing of either is the same, and none of it is for training.
    base, side = (data, 20) if data == "digits" else ("digits", 14)
    tests = ka.datasets.load(base, "test", size=side, train_size=300)
    assert not {image.numpy().tobytes() for image, _ in tests} & set(known)
    (small_tests,), (teachers_tests,) = (list(source.tests()) for source in (small, whole))
    first = [next(iter(batches))[0].numpy() for batches in (small_tests, teachers_tests)]
    np.testing.assert_array_equal(*first)


def test_sizes_that_do_not_divide_are_nearly_balanced():
    labels = np.random.default_rng(0).integers(0, 10, 500)
    places = sources.first_of_each(labels, 57)
    assert len(places) == len(set(places)) == 57
    assert set(np.bincount(labels[places])) == {5, 6}
    with pytest.raises(ValueError, match=r"at most the 500 images.*--train-size=501"):
        sources.first_of_each(labels, 501)


def test_equal_sizes_are_the_plain_set():
    source = Source(CLUTTER, 20, 40, 40, (("distractors", 3),))
    assert not source.is_part
    images = next(iter(source.training(5).batch(40)))[0]
    plain = ka.datasets.load(CLUTTER, "train", 40, seed=5, size=20, train_size=40, distractors=3)
    np.testing.assert_array_equal(images, next(iter(plain))[0])
    draws = [next(iter(test))[0] for test in replace(source, test_draws=2).tests()]
    assert len(draws) == 2
    assert not np.array_equal(*draws)


def test_parts_are_drawn_and_shuffled_anew():
    for source in (DIGITS, Source(CLUTTER, 20, 20, 100, (("distractors", 2),))):
        batches = source.batches(1, 20)
        assert batches.element_spec[0].shape[0] == 20
        passes = [images.numpy() for images, _ in batches.take(2)]
        again = [images.numpy() for images, _ in source.batches(1, 20).take(2)]
        np.testing.assert_array_equal(passes, again)
        assert not np.array_equal(*passes)


def test_pixels_are_standardized_by_the_training_part():
    images, _ = DIGITS.chosen()
    mean, variance = DIGITS.moments(0)
    np.testing.assert_allclose([mean, variance], [[images.mean()], [images.var()]], rtol=1e-5)
    assert replace(DIGITS, pretrained=True).moments(0)[0].shape == (3,)
