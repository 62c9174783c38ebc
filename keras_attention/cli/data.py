"""What is loaded for a run: batches to train on, to watch and to measure on, and images to show."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention import datasets, ops
from keras_attention.cli import run_folder
from keras_attention.cli.asked import parsed_options
from keras_attention.cli.run_config import DataConfig, RunConfig
from keras_attention.datasets import DatasetInfo
from keras_attention.utils.validation import positive_integer

TEST_BATCH = 256
# Whole pictures of house numbers have half a million pixels.
PICTURES_BATCH = 16
# As many as a picture of attention may want.
SHOWN = 64


def load(config: DataConfig, split: str, batch_size: int | None, **options: Any) -> Any:
    """Loads one part in batches, `(examples, labels)` as `datasets.load` has them."""
    place: dict[str, Any] = {} if config.data_dir is None else {"data_dir": config.data_dir}
    return datasets.load(
        config.data,
        split,
        batch_size=batch_size,
        seed=config.seed,
        size=config.size,
        train_size=config.train_size,
        **place,
        **{**options, **config.data_options},
    )


def load_training(config: RunConfig, batch_size: int) -> Any:
    """What is fitted: a label for each answer."""
    return _with_separate_labels(config, _shared(config, "train", batch_size))


def load_watched(config: RunConfig) -> Any:
    """What is measured after each epoch: of house numbers crops, as those to train on."""
    crops = {"whole": False} if datasets.find(config.data).label_classes else {}
    size = TEST_BATCH - TEST_BATCH % config.devices
    return _with_separate_labels(config, _shared(config, "test", size, **crops))


def _shared(config: RunConfig, split: str, size: int, **options: Any) -> Any:
    """Batches of which each device can have an equal share: the last few examples may be left out.

    In training these are others in each pass.
    """
    devices = config.devices
    if devices == 1:
        return load(config, split, size, **options)
    singles = load(config, split, None, **options)
    count = int(singles.cardinality())
    if count < devices:
        raise ValueError(
            f"There must be an example for each of `--devices`; the data have {count}. "
            f"Received: --devices={devices}"
        )
    return singles.take(count - count % devices).batch(size).prefetch(1)


def load_test(config: DataConfig, batch_size: int | None = None) -> Any:
    """What is measured at last: of house numbers whole pictures."""
    several = datasets.find(config.data).label_classes
    return load(config, "test", batch_size or (PICTURES_BATCH if several else TEST_BATCH))


def images_to_show(config: DataConfig, places: Sequence[int] | None) -> np.ndarray:
    """Test images by their places, or the first; of house numbers pictures of a middle size.

    Raises:
        ValueError: For places where there is no image, or images of different sizes.
    """
    if places is None:
        test = load_test(config)
        if datasets.find(config.data).label_classes:
            # The smallest come first, and some are no larger than a patch.
            test = test.skip(int(test.cardinality()) // 2).take(1)
        return np.stack([image.numpy() for image, _ in test.unbatch().take(SHOWN)])
    if min(places) < 0:
        raise ValueError(f"`--images` must be 0 or more. Received: --images={places}")
    images = load_test(config).unbatch().take(max(places) + 1)
    found = {place: image.numpy() for place, (image, _) in enumerate(images) if place in places}
    if len(found) < len(set(places)) or len({image.shape for image in found.values()}) > 1:
        raise ValueError(
            "`--images` must be places of test images, all of one size. Received: "
            f"--images={places}, with sizes {[image.shape for image in found.values()]}"
        )
    return np.stack([found[place] for place in places])


def data_of(options: Namespace) -> DataConfig:
    """The data of a run, or those that the options name instead.

    Raises:
        ValueError: For a .keras file without data, or data that are measured in another way.
    """
    facts = _data_of_run(options)
    if options.data is not None:
        info = datasets.find(options.data)
        if info.name != facts.get("data"):
            facts |= {"data": info.name, "size": info.size, "data_dir": None, "data_options": {}}
    if options.size is not None:
        facts["size"] = positive_integer("--size", options.size)
    if options.data_dir is not None:
        facts["data_dir"] = options.data_dir
    more = parsed_options("data_options", options.data_options)
    facts["data_options"] = {**facts.get("data_options", {}), **more}
    check_no_boxes(datasets.find(facts["data"]))
    return DataConfig(**facts)


def _data_of_run(options: Namespace) -> dict[str, Any]:
    if options.model.is_dir():
        config = run_folder.read_config(options.model)
        return {name: getattr(config, name) for name in DataConfig.__dataclass_fields__}
    if options.data is None:
        raise ValueError(
            "`--data` must be given for a .keras file: one of "
            f"{', '.join(datasets.list_datasets())}"
        )
    return {}


def check_no_boxes(info: DatasetInfo) -> None:
    """Refuses data that a detector reads."""
    if info.detection:
        raise ValueError(
            "`--data` must have labels of whole images; for boxes there is "
            f"applications/scale_space_detection.py. Received: --data={info.name}"
        )


def check_input(model: keras.Model, shape: Any) -> None:
    """Refuses data of other sizes than a model takes."""
    allowed = tuple(model.input_shape[1:])
    if len(allowed) != len(shape) or any(
        want not in (None, size) for want, size in zip(allowed, shape, strict=True)
    ):
        raise ValueError(
            f"The data must fit the model's input {allowed}; `--size` sets its pixels. "
            f"Received: examples of {tuple(shape)}"
        )


def _with_separate_labels(config: DataConfig, batches: Any) -> Any:
    if not datasets.find(config.data).label_classes:
        return batches
    return batches.map(lambda images, labels: (images, ops.split_sequence_labels(labels)))
