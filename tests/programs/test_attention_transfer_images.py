"""Images of the attention transfer program."""

from dataclasses import replace

import numpy as np
import pytest
from attention_transfer_experiment import images as image_module
from attention_transfer_experiment.images import ImageSource

import keras_attention as ka
from tests.programs.attention_transfer_helpers import CLUTTER, DIGITS


@pytest.mark.parametrize("data", ["digits", CLUTTER])
def test_images_of_a_student_are_a_subset_of_those_of_its_teacher(data):
    small, whole = ImageSource(data, 20, 50, 300), ImageSource(data, 20, 299, 300)
    images, labels = small.subset()
    assert np.bincount(labels).tolist() == [5] * 10
    of_teacher, teachers_labels = whole.subset()
    known = {
        image.tobytes(): label for image, label in zip(of_teacher, teachers_labels, strict=True)
    }
    assert [known[image.tobytes()] for image in images] == labels.tolist()
    # Both have the same test images, and none of these is a training image.
    base, side = (data, 20) if data == "digits" else ("digits", 14)
    tests = ka.datasets.load(base, "test", size=side, train_size=300)
    assert not {image.numpy().tobytes() for image, _ in tests} & set(known)
    (small_tests,), (teachers_tests,) = (list(source.tests()) for source in (small, whole))
    first = [next(iter(batches))[0].numpy() for batches in (small_tests, teachers_tests)]
    np.testing.assert_array_equal(*first)


def test_subsets_are_nearly_balanced():
    labels = np.random.default_rng(0).integers(0, 10, 500)
    indices = image_module.balanced_indices(labels, 57)
    assert len(indices) == len(set(indices)) == 57
    assert set(np.bincount(labels[indices])) == {5, 6}
    with pytest.raises(ValueError, match=r"at most the 500 images.*--train-size=501"):
        image_module.balanced_indices(labels, 501)


def test_equal_sizes_give_the_whole_data_set():
    source = ImageSource(CLUTTER, 20, 40, 40, (("distractors", 3),))
    assert not source.is_subset
    images = next(iter(source.training_data(5).batch(40)))[0]
    plain = ka.datasets.load(CLUTTER, "train", 40, seed=5, size=20, train_size=40, distractors=3)
    np.testing.assert_array_equal(images, next(iter(plain))[0])
    draws = [next(iter(test))[0] for test in replace(source, test_draws=2).tests()]
    assert len(draws) == 2
    assert not np.array_equal(*draws)


def test_subsets_are_shuffled_and_generated_again_in_every_epoch():
    for source in (DIGITS, ImageSource(CLUTTER, 20, 20, 100, (("distractors", 2),))):
        batches = source.batches(1, 20)
        assert batches.element_spec[0].shape[0] == 20
        passes = [images.numpy() for images, _ in batches.take(2)]
        again = [images.numpy() for images, _ in source.batches(1, 20).take(2)]
        np.testing.assert_array_equal(passes, again)
        assert not np.array_equal(*passes)


def test_moments_are_those_of_the_training_images():
    images, _ = DIGITS.subset()
    mean, variance = DIGITS.moments(0)
    np.testing.assert_allclose([mean, variance], [[images.mean()], [images.var()]], rtol=1e-5)
    assert replace(DIGITS, pretrained=True).moments(0)[0].shape == (3,)
