"""Image files: labeled files that are read in every epoch, safe decoding, and PNG headers."""

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.folders import check_all_inside
from keras_attention.datasets.pipelines import index_order, to_gray
from keras_attention.datasets.splits import stratified_split

CHANNELS = 3
Tensor = Any
# Pillow's limit, a quarter of a GiB in three channels. The largest ImageNet images have 61 million.
# A header of a few bytes may claim billions of pixels, so the size is checked before decoding.
MAX_PIXELS = 89_478_485
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM")
HEADER_BYTES = 26
# First bytes of a format, offset of the sides, number of bytes of a side, and little-endian or not.
_HEADERS = ((b"\x89PNG", 16, 4, False), (b"GIF8", 6, 2, True), (b"BM", 18, 4, True))
PNG_START, PNG_HEADER, PNG_END = b"\x89PNG\r\n\x1a\n", b"IHDR", b"IEND\xaeB`\x82"


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labeled image files, as input of `serve_stream`; `size` is the side of square crops.

    Images are cropped to their `boxes` `(N, 4)` first, if any: left, top, right and bottom in
    pixels, right and bottom excluded. `recover` decodes truncated JPEG files as far as possible.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    size: int
    boxes: np.ndarray | None = None
    recover: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def training_subset(self, train_size: int | None) -> "ImageFiles":
        """Draws a deterministic subset with equal class proportions; None keeps all."""
        if train_size is None:
            return self
        indices, _ = stratified_split(self.labels, train_size)
        paths = tuple(self.paths[index] for index in indices)
        boxes = None if self.boxes is None else self.boxes[indices]
        return replace(self, paths=paths, labels=self.labels[indices], boxes=boxes)

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Returns a data set of `((path, box), label)`; boxes are empty for whole images."""
        paths = tf.constant([os.fsencode(path) for path in self.paths])
        boxes = np.zeros((len(self), 0)) if self.boxes is None else self.boxes
        corners, labels = tf.constant(boxes, tf.int32), tf.constant(self.labels)
        return index_order(len(self), seed, shuffle).map(
            lambda index: ((paths[index], corners[index]), labels[index])
        )

    def read(self, image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Decodes an image and crops it to the visible part of its box: uint8 `(H, W, 3)`.

        Uses TensorFlow only: a Python reader of an iteration that is abandoned midway can keep the
        process from ending.
        """
        path, box = image
        pixels = _decoded(tf.io.read_file(path), self.recover)
        return pixels if self.boxes is None else _cut(pixels, box, path)


def _decoded(file: tf.Tensor, recover: bool) -> tf.Tensor:
    file = check_image_file(file)
    if not recover:
        return tf.io.decode_image(file, CHANNELS, expand_animations=False)
    return tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.io.decode_jpeg(file, CHANNELS, try_recover_truncated=True),
        lambda: tf.io.decode_image(file, CHANNELS, expand_animations=False),
    )


def _cut(pixels: tf.Tensor, box: tf.Tensor, path: tf.Tensor) -> tf.Tensor:
    sides = tf.shape(pixels)[1::-1]
    first, last = tf.maximum(box[:2], 0), tf.minimum(box[2:], sides)
    expected = "Expected a box inside of an image. Received (path, sides, box):"
    received = [expected, path, sides, box]
    check = tf.debugging.Assert(tf.reduce_all(first < last), received, summarize=4)
    with tf.control_dependencies([check] if check is not None else []):
        return pixels[first[1] : last[1], first[0] : last[0]]


def check_files_exist(paths: list[Path], root: Path, listed: str) -> None:
    """Checks that all files exist and lie inside the folder."""
    check_all_inside(root, paths)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"All images listed in {listed} of {str(root)!r} must exist. "
            f"Received: {len(missing)} of {len(paths)} are missing, such as {str(missing[0])!r}"
        )


def check_image_file(file: Tensor) -> Tensor:
    """Returns an encoded BMP, GIF, JPEG or PNG image after checking its format and size.

    Example:
    >>> file = tf.io.encode_png(tf.zeros((2, 3, 1), tf.uint8))
    >>> bool(tf.reduce_all(check_image_file(file) == file))
    True
    """
    pixels = tf.cond(
        tf.io.is_jpeg(file),
        lambda: _product(tf.image.extract_jpeg_shape(file)[:2]),
        lambda: _header_pixels(file),
    )
    expected = f"Expected a BMP, GIF, JPEG or PNG image of at most {MAX_PIXELS} pixels. Received"
    check = tf.debugging.Assert(
        (pixels > 0) & (pixels <= MAX_PIXELS), [expected, "pixels:", pixels]
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(file)


def check_image_size(path: Path, rows: int, columns: int) -> None:
    """Checks the number of pixels of an image."""
    if not 0 < rows * columns <= MAX_PIXELS:
        raise ValueError(
            f"Expected at most {MAX_PIXELS} pixels in {str(path)!r}. "
            f"Received: {rows} rows of {columns}"
        )


def open_image(path: Path) -> Any:
    """Opens an image with Pillow, which reads its header."""
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        image = Image.open(path, formats=FORMATS)
    except (OSError, ValueError, *bombs) as error:
        raise ValueError(f"Expected an image in {str(path)!r}. Received: {error}") from error
    try:
        check_image_size(path, image.height, image.width)
    except ValueError:
        image.close()
        raise
    return image


def _header_pixels(file: Tensor) -> Tensor:
    """Number of pixels according to the header of a PNG, GIF or BMP file; 0 for others."""
    header = tf.strings.substr(tf.strings.join([file, b"\0" * HEADER_BYTES]), 0, HEADER_BYTES)
    values = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64)
    pixels = tf.zeros((), tf.int64)
    for start, offset, size, little_endian in _HEADERS:
        steps = range(size) if little_endian else reversed(range(size))
        weights = tf.constant([256**step for step in steps], tf.int64)
        sides = tf.reshape(values[offset : offset + 2 * size], (2, size)) * weights
        sides = tf.reduce_sum(sides, axis=1)
        # A negative height (32 bits) marks a BMP file whose rows are stored from the top.
        sides = tf.where(sides >= 2**31, 2**32 - sides, sides)
        found = tf.equal(tf.strings.substr(header, 0, len(start)), start)
        pixels = tf.where(found, _product(sides), pixels)
    return pixels


def _product(sides: Tensor) -> Tensor:
    return tf.reduce_prod(tf.cast(sides, tf.int64))


def png_size(path: Path) -> tuple[int, int]:
    """Returns height and width of a PNG file from its header, and checks its end."""
    try:
        with path.open("rb") as file:
            start = file.read(24)
            file.seek(-min(len(PNG_END), len(start)), os.SEEK_END)
            end = file.read()
    except OSError as error:
        raise ValueError(f"Expected an image in {str(path)!r}. Received: {error}") from error
    if start[:8] != PNG_START or start[12:16] != PNG_HEADER or end != PNG_END:
        raise ValueError(
            f"Expected a complete PNG file in {str(path)!r}. Received: {path.stat().st_size} bytes "
            f"from {start[:8]!r} to {end!r}"
        )
    columns, rows = struct.unpack(">II", start[16:])
    check_image_size(path, rows, columns)
    return rows, columns


def read_gray(path: tf.Tensor) -> tf.Tensor:
    """Reads a PNG file in grayscale: float32 `(H, W, 1)` in `[0, 1]`."""
    file = tf.io.read_file(path)
    # Padding, as the file may be shorter than the end marker.
    end = tf.strings.substr(
        tf.strings.join([len(PNG_END) * b"\0", file]), -len(PNG_END), len(PNG_END)
    )
    message = ["Expected a complete PNG file. Received:", path]
    check = tf.debugging.Assert(tf.equal(end, PNG_END), message)
    with tf.control_dependencies([check] if check is not None else []):
        return to_gray(tf.io.decode_png(check_image_file(file), channels=3))
