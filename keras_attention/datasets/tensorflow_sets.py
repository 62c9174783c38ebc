"""Data sets of tensorflow-datasets, which are downloaded on first use."""

import os
import socket
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import resize, stratified_split

# Where tensorflow-datasets finds most sets and the list of their checksums.
_HOST = "storage.googleapis.com"

Found = TypeVar("Found")


def read_tensorflow_set(
    name: str,
    split: str,
    size: int | None = None,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    splits: Mapping[str, str] | None = None,
    label: str = "label",
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part of a set of images that fits into memory.

    Args:
        name: A name of tensorflow-datasets.
        split: `"train"` or `"test"`.
        size: Pixels along the sides after bilinear resizing; None for the set's own, where all
            images have the same.
        train_size: Images for training, chosen by class in equal shares; None for all. The test
            part stays as published.
        data_dir: Folder of tensorflow-datasets where the set is or goes; None for that of the
            environment variable `TFDS_DATA_DIR`, or the usual one.
        splits: What tensorflow-datasets calls the parts, where it has other names.
        label: What it calls the labels.

    Returns:
        Images `(N, H, W, channels)`, bytes or, where resized, floats in `[0, 1]`; int64 labels.

    Raises:
        ConnectionError: When the set is neither on this machine nor to be downloaded.
        ValueError: For a `train_size` that leaves a class out.
    """
    folder = os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)
    images, labels = _load(name, (splits or {}).get(split, split), size, folder, label)
    if split == "train" and train_size is not None:
        chosen, _ = stratified_split(labels, train_size)
        images, labels = images[chosen], labels[chosen]
    if size is not None and images.shape[1:3] != (size, size):
        images = resize((images / 255.0).astype("float32"), size)
    return images, labels.astype("int64")


def _load(
    name: str, split: str, size: int | None, folder: str | None, label: str
) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds

    load: Any = tfds.load
    arguments = {"split": split, "data_dir": folder}
    return here_or_downloaded(
        name,
        lambda download: _arrays(load(name, download=download, **arguments), size, label),
    )


def here_or_downloaded(name: str, get: Callable[[bool], Found]) -> Found:
    """Gets a data set from this machine, else by downloading it.

    Args:
        name: Of the data set, for the error.
        get: Takes whether to download, and raises AssertionError or FileNotFoundError where the
            data set is not here and is not to be downloaded.

    Raises:
        ConnectionError: When it cannot be downloaded, at once where there is no network.
    """
    import tensorflow_datasets as tfds

    try:
        return get(False)
    except (AssertionError, FileNotFoundError):
        pass  # not on this machine yet
    try:
        _require_network()
        return get(True)
    except (OSError, tfds.download.DownloadError) as error:
        raise ConnectionError(
            f"The data set {name!r} is not on this machine and could not be downloaded; it needs "
            f"a network once. `list_datasets()` names those that need none. ({error})"
        ) from error


def _arrays(
    dataset: tf.data.Dataset, size: int | None, label: str
) -> tuple[np.ndarray, np.ndarray]:
    dataset = dataset.map(lambda example: (example["image"], example[label]))
    if None in dataset.element_spec[0].shape:  # images of different sizes
        dataset = dataset.map(
            lambda image, number: (_as_square(image, size), number),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    images, labels = zip(*dataset.batch(1024).as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _as_square(image: tf.Tensor, size: int | None) -> tf.Tensor:
    resized = tf.image.resize(image, (size, size), antialias=True)
    return tf.cast(tf.round(resized), tf.uint8)


def _require_network() -> None:
    """Fails at once where tensorflow-datasets would try again for minutes."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(_HOST, 443)
