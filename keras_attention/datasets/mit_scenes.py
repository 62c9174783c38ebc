"""MIT Indoor Scenes: 67 classes of rooms, read from the published folder.

References: Quattoni and Torralba, Recognizing Indoor Scenes (2009); Zagoruyko and Komodakis, Paying
More Attention to Attention (2017), section 4.2.1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import (
    check_inside,
    describe_folder,
    line_error,
    require_folder,
)
from keras_attention.datasets.image_files import ImageFiles, check_files_exist
from keras_attention.utils.validation import one_of

CLASSES = 67
LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
ARCHIVE, IMAGES = "indoorCVPR_09", "Images"
LINE = re.compile(r"[^/]+/[^/]+")
SOURCE = "https://web.mit.edu/torralba/www/indoor.html"
LAYOUT = (
    f"{IMAGES}, which has a folder of images for each of {CLASSES} classes, and the lists "
    f"{' and '.join(LISTS.values())}, which are separate downloads"
)


def read_mit_scenes(
    split: str,
    size: int = 224,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[ImageFiles]:
    """Lists the images of one split of MIT Indoor Scenes; images are read in every epoch.

    The published lists name 80 training and 20 test images of each class, not all of the 15,620
    images in the folder. Images are JPEG, PNG or GIF files (first frame), independent of their
    suffix. Truncated JPEG files are decoded as far as possible; the decoder fills the rest, mostly
    with gray.

    Args:
        split: `"train"`, 5,360 images, or `"test"`, 1,340.
        size: Side of the square crops in pixels.
        train_size: Number of training images, drawn with equal class proportions; None uses all.
        data_dir: `indoorCVPR_09` or its parent folder; None uses the environment variable
            `MIT_SCENES_DIR`. The lists may be in either folder or next to the class folders.

    Returns:
        The input of `serve_stream`, with labels 0 to 66 for the classes in alphabetical order.

    Raises:
        ValueError: If the folder or the list is missing, there are not 67 classes, lines are
            malformed or name an unknown class, images are missing, or `train_size` leaves a class
            out.
    """
    one_of("split", split, tuple(LISTS))
    root = require_folder("mit_scenes", data_dir, LAYOUT, SOURCE, IMAGES, ARCHIVE)
    folder = root / IMAGES
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    names = [name for name in names if not name.startswith(".")]
    if len(names) != CLASSES:
        raise ValueError(
            f"Expected {CLASSES} folders, one per class, in {str(folder)!r}. "
            f"Received: {len(names)} folders; {describe_folder(folder)}"
        )
    classes = {name: label for label, name in enumerate(names)}
    table = _table(folder, LISTS[split])
    images = list(_list_images(table, classes))
    paths = [folder / name / image for name, image in images]
    check_files_exist(paths, folder, table.name)
    labels = np.array([classes[name] for name, _ in images], "int64")
    files = ImageFiles(tuple(paths), labels, size, recover=True)
    return (files.training_subset(train_size) if split == "train" else files,)


def _table(folder: Path, name: str) -> Path:
    root = folder.parent
    for location in (root, root.parent, folder):
        if (location / name).is_file():
            return check_inside(location, location / name)
    raise ValueError(
        f"`data_dir` must be a folder with {LAYOUT}. "
        f"Received: no {name} in {str(root)!r}, in the folder above it or in {IMAGES}"
    )


def _list_images(table: Path, classes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yields class and file name of each image; names may have any encoding."""
    lines = os.fsdecode(table.read_bytes()).split("\n")
    if not any(map(str.strip, lines)):
        raise ValueError(f"Expected lines in {str(table)!r}. Received: none")
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        name, _, image = line.partition("/")
        if not LINE.fullmatch(line) or name not in classes:
            expected = "CLASS/IMAGE, with a class that has a folder,"
            raise line_error(table, number, expected, repr(line))
        yield name, image
