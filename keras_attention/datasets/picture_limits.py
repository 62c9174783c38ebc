"""Pictures whose headers ask for more memory than a picture is worth are refused unread.

A file of a few kilobytes may say that it holds billions of pixels. Sides are read off the header
first, in the four formats that the data sets come in.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

Tensor = Any

# As Pillow's, a quarter of a GiB in three channels; ImageNet's largest pictures have 61 million.
MOST_PIXELS = 89_478_485
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM")
HEADER = 26
# By its first bytes: where each side is in the file, of how many bytes, and whether low ones first.
_HEADERS = ((b"\x89PNG", 16, 4, False), (b"GIF8", 6, 2, True), (b"BM", 18, 4, True))


def checked_file(file: Tensor) -> Tensor:
    """Returns the bytes of a picture that may be decoded.

    Args:
        file: Scalar string tensor: a BMP, GIF, JPEG or PNG file.

    Raises:
        tf.errors.InvalidArgumentError: For another format, or more than `MOST_PIXELS`.

    Example:
    >>> file = tf.io.encode_png(tf.zeros((2, 3, 1), tf.uint8))
    >>> bool(tf.reduce_all(checked_file(file) == file))
    True
    """
    pixels = tf.cond(
        tf.io.is_jpeg(file),
        lambda: _product(tf.image.extract_jpeg_shape(file)[:2]),
        lambda: _pixels_of_header(file),
    )
    expected = f"Expected a BMP, GIF, JPEG or PNG picture of at most {MOST_PIXELS} pixels. Received"
    check = tf.debugging.Assert(
        (pixels > 0) & (pixels <= MOST_PIXELS), [expected, "pixels:", pixels]
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(file)


def check_pixels(path: Path, rows: int, columns: int) -> None:
    """Refuses sides with too many pixels.

    Raises:
        ValueError: For more than `MOST_PIXELS`.
    """
    if not 0 < rows * columns <= MOST_PIXELS:
        raise ValueError(
            f"Expected at most {MOST_PIXELS} pixels in {str(path)!r}. "
            f"Received: {rows} rows of {columns}"
        )


def open_picture(path: Path) -> Any:
    """Opens a picture by Pillow, which reads its header.

    Raises:
        ValueError: For a file that is no picture of `FORMATS`, or more than `MOST_PIXELS`.
    """
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        picture = Image.open(path, formats=FORMATS)
    except (OSError, ValueError, *bombs) as error:
        raise ValueError(f"Expected a picture in {str(path)!r}. Received: {error}") from error
    try:
        check_pixels(path, picture.height, picture.width)
    except ValueError:
        picture.close()
        raise
    return picture


def _pixels_of_header(file: Tensor) -> Tensor:
    """Of a PNG, GIF or BMP file; 0 for others."""
    header = tf.strings.substr(tf.strings.join([file, b"\0" * HEADER]), 0, HEADER)
    values = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64)
    pixels = tf.zeros((), tf.int64)
    for start, place, size, low_first in _HEADERS:
        steps = range(size) if low_first else reversed(range(size))
        weights = tf.constant([256**step for step in steps], tf.int64)
        sides = tf.reshape(values[place : place + 2 * size], (2, size)) * weights
        sides = tf.reduce_sum(sides, axis=1)
        # Rows of a BMP that are stored from the top have a negative sign, in 32 bits.
        sides = tf.where(sides >= 2**31, 2**32 - sides, sides)
        found = tf.equal(tf.strings.substr(header, 0, len(start)), start)
        pixels = tf.where(found, _product(sides), pixels)
    return pixels


def _product(sides: Tensor) -> Tensor:
    return tf.reduce_prod(tf.cast(sides, tf.int64))
