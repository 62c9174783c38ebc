"""Numbers painted on photographs: generated pictures in the form of SVHN's, without a download."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attention.datasets import number_painting as painting
from keras_attention.datasets.by_size import BATCHING
from keras_attention.datasets.digits import SPLIT_SEED, read_digits
from keras_attention.datasets.in_memory import indices
from keras_attention.datasets.photographs import photographs
from keras_attention.utils.validation import flag, one_of, positive_integer

CROP = (54, 110)
# Rows and columns of whole pictures, from small ones to the hundred largest of SVHN's test part.
SMALL, MIDDLE, LARGE = (60, 120), (363, 735), (442, 1083)
SIZES = {"mixed": np.geomspace(SMALL, LARGE, 12), "large": np.linspace(MIDDLE, LARGE, 5)}
TRAIN_SIZE, TEST_SIZE = 20_000, 1_000
# Crops are painted together, which is faster than one by one.
TOGETHER = 64


@dataclass(frozen=True, eq=False)
class NumberPhotographs:
    """What pictures of numbers are painted of.

    Attributes:
        count: How many pictures there are in a pass.
        digits: Float32 `(N, CELL, CELL)` in `[0, 1]`.
        labels: Of the digits, int64 `(N,)`.
        photographs: Float32 `(M, rows, columns, 1)` in `[0, 1]`.
        sizes: Rows and columns of every whole picture, int32 `(count, 2)`; None for crops.
        batching: Of whole pictures, `"bucketed"` or `"ragged"`.
    """

    count: int
    digits: np.ndarray
    labels: np.ndarray
    photographs: np.ndarray
    sizes: np.ndarray | None
    batching: str

    def __len__(self) -> int:
        return self.count

    def singles(self, *, seed: int, shuffle: bool, redraw: bool) -> tf.data.Dataset:
        """Gives `(image, label)`."""
        order, paint = indices(self.count, seed, shuffle), self._painter()
        drawn = tf.data.Dataset.zip(order, _seeds(seed, redraw)).map(_draw)
        if self.sizes is None:
            made = drawn.batch(TOGETHER).map(
                lambda places, bits: paint(bits, CROP), num_parallel_calls=tf.data.AUTOTUNE
            )
            return made.unbatch().apply(tf.data.experimental.assert_cardinality(self.count))
        sizes = tf.constant(self.sizes)
        return drawn.map(
            lambda place, bits: tuple(part[0] for part in paint(bits[None], sizes[place])),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def together(self, places: tf.data.Dataset, *, seed: int, redraw: bool) -> tf.data.Dataset:
        """Gives whole pictures of the same size for places `(B,)`."""
        sizes, paint = tf.constant(self.sizes), self._painter()

        def painted(batch: tf.Tensor, of_batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bits = tf.map_fn(
                lambda place: _draw(place, of_batch)[1], batch, fn_output_signature=tf.float32
            )
            return paint(bits, sizes[batch[0]])

        return tf.data.Dataset.zip(places, _seeds(seed, redraw)).map(
            painted, num_parallel_calls=tf.data.AUTOTUNE
        )

    def _painter(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Paints pictures of a size, `(B, rows, columns, 1)`, and says their labels, `(B, 6)`."""
        # Constants of a pipeline's own graph would be copied in every pass.
        digits, labels, grounds = map(tf.constant, (self.digits, self.labels, self.photographs))
        whole = self.sizes is not None

        def paint(bits: tf.Tensor, size: painting.Size) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = painting.choices(bits)
            length, places, numbers = painting.choose_digits(drawn, labels)
            strips = painting.strips(tf.gather(digits, places), length)
            masks = painting.project(
                strips, painting.transforms(drawn, length, size, whole=whole), size
            )
            return painting.paint(drawn, painting.grounds(drawn, grounds, size), masks), numbers

        return paint


def read_number_photographs(
    split: str,
    train_size: int | None = None,
    test_size: int = TEST_SIZE,
    whole: bool | None = None,
    sizes: str = "mixed",
    batching: str = "bucketed",
) -> tuple[NumberPhotographs]:
    """Reads what numbers of one to five digits on photographs are painted of.

    Numbers are made of the bundled digits and put on pieces of scikit-learn's two photographs, some
    on a plate, brighter or darker than what is behind them, leaning a little. The parts share
    neither digits nor any pixel of a photograph. In training pictures are crops as those of SVHN:
    54x110 pixels, the number, 32 to 48 pixels high, nearly in the middle. For testing they are
    whole, of 60x120 to 442x1083 pixels, the number, 29 to 62 pixels high, anywhere.

    Args:
        split: `"train"` or `"test"`.
        train_size: Pictures of a pass in training; None for 20,000. Without `redraw` they are the
            same in every pass.
        test_size: Pictures of a pass for testing.
        whole: Whether pictures are whole, or crops; None for whole ones for testing only.
        sizes: Of whole pictures: `"mixed"` for twelve from 60x120 to 442x1083, all as often, or
            `"large"` for five from 363x735 to 442x1083.
        batching: Batches of whole pictures are of one size each, `"bucketed"`: then they may be
            smaller than asked for, and the smallest pictures come first. Or `"ragged"`.

    Returns:
        What `serve_pictures` and `serve_picture_batches` serve. Labels are those of `label_of`,
        int64 `(6,)`: the number's length less 1, and five digits, 10 where there is none.

    Raises:
        ValueError: For options that cannot be.

    Example:
    >>> (pictures,) = read_number_photographs("test", sizes="large")
    >>> len(pictures), pictures.sizes.min(axis=0).tolist()
    (1000, [363, 735])
    """
    whole = split == "test" if whole is None else flag("whole", whole)
    one_of("sizes", sizes, tuple(SIZES))
    one_of("batching", batching, BATCHING)
    training = positive_integer("train_size", TRAIN_SIZE if train_size is None else train_size)
    testing = positive_integer("test_size", test_size)
    count = training if split == "train" else testing
    images, labels = read_digits(split, painting.CELL)
    return (
        NumberPhotographs(
            count,
            _with_edges(images[..., 0]),
            labels,
            photographs(split),
            _draw_sizes(sizes, count) if whole else None,
            batching,
        ),
    )


def _with_edges(digits: np.ndarray) -> np.ndarray:
    """Digits of 8x8 pixels are blurred when they are enlarged; paint has edges."""
    return np.clip((digits - 0.25) / 0.5, 0.0, 1.0)


def _draw_sizes(name: str, count: int) -> np.ndarray:
    """Rows and columns of every picture, always the same."""
    random = np.random.default_rng(SPLIT_SEED)
    allowed = np.round(SIZES[name]).astype("int32")
    return allowed[random.integers(len(allowed), size=count)]


def _seeds(seed: int, redraw: bool) -> tf.data.Dataset:
    """A number for every example: with `redraw` a new one each, else the seed."""
    if redraw:
        return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)).repeat()


def _draw(place: tf.Tensor, of_pass: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """All that is drawn for a picture, from 0 to 1."""
    return place, tf.random.stateless_uniform((len(painting.CHOICES),), (of_pass, place))
