"""What each command does."""

import ast
from argparse import Namespace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich

from keras_attention import applications, datasets, inspect
from keras_attention import export as exports
from keras_attention.arguments import non_negative_number, positive_integer, seed_number
from keras_attention.cli import run_folder, training
from keras_attention.cli.defaults import TRAIN_DEFAULTS
from keras_attention.cli.run_folder import RunConfig

IMAGES_OF_A_PICTURE = 64


def models(options: Namespace) -> None:
    """Lists the models at the size that they have by default."""
    built = {}
    for name in applications.list_models():
        built[name] = applications.build(name)
    rich.print(
        inspect.summary_table(
            built, columns={"input": [str(model.input_shape[1:]) for model in built.values()]}
        )
    )


def train(options: Namespace) -> None:
    """Trains a model into a run folder, then draws its attention."""
    config, folder = _config_and_folder(options)
    if not options.resume:
        # What is wrong with the options shows before a folder is made.
        training.build(config, training.load_data(config, "train"))
        run_folder.create(folder, config)
    model = training.train(config, folder, resume=options.resume)
    print(f"wrote {folder / run_folder.MODEL}, {folder / run_folder.HISTORY}")
    if inspect.has_attention(model):
        picture = folder / run_folder.FIGURES / "attention.png"
        inspect.plot_attention(model, _images(config), picture)
        print(f"wrote {picture}")


def evaluate(options: Namespace) -> None:
    """Prints a trained model's error on the test images."""
    config = _config_of_data(options)
    _check_one_label(config.data)
    positive_integer("--batch-size", options.batch_size)
    model = run_folder.load_model(options.model)
    test = datasets.load(
        config.data,
        "test",
        options.batch_size,
        seed=config.seed,
        size=config.size,
        train_size=config.train_size,
    )
    _check_input(model, test.element_spec[0].shape[1:])
    info = datasets.find(config.data)
    if info.regression:
        _check_outputs(model, config.data, test.element_spec[1].shape[1:])
    predicted = model.predict(test, verbose="auto")
    labels = np.concatenate([batch.numpy() for _, batch in test])
    rich.print(
        inspect.summary_table(
            {model.name: model},
            test.element_spec[0].shape[1:],
            {f"test {info.kind}": [len(labels)], **_errors(predicted, labels, info.regression)},
            title=f"{config.data}, {config.size} {'pixels' if info.kind == 'images' else 'steps'}",
        )
    )


def _errors(predicted: np.ndarray, labels: np.ndarray, regression: bool) -> dict[str, list[float]]:
    """The columns of the papers' tables: squared and absolute error of numbers, or of classes."""
    if not regression:
        return {"error %": [100 * float(np.mean(predicted.argmax(axis=-1) != labels))]}
    difference = predicted.reshape(labels.shape) - labels
    return {
        "MSE": [float(np.mean(difference**2))],
        "MAE": [float(np.mean(np.abs(difference)))],
    }


def export(options: Namespace) -> None:
    """Writes a SavedModel that is reloaded and compared."""
    model = run_folder.load_model(options.model)
    folder = options.model if options.model.is_dir() else options.model.parent
    path = options.output or folder / "saved_model"
    print(f"wrote {exports.export_saved_model(model, path, overwrite=options.overwrite)}")


def plot(options: Namespace) -> None:
    """Draws where a trained model attends."""
    model = run_folder.load_model(options.model)
    config = _config_of_data(options)
    images = _images(config)
    _check_input(model, images.shape[1:])
    folder = options.model if options.model.is_dir() else options.model.parent
    path = options.output or folder / run_folder.FIGURES / "attention.png"
    inspect.plot_attention(model, images, path, layer=options.layer)
    print(f"wrote {path}")


def _config_and_folder(options: Namespace) -> tuple[RunConfig, Path]:
    """The configuration of a new run, or that of the run to continue."""
    asked = {name: getattr(options, name) for name in (*TRAIN_DEFAULTS, "size", "train_size")}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= {"model": options.model, "model_options": _model_options(options.model_options or [])}
    facts: dict[str, Any] = {**TRAIN_DEFAULTS, "train_size": None, **asked}
    folder = options.output or Path("runs") / f"{options.model}-{facts['data']}-{facts['seed']}"
    if options.resume:
        config = run_folder.read_config(folder)
        _check_same(asked, config, folder)
        return config, folder
    info = datasets.find(facts["data"])
    _check_one_label(info.name)
    facts.setdefault("size", info.size)
    applications.builder(facts["model"])
    for name in ("epochs", "batch_size", "size"):
        positive_integer(f"--{name.replace('_', '-')}", facts[name])
    non_negative_number("--learning-rate", facts["learning_rate"])
    seed_number("--seed", facts["seed"])
    return RunConfig(**facts), folder


def _check_same(asked: dict[str, Any], config: RunConfig, folder: Path) -> None:
    """Refuses to continue a run with other options than it was started with."""
    for name, value in asked.items():
        started_with = getattr(config, name)
        if value != started_with and (name != "model_options" or value):
            raise ValueError(
                f"`--resume` continues the run in {str(folder)!r}, which has {name} = "
                f"{started_with!r}; leave the option out. Received: {value!r}"
            )


def _model_options(texts: list[str]) -> dict[str, Any]:
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(f"`--set` must be OPTION=VALUE, such as beta=4. Received: {text!r}")
        try:
            values[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            values[name] = value
    return values


def _config_of_data(options: Namespace) -> RunConfig:
    """The run's configuration, with another data set where one is asked for."""
    if options.model.is_dir():
        config = run_folder.read_config(options.model)
        facts = {**vars(config)}
    elif options.data is None:
        raise ValueError(
            "`--data` must be given for a .keras file: one of "
            f"{', '.join(datasets.list_datasets())}"
        )
    else:
        facts = {"model": "", "train_size": None, "epochs": 1, "batch_size": 1}
        facts |= {"learning_rate": 0.0, "seed": 0}
    if options.data is not None:
        info = datasets.find(options.data)
        facts |= {"data": info.name, "size": info.size}
    if options.size is not None:
        facts["size"] = positive_integer("--size", options.size)
    return RunConfig(**facts)


def _images(config: RunConfig) -> np.ndarray:
    test = training.load_data(config, "test").unbatch().take(IMAGES_OF_A_PICTURE)
    return np.stack([image.numpy() for image, _ in test])


def _check_one_label(data: str) -> None:
    info = datasets.find(data)
    if info.detection:
        raise ValueError(
            "`--data` must have one label for each image; for boxes there is "
            f"applications/scale_space_detection.py. Received: --data={data}"
        )
    if info.label_classes:
        raise ValueError(
            f"`--data` must have one label for each image, not {len(info.label_classes)} classes. "
            f"Received: --data={data}; applications/dynamic_capacity.py reads house numbers"
        )


def _check_outputs(model: keras.Model, data: str, label: Any) -> None:
    units = tuple(label) or (1,)
    if tuple(model.output_shape[1:]) != units:
        wanted = "one output unit" if units == (1,) else f"outputs of {units}"
        raise ValueError(
            f"The labels of {data!r} are numbers, so the model must have {wanted}. "
            f"Received: outputs of {tuple(model.output_shape[1:])}"
        )


def _check_input(model: keras.Model, shape: Any) -> None:
    allowed = tuple(model.input_shape[1:])
    if len(allowed) != len(shape) or any(
        want not in (None, size) for want, size in zip(allowed, shape, strict=True)
    ):
        raise ValueError(
            f"The data must fit the model's input {allowed}; `--size` sets its pixels. "
            f"Received: examples of {tuple(shape)}"
        )
