"""Pictures that lie on disk as files of any type, one label each, and are read in every pass."""

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
# As Pillow's, a quarter of a GiB in three channels; ImageNet's largest pictures have 61 million.
MAX_PIXELS = 89_478_485
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM")
HEADER = 26
# By its first bytes: where each side is in the file, of how many bytes, and whether low ones first.
_HEADERS = ((b"\x89PNG", 16, 4, False), (b"GIF8", 6, 2, True), (b"BM", 18, 4, True))
START, HEADER, END = b"\x89PNG\r\n\x1a\n", b"IHDR", b"IEND\xaeB`\x82"


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Pictures for `serve_stream`.

    Attributes:
        paths: Of the files, `(N,)`.
        labels: Int64, `(N,)`.
        size: Pixels along the sides of what is cut out of them.
        boxes: What they are cut to before everything else, left, top, right and bottom in pixels,
            right and bottom excluded: `(N, 4)`. None for whole pictures.
        recover: Whether JPEG files that end early are read as far as they go.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    size: int
    boxes: np.ndarray | None = None
    recover: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, places: np.ndarray) -> "ImageFiles":
        """Those at some places."""
        paths = tuple(self.paths[place] for place in places)
        boxes = None if self.boxes is None else self.boxes[places]
        return replace(self, paths=paths, labels=self.labels[places], boxes=boxes)

    def training_subset(self, train_size: int | None) -> "ImageFiles":
        """Some of them, by class in equal shares and always the same ones; None for all.

        Raises:
            ValueError: For a `train_size` that leaves a class out.
        """
        if train_size is None:
            return self
        return self.subset(stratified_split(self.labels, train_size)[0])

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Gives `((path, box), label)`; the box is empty where pictures are whole."""
        paths = tf.constant([os.fsencode(path) for path in self.paths])
        boxes = np.zeros((len(self), 0)) if self.boxes is None else self.boxes
        corners, labels = tf.constant(boxes, tf.int32), tf.constant(self.labels)
        return index_order(len(self), seed, shuffle).map(
            lambda index: ((paths[index], corners[index]), labels[index])
        )

    def read(self, picture: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Reads a picture and cuts it to what of its box lies within: bytes `(H, W, 3)`.

        Runs in TensorFlow alone: a pass that is given up while Python reads pictures can keep the
        process from ending.

        Raises:
            tf.errors.InvalidArgumentError: For a file that is no picture, or no whole one unless
                `recover`, or a box beyond it; names the file in the latter case.
        """
        path, box = picture
        file = tf.io.read_file(path)
        pixels = _recovered(file) if self.recover else _decoded(file)
        return pixels if self.boxes is None else _cut(pixels, box, path)


def _decoded(file: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(check_image_file(file), channels=CHANNELS, expand_animations=False)


def _recovered(file: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.io.decode_jpeg(
            check_image_file(file), channels=CHANNELS, try_recover_truncated=True
        ),
        lambda: _decoded(file),
    )


def _cut(pixels: tf.Tensor, box: tf.Tensor, path: tf.Tensor) -> tf.Tensor:
    sides = tf.shape(pixels)[1::-1]
    first, last = tf.maximum(box[:2], 0), tf.minimum(box[2:], sides)
    expected = "Expected a box inside of a picture. Received (path, sides, box):"
    received = [expected, path, sides, box]
    check = tf.debugging.Assert(tf.reduce_all(first < last), received, summarize=4)
    with tf.control_dependencies([check] if check is not None else []):
        return pixels[first[1] : last[1], first[0] : last[0]]


def check_files_exist(paths: list[Path], root: Path, listed: str) -> None:
    """Checks that all files are there, and inside of the folder.

    Raises:
        ValueError: Where some are not; names the first.
    """
    check_all_inside(root, paths)
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise ValueError(
            f"Expected the pictures that {listed} of {str(root)!r} names. "
            f"Received: {len(gone)} of {len(paths)} are not there, such as {str(gone[0])!r}"
        )


def check_image_file(file: Tensor) -> Tensor:
    """Returns the bytes of a picture that may be decoded.

    Args:
        file: Scalar string tensor: a BMP, GIF, JPEG or PNG file.

    Raises:
        tf.errors.InvalidArgumentError: For another format, or more than `MAX_PIXELS`.

    Example:
    >>> file = tf.io.encode_png(tf.zeros((2, 3, 1), tf.uint8))
    >>> bool(tf.reduce_all(check_image_file(file) == file))
    True
    """
    pixels = tf.cond(
        tf.io.is_jpeg(file),
        lambda: _product(tf.image.extract_jpeg_shape(file)[:2]),
        lambda: _pixels_of_header(file),
    )
    expected = f"Expected a BMP, GIF, JPEG or PNG picture of at most {MAX_PIXELS} pixels. Received"
    check = tf.debugging.Assert(
        (pixels > 0) & (pixels <= MAX_PIXELS), [expected, "pixels:", pixels]
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(file)


def check_image_size(path: Path, rows: int, columns: int) -> None:
    """Refuses sides with too many pixels.

    Raises:
        ValueError: For more than `MAX_PIXELS`.
    """
    if not 0 < rows * columns <= MAX_PIXELS:
        raise ValueError(
            f"Expected at most {MAX_PIXELS} pixels in {str(path)!r}. "
            f"Received: {rows} rows of {columns}"
        )


def open_image(path: Path) -> Any:
    """Opens a picture by Pillow, which reads its header.

    Raises:
        ValueError: For a file that is no picture of `FORMATS`, or more than `MAX_PIXELS`.
    """
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        picture = Image.open(path, formats=FORMATS)
    except (OSError, ValueError, *bombs) as error:
        raise ValueError(f"Expected a picture in {str(path)!r}. Received: {error}") from error
    try:
        check_image_size(path, picture.height, picture.width)
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


def png_size(path: Path) -> tuple[int, int]:
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
    check_image_size(path, rows, columns)
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
        return to_gray(tf.io.decode_png(check_image_file(file), channels=3))
