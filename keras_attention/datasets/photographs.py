"""Scikit-learn's two bundled photographs in gray, as grounds for what is generated."""

import numpy as np

from keras_attention.datasets.in_memory import as_gray

# Training pictures are cut from the left part of the photographs, test pictures from the right.
TRAIN_PART = 0.6
# A part and its mirror images lie beside each other until there are so many pixels.
ROWS, COLUMNS = 800, 1400


def photographs(split: str) -> np.ndarray:
    """The left or the right part of each photograph, continued by mirror images.

    Args:
        split: `"train"` or `"test"`; they share no pixel.

    Returns:
        Float32 `(2, rows, columns, 1)` in `[0, 1]`, at least 800 rows and 1400 columns.

    Example:
    >>> photographs("test").shape
    (2, 854, 1536, 1)
    """
    from sklearn.datasets import load_sample_images

    pixels = as_gray(np.stack(load_sample_images().images)).numpy()
    border = int(pixels.shape[2] * TRAIN_PART)
    part = pixels[:, :, :border] if split == "train" else pixels[:, :, border:]
    _, rows, columns, _ = part.shape
    below, beside = rows * ((ROWS - 1) // rows), columns * ((COLUMNS - 1) // columns)
    return np.pad(part, ((0, 0), (0, below), (0, beside), (0, 0)), mode="symmetric")
