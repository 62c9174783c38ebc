"""Batches of images of different sizes: of one size each, or ragged."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import indices

BATCHING = ("bucketed", "ragged")


class Pictures(Protocol):
    """What `serve_pictures` and `serve_picture_batches` serve."""

    @property
    def sizes(self) -> np.ndarray | None:
        """Rows and columns of every picture, `(N, 2)`; None where all come in the same size."""

    @property
    def batching(self) -> str:
        """`"bucketed"` or `"ragged"`."""

    def singles(self, *, seed: int, shuffle: bool, redraw: bool) -> tf.data.Dataset:
        """Gives `(image, label)`."""

    def together(self, places: tf.data.Dataset, *, seed: int, redraw: bool) -> tf.data.Dataset:
        """Gives `(images, labels)` of the same size for places `(B,)`."""


def serve_pictures(
    pictures: Pictures, *, seed: int = 0, shuffle: bool = False, redraw: bool = False
) -> tf.data.Dataset:
    """Serves pictures one by one.

    Args:
        pictures: What to serve.
        seed: Of the order and of what is drawn.
        shuffle: Whether every pass has an order of its own.
        redraw: Whether every pass draws anew what is drawn of a picture.

    Returns:
        A data set of `(image, label)` with float32 images `(H, W, channels)` in `[0, 1]`.
    """
    return pictures.singles(seed=seed, shuffle=shuffle, redraw=redraw)


def serve_picture_batches(
    pictures: Pictures,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Serves batches of pictures, of one size each or ragged where their sizes differ.

    Args:
        pictures: What to serve.
        batch_size: The most pictures of a batch.
        seed: As for `serve_pictures`.
        shuffle: As for `serve_pictures`; batches of one size keep their pictures.
        redraw: As for `serve_pictures`.

    Returns:
        A data set of `(images, labels)`, images `(B, H, W, channels)`.
    """
    if pictures.sizes is None or pictures.batching == "ragged":
        singles = pictures.singles(seed=seed, shuffle=shuffle, redraw=redraw)
        alike = pictures.sizes is None
        return singles.batch(batch_size) if alike else singles.ragged_batch(batch_size)
    places = bucketed(pictures.sizes, batch_size, seed, shuffle)
    return pictures.together(places, seed=seed, redraw=redraw)


def bucketed(sizes: np.ndarray, batch_size: int, seed: int, shuffle: bool) -> tf.data.Dataset:
    """Groups images of exactly the same size, so that no batch has to be padded.

    Args:
        sizes: Rows and columns of every image, `(N, 2)`.
        batch_size: The most images of a batch.
        seed: Of the order.
        shuffle: Whether every pass has an order of batches of its own; their images stay the same.

    Returns:
        A data set of the places of a batch's images, int64 `(B,)`; the smallest come first.

    Example:
    >>> sizes = np.array([[9, 9], [5, 7], [9, 9], [9, 9]])
    >>> [batch.tolist() for batch in bucketed(sizes, 2, 0, False).as_numpy_iterator()]
    [[1], [0, 2], [3]]
    """
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    ordered = sizes[order]
    firsts = np.flatnonzero(np.any(np.diff(ordered, axis=0, prepend=-1), axis=1))
    starts = np.concatenate(
        [
            np.arange(first, end, batch_size)
            for first, end in zip(firsts, [*firsts[1:], len(sizes)], strict=True)
        ]
    )
    places, borders = tf.constant(order), tf.constant([*starts, len(sizes)], tf.int64)
    return indices(len(starts), seed, shuffle).map(
        lambda batch: places[borders[batch] : borders[batch + 1]]
    )
