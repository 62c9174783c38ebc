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
    ],
)
def test_mnist(few_images, name, size, shape):
    images, labels = next(iter(datasets.load(name, "test", batch_size=COUNT, size=size)))
    assert images.shape == (COUNT, shape, shape, 1)
    assert images.dtype == tf.float32
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.numpy().tolist() == [number % 10 for number in range(COUNT)]


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
    with pytest.raises(ConnectionError, match=r"'mnist'.*needs a network once"):
        datasets.load("mnist", "train")
