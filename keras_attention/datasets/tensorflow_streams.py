"""Data sets of tensorflow-datasets that are downloaded on first use and do not fit into memory."""

import os
from functools import partial
from typing import Any

from keras_attention.datasets.streams import Stream
from keras_attention.datasets.tensorflow_sets import here_or_downloaded
from keras_attention.utils.validation import flag, positive_integer

SHUFFLE_BUFFER = 4_000


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
    cut = flag("crop", crop)
    buffer = positive_integer("shuffle_buffer", shuffle_buffer)
    folder = os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)
    builder = here_or_downloaded(name, partial(_prepared, name, split, folder))
    if cut and "bbox" not in builder.info.features:
        raise ValueError(
            f"`crop` must be False for {name!r}, which has no box of each picture. "
            f"Received: crop={crop!r}"
        )
    stream = Stream(builder, split, size, buffer, cut)
    return (stream.first(train_size if split == "train" else None),)


def _prepared(name: str, split: str, folder: str | None, download: bool) -> Any:
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder)
    if download:
        builder.download_and_prepare()
    if split in builder.info.splits:
        return builder
    raise FileNotFoundError(f"{name!r} has no part {split!r} in {builder.data_dir!r}")
