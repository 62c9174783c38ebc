"""What differs from `cluttered_translated`, with which it shares the rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention import datasets
from keras_attention.datasets import cluttered, cluttered_translated
from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.generators import CLUTTERED


@pytest.fixture(scope="module")
def digits():
    """Noise with no zeros, so that every pixel of an image shows."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, (6, 7, 7, 1), dtype="uint8"), np.arange(6) % 3


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


def test_the_digit_is_anywhere_in_a_hundred_pixels():
    images, labels = arrays(datasets.load("cluttered_digits", "test", distractors=0))
    assert (images.shape, images.dtype) == ((359, 100, 100, 1), np.float32)
    plain, wanted = arrays(datasets.load("digits", "test"))
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_allclose(images.sum(axis=(1, 2, 3)), plain.sum(axis=(1, 2, 3)), rtol=1e-4)
    for axis in (1, 2):
        shown = images.max(axis=(3 - axis, 3)) > 0
        first, last = shown.argmax(axis=1), 99 - shown[:, ::-1].argmax(axis=1)
        assert np.all(last - first < 28)
        assert first.min() < 8
        assert last.max() > 91


def test_with_the_same_sizes_both_generators_agree(digits):
    sizes = {"size": 25, "patch_size": 2, "seed": 4, "augment": True}
    one, other = (arrays(make(*digits, **sizes)) for make in (cluttered, cluttered_translated))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@given(distractors=st.integers(0, 9), seed=st.integers(0, 2**31 - 1), augment=st.booleans())
@settings(max_examples=10, deadline=None)
def test_pieces_add_in_their_number_and_size(digits, distractors, seed, augment):
    make = {"seed": seed, "augment": augment}
    alone, labels = arrays(cluttered(*digits, distractors=0, **make))
    images, again = arrays(cluttered(*digits, distractors=distractors, **make))
    assert images.shape == (6, 25, 25, 1)
    assert labels.tolist() == again.tolist() == digits[1].tolist()
    assert images.max() <= 1
    assert np.all(np.count_nonzero(alone, axis=(1, 2, 3)) == 49)
    if not augment:
        assert np.all(images >= alone)
    assert np.all(np.count_nonzero(images, axis=(1, 2, 3)) <= 49 + 4 * distractors)


@given(side=st.integers(1, 400))
def test_proportions_of_a_digit(side):
    size, patch = CLUTTERED.of_digit(side)
    assert abs(size * 28 - side * 100) <= 14
    assert 1 <= patch <= max(1, side)


@pytest.mark.parametrize(("size", "digit", "patch"), [(100, 28, 8), (50, 14, 4), (7, 2, 1)])
def test_sizes_of_the_registered_set(size, digit, patch):
    images, _, clutter = datasets.read_cluttered(
        read_digits, "test", size=size, proportions=CLUTTERED
    )
    assert (images.shape[1], clutter["patch_size"]) == (digit, patch)
    dataset = datasets.load("cluttered_digits", "test", 32, size=size)
    assert next(iter(dataset))[0].shape == (32, size, size, 1)


def test_bad_sizes(digits):
    with pytest.raises(ValueError, match=r"`size` must be 7 or more\. Received: size=6"):
        datasets.load("cluttered_digits", "test", size=6)
    with pytest.raises(ValueError, match=r"must be 7 or more.*Received: size=6, patch_size=2"):
        cluttered(*digits, size=6)
