"""Handwritten digits bundled with scikit-learn: 1,797 images of 8x8 pixels, also as sequences."""

import numpy as np
import tensorflow as tf

from keras_attention.datasets.splits import stratified_split

CLASSES = 10
# Side of the original digits. A row of resized digits would be predictable by interpolation.
SIDE = 8


def read_digits(
    split: str, size: int = 28, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads float32 images `(N, size, size, 1)` in `[0, 1]` and int64 labels of one split.

    The split is stratified by class and deterministic. `train_size` is the number of training
    images, None for 80 % (1,437); the rest are test images.

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
    """Resizes images to squares, with antialiasing; values stay in their range."""
    if images.shape[1:3] == (size, size):
        return images
    return tf.image.resize(images, (size, size), antialias=True).numpy()


def read_digit_sequences(
    split: str, size: int = 28, train_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads digits as sequences of rows, top to bottom, for classification; see `read_digits`.

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
    """Reads consecutive rows of digits at 8x8 pixels, to forecast the row below them.

    A digit yields `8 - size` examples, one for each row with at least `size` rows above it. They
    belong to the same split. Returns float32 sequences `(N, size, 8)` and next rows `(N, 8)`.

    Example:
    >>> sequences, rows = read_digit_forecast("test", size=6)
    >>> sequences.shape, rows.shape
    ((718, 6, 8), (718, 8))
    """
    if size >= SIDE:
        raise ValueError(
            f"`size` must be from 1 to {SIDE - 1}, the number of rows above the forecast row. "
            f"Received: size={size}"
        )
    digits = read_digits(split, SIDE, train_size)[0][..., 0]
    starts = range(SIDE - size)
    sequences = np.stack([digits[:, start : start + size] for start in starts], axis=1)
    return sequences.reshape(-1, size, SIDE), digits[:, size:].reshape(-1, SIDE)
