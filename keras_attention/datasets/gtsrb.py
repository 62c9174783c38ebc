"""GTSRB: German traffic signs, from the official folder or from tensorflow-datasets.

Reference: Stallkamp et al., Man vs. computer (2012); Chitta, Targeted Kernel Networks (2018),
section 4.1.
"""

import csv
import os
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import (
    check_all_inside,
    describe_folder,
    find_folder,
    line_error,
)
from keras_attention.datasets.image_files import open_image
from keras_attention.datasets.splits import stratified_split
from keras_attention.datasets.tensorflow_sets import read_tensorflow_set
from keras_attention.utils.validation import boolean

CLASSES = 43
# Substitute at tensorflow-datasets for the official folder.
OTHER_SOURCE = "visual_domain_decathlon/gtsrb"
PARTS = {"train": "Final_Training", "test": "Final_Test"}
COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
SOURCE = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
LAYOUT = (
    "GTSRB/Final_Training/Images/00000/GT-00000.csv to 00042 and GTSRB/Final_Test/Images with "
    f"GT-final_test.csv, as the archives of {SOURCE} unpack"
)


def read_gtsrb(
    split: str,
    size: int = 32,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    crop: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of the German Traffic Sign Recognition Benchmark.

    The official folder has the paper's 39,209 training and 12,630 test images. If neither
    `data_dir` nor the environment variable `GTSRB_DIR` names it, `visual_domain_decathlon/gtsrb` of
    tensorflow-datasets is used: the same 39,209 images without boxes, with shorter sides of 72
    pixels, split in two. Its test labels are secret, so `"test"` is its validation split, and
    errors are not comparable with the paper's table 5.

    Args:
        split: `"train"` or `"test"`.
        size: Side of the images in pixels after bilinear resizing with antialiasing.
        train_size: Number of training images, drawn with equal class proportions; None uses all.
        data_dir: `GTSRB` or its parent folder; a folder without that layout is used as the folder
            of tensorflow-datasets.
        crop: If True, crop images to the bounding box of the sign (`Roi` columns), as in section
            4.1. Ignored without the official folder.

    Returns:
        Images `(N, size, size, 3)`, uint8 or floats in `[0, 1]`, and int64 labels `(N,)`.

    Raises:
        ValueError: If the official folder is incomplete, or `train_size` leaves a class out.
        ConnectionError: If the folder is not set and the data set cannot be downloaded.
    """
    boolean("crop", crop)
    folder = find_folder("gtsrb", data_dir)
    # A folder without the splits is that of tensorflow-datasets.
    roots = [] if folder is None else [folder, folder / "GTSRB"]
    parts = [root / part for root in roots for part in PARTS.values()]
    root = next((part.parent for part in parts if part.is_dir()), None)
    if root is not None:
        images, labels = _read_folder(root, split, size, crop)
        if split == "train" and train_size is not None:
            chosen, _ = stratified_split(labels, train_size)
            images, labels = images[chosen], labels[chosen]
        return images, labels
    if data_dir is None and folder is not None:
        raise ValueError(
            f"The environment variable GTSRB_DIR must name a folder with {LAYOUT}. "
            f"Received: GTSRB_DIR={str(folder)!r}, {describe_folder(folder)}"
        )
    splits = {"test": "validation"}
    try:
        return read_tensorflow_set(OTHER_SOURCE, split, size, train_size, data_dir, splits)
    except ConnectionError as error:
        raise ConnectionError(
            f"{error} Alternatively, let `data_dir` or GTSRB_DIR name a folder with {LAYOUT}. "
            f"Received: data_dir={None if data_dir is None else str(data_dir)!r}"
        ) from error


def _read_folder(root: Path, split: str, size: int, crop: bool) -> tuple[np.ndarray, np.ndarray]:
    tables = _tables(root, split)
    check_all_inside(root.parent, [table for _, table in tables])
    rows = [(images, row) for images, table in tables for row in _rows(table)]
    check_all_inside(root, [images / row["Filename"] for images, row in rows])
    labels = np.array([int(row["ClassId"]) for _, row in rows], "int64")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise ValueError(
            f"Expected classes from 0 to {CLASSES - 1} in the tables of {str(root)!r}. "
            f"Received: ClassId={labels.min()} to {labels.max()}"
        )
    return np.stack([_read_image(folder, row, size, crop) for folder, row in rows]), labels


def _tables(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Lists the image folders, each with its table of boxes and classes."""
    folder = root / PARTS[split] / "Images"
    if split == "train":
        tables = [(path.parent, path) for path in sorted(folder.glob("*/GT-*.csv"))]
    else:
        # The labels have a separate archive, which may be unpacked into any of these folders.
        locations = (folder, folder.parent, root, root.parent)
        found = [location / "GT-final_test.csv" for location in locations]
        tables = [(folder, path) for path in found if path.is_file()][:1]
    if not tables:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}; the labels of the test split come in "
            "GTSRB_Final_Test_GT.zip. "
            f"Received: data_dir={str(root)!r} with {str(folder)!r}, {describe_folder(folder)}"
        )
    return tables


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter=";")
        rows, columns = list(reader), reader.fieldnames
    if not rows or not set(COLUMNS) <= set(columns or ()):
        raise ValueError(
            f"Expected lines with the columns {';'.join(COLUMNS)} in {str(table)!r}. "
            f"Received: columns={columns}, {len(rows)} lines"
        )
    for number, row in enumerate(rows, start=2):
        if not all((row[name] or "").isdigit() for name in COLUMNS[1:]):
            raise line_error(table, number, "whole numbers", [row[name] for name in COLUMNS])
    return rows


def _read_image(folder: Path, row: dict[str, str], size: int, crop: bool) -> np.ndarray:
    from PIL import Image

    path = folder / row["Filename"]
    with open_image(path) as image:
        sign = image.convert("RGB")
    if crop:
        # X2 and Y2 are exclusive: then small images have margins of five pixels on all sides, as
        # their authors state.
        left, top, right, bottom = (int(row[f"Roi.{name}"]) for name in ("X1", "Y1", "X2", "Y2"))
        if not (0 <= left < right <= sign.width and 0 <= top < bottom <= sign.height):
            raise ValueError(
                f"Expected a box inside the {sign.width}x{sign.height} pixels of {str(path)!r}. "
                f"Received: Roi={(left, top, right, bottom)}"
            )
        sign = sign.crop((left, top, right, bottom))
    return np.asarray(sign.resize((size, size), Image.Resampling.BILINEAR))
