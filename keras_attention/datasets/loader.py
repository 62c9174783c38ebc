"""Load data sets by name as tf.data pipelines, and find them on this machine."""

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_attention.datasets.folders import find_folder, folder_variable
from keras_attention.datasets.registry import DatasetInfo, find
from keras_attention.utils.validation import did_you_mean, one_of, positive_integer, seed_number


def load(
    name: str,
    split: str,
    batch_size: int | None = None,
    seed: int = 0,
    size: int | None = None,
    train_size: int | None = None,
    *,
    shuffle: bool | None = None,
    augment: bool | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> tf.data.Dataset:
    """Loads a data set as a seeded `tf.data` pipeline with prefetching.

    Data sets that fit into memory are cached.

    Args:
        name: One of `list_datasets()`.
        split: `"train"` or `"test"`. The seed does not change which examples belong to a split.
        batch_size: Batch size; None yields single examples.
        seed: Seed of the order and of generated images. Equal seeds give equal epochs.
        size: Side of the images in pixels, or number of time steps of the sequences. None uses the
            data set's default. Must be None for `"svhn_numbers"` and `"number_photographs"`, whose
            images are not square.
        train_size: Number of training examples, drawn with equal class proportions. They are drawn
            at random if an example has no single class label, and for `"imagenet2012"`,
            `"stanford_dogs"`, `"cars196"` and `"caltech_birds2011"`. None uses all. For the bundled
            digits, also as sequences, all remaining digits are test examples. For
            `"number_photographs"` it is the number of images generated per epoch.
        shuffle: If True, reshuffle the examples in every epoch. Defaults to True for training.
        augment: If True, every epoch draws new images, for data sets that generate images or apply
            random crops and flips. Defaults to True for training.
        data_dir: Folder of tensorflow-datasets, or of the data set's own files for `"gtsrb"`,
            `"gtsdb"`, `"svhn_numbers"`, `"adience_age"`, `"adience_gender"`, `"uec_food100"`,
            `"mit_scenes"`, `"pain_archive"`, `"mocap"` and `"flights"`. None uses the
            environment variable `TFDS_DATA_DIR`, or `GTSRB_DIR`, `GTSDB_DIR`, `SVHN_NUMBERS_DIR`,
            `ADIENCE_DIR`, `UEC_FOOD100_DIR`, `MIT_SCENES_DIR`, `PAIN_ARCHIVE_DIR`, `MOCAP_DIR` and
            `FLIGHTS_DIR`.
        **options: Options of this data set: `list_datasets()[name].options` has the defaults, and
            `datasets.read_cluttered`, `read_gtsrb`, `read_gtsdb`, `read_svhn_numbers`,
            `read_number_photographs`, `read_pain_archive`, `read_imagenet`,
            `read_tensorflow_stream`, `read_adience`, `read_uec_food`, `read_mit_scenes`,
            `read_mocap` and `read_flights` document them.

    Returns:
        A `tf.data.Dataset` of `(example, label)`. With `info = list_datasets()[name]`, examples are
        float32 images `(H, W, channels)` in `[0, 1]` if `info.kind` is `"images"`, or float32
        sequences `(steps, features)`. Labels are int64 classes. If `info.regression`, they are
        float32: a scalar for `"pain_archive"`, `(horizon,)` for `"flights"` and `(8,)` for
        `"digit_forecast"`. If `info.detection`, a label is a dictionary with `"boxes"` and
        `"labels"`. If `info.label_classes` is not empty, an example has that many class labels,
        such as `(6,)` for a house number: the number of digits minus 1 and five digits, 10 for an
        absent digit. All images of a batch of whole house numbers have one size, unless
        `batching="ragged"` is set.

    Raises:
        ValueError: If the name, the split or an option is unknown, a size is invalid, or required
            files are missing.
        ConnectionError: If the data set is not on this machine and cannot be downloaded.

    Example:
    >>> images, labels = next(iter(load("top_left_digits", "train", batch_size=32, size=28)))
    >>> tuple(images.shape), tuple(labels.shape)
    ((32, 28, 28, 1), (32,))
    """
    info = find(name)
    one_of("split", split, ("train", "test"))
    sides = _size_argument(info, size)
    seed = seed_number("seed", seed)
    if batch_size is not None:
        positive_integer("batch_size", batch_size)
    _check_options(info, options)
    if data_dir is not None:
        _check_folder(info, data_dir)
        options["data_dir"] = data_dir
    parts = info.read(split, train_size=train_size, **sides, **options)
    training = split == "train"
    shuffle = training if shuffle is None else bool(shuffle)
    augment = training if augment is None else bool(augment)
    order = {"seed": seed, "shuffle": shuffle, "augment": augment}
    if batch_size is not None and info.generate_batches is not None:
        dataset = info.generate_batches(*parts, batch_size=batch_size, **order)
        return dataset.prefetch(tf.data.AUTOTUNE)
    dataset = info.generate(*parts, **order)
    if info.cacheable and not (shuffle or augment):
        dataset = dataset.cache()
    if batch_size is not None:
        dataset = dataset.batch(batch_size)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _size_argument(info: DatasetInfo, size: Any) -> dict[str, int]:
    """Returns the `size` argument of the reader, for data sets that have one."""
    if info.size is None:
        if size is None:
            return {}
        raise ValueError(
            f"`size` must be None for {info.name!r}, whose images have "
            f"{' x '.join(map(str, info.example_shape[:2]))} pixels, or sizes of their own. "
            f"Received: size={size!r}"
        )
    size = info.size if size is None else positive_integer("size", size)
    if size % info.tiles_per_side:
        raise ValueError(
            f"`size` must be a multiple of {info.tiles_per_side} for {info.name!r}. "
            f"Received: size={size}"
        )
    return {"size": size // info.tiles_per_side}


def _check_options(info: DatasetInfo, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name not in info.options:
            allowed = ", ".join(info.options) or "none"
            raise ValueError(
                f"Options of {info.name!r} are: {allowed}. Received: {name}={value!r}."
                + did_you_mean(name, info.options)
            )


def _check_folder(info: DatasetInfo, data_dir: Any) -> None:
    if not (info.needs_network or info.needs_files):
        raise ValueError(
            f"`data_dir` must be None for {info.name!r}, which is bundled with a package. "
            f"Received: data_dir={data_dir!r}"
        )
    if not isinstance(data_dir, (str, os.PathLike)) or not os.fspath(data_dir):
        raise ValueError(
            f"`data_dir` must be None or the path of a folder. Received: data_dir={data_dir!r}"
        )


def find_local(info: DatasetInfo) -> Path | str | None:
    """Finds a data set on this machine.

    Nothing is read or downloaded. The files of a folder are checked by `load`.

    Args:
        info: A `DatasetInfo`, from `find` or `list_datasets`.

    Returns:
        `"bundled"` for data sets that need no files, the folder with the files (its own or those
        that tensorflow-datasets has prepared), or None if the data set is not on this machine.

    Example:
    >>> from keras_attention import datasets
    >>> find_local(datasets.find("digits"))
    'bundled'
    """
    if not (info.source or info.folder):
        return "bundled"
    folder = find_folder(info.folder, None) if info.folder else None
    if folder is not None and folder.is_dir():
        return folder
    return _prepared(info.source) if info.source else None


def how_to_obtain(info: DatasetInfo) -> str:
    """Describes how to obtain a data set that is not on this machine.

    Example:
    >>> from keras_attention import datasets
    >>> how_to_obtain(datasets.find("svhn_numbers")), how_to_obtain(datasets.find("mnist"))
    ('SVHN_NUMBERS_DIR names its folder', 'downloaded on first use')
    """
    ways = [f"{folder_variable(info.folder)} names its folder"] if info.folder else []
    if info.needs_network:
        ways.append("downloaded on first use")
    elif info.source:
        ways.append("prepared by tensorflow-datasets from its archives")
    return ", or ".join(ways)


def _prepared(source: str) -> Path | None:
    """Finds the folder of the latest version that tensorflow-datasets has prepared."""
    root = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    versions = sorted(path.parent for path in root.glob(f"{source}/*/dataset_info.json"))
    return versions[-1] if versions else None
