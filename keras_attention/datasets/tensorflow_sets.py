"""Data sets of tensorflow-datasets, which are downloaded on first use."""

import numpy as np

from keras_attention.datasets.digits import resize, stratified_split


def read_tensorflow_set(
    name: str, split: str, size: int | None = None, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part of a set of images whose size is the same and that fits into memory.

    Args:
        name: A name of tensorflow-datasets.
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
    import tensorflow_datasets as tfds

    try:
        images, labels = tfds.as_numpy(
            tfds.load(name, split=split, as_supervised=True, batch_size=-1)
        )
    except (OSError, tfds.download.DownloadError) as error:
        raise ConnectionError(
            f"The data set {name!r} is not on this machine and could not be downloaded; it needs "
            f"a network once. `list_datasets()` names those that need none. ({error})"
        ) from error
    if split == "train" and train_size is not None:
        chosen, _ = stratified_split(labels, train_size)
        images, labels = images[chosen], labels[chosen]
    if size is not None and images.shape[1:3] != (size, size):
        images = resize((images / 255.0).astype("float32"), size)
    return images, labels.astype("int64")
