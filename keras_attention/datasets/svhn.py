"""SVHN (format 1): house numbers in whole photographs, read from the published folders.

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
from keras_attention.datasets.pipelines import BATCHING, epoch_seeds, index_order
from keras_attention.datasets.splits import SPLIT_SEED, draw_examples
from keras_attention.utils.validation import boolean, is_integer, one_of, positive_integers

# Height and width that training images are resized to, and those of the crops.
SIDES, CROP = (64, 128), (54, 110)
NAME = re.compile(r"\d+\.png", re.ASCII)
TABLE = "digitStruct.mat"
SOURCE = "http://ufldl.stanford.edu/housenumbers"
LAYOUT = (
    f"train/, extra/ and test/, each with {TABLE} and 1.png and so on, as train.tar.gz, "
    "extra.tar.gz and test.tar.gz unpack"
)
# Label of the digit 0 in the file.
ZERO = 10
# Limit against manipulated headers, as missing values are filled with zeros. SVHN has 531,131.
MAX_VALUES = 2**22
MAX_DIGITS = 5
# Label of an absent digit.
NO_DIGIT = 10
# Number of classes of each label: the number of digits minus 1, and each digit.
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
    """Reads the labels of one split of SVHN; images are read from disk in every epoch.

    Images are converted to grayscale. Training images are resized to 64x128 pixels and cropped to
    54x110, at random or, without `augment`, at the center. Test images are whole, each in its own
    size. Boxes of digits are not used. Numbers of more than five digits are skipped with a warning;
    the published set has one.

    Args:
        split: `"train"` or `"test"`.
        train_size: Number of training images, drawn deterministically; None uses all.
        data_dir: The folder with `train`, `extra` and `test`; None uses the environment variable
            `SVHN_NUMBERS_DIR`.
        extra: If True, the training split includes `extra`.
        sides: Height and width that images are resized to before cropping, ignoring the aspect
            ratio.
        crop: Height and width of the crops; None disables cropping.
        whole: If True, keep whole images in their own sizes. None means True for testing only.
        smallest: Minimum height and width of whole images; smaller images are enlarged, keeping
            their aspect ratio. None keeps their sizes.
        largest: Keep only this number of images, those with most pixels; None keeps all.
        validation: Number of training images that are held out for validation, drawn
            deterministically. The training split excludes them; the test split consists of them.
        batching: `"bucketed"`: all whole images of a batch have one size. Batches may then be
            smaller than `batch_size`, and the smallest images come first. `"ragged"`: ragged
            batches in the order of the files.

    Returns:
        The input of `serve_images` and `serve_image_batches`. Labels are those of `encode_number`,
        int64 `(6,)`.

    Raises:
        ValueError: If the folder is not set, files are missing, malformed or outside of the folder,
            or an option is invalid. Images that cannot be decoded raise
            tf.errors.InvalidArgumentError during iteration.
    """
    whole = split == "test" if whole is None else boolean("whole", whole)
    sides = positive_integers("sides", sides, 2)
    if crop is not None:
        rows, columns = positive_integers("crop", crop, 2)
        if not (rows <= sides[0] and columns <= sides[1]):
            raise ValueError(
                f"`crop` must fit into `sides`, {sides[0]} rows and {sides[1]} columns. "
                f"Received: crop={crop!r}"
            )
        crop = rows, columns
    if smallest is not None:
        smallest = positive_integers("smallest", smallest, 2)
    one_of("batching", batching, BATCHING)
    from_training = ("train", "extra") if boolean("extra", extra) else ("train",)
    parts = from_training if split == "train" or validation else ("test",)
    root = require_folder("svhn_numbers", data_dir, LAYOUT, SOURCE, holds=f"{parts[0]}/{TABLE}")
    images = (image for part in parts for image in _labeled_images(root, part))
    paths, labels = zip(*images, strict=True)
    found = NumberImages(paths, np.array(labels, "int64"), sides, crop, batching=batching)
    found = found.subset(_split_indices(len(found), split, train_size, validation))
    if largest is not None:
        found = found.subset(_largest(found, largest))
    return (found.whole(smallest) if whole else found,)


def _labeled_images(root: Path, part: str) -> list[tuple[Path, list[int]]]:
    """Lists the images of a split with their labels."""
    folder, table = root / part, root / part / TABLE
    if not table.is_file():
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}; if there is no extra/, set `extra=False`. "
            f"Received: data_dir={str(root)!r} without {str(table)!r}"
        )
    numbers = read_digit_struct(table)
    wrong = next((name for name in numbers if not NAME.fullmatch(name)), None)
    if wrong is not None or not numbers:
        raise ValueError(f"Expected names as 1.png in {str(table)!r}. Received: {wrong!r}")
    long = [name for name, digits in numbers.items() if len(digits) > MAX_DIGITS]
    if long:
        warnings.warn(
            f"{len(long)} of {len(numbers)} numbers have more than {MAX_DIGITS} digits and are "
            f"skipped; the first is in {str(folder / long[0])!r}.",
            stacklevel=4,
        )
    paths = _files(folder, [name for name in numbers if name not in set(long)])
    return [(path, encode_number(numbers[path.name])) for path in paths]


def _files(folder: Path, names: list[str]) -> list[Path]:
    """Returns the paths of the images, which must exist inside the folder."""
    check_inside(folder.parent, folder)
    with os.scandir(folder) as entries:
        links = {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
    paths = [folder / name for name in names]
    if not links.keys() >= set(names):
        check_files_exist(paths, folder, TABLE)
    return [check_inside(folder, path) if links[path.name] else path for path in paths]


def _split_indices(count: int, split: str, train_size: int | None, validation: int) -> np.ndarray:
    """Selects the images of a split, with validation images held out."""
    indices = np.arange(count)
    if not is_integer(validation) or not 0 <= validation < count:
        raise ValueError(
            f"`validation` must be an integer from 0 to {count - 1}. "
            f"Received: validation={validation!r}"
        )
    if validation:
        drawn = np.sort(np.random.default_rng(SPLIT_SEED).permutation(count)[:validation])
        indices = drawn if split == "test" else np.setdiff1d(indices, drawn)
    if split == "train" and train_size is not None:
        indices = draw_examples(indices, train_size)
    return indices


def _largest(images: NumberImages, count: int) -> np.ndarray:
    sizes = images.whole(None).sizes
    pixels = np.zeros(0) if sizes is None else sizes.prod(axis=1)
    if is_integer(count) and 1 <= count <= len(pixels):
        return np.sort(np.argsort(-pixels, kind="stable")[:count])
    raise ValueError(
        f"`largest` must be None or an integer from 1 to {len(pixels)}. Received: largest={count!r}"
    )


def read_digit_struct(path: Path) -> dict[str, tuple[int, ...]]:
    """Reads the digits of every image, from left to right, from digitStruct.mat (HDF5).

    The group `digitStruct` has two columns of references with one row per image: `name` refers to
    the characters of the file name and `bbox` to a group with the boxes of the digits. In that
    group `label` is a 1x1 number for a single digit, or a column of references to such numbers.
    Boxes are not read. The result is cached until the file changes.
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
                "".join(map(chr, _values(file[name]))): _digits(file, _member(file[box], "label"))
                for name, box in zip(names, boxes, strict=True)
            }
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Expected digitStruct with columns name and bbox, and labels from 1 to {ZERO}, in "
            f"{str(path)!r}. Received: {error}"
        ) from error


def _member(group: Any, name: str) -> Any:
    """Returns a member of a group. Links are rejected, as they may lead to any file."""
    import h5py

    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise ValueError(f"a link to elsewhere, {name!r} in {group.name!r}")
    return group[name]


def _values(dataset: Any) -> np.ndarray:
    """Returns the first column of a data set that is stored in the file itself."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"values of another file, in {dataset.name!r}")
    if dataset.size > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values, in {dataset.name!r}")
    return dataset[:, 0]


def _digits(file: Any, labels: Any) -> tuple[int, ...]:
    values = _values(labels)
    if values.dtype == object:
        values = np.array([_values(file[reference])[0] for reference in values])
    if not np.all(np.isin(values, np.arange(1, ZERO + 1))):
        raise ValueError(f"labels {values.tolist()} in {labels.name!r}")
    return tuple(int(value) % ZERO for value in values)


def encode_number(digits: Sequence[int]) -> list[int]:
    """Encodes a number as its number of digits minus 1 and five digits, 10 for an absent digit.

    Example:
    >>> encode_number([2, 0, 7])
    [2, 2, 0, 7, 10, 10]
    """
    return [len(digits) - 1, *digits, *(MAX_DIGITS - len(digits)) * [NO_DIGIT]]


@dataclass(frozen=True, eq=False)
class NumberImages:
    """Images of numbers in PNG files, whole or cropped, read in every epoch.

    `labels` are `(N, 6)`, as returned by `encode_number`. `sizes` are height and width of every
    whole image, `(N, 2)`, or None for crops.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    sides: tuple[int, int]
    crop: tuple[int, int] | None
    sizes: np.ndarray | None = None
    batching: str = "bucketed"

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: np.ndarray) -> NumberImages:
        """Returns the images at the given indices."""
        return replace(
            self,
            paths=tuple(self.paths[index] for index in indices),
            labels=self.labels[indices],
            sizes=None if self.sizes is None else self.sizes[indices],
        )

    def whole(self, smallest: tuple[int, int] | None) -> NumberImages:
        """Returns the images in their own sizes, enlarged to at least `smallest`."""
        sizes = np.array([png_size(path) for path in self.paths], "int32").reshape(-1, 2)
        if smallest is not None:
            factors = np.maximum(1, np.max(np.array(smallest) / sizes, axis=1, keepdims=True))
            sizes = np.round(sizes * factors).astype("int32")
        return replace(self, sizes=sizes)

    def single_examples(self, *, seed: int, shuffle: bool, augment: bool) -> tf.data.Dataset:
        """Returns a data set of `(image, label)`, with random crops if `augment`."""
        paths, labels = self._tables()
        order = index_order(len(self), seed, shuffle)
        if self.sizes is not None:
            sizes = tf.constant(self.sizes)
            return order.map(
                lambda index: (_in_size(paths[index], sizes[index]), labels[index]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        return tf.data.Dataset.zip(order, epoch_seeds(seed)).map(
            lambda index, draw: (self._crop(paths[index], draw, augment), labels[index]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def same_size_batches(
        self, indices: tf.data.Dataset, *, seed: int, augment: bool
    ) -> tf.data.Dataset:
        """Returns batches of whole images of one size for batches of indices `(B,)`."""
        paths, labels = self._tables()
        sizes = tf.constant(self.sizes)

        def read(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = tf.map_fn(
                lambda index: _in_size(paths[index], sizes[index]),
                batch,
                fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32),
            )
            return images, tf.gather(labels, batch)

        return indices.map(read, num_parallel_calls=tf.data.AUTOTUNE)

    def _tables(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant([os.fsencode(path) for path in self.paths]), tf.constant(self.labels)

    def _crop(self, path: tf.Tensor, draw: tf.Tensor, anywhere: bool) -> tf.Tensor:
        image = tf.image.resize(read_gray(path), self.sides, antialias=True)
        shape = (*(self.crop or self.sides), 1)
        if anywhere:
            return tf.image.stateless_random_crop(image, shape, (draw, 0))
        corner = [(side - cut) // 2 for side, cut in zip(self.sides, shape, strict=False)]
        return tf.slice(image, [*corner, 0], shape)


def _in_size(path: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    image = read_gray(path)
    return tf.cond(
        tf.reduce_all(tf.shape(image)[:2] == size),
        lambda: image,
        lambda: tf.image.resize(image, size),
    )
