import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention import datasets
from keras_attention.datasets.number_photographs import (
    CELL,
    DRAW_NAMES,
    SHARES,
    digit_strips,
    paint_numbers,
    placement_transforms,
    read_backgrounds,
    read_number_photographs,
    unpack_draws,
    warp_images,
)
from keras_attention.datasets.pipelines import bucket_by_size
from keras_attention.datasets.svhn import LABEL_CLASSES, encode_number

NAME = "number_photographs"


def load(split, batch_size=None, **arguments):
    return datasets.load(NAME, split, batch_size, **arguments)


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def draws(count, seed=0):
    drawn = np.random.default_rng(seed).random((count, len(DRAW_NAMES)), "float32")
    return unpack_draws(tf.constant(drawn))


def test_what_is_known_before_it_is_loaded():
    info = datasets.find(NAME)
    assert not info.needs_files
    assert not info.needs_network
    assert not info.single_label
    assert info.example_shape == (54, 110, 1)
    assert info.shape_of("test") == (None, None, 1)


def test_crops_for_training():
    dataset = load("train", 64, train_size=100)
    assert dataset.element_spec[0] == tf.TensorSpec((None, 54, 110, 1), tf.float32)
    assert dataset.element_spec[1] == tf.TensorSpec((None, 6), tf.int64)
    assert int(dataset.cardinality()) == 2
    images, _ = arrays(dataset)
    assert len(images) == 100
    assert 0 <= images.min() < 0.1 < 0.9 < images.max() <= 1
    assert images.std(axis=(1, 2, 3)).min() > 0.01
    assert int(load("train", 64).cardinality()) == -(-20_000 // 64)


@pytest.mark.slow
def test_labels_are_numbers_of_one_to_five_digits():
    _, labels = arrays(load("train", 500, train_size=2000))
    lengths = labels[:, 0] + 1
    for label, length in zip(labels, lengths, strict=True):
        assert label.tolist() == encode_number(label[1 : 1 + length].tolist())
        assert label[1 : 1 + length].max() < 10
    np.testing.assert_allclose(np.bincount(lengths)[1:] / 2000, SHARES, atol=0.04)
    assert all(labels[:, index].max() < count for index, count in enumerate(LABEL_CLASSES))


def test_same_seed_gives_the_same_passes():
    first, second, other = (load("train", 16, train_size=32, seed=seed) for seed in (3, 3, 4))
    passes = [[arrays(dataset) for _ in range(2)] for dataset in (first, second)]
    for (images, labels), (again, wanted) in zip(*passes, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, wanted)
    assert not np.array_equal(passes[0][0][0], passes[0][1][0]), "every pass has its numbers"
    assert not np.array_equal(passes[0][0][0], arrays(other)[0]), "every seed has its numbers"


@pytest.mark.slow
def test_without_augment_images_stay_whatever_the_order():
    kept = {"train_size": 12, "augment": False, "seed": 1}
    plain, labels = arrays(load("train", 5, shuffle=False, **kept))
    shuffled, order = arrays(load("train", 12, shuffle=True, **kept))
    assert labels.tolist() != order.tolist()
    assert {image.tobytes() for image in plain} == {image.tobytes() for image in shuffled}


@pytest.mark.slow
def test_whole_images_are_the_same_one_by_one_and_in_batches():
    singles = list(load("test", test_size=20).as_numpy_iterator())
    assert {image.shape[0] for image, _ in singles} >= {60, 442}
    batches = load("test", 3, test_size=20)
    assert batches.element_spec[0].shape.as_list() == [None, None, None, 1]
    found = {}
    for images, labels in batches.as_numpy_iterator():
        assert len(images) <= 3
        found |= {label.tobytes(): image for image, label in zip(images, labels, strict=True)}
    assert len(found) == 20
    for image, label in singles:
        assert 0 <= image.min() < image.max() <= 1
        np.testing.assert_allclose(found[label.tobytes()], image, atol=1e-5)
    images, labels = next(iter(load("test", 4, test_size=20, batching="ragged")))
    assert images[1].to_tensor().shape == singles[1][0].shape
    assert labels[1].numpy().tolist() == singles[1][1].tolist()


@pytest.mark.slow
def test_large_images_and_crops_for_testing():
    sides = [tuple(image.shape) for image, _ in load("test", test_size=8, sizes="large")]
    assert min(sides) >= (363, 735, 1)
    assert max(sides) <= (442, 1083, 1)
    first, second = (arrays(load("test", 8, test_size=8, whole=False)) for _ in range(2))
    assert first[0].shape == (8, 54, 110, 1)
    np.testing.assert_array_equal(first[0], second[0])
    whole = load("train", 2, train_size=4, whole=True)
    assert sum(len(labels) for _, labels in whole) == 4


def test_the_splits_share_no_part_of_a_photograph():
    """Compares columns of pixels, as padding by reflection reverses their order."""
    train, test = (
        {
            column.tobytes()
            for photograph in read_backgrounds(split)
            for column in photograph[:427].T[0]
        }
        for split in ("train", "test")
    )
    assert (len(train), len(test)) == (2 * 384, 2 * 256)
    assert not train & test


def test_the_splits_share_no_digit():
    train, test = (
        {digit.tobytes() for digit in read_number_photographs(split)[0].digits}
        for split in ("train", "test")
    )
    assert not train & test


@pytest.mark.parametrize(("seed", "rows", "columns"), [(0, 60, 120), (1, 450, 1100), (2, 90, 700)])
def test_numbers_lie_inside_of_whole_images(seed, rows, columns):
    _check_numbers_inside(seed, rows, columns)


@pytest.mark.slow
@given(seed=st.integers(0, 2**31), rows=st.integers(60, 450), columns=st.integers(120, 1100))
@settings(max_examples=15, deadline=None)
def test_numbers_lie_inside_of_whole_images_of_any_size(seed, rows, columns):
    _check_numbers_inside(seed, rows, columns)


def _check_numbers_inside(seed, rows, columns):
    drawn, length = draws(8, seed), tf.constant([1, 2, 3, 4, 5, 5, 1, 3])
    transforms = placement_transforms(drawn, length, (rows, columns), whole=True)
    full = digit_strips(tf.ones((8, 5, CELL, CELL)), length)
    inside = tf.reduce_sum(warp_images(full, transforms, (rows, columns))[..., 0], (1, 2))
    a, b, _, c, d = tf.unstack(transforms[:, :5], axis=1)
    wanted = CELL**2 * tf.cast(length, tf.float32) / (a * d - b * c)
    np.testing.assert_allclose(inside, wanted, rtol=0.06)
    heights = np.asarray(CELL / d)
    assert np.all((heights > 28) & (heights < 63))


def test_numbers_of_crops_are_nearly_in_the_middle():
    drawn, length = draws(200), tf.random.stateless_uniform((200,), (1, 2), 1, 6, tf.int32)
    transforms = placement_transforms(drawn, length, (54, 110), whole=False)
    full = digit_strips(tf.ones((200, 5, CELL, CELL)), length)
    seen = tf.reduce_sum(warp_images(full, transforms, (54, 110))[..., 0], (1, 2))
    a, b, _, c, d = tf.unstack(transforms[:, :5], axis=1)
    share = np.asarray(seen * (a * d - b * c) / tf.cast(length * CELL**2, tf.float32))
    assert share.min() > 0.75
    assert share.mean() > 0.95


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_ink_differs_from_what_is_behind_it(seed):
    ground = np.random.default_rng(seed).random((16, 1, 1, 1), "float32") * np.ones((1, 20, 30, 1))
    masks = np.zeros((16, 20, 30, 2), "float32")
    masks[:, 4:16, 5:25, 1] = 1
    masks[:, 8:12, 10:20, 0] = 1
    made = paint_numbers(draws(16, seed), tf.constant(ground, tf.float32), masks).numpy()
    np.testing.assert_allclose(made[:, :4], ground[:, :4], rtol=1e-6)
    assert np.all(np.abs(made[:, 10, 15] - made[:, 6, 15]) > 0.29)


def test_buckets_hold_every_image_once():
    _check_buckets([(1, 2)])
    _check_buckets([(1, 3), (2, 1), (1, 3), (1, 3), (1, 3), (2, 1), (1, 1)])


@pytest.mark.slow
@given(sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_buckets_of_any_sizes_hold_every_image_once(sizes):
    _check_buckets(sizes)


def _check_buckets(sizes):
    sizes = np.array(sizes)
    batches = [batch.tolist() for batch in bucket_by_size(sizes, 3, 0, False).as_numpy_iterator()]
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        assert 1 <= len(batch) <= 3
        assert len(np.unique(sizes[batch], axis=0)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 54}, "`size` must be None for 'number_photographs'"),
        ({"train_size": 0}, "Received: train_size=0"),
        ({"test_size": 1.5}, r"Received: test_size=1\.5"),
        ({"sizes": "huge"}, r"'mixed', 'large'\. Received: sizes='huge'"),
        ({"whole": "no"}, "Received: whole='no'"),
        ({"batching": None}, r"'bucketed', 'ragged'\. Received: batching=None"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        load("train", **arguments)
