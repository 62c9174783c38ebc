"""GTSDB: street scenes with bounding boxes of German traffic signs, from the published folder.

Reference: Houben et al., Detection of traffic signs in real-world images (2013).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_attention.datasets.folders import (
    check_all_inside,
    check_inside,
    line_error,
    require_folder,
)
from keras_attention.datasets.image_files import open_image
from keras_attention.datasets.pipelines import index_order, to_float
from keras_attention.datasets.splits import draw_examples
from keras_attention.utils.validation import boolean, positive_integer

CLASSES = 43
FIRST_OF_TEST = 600
MAX_BOXES = 8
# The benchmark detects the first three categories; the rest is "other".
CATEGORIES = {
    "prohibitory": (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16),
    "mandatory": (33, 34, 35, 36, 37, 38, 39, 40),
    "danger": (11, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31),
    "other": (6, 12, 13, 14, 17, 32, 41, 42),
}
NAME = re.compile(r"\d{5}\.ppm", re.ASCII)
LINE = "ImgNo#.ppm;leftCol;topRow;rightCol;bottomRow;ClassID"
SOURCE = "https://sid.erda.dk/public/archives/ff17dc924eba88d5d01a807357d6614c"
LAYOUT = "gt.txt and 00000.ppm to 00899.ppm, as FullIJCNN2013.zip unpacks"
CHANNELS = 3
# Value of unused rows.
PADDING = -1


class Sign(NamedTuple):
    """A line of gt.txt: line number, image, box (left, top, right, bottom) and class."""

    line: int
    image: str
    box: tuple[int, ...]
    label: int


def read_gtsdb(
    split: str,
    size: int = 512,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    keep_aspect_ratio: bool = True,
    max_boxes: int = MAX_BOXES,
    superclasses: bool = False,
) -> tuple[Scenes, dict[str, np.ndarray]]:
    """Reads the boxes of one split of the German Traffic Sign Detection Benchmark.

    The published folder contains 900 images of 1360x800 pixels, and gt.txt with a line per sign:

        00001.ppm;983;388;1024;432;40

    The images 00000 to 00599 are the training split, 00600 to 00899 the test split. Images without
    a line show no sign; they are kept. Right and bottom of a box are exclusive, as in `read_gtsrb`.

    Args:
        split: `"train"` or `"test"`.
        size: Side of the square outputs in pixels.
        train_size: Number of training images, drawn deterministically; None uses all 600.
        data_dir: `FullIJCNN2013` or its parent folder; None uses the environment variable
            `GTSDB_DIR`.
        keep_aspect_ratio: If True, resize the longer side to `size` and pad with black on the
            right or below; otherwise stretch images to the square.
        max_boxes: Number of rows for the boxes of an image.
        superclasses: If True, labels are the benchmark's four categories (0 to 3: prohibitory,
            mandatory, danger and other signs) instead of its 43 classes.

    Returns:
        The images and their labels: float32 `"boxes"`, `(N, max_boxes, 4)`, with left, top, right
        and bottom in output pixels, and int64 `"labels"`, `(N, max_boxes)`. Unused rows are -1.

    Raises:
        ValueError: If the folder is not set, lines or images are malformed, an image has more signs
            than `max_boxes`, or `train_size` exceeds the number of images.
    """
    boolean("keep_aspect_ratio", keep_aspect_ratio)
    boolean("superclasses", superclasses)
    positive_integer("max_boxes", max_boxes)
    root = require_folder("gtsdb", data_dir, LAYOUT, SOURCE, "gt.txt", "FullIJCNN2013")
    signs = list(_signs(check_inside(root, root / "gt.txt")))
    names = _image_names(root, split, signs)
    check_all_inside(root, [root / name for name in names])
    if split == "train" and train_size is not None:
        names = [names[index] for index in draw_examples(np.arange(len(names)), train_size)]
    scenes = Scenes(tuple(root / name for name in names), size, keep_aspect_ratio)
    return scenes, _targets(scenes, signs, max_boxes, superclasses)


def category_of(label: int) -> int:
    """Returns the index of the category of a class.

    Example:
    >>> [category_of(label) for label in (0, 33, 11, 42)]
    [0, 1, 2, 3]
    """
    return next(number for number, labels in enumerate(CATEGORIES.values()) if label in labels)


def _signs(table: Path) -> Iterator[Sign]:
    text = table.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        image, *values = line.strip().split(";")
        whole = len(values) == 5 and all(value.isascii() and value.isdigit() for value in values)
        if not whole or not NAME.fullmatch(image) or int(values[-1]) >= CLASSES:
            expected = f"{LINE}, a name of five digits, whole numbers and a class from 0 to 42,"
            raise line_error(table, number, expected, repr(line))
        *box, label = map(int, values)
        yield Sign(number, image, tuple(box), label)


def _image_names(root: Path, split: str, signs: list[Sign]) -> list[str]:
    """Lists the names of the images of a split, including those without signs."""
    found = {path.name for path in root.iterdir() if NAME.fullmatch(path.name)}
    for sign in signs:
        if sign.image not in found:
            raise ValueError(
                f"Expected an image of {str(root)!r} in line {sign.line} of its gt.txt. "
                f"Received: {sign.image!r}, which does not exist"
            )
    part = {name for name in found if (int(name[:5]) < FIRST_OF_TEST) == (split == "train")}
    if not part:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}, the first {FIRST_OF_TEST} for training. "
            f"Received: data_dir={str(root)!r} without images for split={split!r}"
        )
    return sorted(part)


def _targets(
    scenes: Scenes, signs: list[Sign], max_boxes: int, superclasses: bool
) -> dict[str, np.ndarray]:
    by_image: dict[str, list[Sign]] = {path.name: [] for path in scenes.paths}
    for sign in signs:
        if sign.image in by_image:
            by_image[sign.image].append(sign)
    name, largest = max(by_image.items(), key=lambda item: len(item[1]))
    if len(largest) > max_boxes:
        raise ValueError(
            f"`max_boxes` must be at least {len(largest)}, the number of signs of {name!r}. "
            f"Received: max_boxes={max_boxes}"
        )
    boxes = [_boxes(scenes, index, shown) for index, shown in enumerate(by_image.values())]
    labels = [
        np.array([category_of(sign.label) if superclasses else sign.label for sign in shown])
        for shown in by_image.values()
    ]
    return pad_boxes(boxes, labels, max_boxes)


def _boxes(scenes: Scenes, index: int, signs: list[Sign]) -> np.ndarray:
    """Returns the boxes of an image in output pixels, `(n, 4)`."""
    width, height = sides = scenes.sides(index)
    for sign in signs:
        left, top, right, bottom = sign.box
        if not (left < right <= width and top < bottom <= height):
            raise ValueError(
                f"Expected a box inside the {width}x{height} pixels of {sign.image!r} in line "
                f"{sign.line} of gt.txt in {str(scenes.paths[index].parent)!r}. "
                f"Received: box={sign.box}"
            )
    return scenes.scale_boxes(np.array([sign.box for sign in signs], "float64"), sides)


def fitted_size(width: int, height: int, size: int, keep_aspect_ratio: bool) -> tuple[int, int]:
    """Returns width and height of an image resized into a square of `size` pixels.

    Example:
    >>> fitted_size(1360, 800, 512, keep_aspect_ratio=True)
    (512, 301)
    >>> fitted_size(1360, 800, 512, keep_aspect_ratio=False)
    (512, 512)
    """
    if not keep_aspect_ratio:
        return size, size
    factor = size / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True)
class Scenes:
    """Images on disk that are resized into squares of `size` pixels.

    With `keep_aspect_ratio` they are padded with black on the right or below, else stretched.
    """

    paths: tuple[Path, ...]
    size: int
    keep_aspect_ratio: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def sides(self, index: int) -> tuple[int, int]:
        """Reads width and height of an image from its header."""
        with open_image(self.paths[index]) as image:
            width, height = image.size
            return width, height

    def scale_boxes(self, boxes: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
        """Scales boxes `(n, 4)` (left, top, right, bottom) from an image to its square.

        Example:
        >>> boxes = np.array([[680, 400, 1360, 800]])
        >>> Scenes((), size=512).scale_boxes(boxes, (1360, 800)).tolist()
        [[256.0, 150.5, 512.0, 301.0]]
        """
        factors = np.array(fitted_size(*sides, self.size, self.keep_aspect_ratio)) / sides
        return np.reshape(boxes, (-1, 4)) * np.tile(factors, 2)

    def read(self, index: int) -> np.ndarray:
        """Reads an image, resized with antialiasing: uint8 `(size, size, 3)`."""
        from PIL import Image

        canvas = Image.new("RGB", (self.size, self.size))
        try:
            with open_image(self.paths[index]) as image:
                width, height = image.size
                sides = fitted_size(width, height, self.size, self.keep_aspect_ratio)
                canvas.paste(image.convert("RGB").resize(sides, Image.Resampling.BILINEAR))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"Expected a complete image in {str(self.paths[index])!r}. Received: {error}"
            ) from error
        return np.asarray(canvas)


def pad_boxes(
    boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], max_boxes: int
) -> dict[str, np.ndarray]:
    """Pads boxes `(n, 4)` and labels `(n,)` of every image to `max_boxes` rows of -1.

    Example:
    >>> pad_boxes([np.array([[1, 2, 3, 4]])], [np.array([5])], max_boxes=2)["labels"].tolist()
    [[5, -1]]
    """
    all_boxes: np.ndarray = np.full((len(boxes), max_boxes, 4), PADDING, "float32")
    all_labels: np.ndarray = np.full((len(boxes), max_boxes), PADDING, "int64")
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
    augment: bool = False,
) -> tf.data.Dataset:
    """Builds a pipeline of images with the results of `pad_boxes`, read in every epoch.

    `augment` is ignored: a flipped sign may have another meaning.
    """
    targets = {name: tf.constant(values) for name, values in labels.items()}

    def read(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        # tf.io cannot decode PPM files.
        image = tf.numpy_function(scenes.read, [index], tf.uint8, stateful=False)
        image.set_shape((scenes.size, scenes.size, CHANNELS))
        return to_float(image), {name: values[index] for name, values in targets.items()}

    order = index_order(len(scenes), seed, shuffle)
    return order.map(read, num_parallel_calls=tf.data.AUTOTUNE)
