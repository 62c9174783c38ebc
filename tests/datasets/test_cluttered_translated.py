import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention import datasets
from keras_attention.datasets import cluttered_translated
from keras_attention.datasets.digits import read_digits

COUNT, SIDE, SIZE = 10, 7, 10


@pytest.fixture(scope="module")
def digits():
    """Noise with no zeros, so that every pixel of an image shows."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, (COUNT, SIDE, SIDE, 1), dtype="uint8"), np.arange(COUNT) % 3


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


def place_of(image, digit):
    """Where an image holds a digit and nothing but zeros around it."""
    places = []
    for top in range(image.shape[0] - len(digit) + 1):
        for left in range(image.shape[1] - len(digit) + 1):
            want = np.zeros_like(image)
            want[top : top + len(digit), left : left + len(digit)] = digit
            if np.array_equal(image, want):
                places.append((top, left))
    return places


def test_without_distractors_the_digit_is_somewhere_and_nothing_else(digits):
    images, labels = arrays(cluttered_translated(*digits, distractors=0, seed=2, augment=True))
    assert images.shape == (COUNT, SIZE, SIZE, 1)
    assert labels.tolist() == digits[1].tolist()
    wanted = digits[0].astype("float32") * np.float32(1 / 255)
    places = [place_of(image, digit) for image, digit in zip(images, wanted, strict=True)]
    assert all(len(place) == 1 for place in places)
    assert len({place for (place,) in places}) > 4


def test_every_place_is_as_likely(digits):
    dataset = cluttered_translated(*digits, distractors=0, augment=True).repeat(160)
    images, _ = arrays(dataset)
    corners = [np.argwhere(image[..., 0])[0] for image in images]
    counts = np.bincount([4 * top + left for top, left in corners], minlength=16)
    assert len(counts) == 16
    assert counts.min() > 60


@given(
    distractors=st.integers(0, 9),
    size=st.integers(SIDE, 15),
    patch=st.integers(1, SIDE),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=8, deadline=None)
def test_distractors_only_add(digits, distractors, size, patch, seed):
    options = {"size": size, "patch_size": patch, "seed": seed}
    images, _ = arrays(cluttered_translated(*digits, distractors=distractors, **options))
    more, _ = arrays(cluttered_translated(*digits, distractors=distractors + 3, **options))
    assert images.shape == (COUNT, size, size, 1)
    assert np.all(images >= 0)
    assert np.all(more <= 1)
    assert np.all(images <= more)
    again, _ = arrays(cluttered_translated(*digits, distractors=distractors, **options))
    np.testing.assert_array_equal(images, again)


def test_distractors_are_squares_of_other_images():
    """Image n is n + 1 in 255 everywhere."""
    images = np.broadcast_to(np.arange(1, 6, dtype="uint8")[:, None, None, None], (5, 4, 4, 1))
    dataset = cluttered_translated(
        images, np.arange(5), distractors=1, size=40, patch_size=2, augment=True
    )
    found = set()
    for image, label in dataset.repeat(20).as_numpy_iterator():
        levels, counts = np.unique(np.round(255 * image).astype(int), return_counts=True)
        if counts.sum() - counts[0] == 16 + 4:  # the digit and the piece lie apart
            piece = levels[1:][counts[1:] == 4]
            assert piece.tolist() != [label + 1]
            found.add((int(label), int(piece[0])))
    assert len(found) == 5 * 4


def test_more_distractors_are_brighter():
    means = [
        np.mean([image.mean() for image, _ in _digits(distractors).as_numpy_iterator()])
        for distractors in (0, 8, 64)
    ]
    assert means[0] + 0.02 < means[1]
    assert means[1] + 0.1 < means[2]


def _digits(distractors):
    return datasets.load("cluttered_translated_digits", "test", distractors=distractors)


def test_images_keep_their_clutter_whatever_the_order(digits):
    plain, labels = arrays(cluttered_translated(digits[0], np.arange(COUNT)))
    shuffled, order = arrays(cluttered_translated(digits[0], np.arange(COUNT), shuffle=True))
    assert order.tolist() != labels.tolist()
    np.testing.assert_array_equal(plain[order], shuffled)


def test_redraw_gives_other_images_in_every_pass(digits):
    dataset, again = (cluttered_translated(*digits, augment=True, seed=5) for _ in range(2))
    first, second = arrays(dataset)[0], arrays(dataset)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(arrays(again)[0], first)
    np.testing.assert_array_equal(arrays(again)[0], second)
    other = arrays(cluttered_translated(*digits, augment=True, seed=6))[0]
    assert not np.array_equal(first, other)


def test_floats_and_colors_serve_too(digits):
    colors = np.repeat(digits[0], 3, axis=-1)
    floats = colors.astype("float32") * np.float32(1 / 255)
    images, _ = arrays(cluttered_translated(colors, digits[1]))
    assert images.shape == (COUNT, SIZE, SIZE, 3)
    np.testing.assert_array_equal(images, arrays(cluttered_translated(floats, digits[1]))[0])


@pytest.mark.parametrize(("size", "digit", "patch"), [(40, 28, 8), (20, 14, 4), (3, 2, 1)])
def test_sizes_of_the_registered_set(size, digit, patch):
    images, _, clutter = datasets.read_cluttered(read_digits, "test", size=size)
    assert (images.shape[1], clutter["patch_size"]) == (digit, patch)
    dataset = datasets.load("cluttered_translated_digits", "test", 32, size=size)
    assert next(iter(dataset))[0].shape == (32, size, size, 1)


def test_the_test_part_is_the_same_in_every_pass():
    dataset = datasets.load("cluttered_translated_digits", "test", 359, size=20, seed=3)
    assert int(dataset.cardinality()) == 1
    (first, _), (second, _) = next(iter(dataset)), next(iter(dataset))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distractors": -1}, "0 or more. Received: distractors=-1"),
        ({"distractors": 2.5}, "Received: distractors=2.5"),
        ({"size": 2}, "`size` must be 3 or more. Received: size=2"),
        ({"clutter": 3}, "are: distractors. Received: clutter=3"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("cluttered_translated_digits", "test", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((1, 4, 4, 1)), "labels": [0]}, "at least two"),
        ({"images": np.zeros((2, 4, 5, 1))}, r"\(N, H, H, channels\)"),
        ({"labels": [0]}, r"labels.shape=\(1,\)"),
        ({"size": 3}, "must be 4 or more.*Received: size=3, patch_size=1"),
        ({"patch_size": 5}, "4 or less.*Received: size=6, patch_size=5"),
        ({"distractors": True}, "Received: distractors=True"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cluttered_translated(**{"images": np.zeros((2, 4, 4, 1)), "labels": [0, 1], **arguments})
