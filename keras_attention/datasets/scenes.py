"""Pipelines of pictures with boxes: read from disk in every pass and fitted into squares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats, indices
from keras_attention.datasets.picture_limits import open_picture

CHANNELS = 3
# What fills the rows of an image that has fewer boxes than others.
PADDING = -1


def fitted(width: int, height: int, size: int, keep_aspect_ratio: bool) -> tuple[int, int]:
    """Width and height of a picture within a square of `size` pixels.

    Example:
    >>> fitted(1360, 800, 512, keep_aspect_ratio=True)
    (512, 301)
    >>> fitted(1360, 800, 512, keep_aspect_ratio=False)
    (512, 512)
    """
    if not keep_aspect_ratio:
        return size, size
    factor = size / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True)
class Scenes:
    """Pictures on disk, and the square that each is fitted into.

    Attributes:
        paths: Of the pictures, `(N,)`.
        size: Pixels along the sides of the squares.
        keep_aspect_ratio: Whether the rest of a square stays black, on the right or below; else
            pictures are stretched.
    """

    paths: tuple[Path, ...]
    size: int
    keep_aspect_ratio: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def sides(self, index: int) -> tuple[int, int]:
        """Width and height of a picture on disk; reads no more than its header.

        Raises:
            ValueError: For a file that is no picture.
        """
        with open_picture(self.paths[index]) as picture:
            width, height = picture.size
            return width, height

    def place(self, boxes: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
        """Moves boxes `(n, 4)`, left, top, right and bottom, from a picture to its square.

        Example:
        >>> Scenes((), size=512).place(np.array([[680, 400, 1360, 800]]), (1360, 800)).tolist()
        [[256.0, 150.5, 512.0, 301.0]]
        """
        factors = np.array(fitted(*sides, self.size, self.keep_aspect_ratio)) / sides
        return np.reshape(boxes, (-1, 4)) * np.tile(factors, 2)

    def read(self, index: int) -> np.ndarray:
        """Reads a picture, resized bilinearly and smoothed: bytes `(size, size, 3)`.

        Raises:
            ValueError: For a file that is cut off.
        """
        from PIL import Image

        canvas = Image.new("RGB", (self.size, self.size))
        try:
            with open_picture(self.paths[index]) as picture:
                width, height = picture.size
                sides = fitted(width, height, self.size, self.keep_aspect_ratio)
                canvas.paste(picture.convert("RGB").resize(sides, Image.Resampling.BILINEAR))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"Expected a whole picture in {str(self.paths[index])!r}. Received: {error}"
            ) from error
        return np.asarray(canvas)


def padded(
    boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], most: int
) -> dict[str, np.ndarray]:
    """Puts the boxes of all pictures into arrays with `most` rows each.

    Args:
        boxes: `(n, 4)` for each picture.
        labels: `(n,)` for each picture.
        most: Rows of a picture, at least the largest `n`.

    Returns:
        Float32 `"boxes"`, `(N, most, 4)`, and int64 `"labels"`, `(N, most)`; -1 where none is.

    Example:
    >>> padded([np.array([[1, 2, 3, 4]])], [np.array([5])], most=2)["labels"].tolist()
    [[5, -1]]
    """
    all_boxes: np.ndarray = np.full((len(boxes), most, 4), PADDING, "float32")
    all_labels: np.ndarray = np.full((len(boxes), most), PADDING, "int64")
    for row, (some, classes) in enumerate(zip(boxes, labels, strict=True)):
        all_boxes[row, : len(some)] = some
        all_labels[row, : len(some)] = classes
    return {"boxes": all_boxes, "labels": all_labels}


def serve_scenes(
    scenes: Scenes,
    labels: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Serves pictures with their boxes; one is in memory at a time.

    Args:
        scenes: Where the pictures are.
        labels: What `padded` returns, in pixels of the squares.
        seed: Of the order.
        shuffle: Whether every pass has an order of its own.
        redraw: Of no effect: a mirrored sign may mean something else.

    Returns:
        A data set of `(image, labels)`: float32 `(size, size, 3)` in `[0, 1]`, and a dictionary of
        `"boxes"`, `(most, 4)`, and `"labels"`, `(most,)`.
    """
    targets = {name: tf.constant(values) for name, values in labels.items()}

    def read(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        # tf.io decodes no PPM.
        picture = tf.numpy_function(scenes.read, [index], tf.uint8, stateful=False)
        picture.set_shape((scenes.size, scenes.size, CHANNELS))
        return as_floats(picture), {name: values[index] for name, values in targets.items()}

    order = indices(len(scenes), seed, shuffle)
    return order.map(read, num_parallel_calls=tf.data.AUTOTUNE)
