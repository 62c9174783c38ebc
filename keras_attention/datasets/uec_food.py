"""Japanese dishes, cut out by their boxes, from the published folder of UEC Food 100.

References: Matsuda et al., Recognition of multiple-food images by detecting candidate regions
(2012); Rodriguez et al., Attend and Rectify (2018), section 4.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.datasets.folders import check_inside, require_folder
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.datasets.splits import SPLIT_SEED
from keras_attention.utils.validation import fraction

CLASSES = 100
INDEX, BOXES = "category.txt", "bb_info.txt"
LINE = "img x1 y1 x2 y2"
NUMBERS = re.compile(r"\s*\d{1,9}(\s+-?\d{1,9}){4}\s*", re.ASCII)
SOURCE = "http://foodcam.mobi/dataset100.html"
LAYOUT = f"{INDEX} and the folders 1 to 100, each with its pictures and {BOXES}"


class Dish(NamedTuple):
    """A line of bb_info.txt: the picture's number, the box and the label of the folder."""

    picture: int
    box: tuple[int, ...]
    label: int


def read_uec_food(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    test_share: float = 0.2,
) -> tuple[ImageFiles]:
    """Finds the dishes of one part of UEC Food 100; they are read in every pass.

    The published folder has a line of `12/bb_info.txt` for each dish of category 12:

        4521 10 32 390 410

    where `12/4521.jpg` is the picture, and is in other categories' folders too if it shows their
    dishes. A dish is an example, cut out by its box before everything else. Right and bottom of a
    box are taken for the first column and row behind it, and what lies outside is left out.

    Nothing is published about which are for testing: pictures, not dishes, are drawn, so that none
    is in both parts, and always in the same way.

    Args:
        split: `"train"` or `"test"`.
        size: Pixels along the sides of the squares that are cut out of the boxes.
        train_size: Dishes for training, chosen by class in equal shares; None for all.
        data_dir: `UECFOOD100`, or the folder that holds it; None for that of the environment
            variable `UEC_FOOD100_DIR`.
        test_share: Of each category's pictures, one at least. A picture of several categories
            counts for each of them.

    Returns:
        What `serve_stream` serves, with labels 0 to 99 for the folders 1 to 100.

    Raises:
        ValueError: Without the folder, for lines or pictures that are broken or not there (says
            which), a share that is none, or a `train_size` that leaves a class out.
    """
    held_out = fraction("test_share", test_share)
    root = require_folder("uec_food100", data_dir, LAYOUT, SOURCE, INDEX, "UECFOOD100")
    folders = [check_inside(root, root / str(label + 1)) for label in range(CLASSES)]
    dishes = [dish for label, folder in enumerate(folders) for dish in _dishes(folder, label)]
    tested = draw_test_images(
        np.array([dish.picture for dish in dishes]),
        np.array([dish.label for dish in dishes]),
        held_out,
    )
    part = [dish for dish in dishes if (dish.picture in tested) == (split == "test")]
    files = _files(root, part, size)
    return (files.training_subset(train_size) if split == "train" else files,)


def draw_test_images(pictures: np.ndarray, labels: np.ndarray, test_share: float) -> set[int]:
    """Draws pictures of every class, always the same ones.

    Args:
        pictures: The number of each example's picture, `(N,)`.
        labels: Of each example, `(N,)`.
        test_share: Of each class's pictures, rounded; one at least where there are two. Smaller
            classes draw first, and what they drew counts for the larger ones that share it.

    Example:
    >>> len(draw_test_images(np.arange(20), np.repeat([0, 1], 10), 0.2))
    4
    """
    held: dict[int, set[int]] = {
        label: set(pictures[labels == label].tolist()) for label in np.unique(labels).tolist()
    }
    random = np.random.default_rng(SPLIT_SEED)
    tested: set[int] = set()
    seen: set[int] = set()
    for own in sorted(held.values(), key=lambda own: (len(own), min(own))):
        free = random.permutation(sorted(own - seen)).tolist()
        wanted = min(max(1, round(test_share * len(own))), len(own) - 1) - len(own & tested)
        tested |= set(free[: max(0, wanted)])
        seen |= own
    return tested


def _dishes(folder: Path, label: int) -> Iterator[Dish]:
    table = check_inside(folder, folder / BOXES)
    if not table.is_file():
        raise ValueError(f"`data_dir` must be a folder with {LAYOUT}. Received: no {str(table)!r}")
    text = table.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or (number == 1 and line.split() == LINE.split()):
            continue
        whole = NUMBERS.fullmatch(line)
        picture, *box = map(int, line.split() if whole else "00000")
        if not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(
                f"Expected {LINE}, whole numbers, x1 below x2 and y1 below y2, in line {number} of "
                f"{str(table)!r}. Received: {line!r}"
            )
        yield Dish(picture, tuple(box), label)


def _files(root: Path, dishes: list[Dish], size: int) -> ImageFiles:
    paths = [root / str(dish.label + 1) / f"{dish.picture}.jpg" for dish in dishes]
    check_files_exist(paths, root, BOXES)
    return ImageFiles(
        tuple(paths),
        np.array([dish.label for dish in dishes], "int64"),
        size,
        np.array([dish.box for dish in dishes]),
    )
