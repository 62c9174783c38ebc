"""Pictures that lie on disk as files of any type, one label each, and are read in every pass."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.digits import stratified_split
from keras_attention.datasets.folders import all_inside
from keras_attention.datasets.in_memory import indices
from keras_attention.datasets.picture_limits import checked_file

CHANNELS = 3


@dataclass(frozen=True, eq=False)
class PictureFiles:
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

    def chosen(self, places: np.ndarray) -> "PictureFiles":
        """Those at some places."""
        paths = tuple(self.paths[place] for place in places)
        boxes = None if self.boxes is None else self.boxes[places]
        return replace(self, paths=paths, labels=self.labels[places], boxes=boxes)

    def for_training(self, train_size: int | None) -> "PictureFiles":
        """Some of them, by class in equal shares and always the same ones; None for all.

        Raises:
            ValueError: For a `train_size` that leaves a class out.
        """
        if train_size is None:
            return self
        return self.chosen(stratified_split(self.labels, train_size)[0])

    def examples(self, seed: int, shuffle: bool) -> tf.data.Dataset:
        """Gives `((path, box), label)`; the box is empty where pictures are whole."""
        paths = tf.constant([os.fsencode(path) for path in self.paths])
        boxes = np.zeros((len(self), 0)) if self.boxes is None else self.boxes
        corners, labels = tf.constant(boxes, tf.int32), tf.constant(self.labels)
        return indices(len(self), seed, shuffle).map(
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
    return tf.io.decode_image(checked_file(file), channels=CHANNELS, expand_animations=False)


def _recovered(file: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.io.decode_jpeg(
            checked_file(file), channels=CHANNELS, try_recover_truncated=True
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


def missing(paths: list[Path], root: Path, listed: str) -> None:
    """Checks that all files are there, and inside of the folder.

    Raises:
        ValueError: Where some are not; names the first.
    """
    all_inside(root, paths)
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise ValueError(
            f"Expected the pictures that {listed} of {str(root)!r} names. "
            f"Received: {len(gone)} of {len(paths)} are not there, such as {str(gone[0])!r}"
        )
