"""The loading code for tensorflow-datasets, on a few images in their true format."""

import socket

import numpy as np
import pytest
import tensorflow as tf

from keras_attention import datasets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
COUNT = 40


@pytest.fixture
def few_images():
    """MNIST as tensorflow-datasets serves it: bytes 28x28x1, int64 labels, `as_supervised`."""
    import tensorflow_datasets as tfds

    def examples(self, *args, **kwargs):
        pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28, 1), dtype="uint8")
        labels = np.arange(COUNT) % 10
        return tf.data.Dataset.from_tensor_slices({"image": pixels, "label": labels})

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("mnist", None, 28),
        ("mnist", 14, 14),
        ("top_left_mnist", None, 56),
        ("top_left_mnist", 28, 28),
        ("cluttered_translated_mnist", None, 40),
        ("cluttered_translated_mnist", 20, 20),
    ],
)
def test_mnist(few_images, name, size, shape):
    images, labels = next(iter(datasets.load(name, "test", batch_size=COUNT, size=size)))
    assert images.shape == (COUNT, shape, shape, 1)
    assert images.dtype == tf.float32
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.numpy().tolist() == [number % 10 for number in range(COUNT)]


@pytest.fixture
def few_in_color(monkeypatch):
    """House numbers as they are served, and traffic signs, whose sizes differ."""
    import tensorflow_datasets as tfds

    monkeypatch.delenv("GTSRB_DIR", raising=False)
    asked = []

    def examples(self, split, *args, **kwargs):
        asked.append(f"{self.name} {split}")
        svhn = self.name == "svhn_cropped"
        sides = [(32, 32)] if svhn else [(72, 90), (75, 72)]
        rng = np.random.default_rng(0)

        def draw():
            for number in range(COUNT):
                pixels = rng.integers(0, 256, (*sides[number % len(sides)], 3), dtype="uint8")
                yield {"image": pixels, "label": number % 10}

        side = 32 if svhn else None
        shape = tf.TensorSpec((side, side, 3), tf.uint8)
        return tf.data.Dataset.from_generator(
            draw, output_signature={"image": shape, "label": tf.TensorSpec((), tf.int64)}
        )

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield asked


@pytest.mark.parametrize(("name", "size"), [("svhn_cropped", None), ("gtsrb", None), ("gtsrb", 9)])
def test_color_images(few_in_color, name, size):
    dataset = datasets.load(name, "train", batch_size=COUNT, size=size, shuffle=False)
    side = size or 32
    assert dataset.element_spec[0].shape[1:] == (side, side, 3)
    images, labels = next(iter(dataset))
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.numpy().tolist() == [number % 10 for number in range(COUNT)]


def test_signs_are_tested_on_the_validation_part(few_in_color):
    datasets.load("gtsrb", "test")
    datasets.load("svhn_cropped", "test")
    datasets.load("gtsrb", "train")
    assert [name.split()[-1] for name in few_in_color] == ["validation", "test", "train"]


@pytest.fixture
def few_photographs():
    """CIFAR and Fashion-MNIST as tensorflow-datasets serves them, names and coarse labels too."""
    import tensorflow_datasets as tfds

    def examples(self, *args, **kwargs):
        assert set(self.info.features) >= {"image", "label"}
        side, channels = (28, 1) if self.name == "fashion_mnist" else (32, 3)
        shape = (COUNT, side, side, channels)
        numbers = np.arange(COUNT)
        given = {
            "id": np.array([f"train_{number:05d}" for number in numbers]),
            "image": np.random.default_rng(0).integers(0, 256, shape, dtype="uint8"),
            "label": numbers % self.info.features["label"].num_classes,
            "coarse_label": numbers % 20,
        }
        return tf.data.Dataset.from_tensor_slices(
            {name: given[name] for name in self.info.features}
        )

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100", "cifar20"])
def test_photographs(few_photographs, name):
    info = datasets.find(name)
    images, labels = next(iter(datasets.load(name, "test", batch_size=COUNT)))
    assert images.shape == (COUNT, *info.image_shape)
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.dtype == tf.int64
    assert labels.numpy().tolist() == [number % info.classes for number in range(COUNT)]


def test_groups_of_kinds_are_split_by_their_own_labels(few_photographs):
    labels = [int(label) for _, label in datasets.load("cifar20", "train", train_size=20)]
    assert sorted(labels) == list(range(20))


def test_train_size_takes_a_share_of_every_class(few_images):
    labels = [int(label) for _, label in datasets.load("mnist", "train", train_size=20)]
    assert np.bincount(labels).tolist() == [2] * 10


def test_without_a_network_the_error_comes_at_once(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GTSRB_DIR", raising=False)
    with pytest.raises(ConnectionError, match=r"'mnist'.*needs a network once"):
        datasets.load("mnist", "train")
    with pytest.raises(ConnectionError, match=r"'stanford_dogs'.*needs a network once"):
        datasets.load("stanford_dogs", "train")
    with pytest.raises(ConnectionError, match=r"GTSRB_DIR may name.*Received: data_dir='.*none'"):
        datasets.load("gtsrb", "train", data_dir=tmp_path / "none")
