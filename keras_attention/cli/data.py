"""Data of a run: training, validation and test batches, and images to plot."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention import datasets, ops
from keras_attention.cli import run_folder
from keras_attention.cli.config import DataConfig, RunConfig, parse_options
from keras_attention.datasets import DatasetInfo
from keras_attention.utils.validation import positive_integer

TEST_BATCH_SIZE = 256
# Photographs of house numbers have up to half a million pixels.
PHOTOGRAPH_BATCH_SIZE = 16
# Number of images available to a plot by default.
PLOT_IMAGES = 64


def load(config: DataConfig, split: str, batch_size: int | None, **options: Any) -> Any:
    """Loads one split with `datasets.load`, in batches of `(examples, labels)`."""
    data_dir: dict[str, Any] = {} if config.data_dir is None else {"data_dir": config.data_dir}
    return datasets.load(
        config.data,
        split,
        batch_size=batch_size,
        seed=config.seed,
        size=config.size,
        train_size=config.train_size,
        **data_dir,
        **{**options, **config.data_options},
    )


def load_training(config: RunConfig, batch_size: int) -> Any:
    """Loads training batches, with one label per output of the model."""
    return _split_labels(config, _load_divisible(config, "train", batch_size))


def load_validation(config: RunConfig) -> Any:
    """Loads the test split for evaluation after each epoch.

    House numbers are cropped from their photographs, as in training.
    """
    options = {"whole": False} if datasets.find(config.data).label_classes else {}
    batch_size = TEST_BATCH_SIZE - TEST_BATCH_SIZE % config.devices
    return _split_labels(config, _load_divisible(config, "test", batch_size, **options))


def _load_divisible(config: RunConfig, split: str, batch_size: int, **options: Any) -> Any:
    """Loads batches that can be divided equally among the devices.

    The last few examples of a pass may be dropped; in training, these differ between epochs.
    """
    devices = config.devices
    if devices == 1:
        return load(config, split, batch_size, **options)
    examples = load(config, split, None, **options)
    count = int(examples.cardinality())
    if count < devices:
        raise ValueError(
            f"`--devices` must be at most {count}, the number of examples. "
            f"Received: --devices={devices}"
        )
    return examples.take(count - count % devices).batch(batch_size).prefetch(1)


def _split_labels(config: DataConfig, batches: Any) -> Any:
    if not datasets.find(config.data).label_classes:
        return batches
    return batches.map(lambda images, labels: (images, ops.split_sequence_labels(labels)))


def load_test(config: DataConfig, batch_size: int | None = None) -> Any:
    """Loads the test split for the final evaluation; house numbers as whole photographs."""
    photographs = bool(datasets.find(config.data).label_classes)
    default = PHOTOGRAPH_BATCH_SIZE if photographs else TEST_BATCH_SIZE
    return load(config, "test", batch_size or default)


def images_to_plot(config: DataConfig, indices: Sequence[int] | None) -> np.ndarray:
    """Loads test images by index, or the first ones; of photographs, some of medium size."""
    if indices is None:
        test = load_test(config)
        if datasets.find(config.data).label_classes:
            # Photographs are sorted by size, and the smallest are no larger than a patch.
            test = test.skip(int(test.cardinality()) // 2).take(1)
        return np.stack([image.numpy() for image, _ in test.unbatch().take(PLOT_IMAGES)])
    if min(indices) < 0:
        raise ValueError(f"`--images` must be 0 or more. Received: --images={indices}")
    images = load_test(config).unbatch().take(max(indices) + 1)
    found = {index: image.numpy() for index, (image, _) in enumerate(images) if index in indices}
    if len(found) < len(set(indices)) or len({image.shape for image in found.values()}) > 1:
        raise ValueError(
            "`--images` must be indices of test images of one size. Received: "
            f"--images={indices}, with sizes {[image.shape for image in found.values()]}"
        )
    return np.stack([found[index] for index in indices])


def data_config(options: Namespace) -> DataConfig:
    """Combines the data configuration of a run with the options that replace parts of it."""
    values = _config_of_run(options)
    if options.data is not None:
        info = datasets.find(options.data)
        if info.name != values.get("data"):
            values |= {"data": info.name, "size": info.size, "data_dir": None, "data_options": {}}
    if options.size is not None:
        values["size"] = positive_integer("--size", options.size)
    if options.data_dir is not None:
        values["data_dir"] = options.data_dir
    data_options = parse_options("data_options", options.data_options)
    values["data_options"] = {**values.get("data_options", {}), **data_options}
    reject_detection(datasets.find(values["data"]))
    return DataConfig(**values)


def _config_of_run(options: Namespace) -> dict[str, Any]:
    if options.model.is_dir():
        config = run_folder.read_config(options.model)
        return {name: getattr(config, name) for name in DataConfig.__dataclass_fields__}
    if options.data is None:
        raise ValueError(
            "`--data` is required for a .keras file. It must be one of "
            f"{', '.join(datasets.list_datasets())}. Received: --data=None"
        )
    return {}


def reject_detection(info: DatasetInfo) -> None:
    """Raises a ValueError for data sets whose labels are bounding boxes."""
    if info.detection:
        raise ValueError(
            "`--data` must have one label per image. "
            f"Received: --data={info.name}, which has bounding boxes. For object detection use "
            "applications/scale_space_detection.py"
        )


def validate_input(model: keras.Model, shape: Any) -> None:
    """Raises a ValueError if examples of this shape do not match the model's input shape."""
    if not fits(model, shape):
        raise ValueError(
            f"The shape of the examples must match the model's input {model.input_shape[1:]}. "
            f"Received: {tuple(shape)}. Pass --size to resize the examples"
        )


def fits(model: keras.Model, shape: Sequence[int | None]) -> bool:
    """Returns True if a model accepts examples of this shape."""
    allowed = tuple(model.input_shape[1:])
    return len(allowed) == len(shape) and all(
        side in (None, size) for side, size in zip(allowed, shape, strict=True)
    )
