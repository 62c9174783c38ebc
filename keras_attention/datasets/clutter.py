"""Images somewhere in larger ones, among pieces of others, in the proportions of known sets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats, indices
from keras_attention.utils.validation import is_integer, positive_integer

DISTRACTORS = 8
# Images are composed together, which is many times faster than one by one.
TOGETHER = 128


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
    redraw: bool = False,
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
        redraw: Whether every pass draws new places and distractors.

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

    if redraw:
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    else:
        seeds = tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()
    draws = tf.data.Dataset.zip(indices(count, seed, shuffle), seeds).map(draw)
    made = draws.batch(TOGETHER).map(
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
    """Serves what `read_cluttered` reads; the other arguments are `seed`, `shuffle`, `redraw`."""
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
    values = as_floats(tf.concat([whole, cuttings], axis=1))
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
