"""Generated images in the format of SVHN: numbers of one to five digits painted on photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.pipelines import BATCHING, epoch_seeds, index_order, to_gray
from keras_attention.datasets.splits import SPLIT_SEED
from keras_attention.datasets.svhn import MAX_DIGITS, NO_DIGIT
from keras_attention.utils.validation import boolean, one_of, positive_integer

CROP = (54, 110)
# Height and width of whole images, up to those of the hundred largest images of SVHN's test split.
SMALL, MIDDLE, LARGE = (60, 120), (363, 735), (442, 1083)
SIZES = {"mixed": np.geomspace(SMALL, LARGE, 12), "large": np.linspace(MIDDLE, LARGE, 5)}
TRAIN_SIZE, TEST_SIZE = 20_000, 1_000
# Crops are painted in batches, which is faster than one at a time.
COMPOSE_BATCH = 64
# Training images are cropped from the left part of the photographs, test images from the right.
TRAIN_PART = 0.6
# Minimum height and width after reflection padding.
ROWS, COLUMNS = 800, 1400
# Side of a digit in pixels before it is painted, and margin of the plate around a number.
CELL, MARGIN = 32, 8
# Frequencies of numbers of one to five digits, similar to those in SVHN.
SHARES = (0.2, 0.3, 0.3, 0.15, 0.05)
# Range of the height of a number, its maximum width, and range of width / height of a digit.
HEIGHTS, WIDEST, ASPECTS = (32.0, 48.0), 96.0, (0.6, 0.9)
# Names of the random numbers of an image, each from 0 to 1.
DRAW_NAMES = (
    *("length", "photograph", "zoom", "top", "left", "contrast", "light"),
    *("scale", "height", "aspect", "slant", "turn", "row", "column"),
    *("plate", "shade", "difference", "polarity"),
    *(f"digit{index}" for index in range(MAX_DIGITS)),
)
Drawn = dict[str, tf.Tensor]
# Height and width, as integers or tensors.
Size: TypeAlias = tf.Tensor | tuple[int, int]


@dataclass(frozen=True, eq=False)
class NumberPhotographs:
    """Generator of `count` images of numbers, made of `digits` `(N, CELL, CELL)` and photographs.

    `sizes` are height and width of every whole image, `(count, 2)`, or None for crops.
    """

    count: int
    digits: np.ndarray
    labels: np.ndarray
    photographs: np.ndarray
    sizes: np.ndarray | None
    batching: str

    def __len__(self) -> int:
        return self.count

    def single_examples(self, *, seed: int, shuffle: bool, augment: bool) -> tf.data.Dataset:
        """Returns a data set of `(image, label)`."""
        order, paint = index_order(self.count, seed, shuffle), self._painter()
        drawn = tf.data.Dataset.zip(order, epoch_seeds(seed, augment)).map(_draw)
        if self.sizes is None:
            made = drawn.batch(COMPOSE_BATCH).map(
                lambda indices, bits: paint(bits, CROP), num_parallel_calls=tf.data.AUTOTUNE
            )
            return made.unbatch().apply(tf.data.experimental.assert_cardinality(self.count))
        sizes = tf.constant(self.sizes)
        return drawn.map(
            lambda index, bits: tuple(part[0] for part in paint(bits[None], sizes[index])),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def same_size_batches(
        self, indices: tf.data.Dataset, *, seed: int, augment: bool
    ) -> tf.data.Dataset:
        """Returns batches of whole images of one size for batches of indices `(B,)`."""
        sizes, paint = tf.constant(self.sizes), self._painter()

        def painted(batch: tf.Tensor, batch_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bits = tf.map_fn(
                lambda index: _draw(index, batch_seed)[1], batch, fn_output_signature=tf.float32
            )
            return paint(bits, sizes[batch[0]])

        return tf.data.Dataset.zip(indices, epoch_seeds(seed, augment)).map(
            painted, num_parallel_calls=tf.data.AUTOTUNE
        )

    def _painter(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function that paints images `(B, H, W, 1)` with labels `(B, 6)`."""
        # Constants within the pipeline's graph would be copied in every epoch.
        digits, labels, backgrounds = map(tf.constant, (self.digits, self.labels, self.photographs))
        whole = self.sizes is not None

        def paint(bits: tf.Tensor, size: Size) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = unpack_draws(bits)
            length, indices, numbers = draw_numbers(drawn, labels)
            strips = digit_strips(tf.gather(digits, indices), length)
            transforms = placement_transforms(drawn, length, size, whole=whole)
            masks = warp_images(strips, transforms, size)
            return paint_numbers(drawn, cut_backgrounds(drawn, backgrounds, size), masks), numbers

        return paint


def read_number_photographs(
    split: str,
    train_size: int | None = None,
    test_size: int = TEST_SIZE,
    whole: bool | None = None,
    sizes: str = "mixed",
    batching: str = "bucketed",
) -> tuple[NumberPhotographs]:
    """Creates a generator of numbers of one to five digits on photographs.

    Numbers are composed of the bundled digits and painted on parts of scikit-learn's two
    photographs: some on a plate, brighter or darker than the background, slightly slanted. The
    splits share neither digits nor pixels of a photograph. Training images are crops like those of
    SVHN: 54x110 pixels with a number of 32 to 48 pixels height near the center. Test images are
    whole: 60x120 to 442x1083 pixels with a number of 29 to 62 pixels height at any position.

    Args:
        split: `"train"` or `"test"`.
        train_size: Number of training images per epoch; None means 20,000. Without `augment` they
            are the same in every epoch.
        test_size: Number of test images per epoch.
        whole: If True, generate whole images, otherwise crops. None means True for testing only.
        sizes: Sizes of whole images: `"mixed"` for twelve from 60x120 to 442x1083, equally likely,
            or `"large"` for five from 363x735 to 442x1083.
        batching: See `read_svhn_numbers`.

    Returns:
        The input of `serve_images` and `serve_image_batches`. Labels are those of `encode_number`,
        int64 `(6,)`.

    Raises:
        ValueError: If an option is invalid.

    Example:
    >>> (images,) = read_number_photographs("test", sizes="large")
    >>> len(images), images.sizes.min(axis=0).tolist()
    (1000, [363, 735])
    """
    whole = split == "test" if whole is None else boolean("whole", whole)
    one_of("sizes", sizes, tuple(SIZES))
    one_of("batching", batching, BATCHING)
    training = positive_integer("train_size", TRAIN_SIZE if train_size is None else train_size)
    testing = positive_integer("test_size", test_size)
    count = training if split == "train" else testing
    images, labels = read_digits(split, CELL)
    # Enlarged 8x8 images are blurred, but paint has sharp edges.
    digits = np.clip((images[..., 0] - 0.25) / 0.5, 0.0, 1.0)
    allowed = np.round(SIZES[sizes]).astype("int32")
    drawn = np.random.default_rng(SPLIT_SEED).integers(len(allowed), size=count)
    whole_sizes = allowed[drawn] if whole else None
    backgrounds = read_backgrounds(split)
    return (NumberPhotographs(count, digits, labels, backgrounds, whole_sizes, batching),)


def _draw(index: tf.Tensor, epoch_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws all random numbers of an image, from 0 to 1."""
    return index, tf.random.stateless_uniform((len(DRAW_NAMES),), (epoch_seed, index))


def read_backgrounds(split: str) -> np.ndarray:
    """Returns the left or right part of each photograph in grayscale, padded by reflection.

    The splits have no pixel in common. Heights are at least 800 and widths 1400.

    Example:
    >>> read_backgrounds("test").shape
    (2, 854, 1536, 1)
    """
    from sklearn.datasets import load_sample_images

    pixels = to_gray(np.stack(load_sample_images().images)).numpy()
    border = int(pixels.shape[2] * TRAIN_PART)
    part = pixels[:, :, :border] if split == "train" else pixels[:, :, border:]
    _, rows, columns, _ = part.shape
    below, beside = rows * ((ROWS - 1) // rows), columns * ((COLUMNS - 1) // columns)
    return np.pad(part, ((0, 0), (0, below), (0, beside), (0, 0)), mode="symmetric")


def unpack_draws(drawn: tf.Tensor) -> Drawn:
    """Splits random numbers `(B, draws)` into a dictionary by name."""
    return dict(zip(DRAW_NAMES, tf.unstack(drawn, axis=-1), strict=True))


def between(drawn: tf.Tensor, low: float | tf.Tensor, high: float | tf.Tensor) -> tf.Tensor:
    """Scales random numbers from `[0, 1]` to another range."""
    return low + drawn * (high - low)


def draw_numbers(drawn: Drawn, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws numbers of digits `(B,)`, indices of digits `(B, 5)`, and labels `(B, 6)`."""
    borders = np.cumsum(SHARES)[:-1]
    length = 1 + tf.reduce_sum(tf.cast(drawn["length"][:, None] >= borders, tf.int32), axis=1)
    digits = tf.stack([drawn[f"digit{index}"] for index in range(MAX_DIGITS)], axis=1)
    count = len(labels)
    indices = tf.minimum(tf.cast(digits * count, tf.int32), count - 1)
    there = tf.range(MAX_DIGITS) < length[:, None]
    shown = tf.where(there, tf.gather(labels, indices), NO_DIGIT)
    return length, indices, tf.concat([tf.cast(length[:, None] - 1, tf.int64), shown], axis=1)


def digit_strips(digits: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Concatenates the first `length` digits horizontally, with a plate behind them.

    Returns masks of ink and plate, `(B, CELL + 2 MARGIN, 5 CELL + 2 MARGIN, 2)`.
    """
    row = tf.reshape(tf.transpose(digits, (0, 2, 1, 3)), (-1, CELL, MAX_DIGITS * CELL))
    end = CELL * length[:, None, None]
    ink = tf.where(tf.range(MAX_DIGITS * CELL) < end, row, 0.0)
    ink = tf.pad(ink, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    inner = np.arange(CELL + 2 * MARGIN)[:, None]
    columns = np.arange(MAX_DIGITS * CELL + 2 * MARGIN)
    plate = (columns > 0) & (columns < end + 2 * MARGIN - 1)
    plate &= (inner > 0) & (inner < CELL + 2 * MARGIN - 1)
    return tf.stack([ink, tf.cast(plate, tf.float32)], axis=-1)


def placement_transforms(drawn: Drawn, length: tf.Tensor, size: Size, *, whole: bool) -> tf.Tensor:
    """Computes the projective transforms that give numbers their size, slant and position.

    They map positions (x, y) in an image to those in the result of `digit_strips`. In whole images
    numbers have any position and more sizes; in crops they are near the center.
    """
    rows, columns = tf.unstack(tf.cast(size, tf.float32))
    scale = tf.ones_like(drawn["scale"])
    if whole:
        # The smallest images are too small for the largest numbers.
        most = tf.minimum(columns / (WIDEST + 14), rows / (HEIGHTS[1] + 10))
        scale = tf.minimum(between(drawn["scale"], 0.9, 1.3), most)
    height = scale * between(drawn["height"], *HEIGHTS)
    count = tf.cast(length, tf.float32)
    width = tf.minimum(height * count * between(drawn["aspect"], *ASPECTS), scale * WIDEST)
    slant, turn = between(drawn["slant"], -0.15, 0.15), between(drawn["turn"], -0.07, 0.07)
    if whole:
        beside = (width + (tf.abs(slant) + tf.abs(turn)) * height) / 2
        above = (height + tf.abs(turn) * width) / 2
        x = between(drawn["column"], beside, columns - beside)
        y = between(drawn["row"], above, rows - above)
    else:
        x = columns / 2 + between(drawn["column"], -11.0, 11.0)
        y = rows / 2 + between(drawn["row"], -7.0, 7.0)
    across, down = CELL * count / width, CELL / height
    cos, sin = tf.cos(turn), tf.sin(turn)
    a, b = across * (cos - slant * sin), across * (sin + slant * cos)
    c, d = -down * sin, down * cos
    middle_x, middle_y = MARGIN + CELL * count / 2 - 0.5, MARGIN + CELL / 2 - 0.5
    x, y, zero = x - 0.5, y - 0.5, tf.zeros_like(a)
    rows_of = [a, b, middle_x - a * x - b * y, c, d, middle_y - c * x - d * y, zero, zero]
    return tf.stack(rows_of, axis=1)


def cut_backgrounds(drawn: Drawn, photographs: tf.Tensor, size: Size) -> tf.Tensor:
    """Crops backgrounds from photographs at random scales: `(B, H, W, 1)` in `[0, 1]`."""
    count, *sides = photographs.shape[:3]
    zoom = between(drawn["zoom"], 0.5, 1.25)
    chosen = tf.minimum(tf.cast(drawn["photograph"] * count, tf.int32), count - 1)
    # Relative to the last pixel, like the boxes of `crop_and_resize`.
    shares = [zoom * tf.cast(size[axis] - 1, tf.float32) / (sides[axis] - 1) for axis in range(2)]
    first = [drawn[name] * (1 - part) for name, part in zip(("top", "left"), shares, strict=True)]
    boxes = tf.stack([*first, *(one + part for one, part in zip(first, shares, strict=True))], 1)
    cut = tf.image.crop_and_resize(photographs, boxes, chosen, size)
    contrast, light = between(drawn["contrast"], 0.4, 0.9), between(drawn["light"], -0.15, 0.15)
    return tf.clip_by_value(_wide(contrast) * (cut - 0.5) + 0.5 + _wide(light), 0.0, 1.0)


def paint_numbers(drawn: Drawn, ground: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Paints plates and ink on backgrounds, brighter or darker than these."""
    ink, plate = masks[..., :1], masks[..., 1:]
    # Half of the numbers have a plate.
    cover = tf.maximum(0.0, between(drawn["plate"], -0.9, 0.9))
    shade = _mean(ground, plate) + _wide(between(drawn["shade"], -0.25, 0.25))
    ground += plate * _wide(cover) * (tf.clip_by_value(shade, 0.0, 1.0) - ground)
    behind = _mean(ground, plate)
    difference = between(drawn["difference"], 0.35, 0.85)
    sign = tf.where(drawn["polarity"] < 0.5, -1.0, 1.0)
    # Switch between brighter and darker ink where the contrast would be too small.
    room = tf.where(sign > 0, 1 - behind[:, 0, 0, 0], behind[:, 0, 0, 0])
    sign = tf.where(room < 0.3, -sign, sign)
    color = tf.clip_by_value(behind + _wide(sign * difference), 0.0, 1.0)
    return tf.clip_by_value(ground + ink * (color - ground), 0.0, 1.0)


def warp_images(images: tf.Tensor, transforms: tf.Tensor, size: Size) -> tf.Tensor:
    """Applies projective transforms to images, with zeros outside: `(B, H, W, channels)`."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _wide(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _mean(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    axes = (1, 2, 3)
    total = tf.reduce_sum(weights, axes, keepdims=True)
    return tf.reduce_sum(images * weights, axes, keepdims=True) / tf.maximum(total, 1.0)
