"""Adience: faces labeled with age and gender, read from the published folder.

References: Eidinger et al., Age and Gender Estimation of Unfiltered Faces (2014); Rodriguez et al.,
Attend and Rectify (2018), section 4.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.datasets.folders import check_inside, line_error, require_folder
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.utils.validation import boolean, is_integer, one_of

# First and last year of each class; the files denote the third by (8, 12).
AGES = ((0, 2), (4, 6), (8, 13), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
GENDERS = ("f", "m")
FOLDS = 5
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
NAME = re.compile(r"[\w@.-]+", re.ASCII)
# Folder and file name prefix of aligned and of unaligned faces.
KINDS = {True: ("aligned", "landmark_aligned_face"), False: ("faces", "coarse_tilt_aligned_face")}
SOURCE = "https://talhassner.github.io/home/projects/Adience/Adience-data.html"
LAYOUT = (
    "fold_0_data.txt to fold_4_data.txt and aligned/USER_ID/landmark_aligned_face.FACE_ID.IMAGE, "
    "or faces/USER_ID/coarse_tilt_aligned_face.FACE_ID.IMAGE with `aligned=False`"
)


class Face(NamedTuple):
    """A line of a fold: user, image, number of the face in the image, age and gender."""

    user: str
    image: str
    number: str
    age: str
    gender: str


def read_adience(
    target: str,
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    fold: int = 0,
    aligned: bool = True,
) -> tuple[ImageFiles]:
    """Lists the faces of one split of Adience; images are read in every epoch.

    One of the five published folds, which have no person in common, is the test split; the other
    four are the training split. Faces without the requested label are skipped, and so are ages
    equally close to two classes.

    Args:
        target: `"age"` for the eight classes of `age_class`, or `"gender"` (0: female, 1: male).
        split: `"train"` or `"test"`.
        size: Side of the square crops in pixels.
        train_size: Number of training faces, drawn with equal class proportions; None uses all.
        data_dir: The folder with the folds; None uses the environment variable `ADIENCE_DIR`.
        fold: Index of the test fold, 0 to 4.
        aligned: If True, use the faces aligned by landmarks; otherwise those rotated upright.

    Returns:
        The input of `serve_stream`.

    Raises:
        ValueError: If the folder is not set, lines or images are malformed or missing, `fold` is
            invalid, or `train_size` leaves a class out.
    """
    one_of("target", target, ("age", "gender"))
    boolean("aligned", aligned)
    if not is_integer(fold) or not 0 <= fold < FOLDS:
        raise ValueError(f"`fold` must be an integer from 0 to 4. Received: fold={fold!r}")
    root = require_folder("adience", data_dir, LAYOUT, SOURCE)
    folds = [number for number in range(FOLDS) if (number == fold) == (split == "test")]
    tables = [check_inside(root, root / f"fold_{number}_data.txt") for number in folds]
    faces = [face for table in tables for face in _faces(table)]
    labeled = [(face, label) for face in faces if (label := _label(face, target)) is not None]
    folder, prefix = KINDS[bool(aligned)]
    paths = [
        root / folder / face.user / f"{prefix}.{face.number}.{face.image}" for face, _ in labeled
    ]
    check_files_exist(paths, root, "fold_0_data.txt to fold_4_data.txt")
    labels = np.array([label for _, label in labeled], "int64")
    files = ImageFiles(tuple(paths), labels, size)
    return (files.training_subset(train_size) if split == "train" else files,)


def age_class(age: str) -> int | None:
    """Maps an age, as written in the files, to a class.

    A range is assigned to the class with the largest overlap, a single age to the nearest class;
    None if the age is unknown or equally close to two classes.

    Example:
    >>> [age_class(age) for age in ("(8, 12)", "(27, 32)", "(38, 48)", "13", "57")]
    [2, 4, 5, 2, 7]
    >>> [age_class(age) for age in ("35", "3", "(8, 23)", "None")]
    [None, None, None, None]
    """
    years = [int(year) for year in re.findall(r"\d+", age)]
    if not years:
        return None
    # Without overlap the value is negative: minus the distance in years.
    shared = [min(years[-1], last) - max(years[0], first) for first, last in AGES]
    most = max(shared)
    return shared.index(most) if shared.count(most) == 1 else None


def _label(face: Face, target: str) -> int | None:
    if target == "age":
        return age_class(face.age)
    return GENDERS.index(face.gender) if face.gender in GENDERS else None


def _faces(table: Path) -> Iterator[Face]:
    if not table.is_file():
        raise ValueError(f"`data_dir` must contain {LAYOUT}. Received: no {str(table)!r}")
    header, *lines = table.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if tuple(header.strip().split("\t")[: len(COLUMNS)]) != COLUMNS:
        raise ValueError(
            f"Expected the columns {', '.join(COLUMNS)}, ..., with tabs between them, in "
            f"{str(table)!r}. Received: {header!r}"
        )
    for number, line in enumerate(lines, start=2):
        cells = [cell.strip() for cell in line.split("\t")]
        names = cells[:3]
        if len(cells) < len(COLUMNS) or not all(map(NAME.fullmatch, names)) or ".." in names:
            raise line_error(table, number, f"{', '.join(COLUMNS)}, ...", repr(line))
        yield Face(*cells[: len(COLUMNS)])
