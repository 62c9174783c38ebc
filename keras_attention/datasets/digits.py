"""Scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download."""

import numpy as np
import tensorflow as tf

from keras_attention.datasets.splits import stratified_split

CLASSES = 10
# Of the digits as they are bundled, 8x8: resized rows would follow from those above them.
SIDE = 8


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


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes images to squares, smoothed where they shrink; values stay in their range."""
    if images.shape[1:3] == (size, size):
        return images
    return tf.image.resize(images, (size, size), antialias=True).numpy()


def read_digit_sequences(
    split: str, size: int = 28, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads digits from the top row to the bottom row: which digit is it?

    Args:
        split: `"train"` or `"test"`.
        size: Rows, and pixels of a row, after bilinear resizing.
        train_size: Digits for training, the others are for testing; None for four fifths.

    Returns:
        Float32 sequences in `[0, 1]`, `(N, size rows, size pixels)`, and int64 labels `(N,)`.

    Raises:
        ValueError: For a `train_size` that leaves a class out of either part.

    Example:
    >>> sequences, labels = read_digit_sequences("test")
    >>> sequences.shape, labels.shape
    ((359, 28, 28), (359,))
    """
    images, labels = read_digits(split, size, train_size)
    return images[..., 0], labels


def read_digit_forecast(
    split: str, size: int = 4, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads some rows of digits at 8x8 pixels: what is in the row below them?

    A digit gives `8 - size` examples, one for each row that has so many above it.

    Args:
        split: `"train"` or `"test"`; all of a digit's examples are in the same part.
        size: Rows that are given, from 1 to 7.
        train_size: Digits for training, the others are for testing; None for four fifths.

    Returns:
        Float32 sequences in `[0, 1]`, `(N, size rows, 8 pixels)`, and the next rows, `(N, 8)`.

    Raises:
        ValueError: For rows that leave none to forecast, or a `train_size` that leaves a class out
            of either part.

    Example:
    >>> sequences, rows = read_digit_forecast("test", size=6)
    >>> sequences.shape, rows.shape
    ((718, 6, 8), (718, 8))
    """
    if size >= SIDE:
        raise ValueError(
            f"`size` must be from 1 to {SIDE - 1}, the rows above the one to forecast. "
            f"Received: size={size}"
        )
    digits = read_digits(split, SIDE, train_size)[0][..., 0]
    starts = range(SIDE - size)
    sequences = np.stack([digits[:, start : start + size] for start in starts], axis=1)
    return sequences.reshape(-1, size, SIDE), digits[:, size:].reshape(-1, SIDE)
