"""Pipelines of pictures that are read from disk in every pass: too many for memory."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats

# Pictures are shrunk to this many pixels along the shorter side before 224 of them are cut out.
SHORTER_SIDE, CROP = 256, 224


@dataclass(frozen=True)
class Stream:
    """Pictures that tensorflow-datasets prepared on disk, and how to read them.

    Attributes:
        builder: Of tensorflow-datasets; its examples have an `image` and a `label`.
        split: What it calls the part, such as `"train[:5000]"`.
        size: Pixels along the sides of what is cut out.
        shuffle_buffer: Pictures, as JPEG files, among which the next one is drawn.
    """

    builder: Any
    split: str
    size: int
    shuffle_buffer: int

    def __len__(self) -> int:
        return int(self.builder.info.splits[self.split].num_examples)

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Reads `(JPEG file, label)`; shuffled, the files of the set and what is in them."""
        import tensorflow_datasets as tfds

        dataset = self.builder.as_dataset(
            split=self.split,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
            shuffle_files=shuffle,
        ).map(lambda example: (example["image"], example["label"]))
        if shuffle:
            dataset = dataset.shuffle(self.shuffle_buffer, seed=seed)
        return dataset


def serve_stream(
    stream: Stream, *, seed: int = 0, shuffle: bool = False, redraw: bool = False
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
            lambda file, label: (middle(shrink(file, size), size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip(examples, draws).map(
        lambda example, draw: (anywhere(shrink(example[0], size), size, draw), example[1]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def shrink(file: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes a JPEG file and resizes it, in proportion, so that squares of `size` can be cut out.

    Args:
        file: Its bytes.
        size: Pixels along the squares' sides.

    Returns:
        Float32 `(H, W, 3)` in `[0, 1]`, the shorter of H and W 256 / 224 times `size`.
    """
    picture = as_floats(tf.io.decode_jpeg(file, channels=3))
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
