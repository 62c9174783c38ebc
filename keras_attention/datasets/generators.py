"""Images composed from labeled images: top-left, cluttered, and cluttered translated.

References: Chitta, Targeted Kernel Networks (2018), section 4.1 (tlMNIST); Mnih et al., Recurrent
Models of Visual Attention (2014), section 4.1 (Cluttered MNIST); Almahairi et al., Dynamic Capacity
Networks (2016), section 4.1; Rodriguez et al., Attend and Rectify (2018), section 4.1 (Cluttered
Translated MNIST).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.pipelines import epoch_seeds, index_order, to_float
from keras_attention.utils.validation import non_negative_integer, positive_integer

DISTRACTORS = 8
# Images are composed in batches, which is many times faster than one at a time.
COMPOSE_BATCH = 128


@dataclass(frozen=True)
class Proportions:
    """Sides in pixels of an image, its digit and a distractor in a published cluttered set."""

    size: int
    digit: int
    patch: int

    def of_digit(self, side: int) -> tuple[int, int]:
        """Returns the sides of an image and of its distractors for a digit of `side` pixels.

        Example:
        >>> Proportions(size=100, digit=28, patch=8).of_digit(14)
        (50, 4)
        """
        return round(side * self.size / self.digit), max(1, round(side * self.patch / self.digit))


# Rodriguez et al., Attend and Rectify (2018), section 4.1: Cluttered Translated MNIST.
TRANSLATED = Proportions(size=40, digit=28, patch=8)
# Mnih et al., Recurrent Models of Visual Attention (2014), section 4.1: Cluttered MNIST.
CLUTTERED = Proportions(size=100, digit=28, patch=8)


def top_left(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Puts each image into the top-left quadrant and three other images into the rest.

    The label is that of the top-left image.

    Args:
        images: `(N, H, W, channels)`, uint8 or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        seed: Seed of the distractors and the order.
        shuffle: If True, reshuffle the examples in every epoch.
        augment: If True, draw new distractors in every epoch. Otherwise each image keeps its own,
            as in the paper, independent of the order.

    Returns:
        A data set of `(image, label)` with float32 images `(2H, 2W, channels)` in `[0, 1]`.

    Raises:
        ValueError: If there are fewer than two images, or the number of labels differs.

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
        # An offset from 1 to count - 1 never selects the image itself.
        offsets = tf.random.stateless_uniform((3,), (draw, index), 1, count, tf.int64)
        right, below, across = tf.unstack(tf.gather(pixels, (index + offsets) % count))
        upper = tf.concat([pixels[index], right], axis=1)
        lower = tf.concat([below, across], axis=1)
        return to_float(tf.concat([upper, lower], axis=0)), classes[index]

    order = index_order(len(images), seed, shuffle)
    return tf.data.Dataset.zip(order, epoch_seeds(seed, augment)).map(
        compose, num_parallel_calls=tf.data.AUTOTUNE
    )


def cluttered_translated(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    distractors: int = DISTRACTORS,
    size: int | None = None,
    patch_size: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Puts each image at a random position of a larger one, among random patches of other images.

    A distractor is a square patch from a random position of a random other image of any class, at a
    random position. All positions are equally likely, so some patches are empty. Overlapping values
    are added and clipped to 1.

    Args:
        images: `(N, H, H, channels)`, uint8 or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        distractors: Number of distractors per image, 0 or more. With the same seed, a smaller
            number gives a subset of the distractors and the same position of the image.
        size: Side of the output in pixels; None means 40 / 28 of `H`, rounded.
        patch_size: Side of a distractor in pixels; None means 8 / 28 of `H`, rounded.
        seed: Seed of the positions, the distractors and the order.
        shuffle: If True, reshuffle the examples in every epoch.
        augment: If True, draw new positions and distractors in every epoch. Otherwise each image
            keeps its own, independent of the order.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, channels)` in `[0, 1]`.

    Raises:
        ValueError: If there are fewer than two images, images are not square, the number of labels
            differs, `distractors` is negative, or sizes do not fit.

    Example:
    >>> images, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4)
    >>> cluttered_translated(images, labels, distractors=4).element_spec[0].shape
    TensorShape([40, 40, 1])
    """
    order: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "augment": augment}
    return _scatter(images, labels, TRANSLATED, distractors, size, patch_size, **order)


def cluttered(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    distractors: int = DISTRACTORS,
    size: int | None = None,
    patch_size: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Puts each image at a random position of a much larger one, among patches of other images.

    Like `cluttered_translated`, but the side of the image is 28 / 100 instead of 28 / 40 of that of
    the output.

    Args:
        images: See `cluttered_translated`.
        labels: See `cluttered_translated`.
        distractors: See `cluttered_translated`.
        size: Side of the output in pixels; None means 100 / 28 of `H`, rounded.
        patch_size: Side of a distractor in pixels; None means 8 / 28 of `H`, rounded.
        seed: See `cluttered_translated`.
        shuffle: See `cluttered_translated`.
        augment: See `cluttered_translated`.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, channels)` in `[0, 1]`.

    Raises:
        ValueError: See `cluttered_translated`.

    Example:
    >>> images, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4)
    >>> cluttered(images, labels, distractors=4).element_spec[0].shape
    TensorShape([100, 100, 1])
    """
    order: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "augment": augment}
    return _scatter(images, labels, CLUTTERED, distractors, size, patch_size, **order)


def _scatter(
    images: np.ndarray,
    labels: np.ndarray,
    proportions: Proportions,
    distractors: int,
    size: int | None,
    patch_size: int | None,
    *,
    seed: int,
    shuffle: bool,
    augment: bool,
) -> tf.data.Dataset:
    """Composes cluttered images; `proportions` determine the sizes that are None."""
    images, labels = np.asarray(images), np.asarray(labels)
    square = images.ndim == 4 and images.shape[1] == images.shape[2] > 0
    if not square or len(images) < 2 or labels.shape != (len(images),):
        raise ValueError(
            "`images` must be at least two, of shape (N, H, H, channels), with `labels` of shape "
            f"(N,). Received: images.shape={images.shape}, labels.shape={labels.shape}"
        )
    side, distractors = images.shape[1], non_negative_integer("distractors", distractors)
    usual_size, usual_patch = proportions.of_digit(side)
    size = usual_size if size is None else positive_integer("size", size)
    patch = usual_patch if patch_size is None else positive_integer("patch_size", patch_size)
    if not patch <= side <= size:
        raise ValueError(
            f"`size` must be at least {side} and `patch_size` at most {side}, the side of the "
            f"images. Received: size={size}, patch_size={patch}"
        )
    count = len(images)
    # Ranges of the random integers: position of the image; for each distractor its source image,
    # its position there and its position in the output.
    image_range, source_range, target_range = size - side + 1, side - patch + 1, size - patch + 1
    piece = [count - 1, source_range, source_range, target_range, target_range]
    choices = [image_range, image_range, *distractors * piece]
    compose = partial(_compose, tf.constant(images), size=size, patch=patch)
    classes = tf.constant(labels)

    def draw(index: tf.Tensor, epoch_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bits = tf.random.stateless_uniform(
            (len(choices),), (epoch_seed, index), minval=None, maxval=None, dtype=tf.int32
        )
        return index, tf.math.floormod(bits, choices)

    order = index_order(count, seed, shuffle)
    draws = tf.data.Dataset.zip(order, epoch_seeds(seed, augment)).map(draw)
    composed = draws.batch(COMPOSE_BATCH).map(
        lambda chosen, drawn: (compose(chosen, drawn), tf.gather(classes, chosen)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return composed.unbatch().apply(tf.data.experimental.assert_cardinality(count))


def read_cluttered(
    read: Callable[..., tuple[np.ndarray, np.ndarray]],
    split: str,
    size: int | None = None,
    train_size: int | None = None,
    distractors: int = DISTRACTORS,
    proportions: Proportions = TRANSLATED,
    **read_options: Any,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Reads images at the size that they have within the cluttered images.

    Args:
        read: Function that reads images and labels of a split, such as `read_digits`.
        split: `"train"` or `"test"`.
        size: Side of the cluttered images in pixels; images and distractors are scaled in
            proportion. None uses the published size.
        train_size: Argument of `read`.
        distractors: Number of distractors per image, 0 or more.
        proportions: Sizes of the published set: `TRANSLATED` or `CLUTTERED`.
        **read_options: Further arguments of `read`, such as `data_dir`.

    Returns:
        Images, labels and keyword arguments of `cluttered_translated` and `cluttered`.

    Raises:
        ValueError: If `size` is so small that distractors have no pixels (less than 3 for
            `TRANSLATED`, 7 for `CLUTTERED`), or `distractors` is negative.

    Example:
    >>> from keras_attention.datasets.digits import read_digits
    >>> images, labels, clutter = read_cluttered(read_digits, "test", size=20)
    >>> images.shape[1:3], clutter
    ((14, 14), {'distractors': 8, 'size': 20, 'patch_size': 4})
    """
    size = proportions.size if size is None else size
    patch_size = round(size * proportions.patch / proportions.size)
    if patch_size < 1:
        least = proportions.size // (2 * proportions.patch) + 1
        raise ValueError(f"`size` must be {least} or more. Received: size={size}")
    distractors = non_negative_integer("distractors", distractors)
    clutter = {"distractors": distractors, "size": size, "patch_size": patch_size}
    side = round(size * proportions.digit / proportions.size)
    return *read(split, size=side, train_size=train_size, **read_options), clutter


def serve_cluttered(
    images: np.ndarray, labels: np.ndarray, clutter: dict[str, Any], **order: Any
) -> tf.data.Dataset:
    """Serves what `read_cluttered` reads; the other arguments are `seed`, `shuffle`, `augment`."""
    return cluttered(images, labels, **clutter, **order)


def _compose(
    pixels: tf.Tensor, chosen: tf.Tensor, drawn: tf.Tensor, *, size: int, patch: int
) -> tf.Tensor:
    """Composes images `(B, size, size, channels)` from random integers `(B, choices)`."""
    count, side, _, channels = pixels.shape
    batch = tf.shape(drawn)[0]
    chosen = tf.cast(chosen, tf.int32)
    pieces = tf.reshape(drawn[:, 2:], (batch, -1, 5))
    # An offset from 1 to count - 1 never selects the image itself.
    others = (chosen[:, None] + 1 + pieces[..., 0]) % count
    cut = others[..., None] * side**2 + _square(pieces[..., 1:3], patch, side)
    canvas = tf.range(batch)[:, None] * size**2
    positions = tf.concat(
        [
            canvas + _square(drawn[:, :2], side, size),
            tf.reshape(canvas[..., None] + _square(pieces[..., 3:], patch, size), (batch, -1)),
        ],
        axis=1,
    )
    flat = tf.reshape(pixels, (-1, channels))
    whole = tf.reshape(tf.gather(pixels, chosen), (batch, side**2, channels))
    cuttings = tf.reshape(tf.gather(flat, cut), (batch, -1, channels))
    values = to_float(tf.concat([whole, cuttings], axis=1))
    summed = tf.math.unsorted_segment_sum(values, positions, batch * size**2)
    return tf.minimum(tf.reshape(summed, (batch, size, size, channels)), 1.0)


def _square(corners: tf.Tensor, side: int, width: int) -> tf.Tensor:
    """Flat pixel indices of squares in images of a given width, `(..., side * side)`.

    Example:
    >>> _square(tf.constant([[1, 2]]), side=2, width=10).numpy().tolist()
    [[12, 13, 22, 23]]
    """
    steps = np.arange(side)
    within = (steps[:, None] * width + steps).reshape(-1)
    return corners[..., :1] * width + corners[..., 1:] + within
