"""Images whose label is that of the object in the top-left quadrant.

Reference: Chitta, Targeted Kernel Networks (2018), section 4.1 (tlMNIST).
"""

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats, indices


def top_left(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Puts each image into the top-left quadrant and three others into the rest.

    Args:
        images: `(N, H, W, channels)`, bytes or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        seed: Of the distractors and the order.
        shuffle: Whether every pass has an order of its own.
        redraw: Whether every pass draws new distractors. Without, each image keeps its own, as
            in the paper, whatever the order.

    Returns:
        A data set of `(image, label)` with float32 images `(2H, 2W, channels)` in `[0, 1]`.

    Raises:
        ValueError: For fewer than two images, or as many labels as there are no images.

    Example:
    >>> images, labels = np.zeros((4, 28, 28, 1), "float32"), np.arange(4)
    >>> top_left(images, labels).element_spec[0].shape
    TensorShape([56, 56, 1])
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or len(images) < 2 or labels.shape != (len(images),):
        raise ValueError(
            "`images` must be at least two, of shape (N, H, W, channels), with `labels` of shape "
            f"(N,). Received: images.shape={images.shape}, labels.shape={labels.shape}"
        )
    pixels, classes = tf.constant(images), tf.constant(labels)
    count = tf.constant(len(images), tf.int64)

    def compose(index: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # An offset from 1 to count - 1 never comes back to the image itself.
        offsets = tf.random.stateless_uniform((3,), (draw, index), 1, count, tf.int64)
        right, below, across = tf.unstack(tf.gather(pixels, (index + offsets) % count))
        upper = tf.concat([pixels[index], right], axis=1)
        lower = tf.concat([below, across], axis=1)
        return as_floats(tf.concat([upper, lower], axis=0)), classes[index]

    if redraw:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    else:
        draws = tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()
    order = indices(len(images), seed, shuffle)
    return tf.data.Dataset.zip(order, draws).map(compose, num_parallel_calls=tf.data.AUTOTUNE)
