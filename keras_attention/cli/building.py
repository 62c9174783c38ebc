"""Builds the untrained model of a run, as its data want it."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_attention import applications, datasets
from keras_attention.cli import run_folder
from keras_attention.cli.data import check_no_boxes
from keras_attention.cli.run_config import RunConfig
from keras_attention.datasets import DatasetInfo

Builder = Callable[..., keras.Model]


def build(config: RunConfig, data: Any) -> keras.Model:
    """Builds the untrained model of a run.

    Args:
        config: What to train.
        data: Batches: their images, or sequences, say the input's shape.

    Raises:
        ValueError: For options that the model does not have, or a shape that it does not take, such
            as that of sequences.
    """
    info, builder = datasets.find(config.data), applications.builder(config.model)
    options = {**_answers(info), **_with_models(builder, config.model_options)}
    try:
        return builder(input_shape=_input_shape(info, data), **options)
    except TypeError as error:
        raise ValueError(
            f"`--set` must name options of {config.model}, such as scale_l2=1e-3. "
            f"Received: {config.model_options} ({error})"
        ) from error


def check_answers(config: RunConfig) -> None:
    """Refuses data whose labels a model does not answer, before either is made.

    Raises:
        ValueError: For these; says which go together.
    """
    info, builder = datasets.find(config.data), applications.builder(config.model)
    check_no_boxes(info)
    if bool(info.label_classes) == _reads_numbers(builder):
        return
    if info.label_classes:
        readers = (applications.builder(name) for name in applications.list_models())
        fitting = ", ".join(one.__name__ for one in readers if _reads_numbers(one))
        raise ValueError(
            f"{info.name!r} has {len(info.label_classes)} labels for each image, so MODEL must be "
            f"one of {fitting}. Received: MODEL={builder.__name__}"
        )
    fitting = ", ".join(name for name, one in datasets.list_datasets().items() if one.label_classes)
    raise ValueError(
        f"{builder.__name__} reads numbers of several digits, so `--data` must be one of "
        f"{fitting}. Received: --data={info.name}"
    )


def _reads_numbers(builder: Builder) -> bool:
    return "digits" in inspect.signature(builder).parameters


def _input_shape(info: DatasetInfo, data: Any) -> tuple[Any, ...]:
    *sides, channels = data.element_spec[0].shape[1:]
    if info.label_classes:
        # Trained on crops, measured on whole pictures.
        sides = [None] * len(sides)
    first = keras.config.image_data_format() == "channels_first"
    return (channels, *sides) if first else (*sides, channels)


def _answers(info: DatasetInfo) -> dict[str, Any]:
    """What the labels say of the last layers."""
    if info.label_classes:
        # The models add "none" themselves.
        return {"classes": info.label_classes[1] - 1, "digits": len(info.label_classes) - 1}
    # Where the label is a number, one unit estimates it as it is.
    linear = {"classifier_activation": None} if info.regression else {}
    return {"classes": info.classes, **linear}


def _with_models(builder: Builder, options: dict[str, Any]) -> dict[str, Any]:
    """Loads the models that a model is made of, which options name as runs."""
    kinds = inspect.signature(builder).parameters
    return {
        name: run_folder.load_model(Path(value))
        if isinstance(value, str)
        and name in kinds
        and kinds[name].annotation == (keras.Model | None)
        else value
        for name, value in options.items()
    }
