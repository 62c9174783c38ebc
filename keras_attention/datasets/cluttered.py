"""Digits somewhere in a much larger image, among pieces of other digits.

References: Mnih et al., Recurrent Models of Visual Attention (2014), section 4.1 (Cluttered MNIST);
Almahairi et al., Dynamic Capacity Networks (2016), section 4.1.
"""

import numpy as np
import tensorflow as tf

from keras_attention.datasets.clutter import CLUTTERED, DISTRACTORS, scatter


def cluttered(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    distractors: int = DISTRACTORS,
    size: int | None = None,
    patch_size: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Puts each image at a random place of a much larger one, with pieces of others around it.

    As `cluttered_translated`, but that the image takes up 28 / 100 of the sides of the larger one,
    and not 28 / 40: a distractor is a square cut out anywhere of any other image and put anywhere,
    and where images and pieces lie on each other their values are added, and limited to 1.

    Args:
        images: `(N, H, H, channels)`, bytes or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        distractors: How many pieces an image gets, 0 or more. For a seed, those of a smaller number
            are among those of a larger one, and the image is at the same place.
        size: Pixels along the sides of what is made; None for 100 / 28 of `H`, rounded.
        patch_size: Pixels along the sides of a distractor; None for 8 / 28 of `H`, rounded.
        seed: Of the places, the distractors and the order.
        shuffle: Whether every pass has an order of its own.
        redraw: Whether every pass draws new places and distractors. Without, each image keeps its
            own, whatever the order.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, channels)` in `[0, 1]`.

    Raises:
        ValueError: For fewer than two images or images that are not square, as many labels as there
            are no images, a negative number of distractors, or sizes that do not fit.

    Example:
    >>> images, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4)
    >>> cluttered(images, labels, distractors=4).element_spec[0].shape
    TensorShape([100, 100, 1])
    """
    return scatter(
        images,
        labels,
        distractors=distractors,
        size=size,
        patch_size=patch_size,
        proportions=CLUTTERED,
        seed=seed,
        shuffle=shuffle,
        redraw=redraw,
    )
