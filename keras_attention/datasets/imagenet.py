"""ImageNet of 2012 (ILSVRC), prepared by tensorflow-datasets from its archives.

Reference: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge (2015).
"""

import os
from typing import Any

from keras_attention.datasets.tensorflow_sets import Stream
from keras_attention.utils.validation import positive_integer

SOURCE = "https://image-net.org/download-images"
PARTS = {"train": "train", "test": "validation"}
ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "test": "ILSVRC2012_img_val.tar"}


def read_imagenet(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    shuffle_buffer: int = 10_000,
) -> tuple[Stream]:
    """Finds one part of ImageNet on disk; its pictures are read in every pass.

    Args:
        split: `"train"`, 1,281,167 pictures, or `"test"` for the 50,000 of the validation part:
            the labels of the test part are secret.
        size: Pixels along the sides of the squares that are cut out.
        train_size: Pictures for training: the first so many as they lie on disk, where
            tensorflow-datasets puts them in an order that looks random and is always the same.
            So they are the same ones for every seed, and classes have equal shares only as nearly
            as a draw gives them. None for all.
        data_dir: Folder of tensorflow-datasets; None for that of the environment variable
            `TFDS_DATA_DIR`, or the usual one.
        shuffle_buffer: Pictures among which the next one is drawn where the order is shuffled, at
            0.11 MB each in memory: 1.1 GB by default. The files of the set are shuffled too.

    Returns:
        What `serve_stream` serves.

    Raises:
        ValueError: Where the part is not prepared, for a `train_size` beyond its pictures, or a
            `shuffle_buffer` that is no positive integer.
    """
    buffer = positive_integer("shuffle_buffer", shuffle_buffer)
    builder = _prepared(split, data_dir)
    stream = Stream(builder, PARTS[split], size, buffer)
    return (stream.first_examples(train_size if split == "train" else None),)


def _prepared(split: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds

    folder = os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)
    builder = tfds.builder("imagenet2012", data_dir=folder)
    if PARTS[split] in builder.info.splits:
        return builder
    place = "" if folder is None else f", data_dir={folder!r}"
    raise ValueError(
        "`data_dir`, or the environment variable TFDS_DATA_DIR, must name a folder where "
        f"tensorflow-datasets has prepared the {PARTS[split]!r} part of 'imagenet2012', which is "
        f"not downloaded by itself. Get {ARCHIVES[split]} from {SOURCE}, put it into the folder's "
        'downloads/manual, and run once: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('imagenet2012'{place}).download_and_prepare()\". "
        f"Received: data_dir={folder!r}"
    )
