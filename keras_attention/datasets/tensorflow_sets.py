"""Data sets of tensorflow-datasets, which are downloaded on first use."""

import os
import socket
import urllib.request
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import resize, stratified_split

# Where tensorflow-datasets finds most sets and the list of their checksums.
_HOST = "storage.googleapis.com"


def read_tensorflow_set(
    name: str, split: str, size: int | None = None, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part of a set of images whose size is the same and that fits into memory.

    Args:
        name: A name of tensorflow-datasets. `TFDS_DATA_DIR` says where it is or goes.
        split: `"train"` or `"test"`.
        size: Pixels along the sides after bilinear resizing; None for the set's own.
        train_size: Images for training, chosen by class in equal shares; None for all. The test
            part stays as published.

    Returns:
        Images `(N, H, W, channels)`, bytes or, where resized, floats in `[0, 1]`; int64 labels.

    Raises:
        ConnectionError: When the set is neither on this machine nor to be downloaded.
        ValueError: For a `train_size` that leaves a class out.
    """
    images, labels = _load(name, split)
    if split == "train" and train_size is not None:
        chosen, _ = stratified_split(labels, train_size)
        images, labels = images[chosen], labels[chosen]
    if size is not None and images.shape[1:3] != (size, size):
        images = resize((images / 255.0).astype("float32"), size)
    return images, labels.astype("int64")


def _load(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds

    folder = os.environ.get("TFDS_DATA_DIR")
    load: Any = tfds.load
    arguments = {"split": split, "as_supervised": True, "data_dir": folder}
    try:
        return _arrays(load(name, download=False, **arguments))
    except (AssertionError, FileNotFoundError):
        pass  # not on this machine yet
    try:
        _require_network()
        return _arrays(load(name, **arguments))
    except OSError as error:
        raise ConnectionError(
            f"The data set {name!r} is not on this machine and could not be downloaded; it needs "
            f"a network once. `list_datasets()` names those that need none. ({error})"
        ) from error


def _arrays(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*dataset.batch(1024).as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _require_network() -> None:
    """Fails at once where tensorflow-datasets would try again for minutes."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(_HOST, 443)
