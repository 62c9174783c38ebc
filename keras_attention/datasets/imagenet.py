"""ImageNet (ILSVRC 2012), prepared by tensorflow-datasets from its archives.

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
    """Prepares one split of ImageNet; images are read from disk in every epoch.

    Args:
        split: `"train"` (1,281,167 images) or `"test"`, which is the published validation split
            (50,000 images) because the labels of the test split are secret.
        size: Side of the square crops in pixels.
        train_size: Number of training images: the first ones on disk, where tensorflow-datasets
            stores them in a fixed pseudo-random order. They are the same for every seed, and
            class proportions are only approximately equal. None uses all.
        data_dir: Folder of tensorflow-datasets; None uses the environment variable
            `TFDS_DATA_DIR` or the default folder.
        shuffle_buffer: Number of encoded images in the shuffle buffer. The default needs about
            1.1 GB of memory at 0.11 MB per image. The files are shuffled too.

    Returns:
        The input of `serve_stream`.

    Raises:
        ValueError: If the split has not been prepared, `train_size` exceeds the number of images,
            or `shuffle_buffer` is not a positive integer.
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
    argument = "" if folder is None else f", data_dir={folder!r}"
    raise ValueError(
        "`data_dir`, or the environment variable TFDS_DATA_DIR, must name a folder where "
        f"tensorflow-datasets has prepared the {PARTS[split]!r} split of 'imagenet2012', which is "
        f"not downloaded automatically. Get {ARCHIVES[split]} from {SOURCE}, put it into "
        "the folder's downloads/manual, and run once: "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('imagenet2012'{argument}).download_and_prepare()\". "
        f"Received: data_dir={folder!r}"
    )
