"""Data sets from tensorflow-datasets, which are downloaded on first use."""

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

Found = TypeVar("Found")
SHUFFLE_BUFFER = 4_000
IMAGENET_SOURCE = "https://image-net.org/download-images"
IMAGENET_SPLITS = {"train": "train", "test": "validation"}
IMAGENET_ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "test": "ILSVRC2012_img_val.tar"}


@dataclass(frozen=True)
class Stream:
    """Images that tensorflow-datasets has prepared on disk, read in every epoch.

    The examples of `builder` have an `image`, a `label` and, for `crop`, a `bbox`. `split` is its
    name at tensorflow-datasets, such as `"train[:5000]"`. `size` is the side of square crops.
    """

    builder: Any
    split: str
    size: int
    shuffle_buffer: int
    crop: bool = False

    def __len__(self) -> int:
        return int(self.builder.info.splits[self.split].num_examples)

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Returns `(encoded_image, label)`, or `((encoded_image, box), label)` with `crop`."""
        import tensorflow_datasets as tfds

        # Decoding other features, such as the masks of birds, would take longer than all the rest.
        parts = {"image": True, "label": True} | ({"bbox": True} if self.crop else {})
        decoders = {"image": tfds.decode.SkipDecoding()}
        dataset = self.builder.as_dataset(
            split=self.split,
            decoders=tfds.decode.PartialDecoding(parts, decoders=decoders),
            read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
            shuffle_files=shuffle,
        ).map(lambda example: (self._image_and_box(example), example["label"]))
        if shuffle:
            dataset = dataset.shuffle(self.shuffle_buffer, seed=seed)
        return dataset

    def _image_and_box(self, example: dict[str, tf.Tensor]) -> Any:
        return (example["image"], example["bbox"]) if self.crop else example["image"]

    def read(self, image: Any) -> tf.Tensor:
        """Decodes an image and crops it to its bounding box: uint8 `(H, W, 3)`."""
        file, box = image if self.crop else (image, None)
        pixels = tf.io.decode_image(check_image_file(file), channels=3, expand_animations=False)
        return cut_to_box(pixels, box) if self.crop else pixels

    def first_examples(self, train_size: int | None) -> "Stream":
        """Keeps only the first `train_size` images; None keeps all."""
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
    """Reads one split of a set of images that fits into memory, uint8 or floats if resized.

    Other arguments than those of `load`: `name` and `label` are names of the set and its label
    feature at tensorflow-datasets, and `splits` those of splits that differ. A `size` of None keeps
    the original size, which must be the same for all images.
    """
    import tensorflow_datasets as tfds

    published_split = (splits or {}).get(split, split)

    def read(download: bool) -> tuple[np.ndarray, np.ndarray]:
        folder = _tensorflow_folder(data_dir)
        found: Any = tfds.load(name, split=published_split, data_dir=folder, download=download)
        return _arrays(found, size, label)

    images, labels = load_or_download(name, read)
    if split == "train" and train_size is not None:
        chosen, _ = stratified_split(labels, train_size)
        images, labels = images[chosen], labels[chosen]
    if size is not None and images.shape[1:3] != (size, size):
        images = resize((images / 255.0).astype("float32"), size)
    return images, labels.astype("int64")


def _tensorflow_folder(data_dir: str | os.PathLike[str] | None) -> str | None:
    return os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)


def load_or_download(name: str, get: Callable[[bool], Found]) -> Found:
    """Loads a data set from this machine, or downloads it.

    `get` is a function of a flag that allows downloading. Without it, the function raises
    AssertionError or FileNotFoundError if the data set is not on this machine.
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
            f"a network once. `list_datasets()` shows the sets that need none. ({error})"
        ) from error


def _arrays(
    dataset: tf.data.Dataset, size: int | None, label: str
) -> tuple[np.ndarray, np.ndarray]:
    dataset = dataset.map(lambda example: (example["image"], example[label]))
    if None in dataset.element_spec[0].shape:  # images of different sizes

        def to_square(image: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            resized = tf.image.resize(image, (size, size), antialias=True)
            return tf.cast(tf.round(resized), tf.uint8), target

        dataset = dataset.map(to_square, num_parallel_calls=tf.data.AUTOTUNE)
    images, labels = zip(*dataset.batch(1024).as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _require_network() -> None:
    """Fails at once if there is no network; tensorflow-datasets would retry for minutes."""
    if not urllib.request.getproxies():
        # The host of most data sets of tensorflow-datasets and of their checksums.
        socket.getaddrinfo("storage.googleapis.com", 443)


def read_tensorflow_stream(
    name: str,
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    crop: bool = False,
) -> tuple[Stream]:
    """Prepares one split of a set of images that are read from disk in every epoch.

    Args:
        name: Name at tensorflow-datasets; examples must have an `image` and a `label`.
        split: `"train"` or `"test"`, as published.
        size: Side of the square crops in pixels.
        train_size: Number of training images: the first ones on disk, where they are in a fixed
            pseudo-random order; see `read_imagenet`. None uses all.
        data_dir: Folder of tensorflow-datasets; None uses the environment variable `TFDS_DATA_DIR`
            or the default folder.
        shuffle_buffer: Number of encoded images in the shuffle buffer. The default needs about
            0.4 GB of memory at 0.1 MB per image.
        crop: If True, crop images to their bounding boxes first, as Zagoruyko and Komodakis,
            Paying More Attention to Attention (2017), section 4.2.1, do for birds. Only
            `"caltech_birds2011"` supports it.

    Returns:
        The input of `serve_stream`.

    Raises:
        ConnectionError: If the set is not on this machine and cannot be downloaded.
        ValueError: If `train_size` exceeds the number of images, `shuffle_buffer` is not a
            positive integer, or `crop` is set and images have no bounding box.
    """
    cut = boolean("crop", crop)
    buffer = positive_integer("shuffle_buffer", shuffle_buffer)
    folder = _tensorflow_folder(data_dir)
    builder = load_or_download(name, partial(_prepared_builder, name, split, folder))
    if cut and "bbox" not in builder.info.features:
        raise ValueError(
            f"`crop` must be False for {name!r}, whose images have no bounding boxes. "
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
    raise FileNotFoundError(f"{name!r} has no split {split!r} in {builder.data_dir!r}")


def read_imagenet(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    shuffle_buffer: int = 10_000,
) -> tuple[Stream]:
    """Prepares one split of ImageNet; images are read from disk in every epoch.

    Reference: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge (2015).

    Args:
        split: `"train"` (1,281,167 images) or `"test"`, which is the published validation split
            (50,000 images) because the labels of the test split are secret.
        size: Side of the square crops in pixels.
        train_size: Number of training images: the first ones on disk, where tensorflow-datasets
            stores them in a fixed pseudo-random order. They are the same for every seed, and
            class proportions are only approximately equal. None uses all.
        data_dir: See `read_tensorflow_stream`.
        shuffle_buffer: Number of encoded images in the shuffle buffer. The default needs about
            1.1 GB of memory at 0.11 MB per image. The files are shuffled too.

    Returns:
        The input of `serve_stream`.

    Raises:
        ValueError: If the split has not been prepared, `train_size` exceeds the number of images,
            or `shuffle_buffer` is not a positive integer.
    """
    buffer = positive_integer("shuffle_buffer", shuffle_buffer)
    builder = _prepared_imagenet(split, data_dir)
    stream = Stream(builder, IMAGENET_SPLITS[split], size, buffer)
    return (stream.first_examples(train_size if split == "train" else None),)


def _prepared_imagenet(split: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds

    folder = _tensorflow_folder(data_dir)
    builder = tfds.builder("imagenet2012", data_dir=folder)
    if IMAGENET_SPLITS[split] in builder.info.splits:
        return builder
    argument = "" if folder is None else f", data_dir={folder!r}"
    raise ValueError(
        "`data_dir`, or the environment variable TFDS_DATA_DIR, must name a folder where "
        f"tensorflow-datasets has prepared the {IMAGENET_SPLITS[split]!r} split of "
        "'imagenet2012', which is not downloaded automatically. Get "
        f"{IMAGENET_ARCHIVES[split]} from {IMAGENET_SOURCE}, put it into the folder's "
        "downloads/manual, and run once: "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('imagenet2012'{argument}).download_and_prepare()\". "
        f"Received: data_dir={folder!r}"
    )
