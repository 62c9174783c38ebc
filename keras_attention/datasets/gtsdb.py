"""German traffic signs in whole pictures, with boxes, from their published folder.

Reference: Houben et al., Detection of traffic signs in real-world images (2013).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.datasets.folders import all_inside, contents, folder_of, inside, variable_of
from keras_attention.datasets.scenes import Scenes, padded
from keras_attention.datasets.subjects import draw_frames
from keras_attention.utils.validation import positive_integer

CLASSES = 43
FIRST_OF_TEST = 600
MOST_BOXES = 8
# The benchmark detects the first three; what is left it calls other.
CATEGORIES = {
    "prohibitory": (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16),
    "mandatory": (33, 34, 35, 36, 37, 38, 39, 40),
    "danger": (11, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31),
    "other": (6, 12, 13, 14, 17, 32, 41, 42),
}
NAME = re.compile(r"\d{5}\.ppm", re.ASCII)
LINE = "ImgNo#.ppm;leftCol;topRow;rightCol;bottomRow;ClassID"
SOURCE = "https://sid.erda.dk/public/archives/ff17dc924eba88d5d01a807357d6614c"
LAYOUT = f"gt.txt and 00000.ppm to 00899.ppm, as FullIJCNN2013.zip of {SOURCE} unpacks"


class Sign(NamedTuple):
    """A line of gt.txt: where it is, the picture, left, top, right and bottom, and the class."""

    line: int
    picture: str
    box: tuple[int, ...]
    label: int


def read_gtsdb(
    split: str,
    size: int = 512,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    keep_aspect_ratio: bool = True,
    max_boxes: int = MOST_BOXES,
    superclasses: bool = False,
) -> tuple[Scenes, dict[str, np.ndarray]]:
    """Reads the boxes of one part of the German Traffic Sign Detection Benchmark.

    The published folder holds 900 pictures of 1360x800 pixels, and a line of gt.txt for each sign:

        00001.ppm;983;388;1024;432;40

    The pictures 00000 to 00599 are for training, 00600 to 00899 for testing. Pictures without a
    line show no sign and stay in. Right and bottom are taken for the first column and row behind
    the sign, as in `read_gtsrb`.

    Args:
        split: `"train"` or `"test"`.
        size: Pixels along the sides of the squares that the pictures are fitted into.
        train_size: Pictures for training, drawn always in the same way; None for all, 600.
        data_dir: `FullIJCNN2013`, or the folder that holds it; None for that of the environment
            variable `GTSDB_DIR`.
        keep_aspect_ratio: Whether the longer side becomes `size` and what is left of the square,
            on the right or below, stays black; else pictures are stretched to the square.
        max_boxes: Rows for the boxes of a picture.
        superclasses: Whether labels are those of the benchmark's four categories, 0 to 3 for
            prohibitory, mandatory, danger and other signs, instead of its 43 classes.

    Returns:
        Where the pictures are, and what they show: float32 `"boxes"`, `(N, max_boxes, 4)`, left,
        top, right and bottom in pixels of the squares, and int64 `"labels"`, `(N, max_boxes)`; both
        are -1 where there is no further sign.

    Raises:
        ValueError: Without the folder, for broken lines or pictures (says which), pictures with
            more signs than `max_boxes`, or a `train_size` beyond their number.
    """
    for name, value in (("keep_aspect_ratio", keep_aspect_ratio), ("superclasses", superclasses)):
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    positive_integer("max_boxes", max_boxes)
    root = _root(data_dir)
    signs = list(_signs(inside(root, root / "gt.txt")))
    names = _pictures(root, split, signs)
    all_inside(root, [root / name for name in names])
    if split == "train" and train_size is not None:
        names = [names[index] for index in draw_frames(np.arange(len(names)), train_size)]
    scenes = Scenes(tuple(root / name for name in names), size, keep_aspect_ratio)
    return scenes, _targets(scenes, signs, max_boxes, superclasses)


def category_of(label: int) -> int:
    """The number of the category that a class belongs to.

    Example:
    >>> [category_of(label) for label in (0, 33, 11, 42)]
    [0, 1, 2, 3]
    """
    return next(number for number, labels in enumerate(CATEGORIES.values()) if label in labels)


def _root(data_dir: str | os.PathLike[str] | None) -> Path:
    folder = folder_of("gtsdb", data_dir)
    for root in () if folder is None else (folder, folder / "FullIJCNN2013"):
        if (root / "gt.txt").is_file():
            return root
    received = "" if folder is None else f", {contents(folder)}"
    raise ValueError(
        f"`data_dir`, or the environment variable {variable_of('gtsdb')}, must name the folder of "
        f"the German Traffic Sign Detection Benchmark, with {LAYOUT}. "
        f"Received: data_dir={None if folder is None else str(folder)!r}{received}"
    )


def _signs(table: Path) -> Iterator[Sign]:
    text = table.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        picture, *values = line.strip().split(";")
        whole = len(values) == 5 and all(value.isascii() and value.isdigit() for value in values)
        if not whole or not NAME.fullmatch(picture) or int(values[-1]) >= CLASSES:
            raise ValueError(
                f"Expected {LINE}, a name of five digits, whole numbers and a class from 0 to "
                f"{CLASSES - 1}, in line {number} of {str(table)!r}. Received: {line!r}"
            )
        *box, label = map(int, values)
        yield Sign(number, picture, tuple(box), label)


def _pictures(root: Path, split: str, signs: list[Sign]) -> list[str]:
    """The names of a part's pictures, those without signs included."""
    found = {path.name for path in root.iterdir() if NAME.fullmatch(path.name)}
    for sign in signs:
        if sign.picture not in found:
            raise ValueError(
                f"Expected a picture of {str(root)!r} in line {sign.line} of its gt.txt. "
                f"Received: {sign.picture!r}, which is not there"
            )
    part = {name for name in found if (int(name[:5]) < FIRST_OF_TEST) == (split == "train")}
    if not part:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}, the first {FIRST_OF_TEST} for training. "
            f"Received: data_dir={str(root)!r} without pictures for split={split!r}"
        )
    return sorted(part)


def _targets(
    scenes: Scenes, signs: list[Sign], max_boxes: int, superclasses: bool
) -> dict[str, np.ndarray]:
    by_picture: dict[str, list[Sign]] = {path.name: [] for path in scenes.paths}
    for sign in signs:
        if sign.picture in by_picture:
            by_picture[sign.picture].append(sign)
    name, most = max(by_picture.items(), key=lambda item: len(item[1]))
    if len(most) > max_boxes:
        raise ValueError(
            f"`max_boxes` must be {len(most)} at least, as many signs as {name!r} has. "
            f"Received: max_boxes={max_boxes}"
        )
    boxes = [_boxes(scenes, index, shown) for index, shown in enumerate(by_picture.values())]
    labels = [
        np.array([category_of(sign.label) if superclasses else sign.label for sign in shown])
        for shown in by_picture.values()
    ]
    return padded(boxes, labels, max_boxes)


def _boxes(scenes: Scenes, index: int, signs: list[Sign]) -> np.ndarray:
    """The boxes of a picture's signs in its square, `(n, 4)`."""
    width, height = sides = scenes.sides(index)
    for sign in signs:
        left, top, right, bottom = sign.box
        if not (left < right <= width and top < bottom <= height):
            raise ValueError(
                f"Expected a box inside the {width}x{height} pixels of {sign.picture!r} in line "
                f"{sign.line} of gt.txt in {str(scenes.paths[index].parent)!r}. "
                f"Received: box={sign.box}"
            )
    return scenes.place(np.array([sign.box for sign in signs], "float64"), sides)
