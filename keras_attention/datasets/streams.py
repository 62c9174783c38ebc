"""Pipelines of pictures that are read from disk in every pass: too many for memory."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats
from keras_attention.datasets.picture_limits import checked_file
from keras_attention.utils.validation import is_integer

# Pictures are shrunk to this many pixels along the shorter side before 224 of them are cut out.
SHORTER_SIDE, CROP = 256, 224


class Pictures(Protocol):
    """What `serve_stream` serves: pictures on disk, and how to read them."""

    @property
    def size(self) -> int:
        """Pixels along the sides of what is cut out."""

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Gives `(picture, label)`, where `read` knows what a picture is."""

    def read(self, picture: Any) -> tf.Tensor:
        """Reads a picture: bytes `(H, W, 3)`."""


@dataclass(frozen=True)
class Stream:
    """Pictures that tensorflow-datasets prepared on disk, and how to read them.

    Attributes:
        builder: Of tensorflow-datasets; its examples have an `image`, a `label` and, for `crop`, a
            `bbox`.
        split: What it calls the part, such as `"train[:5000]"`.
        size: Pixels along the sides of what is cut out.
        shuffle_buffer: Pictures, as files, among which the next one is drawn.
        crop: Whether pictures are cut to their boxes before everything else.
    """

    builder: Any
    split: str
    size: int
    shuffle_buffer: int
    crop: bool = False

    def __len__(self) -> int:
        return int(self.builder.info.splits[self.split].num_examples)

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Reads `(file, label)`; shuffled, the files of the set and what is in them.

        With `crop` it is `((file, box), label)`.
        """
        import tensorflow_datasets as tfds

        # Other parts, such as the masks of birds, take longer to decode than all else to read.
        parts = {"image": True, "label": True} | ({"bbox": True} if self.crop else {})
        decoders = {"image": tfds.decode.SkipDecoding()}
        dataset = self.builder.as_dataset(
            split=self.split,
            decoders=tfds.decode.PartialDecoding(parts, decoders=decoders),
            read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
            shuffle_files=shuffle,
        ).map(lambda example: (self._picture(example), example["label"]))
        if shuffle:
            dataset = dataset.shuffle(self.shuffle_buffer, seed=seed)
        return dataset

    def _picture(self, example: dict[str, tf.Tensor]) -> Any:
        return (example["image"], example["bbox"]) if self.crop else example["image"]

    def read(self, picture: Any) -> tf.Tensor:
        """Decodes a file, a JPEG or any other, and cuts it to its box: bytes `(H, W, 3)`."""
        file, box = picture if self.crop else (picture, None)
        pixels = tf.io.decode_image(checked_file(file), channels=3, expand_animations=False)
        return cut_to_box(pixels, box) if self.crop else pixels

    def first(self, train_size: int | None) -> "Stream":
        """Leaves all but the first pictures out; None for all.

        Raises:
            ValueError: For a `train_size` beyond their number.
        """
        if train_size is None:
            return self
        if is_integer(train_size) and 1 <= train_size <= len(self):
            return replace(self, split=f"{self.split}[:{int(train_size)}]")
        raise ValueError(
            f"`train_size` must be an integer from 1 to {len(self)}. "
            f"Received: train_size={train_size!r}"
        )


def serve_stream(
    stream: Pictures, *, seed: int = 0, shuffle: bool = False, redraw: bool = False
) -> tf.data.Dataset:
    """Cuts squares out of pictures whose shorter sides are brought to 256 pixels for each 224.

    Args:
        stream: What to read.
        seed: Of the order, the squares and the flips.
        shuffle: Whether every pass has an order of its own.
        redraw: Whether every pass draws where the squares are and mirrors half of them. Without,
            they are cut out of the middle.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, 3)` in `[0, 1]`.
    """
    examples, size = stream.examples(seed, shuffle), stream.size
    if not redraw:
        return examples.map(
            lambda picture, label: (middle(shrink(stream.read(picture), size), size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip(examples, draws).map(
        lambda example, draw: (
            anywhere(shrink(stream.read(example[0]), size), size, draw),
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


def shrink(picture: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes a picture, in proportion, so that squares of `size` can be cut out.

    Args:
        picture: Bytes `(H, W, 3)`.
        size: Pixels along the squares' sides.

    Returns:
        Float32 `(H, W, 3)` in `[0, 1]`, the shorter of H and W 256 / 224 times `size`.

    Example:
    >>> shrink(tf.zeros((300, 600, 3), tf.uint8), 224).shape
    TensorShape([256, 512, 3])
    """
    picture = as_floats(picture)
    sides = tf.cast(tf.shape(picture)[:2], tf.float32)
    shorter = round(SHORTER_SIDE * size / CROP)
    wanted = tf.cast(tf.round(shorter * sides / tf.reduce_min(sides)), tf.int32)
    return tf.image.resize(picture, wanted, antialias=True)


def middle(picture: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts a square of `size` pixels out of the middle.

    Example:
    >>> middle(tf.reshape(tf.range(12.0), (3, 4, 1)), 2)[:, :, 0].numpy().tolist()
    [[1.0, 2.0], [5.0, 6.0]]
    """
    corner = (tf.shape(picture)[:2] - size) // 2
    return tf.slice(picture, [corner[0], corner[1], 0], [size, size, picture.shape[-1]])


def anywhere(picture: tf.Tensor, size: int, draw: tf.Tensor) -> tf.Tensor:
    """Cuts a square of `size` pixels out at a place that `draw` decides, and mirrors half of them.

    Example:
    >>> anywhere(tf.zeros((9, 12, 3)), 8, tf.constant(5, tf.int64)).shape
    TensorShape([8, 8, 3])
    """
    square = tf.image.stateless_random_crop(picture, (size, size, picture.shape[-1]), (draw, 0))
    return tf.image.stateless_random_flip_left_right(square, (draw, 1))
