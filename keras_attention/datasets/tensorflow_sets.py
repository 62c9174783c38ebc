"""Data sets of tensorflow-datasets, which are downloaded on first use."""

import os
import socket
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import resize
from keras_attention.datasets.image_files import check_image_file
from keras_attention.datasets.pipelines import cut_to_box
from keras_attention.datasets.splits import stratified_split
from keras_attention.utils.validation import boolean, is_integer, positive_integer

# Where tensorflow-datasets finds most sets and the list of their checksums.
_HOST = "storage.googleapis.com"
Found = TypeVar("Found")
SHUFFLE_BUFFER = 4_000


@dataclass(frozen=True)
class Stream:
    """Pictures that tensorflow-datasets prepared on disk, and how to read them.

    Attributes:
        builder: Of tensorflow-datasets; its examples have an `image`, a `label` and, for `crop`, a
            `bbox`.
        split: What it calls the part, such as `"train[:5000]"`.
        size: Pixels along the sides of what is cut out.
        shuffle_buffer: Pictures, as files, among which the next one is drawn.
        crop: Whether pictures are cut to their boxes before everything else.
    """

    builder: Any
    split: str
    size: int
    shuffle_buffer: int
    crop: bool = False

    def __len__(self) -> int:
        return int(self.builder.info.splits[self.split].num_examples)

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Reads `(file, label)`; shuffled, the files of the set and what is in them.

        With `crop` it is `((file, box), label)`.
        """
        import tensorflow_datasets as tfds

        # Other parts, such as the masks of birds, take longer to decode than all else to read.
        parts = {"image": True, "label": True} | ({"bbox": True} if self.crop else {})
        decoders = {"image": tfds.decode.SkipDecoding()}
        dataset = self.builder.as_dataset(
            split=self.split,
            decoders=tfds.decode.PartialDecoding(parts, decoders=decoders),
            read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
            shuffle_files=shuffle,
        ).map(lambda example: (self._picture(example), example["label"]))
        if shuffle:
            dataset = dataset.shuffle(self.shuffle_buffer, seed=seed)
        return dataset

    def _picture(self, example: dict[str, tf.Tensor]) -> Any:
        return (example["image"], example["bbox"]) if self.crop else example["image"]

    def read(self, picture: Any) -> tf.Tensor:
        """Decodes a file, a JPEG or any other, and cuts it to its box: bytes `(H, W, 3)`."""
        file, box = picture if self.crop else (picture, None)
        pixels = tf.io.decode_image(check_image_file(file), channels=3, expand_animations=False)
        return cut_to_box(pixels, box) if self.crop else pixels

    def first_examples(self, train_size: int | None) -> "Stream":
        """Leaves all but the first pictures out; None for all.

        Raises:
            ValueError: For a `train_size` beyond their number.
        """
        if train_size is None:
            return self
        if is_integer(train_size) and 1 <= train_size <= len(self):
            return replace(self, split=f"{self.split}[:{int(train_size)}]")
        raise ValueError(
            f"`train_size` must be an integer from 1 to {len(self)}. "
            f"Received: train_size={train_size!r}"
        )


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
    return load_or_download(
        name,
        lambda download: _arrays(load(name, download=download, **arguments), size, label),
    )


def load_or_download(name: str, get: Callable[[bool], Found]) -> Found:
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


def read_tensorflow_stream(
    name: str,
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    crop: bool = False,
) -> tuple[Stream]:
    """Finds one part of a set of pictures on disk, or downloads it; every pass reads it.

    Args:
        name: A name of tensorflow-datasets, whose examples have an `image` and a `label`.
        split: `"train"` or `"test"`, as published.
        size: Pixels along the sides of the squares that are cut out.
        train_size: Pictures for training: the first so many as they lie on disk, in an order that
            looks random and is always the same; see `read_imagenet`. None for all.
        data_dir: Folder of tensorflow-datasets where the set is or goes; None for that of the
            environment variable `TFDS_DATA_DIR`, or the usual one.
        shuffle_buffer: Pictures, as files, among which the next one is drawn where the order is
            shuffled: at 0.1 MB each 0.4 GB in memory by default.
        crop: Whether pictures are cut to their boxes before everything else, as birds are in
            Zagoruyko and Komodakis, Paying More Attention to Attention (2017), section 4.2.1. Of
            the names that `load` knows only `"caltech_birds2011"` takes it.

    Returns:
        What `serve_stream` serves.

    Raises:
        ConnectionError: When the set is neither on this machine nor to be downloaded.
        ValueError: For a `train_size` beyond the pictures, a `shuffle_buffer` that is no positive
            integer, or a `crop` of pictures without one box each.
    """
    cut = boolean("crop", crop)
    buffer = positive_integer("shuffle_buffer", shuffle_buffer)
    folder = os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)
    builder = load_or_download(name, partial(_prepared_builder, name, split, folder))
    if cut and "bbox" not in builder.info.features:
        raise ValueError(
            f"`crop` must be False for {name!r}, which has no box of each picture. "
            f"Received: crop={crop!r}"
        )
    stream = Stream(builder, split, size, buffer, cut)
    return (stream.first_examples(train_size if split == "train" else None),)


def _prepared_builder(name: str, split: str, folder: str | None, download: bool) -> Any:
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder)
    if download:
        builder.download_and_prepare()
    if split in builder.info.splits:
        return builder
    raise FileNotFoundError(f"{name!r} has no part {split!r} in {builder.data_dir!r}")
