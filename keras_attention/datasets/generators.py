"""Images somewhere in larger ones, among pieces of others, in the proportions of known sets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.pipelines import index_order, to_float
from keras_attention.utils.validation import is_integer, positive_integer

DISTRACTORS = 8


# Images are composed together, which is many times faster than one by one.
COMPOSE_BATCH = 128


@dataclass(frozen=True)
class Proportions:
    """What a published set of cluttered images measures.

    Attributes:
        size: Pixels along the sides of an image.
        digit: Pixels along the sides of what it shows.
        patch: Pixels along the sides of a distractor.
    """

    size: int
    digit: int
    patch: int

    def of_digit(self, side: int) -> tuple[int, int]:
        """The sides of an image and of its distractors around a digit of `side` pixels.

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
    """Puts each image into the top-left quadrant and three others into the rest.

    Args:
        images: `(N, H, W, channels)`, bytes or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        seed: Of the distractors and the order.
        shuffle: Whether every pass has an order of its own.
        augment: Whether every pass draws new distractors. Without, each image keeps its own, as
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
        return to_float(tf.concat([upper, lower], axis=0)), classes[index]

    if augment:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    else:
        draws = tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()
    order = index_order(len(images), seed, shuffle)
    return tf.data.Dataset.zip(order, draws).map(compose, num_parallel_calls=tf.data.AUTOTUNE)


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
    """Puts each image at a random place of a larger one, with random pieces of others around it.

    A distractor is a square cut out anywhere of any other image, of whatever class, and put
    anywhere; borders are as likely as middles, so some are empty. Where images and pieces lie on
    each other their values are added, and limited to 1.

    Args:
        images: `(N, H, H, channels)`, bytes or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        distractors: How many pieces an image gets, 0 or more. For a seed, those of a smaller number
            are among those of a larger one, and the image is at the same place.
        size: Pixels along the sides of what is made; None for 40 / 28 of `H`, rounded.
        patch_size: Pixels along the sides of a distractor; None for 8 / 28 of `H`, rounded.
        seed: Of the places, the distractors and the order.
        shuffle: Whether every pass has an order of its own.
        augment: Whether every pass draws new places and distractors. Without, each image keeps its
            own, whatever the order.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, channels)` in `[0, 1]`.

    Raises:
        ValueError: For fewer than two images or images that are not square, as many labels as there
            are no images, a negative number of distractors, or sizes that do not fit.

    Example:
    >>> images, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4)
    >>> cluttered_translated(images, labels, distractors=4).element_spec[0].shape
    TensorShape([40, 40, 1])
    """
    return scatter(
        images,
        labels,
        distractors=distractors,
        size=size,
        patch_size=patch_size,
        proportions=TRANSLATED,
        seed=seed,
        shuffle=shuffle,
        augment=augment,
    )


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
        augment: Whether every pass draws new places and distractors. Without, each image keeps its
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
        augment=augment,
    )


def scatter(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    distractors: int,
    size: int | None,
    patch_size: int | None,
    proportions: Proportions = TRANSLATED,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Puts each image at a random place of a larger one, with random pieces of others around it.

    Args:
        images: `(N, H, H, channels)`, bytes or floats in `[0, 1]`; at least two.
        labels: `(N,)`.
        distractors: How many pieces an image gets, 0 or more.
        size: Pixels along the sides of what is made; None as the proportions say.
        patch_size: Pixels along the sides of a distractor; None as the proportions say.
        proportions: Of a published set.
        seed: Of the places, the distractors and the order.
        shuffle: Whether every pass has an order of its own.
        augment: Whether every pass draws new places and distractors.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, channels)` in `[0, 1]`.

    Raises:
        ValueError: As `cluttered_translated` and `cluttered` say.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    side, distractors = _side(images, labels), _number(distractors)
    size, patch = _checked(side, proportions.of_digit(side), size, patch_size)
    count = len(images)
    # Of the image its place; of each distractor whose it is, where it is cut out and where it goes.
    free, inner, outer = size - side + 1, side - patch + 1, size - patch + 1
    choices = [free, free] + distractors * [count - 1, inner, inner, outer, outer]
    compose = partial(_compose, tf.constant(images), size=size, patch=patch)
    classes = tf.constant(labels)

    def draw(index: tf.Tensor, of_pass: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bits = tf.random.stateless_uniform(
            (len(choices),), (of_pass, index), minval=None, maxval=None, dtype=tf.int32
        )
        return index, tf.math.floormod(bits, choices)

    if augment:
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    else:
        seeds = tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()
    draws = tf.data.Dataset.zip(index_order(count, seed, shuffle), seeds).map(draw)
    made = draws.batch(COMPOSE_BATCH).map(
        lambda chosen, drawn: (compose(chosen, drawn), tf.gather(classes, chosen)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return made.unbatch().apply(tf.data.experimental.assert_cardinality(count))


def read_cluttered(
    read: Callable[..., tuple[np.ndarray, np.ndarray]],
    split: str,
    size: int | None = None,
    train_size: int | None = None,
    distractors: int = DISTRACTORS,
    proportions: Proportions = TRANSLATED,
    **place: Any,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Reads images of the size that they have in the larger ones to be made of them.

    Args:
        read: Reads the images and labels of a part, such as `read_digits`.
        split: `"train"` or `"test"`.
        size: Pixels along the sides of what is made, in which images and distractors keep their
            proportions; None for the published size.
        train_size: What `read` takes.
        distractors: Of each image, 0 or more.
        proportions: 28 and 8 of 40 pixels for images and distractors, as `TRANSLATED`, or 28 and 8
            of 100, as `CLUTTERED`.
        **place: What else `read` takes.

    Returns:
        Images, labels and what else `cluttered_translated` and `cluttered` take.

    Raises:
        ValueError: For a size that leaves no pixel to a distractor, less than 3 of 40 or 7 of 100,
            or a negative number of distractors.

    Example:
    >>> from keras_attention.datasets.digits import read_digits
    >>> images, labels, clutter = read_cluttered(read_digits, "test", size=20)
    >>> images.shape[1:3], clutter
    ((14, 14), {'distractors': 8, 'size': 20, 'patch_size': 4})
    """
    usual = proportions
    size = usual.size if size is None else size
    patch_size = round(size * usual.patch / usual.size)
    if patch_size < 1:
        least = usual.size // (2 * usual.patch) + 1
        raise ValueError(f"`size` must be {least} or more. Received: size={size}")
    clutter = {"distractors": _number(distractors), "size": size, "patch_size": patch_size}
    side = round(size * usual.digit / usual.size)
    return *read(split, size=side, train_size=train_size, **place), clutter


def serve_cluttered(
    images: np.ndarray, labels: np.ndarray, clutter: dict[str, Any], **order: Any
) -> tf.data.Dataset:
    """Serves what `read_cluttered` reads; the other arguments are `seed`, `shuffle`, `augment`."""
    return scatter(images, labels, **clutter, **order)


def _number(distractors: Any) -> int:
    if is_integer(distractors) and int(distractors) >= 0:
        return int(distractors)
    raise ValueError(
        f"`distractors` must be an integer, 0 or more. Received: distractors={distractors!r}"
    )


def _side(images: np.ndarray, labels: np.ndarray) -> int:
    """The side of square images that have labels."""
    square = images.ndim == 4 and images.shape[1] == images.shape[2] > 0
    if not square or len(images) < 2 or labels.shape != (len(images),):
        raise ValueError(
            "`images` must be at least two, of shape (N, H, H, channels), with `labels` of shape "
            f"(N,). Received: images.shape={images.shape}, labels.shape={labels.shape}"
        )
    return images.shape[1]


def _checked(side: int, usual: tuple[int, int], size: Any, patch: Any) -> tuple[int, int]:
    """The sides of the image to be made and of its distractors."""
    size = usual[0] if size is None else positive_integer("size", size)
    patch = usual[1] if patch is None else positive_integer("patch_size", patch)
    if patch <= side <= size:
        return size, patch
    raise ValueError(
        f"`size` must be {side} or more, and `patch_size` {side} or less, as images have sides of "
        f"{side} pixels. Received: size={size}, patch_size={patch}"
    )


def _compose(
    pixels: tf.Tensor, chosen: tf.Tensor, drawn: tf.Tensor, *, size: int, patch: int
) -> tf.Tensor:
    """Makes images `(B, size, size, channels)` of what was drawn for each, `(B, choices)`."""
    count, side, _, channels = pixels.shape
    batch = tf.shape(drawn)[0]
    chosen = tf.cast(chosen, tf.int32)
    pieces = tf.reshape(drawn[:, 2:], (batch, -1, 5))
    # An offset from 1 to count - 1 never comes back to the image itself.
    others = (chosen[:, None] + 1 + pieces[..., 0]) % count
    cut = others[..., None] * side**2 + _square(pieces[..., 1:3], patch, side)
    canvas = tf.range(batch)[:, None] * size**2
    places = tf.concat(
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
    summed = tf.math.unsorted_segment_sum(values, places, batch * size**2)
    return tf.minimum(tf.reshape(summed, (batch, size, size, channels)), 1.0)


def _square(corners: tf.Tensor, side: int, width: int) -> tf.Tensor:
    """The places of a square's pixels in an image of `width`, `(..., side * side)`.

    Example:
    >>> _square(tf.constant([[1, 2]]), side=2, width=10).numpy().tolist()
    [[12, 13, 22, 23]]
    """
    steps = np.arange(side)
    within = (steps[:, None] * width + steps).reshape(-1)
    return corners[..., :1] * width + corners[..., 1:] + within
