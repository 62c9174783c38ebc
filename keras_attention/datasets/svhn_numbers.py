"""Numbers of houses in whole photographs, from their published folders.

References: Netzer et al., Reading digits in natural images (2011); Almahairi et al., Dynamic
Capacity Networks (2016), section 4.2.
"""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from keras_attention.datasets.by_size import BATCHING
from keras_attention.datasets.digit_struct import read_digit_struct
from keras_attention.datasets.digits import SPLIT_SEED
from keras_attention.datasets.folders import inside, needed_folder
from keras_attention.datasets.number_labels import LONGEST, label_of
from keras_attention.datasets.number_pictures import NumberPictures
from keras_attention.datasets.picture_files import missing
from keras_attention.datasets.subjects import draw_frames
from keras_attention.utils.validation import flag, is_integer, one_of, positive_integers

# Pictures are brought to these sides for training, and crops of the second ones are cut out.
SIDES, CROP = (64, 128), (54, 110)
NAME = re.compile(r"\d+\.png", re.ASCII)
TABLE = "digitStruct.mat"
SOURCE = "http://ufldl.stanford.edu/housenumbers"
LAYOUT = (
    f"train/, extra/ and test/, each with {TABLE} and 1.png and so on, as train.tar.gz, "
    "extra.tar.gz and test.tar.gz unpack"
)


def read_svhn_numbers(
    split: str,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    extra: bool = True,
    sides: tuple[int, int] = SIDES,
    crop: tuple[int, int] | None = CROP,
    whole: bool | None = None,
    smallest: tuple[int, int] | None = None,
    largest: int | None = None,
    validation: int = 0,
    batching: str = "bucketed",
) -> tuple[NumberPictures]:
    """Reads which numbers the pictures of one part of SVHN show; every pass reads the pictures.

    Pictures become gray. In training they are brought to 64x128 pixels, and 54x110 of them are cut
    out, anywhere or, without `redraw`, of the middle; for testing they are whole, each in its own
    size. Boxes of digits are not used. Numbers of more than five digits are left out with a
    warning: there is one in the published set.

    Args:
        split: `"train"` or `"test"`.
        train_size: Pictures for training, drawn always in the same way; None for all.
        data_dir: The folder with `train`, `extra` and `test`; None for that of the environment
            variable `SVHN_NUMBERS_DIR`.
        extra: Whether `extra` is for training, too.
        sides: Rows and columns that pictures are brought to for crops, whatever their proportions.
        crop: Rows and columns of what is cut out of these; None for nothing.
        whole: Whether pictures come whole, in their own sizes; None for testing only.
        smallest: Rows and columns that whole pictures have at least: smaller ones are enlarged in
            proportion. None to leave them as they are.
        largest: Only so many pictures of the part, those of most pixels; None for all.
        validation: Pictures that are drawn out of those for training, always in the same way. In
            training they are left out, for testing they take the place of the test pictures.
        batching: Batches of whole pictures are of one size each, `"bucketed"`: then they may be
            smaller than asked for, and the smallest pictures come first. Or `"ragged"`, in the
            order of the files.

    Returns:
        What `serve_pictures` and `serve_picture_batches` serve. Labels are those of `label_of`,
        int64 `(6,)`: the number's length less 1, and five digits, 10 where there is none.

    Raises:
        ValueError: Without the folder, for missing or broken files (names them), pictures outside
            of the folder, or options that cannot be. What is found out only when a picture is
            decoded is a tf.errors.InvalidArgumentError.
    """
    whole = split == "test" if whole is None else flag("whole", whole)
    sides, crop = _checked_crop(sides, crop)
    if smallest is not None:
        smallest = positive_integers("smallest", smallest, 2)
    one_of("batching", batching, BATCHING)
    from_training = ("train", "extra") if flag("extra", extra) else ("train",)
    parts = from_training if split == "train" or validation else ("test",)
    root = needed_folder("svhn_numbers", data_dir, LAYOUT, SOURCE, holds=f"{parts[0]}/{TABLE}")
    paths, labels = zip(*(shown for part in parts for shown in _shown(root, part)), strict=True)
    found = NumberPictures(paths, np.array(labels, "int64"), sides, crop, batching=batching)
    found = found.chosen(_places(len(found), split, train_size, validation))
    if largest is not None:
        found = found.chosen(_largest(found, largest))
    return (found.whole(smallest) if whole else found,)


def _checked_crop(sides: object, crop: object) -> tuple[tuple[int, int], tuple[int, int] | None]:
    rows, columns = positive_integers("sides", sides, 2)
    if crop is None:
        return (rows, columns), None
    cut = positive_integers("crop", crop, 2)
    if cut[0] <= rows and cut[1] <= columns:
        return (rows, columns), cut
    raise ValueError(
        f"`crop` must fit into `sides`, {rows} rows and {columns} columns. Received: crop={crop!r}"
    )


def _shown(root: Path, part: str) -> list[tuple[Path, list[int]]]:
    """Every picture of a part, and the label of what it shows."""
    folder, table = root / part, root / part / TABLE
    if not table.is_file():
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}; without extra/ there is `extra=False`. "
            f"Received: data_dir={str(root)!r} without {str(table)!r}"
        )
    numbers = read_digit_struct(table)
    wrong = next((name for name in numbers if not NAME.fullmatch(name)), None)
    if wrong is not None or not numbers:
        raise ValueError(f"Expected names as 1.png in {str(table)!r}. Received: {wrong!r}")
    long = [name for name, digits in numbers.items() if len(digits) > LONGEST]
    if long:
        warnings.warn(
            f"{len(long)} of {len(numbers)} numbers have more than {LONGEST} digits and are left "
            f"out; the first is in {str(folder / long[0])!r}.",
            stacklevel=4,
        )
    return [
        (path, label_of(numbers[path.name]))
        for path in _files(folder, [name for name in numbers if name not in set(long)])
    ]


def _files(folder: Path, names: list[str]) -> list[Path]:
    """The pictures of those names, all of which have to be there and inside of the folder."""
    inside(folder.parent, folder)
    with os.scandir(folder) as entries:
        links = {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
    paths = [folder / name for name in names]
    if not links.keys() >= set(names):
        missing(paths, folder, TABLE)
    return [inside(folder, path) if links[path.name] else path for path in paths]


def _places(count: int, split: str, train_size: int | None, validation: int) -> np.ndarray:
    """The pictures of a split: of training those that are not for validation, or these."""
    places = np.arange(count)
    if not is_integer(validation) or not 0 <= validation < count:
        raise ValueError(
            f"`validation` must be an integer from 0 to {count - 1}. "
            f"Received: validation={validation!r}"
        )
    if validation:
        drawn = np.sort(np.random.default_rng(SPLIT_SEED).permutation(count)[:validation])
        places = drawn if split == "test" else np.setdiff1d(places, drawn)
    if split == "train" and train_size is not None:
        places = draw_frames(places, train_size)
    return places


def _largest(pictures: NumberPictures, count: int) -> np.ndarray:
    sizes = pictures.whole(None).sizes
    pixels = np.zeros(0) if sizes is None else sizes.prod(axis=1)
    if is_integer(count) and 1 <= count <= len(pixels):
        return np.sort(np.argsort(-pixels, kind="stable")[:count])
    raise ValueError(
        f"`largest` must be None or an integer from 1 to {len(pixels)}. Received: largest={count!r}"
    )
