"""tf.data pipelines over images or sequences that fit into memory."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

BATCHING = ("bucketed", "ragged")
# Pictures are shrunk to this many pixels along the shorter side before 224 of them are cut out.
SHORTER_SIDE, CROP = 256, 224


def index_order(count: int, seed: int, shuffle: bool) -> tf.data.Dataset:
    """Counts from 0, or in an order that is new in every pass and the same for a seed."""
    order = tf.data.Dataset.range(count)
    if shuffle:
        order = order.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    return order


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Brings pixels to `[0, 1]`: bytes are divided by 255, floats are there already."""
    return tf.image.convert_image_dtype(images, tf.float32)


def to_gray(images: tf.Tensor) -> tf.Tensor:
    """Brings colors `(..., 3)`, bytes or floats, to one gray channel in `[0, 1]` by luma (BT.601).

    Example:
    >>> round(float(to_gray(tf.constant([255, 0, 0], tf.uint8))[0]), 3)
    0.299
    """
    return tf.image.rgb_to_grayscale(to_float(images))


def serve_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Serves images, or sequences, as they are.

    Args:
        images: `(N, H, W, channels)`, bytes or floats in `[0, 1]`; or `(N, steps, units)`, floats.
        labels: `(N, ...)`.
        seed: Of the order.
        shuffle: Whether every pass has an order of its own.
        augment: Of no effect: nothing is drawn here.

    Returns:
        A data set of `(image, label)`.
    """
    pixels, classes = tf.constant(images), tf.constant(labels)
    return index_order(len(images), seed, shuffle).map(
        lambda index: (to_float(pixels[index]), classes[index]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


class SizedImages(Protocol):
    """What `serve_images` and `serve_image_batches` serve."""

    @property
    def sizes(self) -> np.ndarray | None:
        """Rows and columns of every picture, `(N, 2)`; None where all come in the same size."""

    @property
    def batching(self) -> str:
        """`"bucketed"` or `"ragged"`."""

    def single_examples(self, *, seed: int, shuffle: bool, augment: bool) -> tf.data.Dataset:
        """Gives `(image, label)`."""

    def same_size_batches(
        self, places: tf.data.Dataset, *, seed: int, augment: bool
    ) -> tf.data.Dataset:
        """Gives `(images, labels)` of the same size for places `(B,)`."""


def serve_images(
    pictures: SizedImages, *, seed: int = 0, shuffle: bool = False, augment: bool = False
) -> tf.data.Dataset:
    """Serves pictures one by one.

    Args:
        pictures: What to serve.
        seed: Of the order and of what is drawn.
        shuffle: Whether every pass has an order of its own.
        augment: Whether every pass draws anew what is drawn of a picture.

    Returns:
        A data set of `(image, label)` with float32 images `(H, W, channels)` in `[0, 1]`.
    """
    return pictures.single_examples(seed=seed, shuffle=shuffle, augment=augment)


def serve_image_batches(
    pictures: SizedImages,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Serves batches of pictures, of one size each or ragged where their sizes differ.

    Args:
        pictures: What to serve.
        batch_size: The most pictures of a batch.
        seed: As for `serve_images`.
        shuffle: As for `serve_images`; batches of one size keep their pictures.
        augment: As for `serve_images`.

    Returns:
        A data set of `(images, labels)`, images `(B, H, W, channels)`.
    """
    if pictures.sizes is None or pictures.batching == "ragged":
        single_examples = pictures.single_examples(seed=seed, shuffle=shuffle, augment=augment)
        alike = pictures.sizes is None
        return (
            single_examples.batch(batch_size) if alike else single_examples.ragged_batch(batch_size)
        )
    places = bucket_by_size(pictures.sizes, batch_size, seed, shuffle)
    return pictures.same_size_batches(places, seed=seed, augment=augment)


def bucket_by_size(sizes: np.ndarray, batch_size: int, seed: int, shuffle: bool) -> tf.data.Dataset:
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
    >>> [batch.tolist() for batch in bucket_by_size(sizes, 2, 0, False).as_numpy_iterator()]
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
    return index_order(len(starts), seed, shuffle).map(
        lambda batch: places[borders[batch] : borders[batch + 1]]
    )


class ImageReader(Protocol):
    """What `serve_stream` serves: pictures on disk, and how to read them."""

    @property
    def size(self) -> int:
        """Pixels along the sides of what is cut out."""

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Gives `(picture, label)`, where `read` knows what a picture is."""

    def read(self, picture: Any) -> tf.Tensor:
        """Reads a picture: bytes `(H, W, 3)`."""


def serve_stream(
    stream: ImageReader, *, seed: int = 0, shuffle: bool = False, augment: bool = False
) -> tf.data.Dataset:
    """Cuts squares out of pictures whose shorter sides are brought to 256 pixels for each 224.

    Args:
        stream: What to read.
        seed: Of the order, the squares and the flips.
        shuffle: Whether every pass has an order of its own.
        augment: Whether every pass draws where the squares are and mirrors half of them. Without,
            they are cut out of the middle.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, 3)` in `[0, 1]`.
    """
    examples, size = stream.examples(seed, shuffle), stream.size
    if not augment:
        return examples.map(
            lambda picture, label: (
                center_crop(resize_for_crop(stream.read(picture), size), size),
                label,
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip(examples, draws).map(
        lambda example, draw: (
            random_crop(resize_for_crop(stream.read(example[0]), size), size, draw),
            example[1],
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def cut_to_box(picture: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Cuts a picture to a box, rounded to whole pixels, of which at least one is left.

    Args:
        picture: `(H, W, channels)`.
        box: Top, left, bottom and right as shares of H and W, `(4,)`, as in tensorflow-datasets.

    Example:
    >>> cut_to_box(tf.zeros((100, 200, 3)), tf.constant([0.1, 0.5, 0.4, 1.0])).shape
    TensorShape([30, 100, 3])
    """
    sides = tf.shape(picture)[:2]
    corners = tf.round(tf.reshape(box, (2, 2)) * tf.cast(sides, box.dtype))
    first, last = tf.unstack(tf.cast(corners, tf.int32))
    first = tf.clip_by_value(first, 0, sides - 1)
    last = tf.clip_by_value(last, first + 1, sides)
    return picture[first[0] : last[0], first[1] : last[1]]


def resize_for_crop(picture: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes a picture, in proportion, so that squares of `size` can be cut out.

    Args:
        picture: Bytes `(H, W, 3)`.
        size: Pixels along the squares' sides.

    Returns:
        Float32 `(H, W, 3)` in `[0, 1]`, the shorter of H and W 256 / 224 times `size`.

    Example:
    >>> resize_for_crop(tf.zeros((300, 600, 3), tf.uint8), 224).shape
    TensorShape([256, 512, 3])
    """
    picture = to_float(picture)
    sides = tf.cast(tf.shape(picture)[:2], tf.float32)
    shorter = round(SHORTER_SIDE * size / CROP)
    wanted = tf.cast(tf.round(shorter * sides / tf.reduce_min(sides)), tf.int32)
    return tf.image.resize(picture, wanted, antialias=True)


def center_crop(picture: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts a square of `size` pixels out of the middle.

    Example:
    >>> center_crop(tf.reshape(tf.range(12.0), (3, 4, 1)), 2)[:, :, 0].numpy().tolist()
    [[1.0, 2.0], [5.0, 6.0]]
    """
    corner = (tf.shape(picture)[:2] - size) // 2
    return tf.slice(picture, [corner[0], corner[1], 0], [size, size, picture.shape[-1]])


def random_crop(picture: tf.Tensor, size: int, draw: tf.Tensor) -> tf.Tensor:
    """Cuts a square of `size` pixels out at a place that `draw` decides, and mirrors half of them.

    Example:
    >>> random_crop(tf.zeros((9, 12, 3)), 8, tf.constant(5, tf.int64)).shape
    TensorShape([8, 8, 3])
    """
    square = tf.image.stateless_random_crop(picture, (size, size, picture.shape[-1]), (draw, 0))
    return tf.image.stateless_random_flip_left_right(square, (draw, 1))
