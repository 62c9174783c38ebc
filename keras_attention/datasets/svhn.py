"""Numbers of houses in whole photographs, from their published folders.

References: Netzer et al., Reading digits in natural images (2011); Almahairi et al., Dynamic
Capacity Networks (2016), section 4.2.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.datasets.folders import check_inside, require_folder
from keras_attention.datasets.image_files import check_files_exist, png_size, read_gray
from keras_attention.datasets.pipelines import BATCHING, index_order
from keras_attention.datasets.splits import SPLIT_SEED, draw_examples
from keras_attention.utils.validation import boolean, is_integer, one_of, positive_integers

# Pictures are brought to these sides for training, and crops of the second ones are cut out.
SIDES, CROP = (64, 128), (54, 110)
NAME = re.compile(r"\d+\.png", re.ASCII)
TABLE = "digitStruct.mat"
SOURCE = "http://ufldl.stanford.edu/housenumbers"
LAYOUT = (
    f"train/, extra/ and test/, each with {TABLE} and 1.png and so on, as train.tar.gz, "
    "extra.tar.gz and test.tar.gz unpack"
)
# What the file calls the digit 0.
ZERO = 10
# A header may say more than there is, which is filled with zeros; the largest part has 531,131.
MAX_VALUES = 2**22
MAX_DIGITS = 5
# What stands where a number has no digit.
NO_DIGIT = 10
# One softmax for the length, less 1, and one for each digit.
LABEL_CLASSES = (MAX_DIGITS,) + MAX_DIGITS * (NO_DIGIT + 1,)


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
) -> tuple[NumberImages]:
    """Reads which numbers the pictures of one part of SVHN show; every pass reads the pictures.

    Pictures become gray. In training they are brought to 64x128 pixels, and 54x110 of them are cut
    out, anywhere or, without `augment`, of the middle; for testing they are whole, each in its own
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
        What `serve_images` and `serve_image_batches` serve. Labels are those of `encode_number`,
        int64 `(6,)`: the number's length less 1, and five digits, 10 where there is none.

    Raises:
        ValueError: Without the folder, for missing or broken files (names them), pictures outside
            of the folder, or options that cannot be. What is found out only when a picture is
            decoded is a tf.errors.InvalidArgumentError.
    """
    whole = split == "test" if whole is None else boolean("whole", whole)
    sides, crop = _checked_crop(sides, crop)
    if smallest is not None:
        smallest = positive_integers("smallest", smallest, 2)
    one_of("batching", batching, BATCHING)
    from_training = ("train", "extra") if boolean("extra", extra) else ("train",)
    parts = from_training if split == "train" or validation else ("test",)
    root = require_folder("svhn_numbers", data_dir, LAYOUT, SOURCE, holds=f"{parts[0]}/{TABLE}")
    paths, labels = zip(*(shown for part in parts for shown in _shown(root, part)), strict=True)
    found = NumberImages(paths, np.array(labels, "int64"), sides, crop, batching=batching)
    found = found.subset(_places(len(found), split, train_size, validation))
    if largest is not None:
        found = found.subset(_largest(found, largest))
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
    long = [name for name, digits in numbers.items() if len(digits) > MAX_DIGITS]
    if long:
        warnings.warn(
            f"{len(long)} of {len(numbers)} numbers have more than {MAX_DIGITS} digits and are left "
            f"out; the first is in {str(folder / long[0])!r}.",
            stacklevel=4,
        )
    return [
        (path, encode_number(numbers[path.name]))
        for path in _files(folder, [name for name in numbers if name not in set(long)])
    ]


def _files(folder: Path, names: list[str]) -> list[Path]:
    """The pictures of those names, all of which have to be there and inside of the folder."""
    check_inside(folder.parent, folder)
    with os.scandir(folder) as entries:
        links = {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
    paths = [folder / name for name in names]
    if not links.keys() >= set(names):
        check_files_exist(paths, folder, TABLE)
    return [check_inside(folder, path) if links[path.name] else path for path in paths]


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
        places = draw_examples(places, train_size)
    return places


def _largest(pictures: NumberImages, count: int) -> np.ndarray:
    sizes = pictures.whole(None).sizes
    pixels = np.zeros(0) if sizes is None else sizes.prod(axis=1)
    if is_integer(count) and 1 <= count <= len(pixels):
        return np.sort(np.argsort(-pixels, kind="stable")[:count])
    raise ValueError(
        f"`largest` must be None or an integer from 1 to {len(pixels)}. Received: largest={count!r}"
    )


def read_digit_struct(path: Path) -> dict[str, tuple[int, ...]]:
    """Reads the digits of every picture, in the order of the file, which is from the left.

    The group `digitStruct` has two columns of references, one line for each picture: `name`, to its
    characters, and `bbox`, to a group with the boxes of its digits. In that group `label` is a 1x1
    number where there is one digit, or a column of references to such numbers. Boxes are not read.

    Args:
        path: Of the file; what was read is remembered until the file changes.

    Returns:
        The digits by the picture's name.

    Raises:
        ValueError: For a file of another kind, or a digit that is none; names the file.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> dict[str, tuple[int, ...]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            table = _member(file, "digitStruct")
            names, boxes = (_values(_member(table, column)) for column in ("name", "bbox"))
            return {
                _characters(file[name]): _digits(file, _member(file[box], "label"))
                for name, box in zip(names, boxes, strict=True)
            }
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Expected digitStruct with columns name and bbox, and labels from 1 to {ZERO}, in "
            f"{str(path)!r}. Received: {error}"
        ) from error


def _member(group: Any, name: str) -> Any:
    """What a group holds itself, not what it links to: such may be any file of the machine."""
    import h5py

    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise ValueError(f"a link to elsewhere, {name!r} in {group.name!r}")
    return group[name]


def _values(dataset: Any) -> np.ndarray:
    """The first column of a dataset that the file itself holds."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"values of another file, in {dataset.name!r}")
    if dataset.size > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values, in {dataset.name!r}")
    return dataset[:, 0]


def _characters(codes: Any) -> str:
    return "".join(map(chr, _values(codes)))


def _digits(file: Any, labels: Any) -> tuple[int, ...]:
    values = _values(labels)
    if values.dtype == object:
        values = np.array([_values(file[reference])[0] for reference in values])
    if not np.all(np.isin(values, np.arange(1, ZERO + 1))):
        raise ValueError(f"labels {values.tolist()} in {labels.name!r}")
    return tuple(int(value) % ZERO for value in values)


def encode_number(digits: Sequence[int]) -> list[int]:
    """The length of a number, less 1, and five digits, 10 where there is none.

    Args:
        digits: From the left, one to five of 0 to 9.

    Example:
    >>> encode_number([2, 0, 7])
    [2, 2, 0, 7, 10, 10]
    """
    return [len(digits) - 1, *digits, *(MAX_DIGITS - len(digits)) * [NO_DIGIT]]


@dataclass(frozen=True, eq=False)
class NumberImages:
    """Pictures of numbers, whole or as crops.

    Attributes:
        paths: Of the PNG files, `(N,)`.
        labels: Int64, `(N, 6)`, as of `encode_number`.
        sides: Rows and columns that pictures are brought to before a crop is cut out.
        crop: Rows and columns of a crop; None for all of `sides`.
        sizes: Rows and columns of every whole picture, `(N, 2)`; None for crops.
        batching: Of whole pictures, `"bucketed"` or `"ragged"`.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    sides: tuple[int, int]
    crop: tuple[int, int] | None
    sizes: np.ndarray | None = None
    batching: str = "bucketed"

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, places: np.ndarray) -> NumberImages:
        """Those at some places."""
        return replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            labels=self.labels[places],
            sizes=None if self.sizes is None else self.sizes[places],
        )

    def whole(self, smallest: tuple[int, int] | None) -> NumberImages:
        """The same in their own sizes, enlarged where they are smaller than `smallest`."""
        sizes = np.array([png_size(path) for path in self.paths], "int32").reshape(-1, 2)
        if smallest is not None:
            factors = np.maximum(1, np.max(np.array(smallest) / sizes, axis=1, keepdims=True))
            sizes = np.round(sizes * factors).astype("int32")
        return replace(self, sizes=sizes)

    def single_examples(self, *, seed: int, shuffle: bool, augment: bool) -> tf.data.Dataset:
        """Gives `(image, label)`; `augment` cuts crops out anywhere, else out of the middle."""
        paths, labels = self._tables()
        order = index_order(len(self), seed, shuffle)
        if self.sizes is not None:
            sizes = tf.constant(self.sizes)
            return order.map(
                lambda place: (_in_size(paths[place], sizes[place]), labels[place]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
        return tf.data.Dataset.zip(order, draws).map(
            lambda place, draw: (self._crop(paths[place], draw, augment), labels[place]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def same_size_batches(
        self, places: tf.data.Dataset, *, seed: int, augment: bool
    ) -> tf.data.Dataset:
        """Gives whole pictures of the same size for places `(B,)`; nothing is drawn."""
        paths, labels = self._tables()
        sizes = tf.constant(self.sizes)

        def read(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = tf.map_fn(
                lambda place: _in_size(paths[place], sizes[place]),
                batch,
                fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32),
            )
            return images, tf.gather(labels, batch)

        return places.map(read, num_parallel_calls=tf.data.AUTOTUNE)

    def _tables(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant([os.fsencode(path) for path in self.paths]), tf.constant(self.labels)

    def _crop(self, path: tf.Tensor, draw: tf.Tensor, anywhere: bool) -> tf.Tensor:
        picture = tf.image.resize(read_gray(path), self.sides, antialias=True)
        shape = (*(self.crop or self.sides), 1)
        if anywhere:
            return tf.image.stateless_random_crop(picture, shape, (draw, 0))
        corner = [(side - cut) // 2 for side, cut in zip(self.sides, shape, strict=False)]
        return tf.slice(picture, [*corner, 0], shape)


def _in_size(path: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    picture = read_gray(path)
    return tf.cond(
        tf.reduce_all(tf.shape(picture)[:2] == size),
        lambda: picture,
        lambda: tf.image.resize(picture, size),
    )
