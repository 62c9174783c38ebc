"""Files of the PNG format: their sides without decoding them, and their pixels in gray."""

import os
import struct
from pathlib import Path

import tensorflow as tf

from keras_attention.datasets.in_memory import as_gray
from keras_attention.datasets.picture_limits import check_pixels, checked_file

START, HEADER, END = b"\x89PNG\r\n\x1a\n", b"IHDR", b"IEND\xaeB`\x82"


def png_sides(path: Path) -> tuple[int, int]:
    """Rows and columns of a picture; reads no more than where its file begins and ends.

    Raises:
        ValueError: For a file that is no PNG, is cut off or cannot be read; names it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(24)
            file.seek(-min(len(END), len(start)), os.SEEK_END)
            end = file.read()
    except OSError as error:
        raise ValueError(f"Expected a picture in {str(path)!r}. Received: {error}") from error
    if start[:8] != START or start[12:16] != HEADER or end != END:
        raise ValueError(
            f"Expected a whole PNG file in {str(path)!r}. Received: {path.stat().st_size} bytes "
            f"from {start[:8]!r} to {end!r}"
        )
    columns, rows = struct.unpack(">II", start[16:])
    check_pixels(path, rows, columns)
    return rows, columns


def read_gray(path: tf.Tensor) -> tf.Tensor:
    """Reads a picture, in color or not: float32 `(H, W, 1)` in `[0, 1]`.

    Raises:
        tf.errors.InvalidArgumentError: For a file that is cut off; names it.
    """
    file = tf.io.read_file(path)
    # A file may be shorter than the end that is looked for.
    end = tf.strings.substr(tf.strings.join([len(END) * b"\0", file]), -len(END), len(END))
    message = ["Expected a whole PNG file. Received:", path]
    check = tf.debugging.Assert(tf.equal(end, END), message)
    with tf.control_dependencies([check] if check is not None else []):
        return as_gray(tf.io.decode_png(checked_file(file), channels=3))
