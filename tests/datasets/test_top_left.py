import numpy as np
import pytest

from keras_attention.datasets import top_left

COUNT, SIDE = 12, 4


@pytest.fixture
def digits():
    """Images that tell their number: each is constant."""
    images = np.broadcast_to(np.arange(COUNT)[:, None, None, None], (COUNT, SIDE, SIDE + 1, 1))
    return (images / COUNT).astype("float32"), np.arange(COUNT) % 10


def quadrants(dataset):
    """The numbers of the images in each quadrant, a row an image."""
    images = np.stack([image for image, _ in dataset.as_numpy_iterator()])
    corners = images[:, [0, 0, SIDE, SIDE], [0, SIDE + 1, 0, SIDE + 1], 0]
    return np.round(corners * COUNT).astype(int)


def test_digit_is_top_left_and_distractors_are_others(digits):
    numbers = quadrants(top_left(*digits))
    np.testing.assert_array_equal(numbers[:, 0], np.arange(COUNT))
    assert np.all(numbers[:, 1:] != numbers[:, :1])
    assert len(np.unique(numbers[:, 1:])) > COUNT // 2


def test_labels_are_those_of_the_digit(digits):
    labels = [int(label) for _, label in top_left(*digits)]
    assert labels == digits[1].tolist()


def test_images_keep_their_distractors_whatever_the_order(digits):
    plain = quadrants(top_left(*digits))
    shuffled = quadrants(top_left(*digits, shuffle=True))
    assert not np.array_equal(plain, shuffled)
    np.testing.assert_array_equal(plain, shuffled[np.argsort(shuffled[:, 0])])


def test_redraw_gives_new_distractors_in_every_pass(digits):
    dataset, again = (top_left(*digits, augment=True, seed=5) for _ in range(2))
    first, second = quadrants(dataset), quadrants(dataset)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(quadrants(again), first)
    np.testing.assert_array_equal(quadrants(again), second)


def test_seeds_draw_others(digits):
    assert not np.array_equal(
        quadrants(top_left(*digits, seed=0)), quadrants(top_left(*digits, seed=1))
    )


def test_bytes_become_fractions():
    dataset = top_left(np.full((3, 2, 2, 1), 255, "uint8"), np.zeros(3))
    assert next(iter(dataset))[0].numpy().max() == 1.0


@pytest.mark.parametrize(
    ("images", "labels"),
    [(np.zeros((1, 4, 4, 1)), [0]), (np.zeros((3, 4, 4)), [0] * 3), (np.zeros((3, 4, 4, 1)), [0])],
)
def test_bad_arguments(images, labels):
    with pytest.raises(ValueError, match="at least two"):
        top_left(images, labels)
