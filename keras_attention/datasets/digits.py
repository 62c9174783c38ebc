"""Scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download."""

import numpy as np
import tensorflow as tf

from keras_attention.utils.validation import is_integer

CLASSES = 10
TEST_SHARE = 0.2
SPLIT_SEED = 0


def read_digits(
    split: str, size: int = 28, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part of the digits, split by class in equal shares and always in the same way.

    Args:
        split: `"train"` or `"test"`.
        size: Pixels along the sides after bilinear resizing.
        train_size: Images for training, the others are for testing; None for four fifths, 1,437.

    Returns:
        Float32 images in `[0, 1]`, `(N, size, size, 1)`, and int64 labels `(N,)`.

    Raises:
        ValueError: For a `train_size` that leaves a class out of either part.

    Example:
    >>> images, labels = read_digits("train", size=14, train_size=300)
    >>> images.shape, labels.shape
    ((300, 14, 14, 1), (300,))
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    train, test = stratified_split(data.target, train_size)
    chosen = train if split == "train" else test
    images = (data.images[chosen, :, :, None] / 16.0).astype("float32")
    return resize(images, size), data.target[chosen].astype("int64")


def stratified_split(labels: np.ndarray, train_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices into training and test ones with every class in equal shares.

    Args:
        labels: Shape `(N,)`.
        train_size: How many are for training; None for four fifths.

    Returns:
        The indices of either part.

    Raises:
        ValueError: For a `train_size` that leaves a class out of either part.
    """
    from sklearn.model_selection import train_test_split

    classes = len(np.unique(labels))
    if train_size is None:
        train_size = len(labels) - int(len(labels) * TEST_SHARE)
    most = len(labels) - classes
    if not is_integer(train_size) or not classes <= train_size <= most:
        raise ValueError(
            f"`train_size` must be an integer from {classes} to {most}, so that both parts hold "
            f"every class. Received: train_size={train_size!r}"
        )
    train, test = train_test_split(
        np.arange(len(labels)),
        train_size=int(train_size),
        random_state=SPLIT_SEED,
        stratify=labels,
    )
    return train, test


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes images to squares, smoothed where they shrink; values stay in their range."""
    if images.shape[1:3] == (size, size):
        return images
    return tf.image.resize(images, (size, size), antialias=True).numpy()
