"""`load`: any data set by name, as a tf.data pipeline."""

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_attention.datasets.folders import find_folder, folder_variable
from keras_attention.datasets.registry import DatasetInfo, find
from keras_attention.utils.validation import did_you_mean, one_of, positive_integer, seed_number

SPLITS = ("train", "test")
# Where tensorflow-datasets keeps its sets if nothing else is said.
USUAL_FOLDER = "~/tensorflow_datasets"
BUNDLED = "bundled"


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
    """Loads a data set as a pipeline that is prefetched and seeded, and held in memory if it fits.

    Args:
        name: One of `list_datasets()`.
        split: `"train"` or `"test"`; the same examples for every seed.
        batch_size: Examples of a batch; None for single ones.
        seed: Of the order and of what is generated: the same seed gives the same passes.
        size: Pixels along the sides of the images, or steps of the sequences; None for the data
            set's own, and always for `"svhn_numbers"` and `"number_photographs"`, which are not
            square.
        train_size: Examples for training, chosen by class in equal shares, or at random where the
            label is a number or several classes and for `"imagenet2012"`, `"stanford_dogs"`,
            `"cars196"` and `"caltech_birds2011"`; None for all. For the bundled digits, also as
            sequences, it counts digits and all others are for testing; for `"number_photographs"`
            it counts what is painted in a pass.
        shuffle: Whether every pass has an order of its own; by default only in training.
        augment: Whether every pass generates new images, where the data set generates or cuts out
            and mirrors; by default only in training.
        data_dir: Folder of tensorflow-datasets, or of the data set's own files for `"gtsrb"`,
            `"gtsdb"`, `"svhn_numbers"`, `"adience_age"`, `"adience_gender"`, `"uec_food100"`,
            `"mit_scenes"`, `"pain_archive"`, `"mocap"` and `"flights"`. None for that of the
            environment variable `TFDS_DATA_DIR`, or `GTSRB_DIR`, `GTSDB_DIR`, `SVHN_NUMBERS_DIR`,
            `ADIENCE_DIR`, `UEC_FOOD100_DIR`, `MIT_SCENES_DIR`, `PAIN_ARCHIVE_DIR`, `MOCAP_DIR` and
            `FLIGHTS_DIR`.
        **options: Of this data set alone: `list_datasets()[name].options` has the defaults, and
            `datasets.read_cluttered`, `read_gtsrb`, `read_gtsdb`, `read_svhn_numbers`,
            `read_number_photographs`, `read_pain_archive`, `read_imagenet`,
            `read_tensorflow_stream`, `read_adience`, `read_uec_food`, `read_mit_scenes`,
            `read_mocap` and `read_flights` say what they do.

    Returns:
        A `tf.data.Dataset` of `(example, label)`, where `list_datasets()[name].kind` says of what:
        float32 images in `[0, 1]`, `(H, W, channels)`, or float32 sequences, `(steps, units)`.
        Labels are int64 classes, or float32 where `list_datasets()[name].regression`: a number for
        `"pain_archive"`, `(horizon,)` for `"flights"` and `(8,)` for `"digit_forecast"`. Where
        `list_datasets()[name].detection`, a label is a dictionary of `"boxes"` and `"labels"`, and
        where it has `label_classes`, there are as many classes, such as `(6,)` of a number: how
        many digits it has, less 1, and five digits, 10 for none. Batches of whole pictures of
        numbers are of one size each, or ragged with `batching="ragged"`.

    Raises:
        ValueError: For an unknown name (names the nearest), split or option, sizes that cannot be,
            or files that are needed and not there.
        ConnectionError: When the data set is not here and cannot be downloaded.

    Example:
    >>> images, labels = next(iter(load("top_left_digits", "train", batch_size=32, size=28)))
    >>> tuple(images.shape), tuple(labels.shape)
    ((32, 28, 28, 1), (32,))
    """
    info = find(name)
    one_of("split", split, SPLITS)
    sides = _side(info, size)
    seed = seed_number("seed", seed)
    if batch_size is not None:
        positive_integer("batch_size", batch_size)
    _check_options(info, options)
    if data_dir is not None:
        options["data_dir"] = _checked_folder(info, data_dir)
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


def _side(info: DatasetInfo, size: Any) -> dict[str, int]:
    """The size to read images of, where the data set has one."""
    if info.size is None:
        if size is None:
            return {}
        raise ValueError(
            f"`size` must be None for {info.name!r}, whose images have sides of "
            f"{' and '.join(map(str, info.example_shape[:2]))} pixels, or of their own. "
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


def _checked_folder(info: DatasetInfo, data_dir: Any) -> Any:
    if not (info.needs_network or info.needs_files):
        raise ValueError(
            f"`data_dir` must be None for {info.name!r}, which is bundled. "
            f"Received: data_dir={data_dir!r}"
        )
    if not isinstance(data_dir, (str, os.PathLike)) or not os.fspath(data_dir):
        raise ValueError(
            f"`data_dir` must be None or the path of a folder. Received: data_dir={data_dir!r}"
        )
    return data_dir


def find_local(info: DatasetInfo) -> Path | str | None:
    """Finds a data set on this machine.

    A folder that is named counts as it stands: whether its files are whole, `load` says.

    Args:
        info: Of `find` or `list_datasets`.

    Returns:
        `"bundled"` for what needs no files, the folder of its own files or of what
        tensorflow-datasets has prepared, or None.

    Example:
    >>> from keras_attention import datasets
    >>> find_local(datasets.find("digits"))
    'bundled'
    """
    if not (info.source or info.folder):
        return BUNDLED
    folder = find_folder(info.folder, None) if info.folder else None
    if folder is not None and folder.is_dir():
        return folder
    return _prepared(info.source) if info.source else None


def how_to_obtain(info: DatasetInfo) -> str:
    """Says what brings a data set that is not at hand.

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
    """The folder of the last version that tensorflow-datasets has prepared."""
    root = Path(os.environ.get("TFDS_DATA_DIR") or USUAL_FOLDER).expanduser()
    versions = sorted(path.parent for path in root.glob(f"{source}/*/dataset_info.json"))
    return versions[-1] if versions else None
