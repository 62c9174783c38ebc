"""UEC Food 100: Japanese dishes with bounding boxes, read from the published folder.

References: Matsuda et al., Recognition of multiple-food images by detecting candidate regions
(2012); Rodriguez et al., Attend and Rectify (2018), section 4.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.datasets.folders import check_inside, line_error, require_folder
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.datasets.splits import SPLIT_SEED, held_out_count
from keras_attention.utils.validation import fraction

CLASSES = 100
INDEX, BOXES = "category.txt", "bb_info.txt"
LINE = "img x1 y1 x2 y2"
NUMBERS = re.compile(r"\s*\d{1,9}(\s+-?\d{1,9}){4}\s*", re.ASCII)
SOURCE = "http://foodcam.mobi/dataset100.html"
LAYOUT = f"{INDEX} and the folders 1 to 100, each with its images and {BOXES}"


class Dish(NamedTuple):
    """A line of bb_info.txt: number of the image, box, and label given by the folder."""

    image: int
    box: tuple[int, ...]
    label: int


def read_uec_food(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    test_share: float = 0.2,
) -> tuple[ImageFiles]:
    """Lists the dishes of one split of UEC Food 100; images are read in every epoch.

    The published folder has a line of `12/bb_info.txt` for each dish of category 12:

        4521 10 32 390 410

    where `12/4521.jpg` is the image. It is also in the folders of other categories if it shows
    their dishes. An example is one dish, cropped to its box first. Right and bottom of a box are
    exclusive, and parts of a box outside of the image are ignored.

    No test split has been published. Test images (not dishes) are drawn deterministically, so that
    no image is in both splits.

    Args:
        split: `"train"` or `"test"`.
        size: Side of the square crops in pixels.
        train_size: Number of training dishes, drawn with equal class proportions; None uses all.
        data_dir: `UECFOOD100` or its parent folder; None uses the environment variable
            `UEC_FOOD100_DIR`.
        test_share: Fraction of the images of each category, at least one image. An image of
            several categories counts for each of them.

    Returns:
        The input of `serve_stream`, with labels 0 to 99 for the folders 1 to 100.

    Raises:
        ValueError: If the folder is not set, lines or images are malformed or missing,
            `test_share` is invalid, or `train_size` leaves a class out.
    """
    held_out = fraction("test_share", test_share)
    root = require_folder("uec_food100", data_dir, LAYOUT, SOURCE, INDEX, "UECFOOD100")
    folders = [check_inside(root, root / str(label + 1)) for label in range(CLASSES)]
    dishes = [dish for label, folder in enumerate(folders) for dish in _dishes(folder, label)]
    tested = draw_test_images(
        np.array([dish.image for dish in dishes]),
        np.array([dish.label for dish in dishes]),
        held_out,
    )
    part = [dish for dish in dishes if (dish.image in tested) == (split == "test")]
    paths = [root / str(dish.label + 1) / f"{dish.image}.jpg" for dish in part]
    check_files_exist(paths, root, BOXES)
    part_labels = np.array([dish.label for dish in part], "int64")
    files = ImageFiles(tuple(paths), part_labels, size, np.array([dish.box for dish in part]))
    return (files.training_subset(train_size) if split == "train" else files,)


def draw_test_images(images: np.ndarray, labels: np.ndarray, test_share: float) -> set[int]:
    """Draws test images of every class deterministically, from image and class of each example.

    Smaller classes draw first; their images count for larger classes that share them.

    Example:
    >>> len(draw_test_images(np.arange(20), np.repeat([0, 1], 10), 0.2))
    4
    """
    held: dict[int, set[int]] = {
        label: set(images[labels == label].tolist()) for label in np.unique(labels).tolist()
    }
    random = np.random.default_rng(SPLIT_SEED)
    tested: set[int] = set()
    seen: set[int] = set()
    for own in sorted(held.values(), key=lambda own: (len(own), min(own))):
        free = random.permutation(sorted(own - seen)).tolist()
        wanted = held_out_count(test_share, len(own)) - len(own & tested)
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
        image, *box = map(int, line.split() if whole else "00000")
        if not (box[0] < box[2] and box[1] < box[3]):
            expected = f"{LINE}, whole numbers, x1 below x2 and y1 below y2,"
            raise line_error(table, number, expected, repr(line))
        yield Dish(image, tuple(box), label)
