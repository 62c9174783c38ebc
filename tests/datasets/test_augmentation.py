import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention.datasets import cifar_augmentation, crop_and_flip


def noise(count, side, channels=3):
    shape = (count, side, side, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def crops(sources, made):
    """Of each image top, left and whether it is mirrored; None where it is no crop."""
    size, found = made.shape[1], []
    for source, image in zip(sources, made, strict=True):
        steps = range(len(source) - size + 1)
        positions = [
            (top, left, mirrored)
            for top in steps
            for left in steps
            for mirrored in (False, True)
            if np.array_equal(
                source[top : top + size, left : left + size][:, :: -1 if mirrored else 1], image
            )
        ]
        found.append(positions[0] if positions else None)
    return found


def reflected(images, padding):
    sides = (padding, padding)
    return np.pad(images, ((0, 0), sides, sides, (0, 0)), mode="reflect")


def test_every_image_is_an_exact_crop_of_the_padded_one():
    images = noise(300, 12)
    made = cifar_augmentation(12, seed=3)(images, training=True).numpy()
    positions = crops(reflected(images, 4), made)
    assert None not in positions
    for axis in (0, 1):
        counts = np.bincount([position[axis] for position in positions], minlength=9)
        assert len(counts) == 9
        assert counts.min() > 12
    assert 0.4 < np.mean([position[2] for position in positions]) < 0.6
    downwards = np.corrcoef(
        [position[0] for position in positions], [position[2] for position in positions]
    )[0, 1]
    assert abs(downwards) < 0.2, "mirrored whatever the position"


@given(size=st.integers(4, 9), padding=st.integers(0, 3), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=8, deadline=None)
def test_any_size_and_padding(size, padding, seed):
    images = noise(6, size, channels=1)
    augment = cifar_augmentation(size, padding, channels=1, seed=seed)
    made = augment(images, training=True).numpy()
    assert None not in crops(reflected(images, padding), made)


def test_without_padding_every_image_is_mirrored_or_not():
    images, augment = noise(200, 8), cifar_augmentation(8, padding=0, seed=1)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(100)
    batches = dataset.map(lambda batch: augment(batch, training=True)).as_numpy_iterator()
    for made in (augment(images, training=True).numpy(), np.concatenate(list(batches))):
        positions = crops(images, made)
        assert {position[:2] for position in positions} == {(0, 0)}
        mirrored = np.array([position[2] for position in positions])
        assert 0.4 < mirrored.mean() < 0.6
        assert 30 < np.sum(mirrored[:100] == mirrored[100:]) < 70, "not as in the other batch"


def test_large_squares_are_exact_crops():
    images = noise(40, 48, channels=1)
    positions = crops(images, crop_and_flip(32, 48, seed=1)(images, training=True).numpy())
    assert None not in positions
    assert len({position[:2] for position in positions}) > 30
    full = noise(4, 256, channels=1)
    made = crop_and_flip(seed=1)(full, training=True)
    assert None not in crops(full, made.numpy())


def test_nothing_happens_outside_of_training():
    images = noise(3, 32)
    np.testing.assert_array_equal(cifar_augmentation()(images, training=False), images)
    middle = crop_and_flip(24, 32)(images, training=False)
    np.testing.assert_array_equal(middle, images[:, 4:-4, 4:-4])


@pytest.mark.parametrize(
    ("make", "sides"), [(cifar_augmentation, (16,)), (crop_and_flip, (12, 16))]
)
def test_in_a_data_set(make, sides):
    images, augment = noise(20, 16), make(*sides, seed=0)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(20))).batch(5)
    dataset = dataset.map(lambda x, y: (augment(x, training=True), y))
    made = np.concatenate([images for images, _ in dataset.as_numpy_iterator()])
    again = np.concatenate([images for images, _ in dataset.as_numpy_iterator()])
    assert not np.array_equal(made, again)
    source = images if made.shape[1] == 12 else reflected(images, 4)
    assert None not in crops(source, made)


def test_at_the_start_of_a_model(tmp_path):
    images = noise(8, 16)
    layers = [cifar_augmentation(16), crop_and_flip(12, 16), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers, keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(images, np.zeros((8, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-6
    )


def test_seeds_repeat():
    images = noise(5, 16)
    first, same, other = (
        cifar_augmentation(16, seed=seed)(images, training=True) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (cifar_augmentation, {"size": 0}, "Received: size=0"),
        (cifar_augmentation, {"padding": 32}, "from 0 to 31. Received: padding=32"),
        (cifar_augmentation, {"padding": 1.5}, "Received: padding=1.5"),
        (cifar_augmentation, {"channels": 0}, "Received: channels=0"),
        (cifar_augmentation, {"seed": -1}, "Received: seed=-1"),
        (crop_and_flip, {"size": 300}, "Received: size=300, source=256"),
        (crop_and_flip, {"size": 225}, "larger by an even number.*Received: size=225, source=256"),
    ],
)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
