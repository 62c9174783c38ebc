"""Files of pictures to what a model takes, in operations that every server has."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# Of a PNG file up to its sides, which are two big-endian integers behind it.
PNG_START = 16
# In one picture. A small file can unfold to far more than a server has memory for.
MOST_PIXELS = 2**26
CHANNELS = (1, 3)
# Height and width, None where they are open, and channels.
Shape = tuple[int | None, int | None, int]


def picture_shape(model: keras.Model) -> Shape | None:
    """Height, width and channels of the one picture of floats that a model takes.

    Returns:
        None for models that take something else; height and width are None where they are open.
    """
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or "float" not in str(inputs[0].dtype):
        return None
    first, second, third = inputs[0].shape[1:]
    shape = (second, third, first) if takes_channels_first(model) else (first, second, third)
    return shape if shape[-1] in CHANNELS else None


def takes_channels_first(model: keras.Model) -> bool:
    """Whether the layers of a model that have a data format have channels first."""
    formats = {getattr(layer, "data_format", None) for layer in model._flatten_layers()} - {None}
    return formats == {"channels_first"}


def reader(shape: Shape, channels_first: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes what decodes a batch of PNG and JPEG files.

    Args:
        shape: Height, width and channels of what comes out. Where height or width is None the
            pictures keep theirs, which then has to be the same in a batch.
        channels_first: Whether it has channels first.

    Returns:
        A function from strings `(B,)` to floats `(B, H, W, C)`, or channels first, in `[0, 1]`. It
        fails with tf.errors.InvalidArgumentError for what is no whole PNG or JPEG file.

    Example:
    >>> white = tf.io.encode_png(tf.fill((5, 4, 3), tf.constant(255, tf.uint8)))
    >>> reader((8, 8, 1))(tf.stack([white, white])).shape
    TensorShape([2, 8, 8, 1])
    """
    height, width, channels = shape

    def read(files: tf.Tensor) -> tf.Tensor:
        sides = tf.map_fn(_sides, files, fn_output_signature=tf.TensorSpec((2,), tf.int32))
        same = tf.equal(sides, sides[:1]) | tf.constant([height is not None, width is not None])
        expected = "Expected pictures of one size in a batch, for a model of any size. Received:"
        with _unless(tf.reduce_all(same), expected, sides):
            files = tf.identity(files)
        pictures = tf.map_fn(
            lambda file: _resized(_decoded(file, channels), height, width),
            files,
            fn_output_signature=tf.TensorSpec((height, width, channels), tf.float32),
        )
        return tf.transpose(pictures, (0, 3, 1, 2)) if channels_first else pictures

    return read


def example_files(shape: Sequence[int], picture: Shape, channels_first: bool = False) -> tf.Tensor:
    """Noise as a PNG and a JPEG file: for a model of any size as large as its examples.

    For one of a fixed size they are a little larger, to be resized.
    """
    rows, columns = shape[2:4] if channels_first else shape[1:3]
    more = [0 if side is None else 1 for side in picture[:2]]
    sides = (2, rows + more[0], columns + more[1], picture[2])
    noise = np.random.default_rng(0).integers(0, 256, sides, dtype=np.uint8)
    return tf.stack([tf.io.encode_png(noise[0]), tf.io.encode_jpeg(noise[1])])


def _sides(file: tf.Tensor) -> tf.Tensor:
    """Rows and columns as the beginning of a file says, checked: `(2,)`."""
    length = tf.strings.length(file)
    is_png = tf.equal(tf.strings.substr(file, 0, tf.minimum(length, len(PNG))), PNG)
    is_jpeg = tf.equal(tf.strings.substr(file, 0, tf.minimum(length, len(JPEG))), JPEG)
    whole = (is_png & (length >= PNG_START + 8)) | is_jpeg
    with _unless(whole, "Expected a PNG or JPEG file. Received a file of bytes:", length):
        file = tf.identity(file)
    sides = tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(file)[:2], lambda: _of_png(file))
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    few = (pixels > 0) & (pixels <= MOST_PIXELS)
    with _unless(few, f"Expected 1 to {MOST_PIXELS} pixels. Received rows, columns:", sides):
        return tf.identity(sides)


def _of_png(file: tf.Tensor) -> tf.Tensor:
    numbers = tf.io.decode_raw(tf.strings.substr(file, PNG_START, 8), tf.int32, little_endian=False)
    return tf.ensure_shape(numbers[::-1], (2,))


def _decoded(file: tf.Tensor, channels: int) -> tf.Tensor:
    """A picture in `[0, 1]`: 16 bits keep their precision, palettes are looked up, alpha goes."""
    pixels = tf.io.decode_image(file, channels=3, dtype=tf.float32, expand_animations=False)
    pixels = tf.ensure_shape(pixels, (None, None, 3))
    return tf.image.rgb_to_grayscale(pixels) if channels == 1 else pixels


def _resized(picture: tf.Tensor, height: int | None, width: int | None) -> tf.Tensor:
    """Brought to the size of the model as our data sets are: bilinear, smoothed in shrinking."""
    if height is None and width is None:
        return picture
    rows, columns = tf.unstack(tf.shape(picture)[:2])
    size = (rows if height is None else height, columns if width is None else width)
    resized = tf.image.resize(picture, size, antialias=True)
    return tf.ensure_shape(resized, (height, width, picture.shape[-1]))


def _unless(fits: tf.Tensor, expected: str, received: tf.Tensor) -> Any:
    """What comes inside is computed only where something fits."""
    check = tf.debugging.Assert(fits, [expected, received], summarize=8)
    return tf.control_dependencies([] if check is None else [check])
