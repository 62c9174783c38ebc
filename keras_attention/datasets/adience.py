"""Faces with ages and genders, from the published folder of Adience.

References: Eidinger et al., Age and Gender Estimation of Unfiltered Faces (2014); Rodriguez et al.,
Attend and Rectify (2018), section 4.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.datasets.folders import check_inside, require_folder
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.utils.validation import boolean, is_integer, one_of

# First and last year of each class; the files write the third as (8, 12).
AGES = ((0, 2), (4, 6), (8, 13), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
GENDERS = ("f", "m")
FOLDS = 5
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
NAME = re.compile(r"[\w@.-]+", re.ASCII)
# What the pictures' folder is called and what their names begin with.
KINDS = {True: ("aligned", "landmark_aligned_face"), False: ("faces", "coarse_tilt_aligned_face")}
SOURCE = "https://talhassner.github.io/home/projects/Adience/Adience-data.html"
LAYOUT = (
    "fold_0_data.txt to fold_4_data.txt and aligned/USER_ID/landmark_aligned_face.FACE_ID.IMAGE, "
    "or faces/USER_ID/coarse_tilt_aligned_face.FACE_ID.IMAGE with `aligned=False`"
)


class Face(NamedTuple):
    """A line of a fold: whose picture, which one, which face in it, and what is known of it."""

    user: str
    picture: str
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
    """Finds the faces of one part of Adience; they are read in every pass.

    Of the five published folds, which share no person, one is for testing and four for training.
    Faces without the age or gender that is asked for are left out, and so are ages that are as near
    to one class as to another.

    Args:
        target: `"age"` for the eight classes of `age_class`, or `"gender"`, 0 for women and 1 for
            men.
        split: `"train"` or `"test"`.
        size: Pixels along the sides of the squares that are cut out.
        train_size: Faces for training, chosen by class in equal shares; None for all.
        data_dir: The folder with the folds; None for that of the environment variable
            `ADIENCE_DIR`.
        fold: Which one is for testing, 0 to 4.
        aligned: Whether faces are those aligned by their landmarks; else those turned upright.

    Returns:
        What `serve_stream` serves.

    Raises:
        ValueError: Without the folder, for lines or pictures that are broken or not there (says
            which), a `fold` that there is not, or a `train_size` that leaves a class out.
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
    paths = [_path(root, face, bool(aligned)) for face, _ in labeled]
    check_files_exist(paths, root, "fold_0_data.txt to fold_4_data.txt")
    labels = np.array([label for _, label in labeled], "int64")
    files = ImageFiles(tuple(paths), labels, size)
    return (files.training_subset(train_size) if split == "train" else files,)


def age_class(age: str) -> int | None:
    """The class of an age as the files write it, which is not always a class's own range.

    A range belongs to the class with which it shares most years, a single age to the nearest.

    Args:
        age: Such as `"(25, 32)"`, `"35"` or `"None"`.

    Returns:
        0 for 0 to 2 years, then 4 to 6, 8 to 13, 15 to 20, 25 to 32, 38 to 43, 48 to 53 and 60 to
        100; None where nothing is known or two classes are as near.

    Example:
    >>> [age_class(age) for age in ("(8, 12)", "(27, 32)", "(38, 48)", "13", "57")]
    [2, 4, 5, 2, 7]
    >>> [age_class(age) for age in ("35", "3", "(8, 23)", "None")]
    [None, None, None, None]
    """
    years = [int(year) for year in re.findall(r"\d+", age)]
    if not years:
        return None
    # Where nothing is shared the years between are counted, below zero.
    shared = [min(years[-1], last) - max(years[0], first) for first, last in AGES]
    most = max(shared)
    return shared.index(most) if shared.count(most) == 1 else None


def _label(face: Face, target: str) -> int | None:
    if target == "age":
        return age_class(face.age)
    return GENDERS.index(face.gender) if face.gender in GENDERS else None


def _path(root: Path, face: Face, aligned: bool) -> Path:
    folder, name = KINDS[aligned]
    return root / folder / face.user / f"{name}.{face.number}.{face.picture}"


def _faces(table: Path) -> Iterator[Face]:
    if not table.is_file():
        raise ValueError(f"`data_dir` must hold {LAYOUT}. Received: no {str(table)!r}")
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
            raise ValueError(
                f"Expected {', '.join(COLUMNS)}, ... in line {number} of {str(table)!r}. "
                f"Received: {line!r}"
            )
        yield Face(*cells[: len(COLUMNS)])
