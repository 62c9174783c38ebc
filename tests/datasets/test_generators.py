"""Images composed from digits: top-left, cluttered, and cluttered translated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention import datasets
from keras_attention.datasets import cluttered, cluttered_translated, top_left
from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.generators import CLUTTERED

COUNT, SIDE, SIZE = 10, 7, 10
TOP_LEFT_COUNT, TOP_LEFT_SIDE = 12, 4


@pytest.fixture(scope="module")
def digits():
    """Noise without zeros, so that every pixel of an image is visible."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, (6, 7, 7, 1), dtype="uint8"), np.arange(6) % 3


def arrays(dataset):
    return next(dataset.batch(5000).as_numpy_iterator())


@pytest.mark.slow
def test_the_digit_is_anywhere_in_a_hundred_pixels():
    images, labels = arrays(datasets.load("cluttered_digits", "test", distractors=0))
    assert (images.shape, images.dtype) == ((359, 100, 100, 1), np.float32)
    plain, wanted = arrays(datasets.load("digits", "test"))
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_allclose(images.sum(axis=(1, 2, 3)), plain.sum(axis=(1, 2, 3)), rtol=1e-4)
    for axis in (1, 2):
        is_visible = images.max(axis=(3 - axis, 3)) > 0
        first, last = is_visible.argmax(axis=1), 99 - is_visible[:, ::-1].argmax(axis=1)
        assert np.all(last - first < 28)
        assert first.min() < 8
        assert last.max() > 91


def test_with_the_same_sizes_both_generators_agree(digits):
    sizes = {"size": 25, "patch_size": 2, "seed": 4, "augment": True}
    one, other = (arrays(make(*digits, **sizes)) for make in (cluttered, cluttered_translated))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(("distractors", "seed", "augment"), [(9, 2, False), (4, 1, True)])
def test_pieces_add_in_their_number_and_size(digits, distractors, seed, augment):
    _check_pieces(digits, distractors, seed, augment)


@pytest.mark.slow
@given(distractors=st.integers(0, 9), seed=st.integers(0, 2**31 - 1), augment=st.booleans())
@settings(max_examples=10, deadline=None)
def test_any_pieces_add_in_their_number_and_size(digits, distractors, seed, augment):
    _check_pieces(digits, distractors, seed, augment)


def _check_pieces(digits, distractors, seed, augment):
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
    with pytest.raises(ValueError, match=r"must be at least 7 .*Received: size=6, patch_size=2"):
        cluttered(*digits, size=6)


@pytest.fixture(scope="module")
def translated_digits():
    """Noise without zeros, so that every pixel of an image is visible."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, (COUNT, SIDE, SIDE, 1), dtype="uint8"), np.arange(COUNT) % 3


def positions_of(image, digit):
    """Finds a digit that is surrounded by zeros in an image."""
    positions = []
    for top in range(image.shape[0] - len(digit) + 1):
        for left in range(image.shape[1] - len(digit) + 1):
            want = np.zeros_like(image)
            want[top : top + len(digit), left : left + len(digit)] = digit
            if np.array_equal(image, want):
                positions.append((top, left))
    return positions


def test_without_distractors_the_digit_is_somewhere_and_nothing_else(translated_digits):
    images, labels = arrays(
        cluttered_translated(*translated_digits, distractors=0, seed=2, augment=True)
    )
    assert images.shape == (COUNT, SIZE, SIZE, 1)
    assert labels.tolist() == translated_digits[1].tolist()
    wanted = translated_digits[0].astype("float32") * np.float32(1 / 255)
    positions = [positions_of(image, digit) for image, digit in zip(images, wanted, strict=True)]
    assert all(len(position) == 1 for position in positions)
    assert len({position for (position,) in positions}) > 4


def test_all_positions_are_equally_likely(translated_digits):
    dataset = cluttered_translated(*translated_digits, distractors=0, augment=True).repeat(160)
    images, _ = arrays(dataset)
    corners = [np.argwhere(image[..., 0])[0] for image in images]
    counts = np.bincount([4 * top + left for top, left in corners], minlength=16)
    assert len(counts) == 16
    assert counts.min() > 60


@pytest.mark.parametrize(
    ("distractors", "size", "patch", "seed"), [(0, SIDE, SIDE, 1), (9, 15, 2, 3)]
)
def test_distractors_only_add(translated_digits, distractors, size, patch, seed):
    _check_distractors(translated_digits, distractors, size, patch, seed)


@pytest.mark.slow
@given(
    distractors=st.integers(0, 9),
    size=st.integers(SIDE, 15),
    patch=st.integers(1, SIDE),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=8, deadline=None)
def test_any_distractors_only_add(translated_digits, distractors, size, patch, seed):
    _check_distractors(translated_digits, distractors, size, patch, seed)


def _check_distractors(translated_digits, distractors, size, patch, seed):
    options = {"size": size, "patch_size": patch, "seed": seed}
    images, _ = arrays(cluttered_translated(*translated_digits, distractors=distractors, **options))
    more, _ = arrays(
        cluttered_translated(*translated_digits, distractors=distractors + 3, **options)
    )
    assert images.shape == (COUNT, size, size, 1)
    assert np.all(images >= 0)
    assert np.all(more <= 1)
    assert np.all(images <= more)
    again, _ = arrays(cluttered_translated(*translated_digits, distractors=distractors, **options))
    np.testing.assert_array_equal(images, again)


def test_distractors_are_squares_of_other_images():
    """Constant images; image n has the value (n + 1) / 255."""
    images = np.broadcast_to(np.arange(1, 6, dtype="uint8")[:, None, None, None], (5, 4, 4, 1))
    dataset = cluttered_translated(
        images, np.arange(5), distractors=1, size=40, patch_size=2, augment=True
    )
    found = set()
    for image, label in dataset.repeat(20).as_numpy_iterator():
        levels, counts = np.unique(np.round(255 * image).astype(int), return_counts=True)
        if counts.sum() - counts[0] == 16 + 4:  # digit and distractor do not overlap
            piece = levels[1:][counts[1:] == 4]
            assert piece.tolist() != [label + 1]
            found.add((int(label), int(piece[0])))
    assert len(found) == 5 * 4


@pytest.mark.slow
def test_more_distractors_are_brighter():
    means = [
        np.mean([image.mean() for image, _ in _digits(distractors).as_numpy_iterator()])
        for distractors in (0, 8, 64)
    ]
    assert means[0] + 0.02 < means[1]
    assert means[1] + 0.1 < means[2]


def _digits(distractors):
    return datasets.load("cluttered_translated_digits", "test", distractors=distractors)


def test_images_keep_their_clutter_whatever_the_order(translated_digits):
    plain, labels = arrays(cluttered_translated(translated_digits[0], np.arange(COUNT)))
    shuffled, order = arrays(
        cluttered_translated(translated_digits[0], np.arange(COUNT), shuffle=True)
    )
    assert order.tolist() != labels.tolist()
    np.testing.assert_array_equal(plain[order], shuffled)


def test_augment_gives_other_images_in_every_pass(translated_digits):
    dataset, again = (
        cluttered_translated(*translated_digits, augment=True, seed=5) for _ in range(2)
    )
    first, second = arrays(dataset)[0], arrays(dataset)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(arrays(again)[0], first)
    np.testing.assert_array_equal(arrays(again)[0], second)
    other = arrays(cluttered_translated(*translated_digits, augment=True, seed=6))[0]
    assert not np.array_equal(first, other)


def test_floats_and_colors_serve_too(translated_digits):
    colors = np.repeat(translated_digits[0], 3, axis=-1)
    floats = colors.astype("float32") * np.float32(1 / 255)
    images, _ = arrays(cluttered_translated(colors, translated_digits[1]))
    assert images.shape == (COUNT, SIZE, SIZE, 3)
    np.testing.assert_array_equal(
        images, arrays(cluttered_translated(floats, translated_digits[1]))[0]
    )


@pytest.mark.parametrize(("size", "digit", "patch"), [(40, 28, 8), (20, 14, 4), (3, 2, 1)])
def test_sizes_of_the_registered_translated_set(size, digit, patch):
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
        ({"size": 3}, "must be at least 4 .*Received: size=3, patch_size=1"),
        ({"patch_size": 5}, "at most 4,.*Received: size=6, patch_size=5"),
        ({"distractors": True}, "Received: distractors=True"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cluttered_translated(**{"images": np.zeros((2, 4, 4, 1)), "labels": [0, 1], **arguments})


@pytest.fixture
def top_left_digits():
    """Constant images whose value identifies them."""
    images = np.broadcast_to(
        np.arange(TOP_LEFT_COUNT)[:, None, None, None],
        (TOP_LEFT_COUNT, TOP_LEFT_SIDE, TOP_LEFT_SIDE + 1, 1),
    )
    return (images / TOP_LEFT_COUNT).astype("float32"), np.arange(TOP_LEFT_COUNT) % 10


def quadrants(dataset):
    """Returns the source image of each quadrant, one row per image."""
    images = np.stack([image for image, _ in dataset.as_numpy_iterator()])
    corners = images[
        :, [0, 0, TOP_LEFT_SIDE, TOP_LEFT_SIDE], [0, TOP_LEFT_SIDE + 1, 0, TOP_LEFT_SIDE + 1], 0
    ]
    return np.round(corners * TOP_LEFT_COUNT).astype(int)


def test_digit_is_top_left_and_distractors_are_others(top_left_digits):
    numbers = quadrants(top_left(*top_left_digits))
    np.testing.assert_array_equal(numbers[:, 0], np.arange(TOP_LEFT_COUNT))
    assert np.all(numbers[:, 1:] != numbers[:, :1])
    assert len(np.unique(numbers[:, 1:])) > TOP_LEFT_COUNT // 2


def test_labels_are_those_of_the_digit(top_left_digits):
    labels = [int(label) for _, label in top_left(*top_left_digits)]
    assert labels == top_left_digits[1].tolist()


def test_images_keep_their_distractors_whatever_the_order(top_left_digits):
    plain = quadrants(top_left(*top_left_digits))
    shuffled = quadrants(top_left(*top_left_digits, shuffle=True))
    assert not np.array_equal(plain, shuffled)
    np.testing.assert_array_equal(plain, shuffled[np.argsort(shuffled[:, 0])])


def test_augment_gives_new_distractors_in_every_pass(top_left_digits):
    dataset, again = (top_left(*top_left_digits, augment=True, seed=5) for _ in range(2))
    first, second = quadrants(dataset), quadrants(dataset)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(quadrants(again), first)
    np.testing.assert_array_equal(quadrants(again), second)


def test_seeds_draw_others(top_left_digits):
    assert not np.array_equal(
        quadrants(top_left(*top_left_digits, seed=0)), quadrants(top_left(*top_left_digits, seed=1))
    )


def test_bytes_become_fractions():
    dataset = top_left(np.full((3, 2, 2, 1), 255, "uint8"), np.zeros(3))
    assert next(iter(dataset))[0].numpy().max() == 1.0


@pytest.mark.parametrize(
    ("images", "labels"),
    [(np.zeros((1, 4, 4, 1)), [0]), (np.zeros((3, 4, 4)), [0] * 3), (np.zeros((3, 4, 4, 1)), [0])],
)
def test_bad_arguments_of_top_left(images, labels):
    with pytest.raises(ValueError, match="at least two"):
        top_left(images, labels)
