"""tf.data pipelines over images or sequences that fit into memory."""

import numpy as np
import tensorflow as tf


def indices(count: int, seed: int, shuffle: bool) -> tf.data.Dataset:
    """Counts from 0, or in an order that is new in every pass and the same for a seed."""
    order = tf.data.Dataset.range(count)
    if shuffle:
        order = order.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    return order


def as_floats(images: tf.Tensor) -> tf.Tensor:
    """Brings pixels to `[0, 1]`: bytes are divided by 255, floats are there already."""
    return tf.image.convert_image_dtype(images, tf.float32)


def as_gray(images: tf.Tensor) -> tf.Tensor:
    """Brings colors `(..., 3)`, bytes or floats, to one gray channel in `[0, 1]` by luma (BT.601).

    Example:
    >>> round(float(as_gray(tf.constant([255, 0, 0], tf.uint8))[0]), 3)
    0.299
    """
    return tf.image.rgb_to_grayscale(as_floats(images))


def plain(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Serves images, or sequences, as they are.

    Args:
        images: `(N, H, W, channels)`, bytes or floats in `[0, 1]`; or `(N, steps, units)`, floats.
        labels: `(N, ...)`.
        seed: Of the order.
        shuffle: Whether every pass has an order of its own.
        redraw: Of no effect: nothing is drawn here.

    Returns:
        A data set of `(image, label)`.
    """
    pixels, classes = tf.constant(images), tf.constant(labels)
    return indices(len(images), seed, shuffle).map(
        lambda index: (as_floats(pixels[index]), classes[index]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
