"""Indoor scenes of 67 kinds, from MIT's published folder.

References: Quattoni and Torralba, Recognizing Indoor Scenes (2009); Zagoruyko and Komodakis, Paying
More Attention to Attention (2017), section 4.2.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import check_inside, describe_folder, require_folder
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.utils.validation import one_of

CLASSES = 67
LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
ARCHIVE, IMAGES = "indoorCVPR_09", "Images"
LINE = re.compile(r"[^/]+/[^/]+")
SOURCE = "https://web.mit.edu/torralba/www/indoor.html"
LAYOUT = (
    f"{IMAGES}, which has a folder of pictures for each of {CLASSES} classes, and the lists "
    f"{' and '.join(LISTS.values())}, which are downloaded apart from it"
)


def read_mit_scenes(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[ImageFiles]:
    """Finds the pictures of one part of MIT's Indoor Scenes; they are read in every pass.

    The published lists have 80 pictures of each class for training and 20 for testing, not all of
    the 15,620 in the folder. Pictures are JPEG, PNG or GIF, whatever their names end with, of which
    the first frame counts. JPEG files that end early are read as far as they go; what is lost is
    filled as the decoder guesses, in gray for the most part.

    Args:
        split: `"train"`, 5,360 pictures, or `"test"`, 1,340.
        size: Pixels along the sides of the squares that are cut out.
        train_size: Pictures for training, chosen by class in equal shares; None for all.
        data_dir: `indoorCVPR_09`, or the folder that holds it; None for that of the environment
            variable `MIT_SCENES_DIR`. The lists may lie in either, or beside the classes.

    Returns:
        What `serve_stream` serves, with labels 0 to 66 for the classes in alphabetical order.

    Raises:
        ValueError: Without the folder or the list, for other than 67 classes, lines that are broken
            or name no class, pictures that are not there (says which), or a `train_size` that
            leaves a class out.
    """
    one_of("split", split, tuple(LISTS))
    images = _images(data_dir)
    classes = {name: label for label, name in enumerate(_classes(images))}
    table = _table(images, LISTS[split])
    pictures = list(_pictures(table, classes))
    paths = [images / name / picture for name, picture in pictures]
    check_files_exist(paths, images, table.name)
    labels = np.array([classes[name] for name, _ in pictures], "int64")
    files = ImageFiles(tuple(paths), labels, size, recover=True)
    return (files.training_subset(train_size) if split == "train" else files,)


def _images(data_dir: str | os.PathLike[str] | None) -> Path:
    return require_folder("mit_scenes", data_dir, LAYOUT, SOURCE, IMAGES, ARCHIVE) / IMAGES


def _classes(images: Path) -> list[str]:
    folders = (path.name for path in images.iterdir() if path.is_dir())
    names = sorted(name for name in folders if not name.startswith("."))
    if len(names) == CLASSES:
        return names
    raise ValueError(
        f"Expected {CLASSES} folders, one a class, in {str(images)!r}. "
        f"Received: {len(names)} folders; {describe_folder(images)}"
    )


def _table(images: Path, name: str) -> Path:
    root = images.parent
    for place in (root, root.parent, images):
        if (place / name).is_file():
            return check_inside(place, place / name)
    raise ValueError(
        f"`data_dir` must be a folder with {LAYOUT}. "
        f"Received: no {name} in {str(root)!r}, in the folder above it or in {IMAGES}"
    )


def _pictures(table: Path, classes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """The class and the name of each picture, where names may be of any encoding."""
    lines = os.fsdecode(table.read_bytes()).split("\n")
    if not any(map(str.strip, lines)):
        raise ValueError(f"Expected lines in {str(table)!r}. Received: none")
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        name, _, picture = line.partition("/")
        if not LINE.fullmatch(line) or name not in classes:
            raise ValueError(
                f"Expected CLASS/PICTURE, with a class that has a folder, in line {number} of "
                f"{str(table)!r}. Received: {line!r}"
            )
        yield name, picture
