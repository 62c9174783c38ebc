"""`tf.data` pipelines: arrays in memory, images from disk, and batches of images of one size."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

BATCHING = ("bucketed", "ragged")
# The shorter side is resized to 256 pixels before a crop of 224.
SHORTER_SIDE, CROP = 256, 224


def index_order(count: int, seed: int, shuffle: bool) -> tf.data.Dataset:
    """Yields indices from 0, or reshuffled in every epoch, reproducible by the seed."""
    order = tf.data.Dataset.range(count)
    if shuffle:
        order = order.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    return order


def epoch_seeds(seed: int, augment: bool = True) -> tf.data.Dataset:
    """Yields a seed for every example: a new one with `augment`, otherwise always `seed`."""
    if augment:
        return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Converts images to float32 in `[0, 1]`: uint8 is divided by 255, floats are kept."""
    return tf.image.convert_image_dtype(images, tf.float32)


def to_gray(images: tf.Tensor) -> tf.Tensor:
    """Converts RGB images `(..., 3)`, uint8 or floats, to grayscale in `[0, 1]` (luma of BT.601).

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
    """Builds a pipeline over arrays of images, uint8 or floats in `[0, 1]`, or of sequences.

    `augment` is ignored: this pipeline draws nothing at random.
    """
    pixels, classes = tf.constant(images), tf.constant(labels)
    return index_order(len(images), seed, shuffle).map(
        lambda index: (to_float(pixels[index]), classes[index]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


class SizedImages(Protocol):
    """The input of `serve_images` and `serve_image_batches`."""

    @property
    def sizes(self) -> np.ndarray | None:
        """Height and width of every image, `(N, 2)`; None if all have one size."""

    @property
    def batching(self) -> str: ...

    def single_examples(self, *, seed: int, shuffle: bool, augment: bool) -> tf.data.Dataset: ...

    def same_size_batches(
        self, indices: tf.data.Dataset, *, seed: int, augment: bool
    ) -> tf.data.Dataset:
        """Returns batches `(images, labels)` of one size for batches of indices `(B,)`."""


def serve_images(
    images: SizedImages, *, seed: int = 0, shuffle: bool = False, augment: bool = False
) -> tf.data.Dataset:
    """Builds a pipeline of single images, which may have different sizes."""
    return images.single_examples(seed=seed, shuffle=shuffle, augment=augment)


def serve_image_batches(
    images: SizedImages,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Builds a pipeline of batches; images of different sizes are bucketed or ragged.

    Bucketed batches are shuffled as a whole.
    """
    if images.sizes is None or images.batching == "ragged":
        examples = images.single_examples(seed=seed, shuffle=shuffle, augment=augment)
        is_ragged = images.sizes is not None
        return examples.ragged_batch(batch_size) if is_ragged else examples.batch(batch_size)
    indices = bucket_by_size(images.sizes, batch_size, seed, shuffle)
    return images.same_size_batches(indices, seed=seed, augment=augment)


def bucket_by_size(sizes: np.ndarray, batch_size: int, seed: int, shuffle: bool) -> tf.data.Dataset:
    """Groups images of exactly the same size into batches, so that no padding is needed.

    With `shuffle` the batches are shuffled in every epoch; their images stay the same.

    Returns:
        A data set of batches of image indices, int64 `(B,)`; the smallest images come first.

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
    indices, borders = tf.constant(order), tf.constant([*starts, len(sizes)], tf.int64)
    return index_order(len(starts), seed, shuffle).map(
        lambda batch: indices[borders[batch] : borders[batch + 1]]
    )


class ImageReader(Protocol):
    """Protocol of the input of `serve_stream`: images on disk and a function to read them."""

    @property
    def size(self) -> int: ...

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Returns a data set of `(image, label)`, where `image` is the argument of `read`."""

    def read(self, image: Any) -> tf.Tensor:
        """Decodes an image: uint8 `(H, W, 3)`."""


def serve_stream(
    stream: ImageReader, *, seed: int = 0, shuffle: bool = False, augment: bool = False
) -> tf.data.Dataset:
    """Builds a pipeline of square crops of images that are read from disk in every epoch.

    The shorter side of an image is resized to 256 / 224 of the crop size first. With `augment`
    crops and horizontal flips are random and new in every epoch; otherwise crops are centered.
    """
    size = stream.size

    def crop(example: tuple[Any, tf.Tensor], draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        resized = resize_for_crop(stream.read(example[0]), size)
        square = random_crop(resized, size, draw) if augment else center_crop(resized, size)
        return square, example[1]

    return tf.data.Dataset.zip(stream.examples(seed, shuffle), epoch_seeds(seed, augment)).map(
        crop, num_parallel_calls=tf.data.AUTOTUNE
    )


def cut_to_box(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Crops an image to a box, rounded to whole pixels and at least one pixel large.

    The box is top, left, bottom and right relative to H and W, as in tensorflow-datasets.

    Example:
    >>> cut_to_box(tf.zeros((100, 200, 3)), tf.constant([0.1, 0.5, 0.4, 1.0])).shape
    TensorShape([30, 100, 3])
    """
    sides = tf.shape(image)[:2]
    corners = tf.round(tf.reshape(box, (2, 2)) * tf.cast(sides, box.dtype))
    first, last = tf.unstack(tf.cast(corners, tf.int32))
    first = tf.clip_by_value(first, 0, sides - 1)
    last = tf.clip_by_value(last, first + 1, sides)
    return image[first[0] : last[0], first[1] : last[1]]


def resize_for_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes an image to a shorter side of 256 / 224 times `size`, keeping its aspect ratio.

    Example:
    >>> resize_for_crop(tf.zeros((300, 600, 3), tf.uint8), 224).shape
    TensorShape([256, 512, 3])
    """
    image = to_float(image)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    shorter = round(SHORTER_SIDE * size / CROP)
    wanted = tf.cast(tf.round(shorter * sides / tf.reduce_min(sides)), tf.int32)
    return tf.image.resize(image, wanted, antialias=True)


def center_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the center crop of `size` pixels.

    Example:
    >>> center_crop(tf.reshape(tf.range(12.0), (3, 4, 1)), 2)[:, :, 0].numpy().tolist()
    [[1.0, 2.0], [5.0, 6.0]]
    """
    corner = (tf.shape(image)[:2] - size) // 2
    return tf.slice(image, [corner[0], corner[1], 0], [size, size, image.shape[-1]])


def random_crop(image: tf.Tensor, size: int, draw: tf.Tensor) -> tf.Tensor:
    """Returns a random crop of `size` pixels, flipped horizontally at random; `draw` is the seed.

    Example:
    >>> random_crop(tf.zeros((9, 12, 3)), 8, tf.constant(5, tf.int64)).shape
    TensorShape([8, 8, 3])
    """
    square = tf.image.stateless_random_crop(image, (size, size, image.shape[-1]), (draw, 0))
    return tf.image.stateless_random_flip_left_right(square, (draw, 1))
