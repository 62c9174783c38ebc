"""The `bench` command: measures the latency of models on this machine."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import applications, backend, datasets, inspect
from keras_attention.cli import run_folder
from keras_attention.cli.commands import CommandResult
from keras_attention.cli.data import fits
from keras_attention.utils.validation import did_you_mean, positive_integer

Shape = tuple[int, ...]
Models = dict[str, keras.Model]


def run(options: Namespace) -> CommandResult:
    """Measures inference and training steps of models in turns; reports medians and ratios."""
    for size in options.batch_size:
        positive_integer("--batch-size", size)
    positive_integer("--rounds", options.rounds)
    models, shape = load_models(options.models, options.data, options.size)
    if options.compact:
        models = {name: run_folder.compact_model(model) for name, model in models.items()}
    times = {
        f"batch of {size}": median_seconds(models, shape, size, options.rounds)
        for size in sorted(set(options.batch_size))
    }
    # Compact models are for inference only.
    if not (options.no_training or options.compact):
        size = max(options.batch_size)
        seconds = median_seconds(models, shape, size, options.rounds, training=True)
        times[f"training step of {size}"] = seconds
    return _result(models, shape, times)


def load_models(names: list[str], data: str | None, size: int | None) -> tuple[Models, Shape]:
    """Builds or loads the models to compare, and returns them with their input shape.

    The shape is that of a data set, otherwise that of the first file, otherwise the models' own.
    """
    shape = _shape_of_data(data, size)
    built = applications.list_models()
    loaded = {name: run_folder.load_model(_path(name)) for name in names if name not in built}
    shape = shape or _known_input_shape(loaded)
    arguments: dict[str, Any] = {} if shape is None else {"input_shape": shape}
    models = {
        name: loaded[name] if name in loaded else applications.build(name, **arguments)
        for name in names
    }
    shape = shape or _known_input_shape(models)
    if shape is None:
        raise ValueError(
            "`--data` must name a data set with the input shape to use, because the models accept "
            f"any size. Received: --data=None, {', '.join(names)}"
        )
    for name, model in models.items():
        if not fits(model, shape):
            raise ValueError(
                f"All models must accept the same input shape, {shape}. "
                f"Received: {name} with {model.input_shape[1:]}. Pass another --data or --size"
            )
    return models, shape


def _shape_of_data(data: str | None, size: int | None) -> Shape | None:
    if data is None:
        if size is not None:
            raise ValueError(f"`--size` requires --data. Received: --size={size}, without --data")
        return None
    info = datasets.find(data)
    shape: list[Any] = list(info.shape_of("train"))
    if size is not None:
        axes = {"images": 2, "sequences": 1}[info.kind]
        shape[:axes] = [size] * axes
    if None in shape:
        raise ValueError(
            "`--data` must have an input shape that is known without reading its files. "
            f"Received: --data={data}. Pass --size"
        )
    return tuple(shape)


def _known_input_shape(models: Models) -> Shape | None:
    shapes = (tuple(model.input_shape[1:]) for model in models.values())
    return next((shape for shape in shapes if None not in shape), None)


def _path(text: str) -> Path:
    path = Path(text)
    if path.exists():
        return path
    names = applications.list_models()
    raise ValueError(
        f"MODEL must be a run folder, a .keras file, or one of {', '.join(names)}. "
        f"Received: {text!r}.{did_you_mean(text, names)}"
    )


def median_seconds(
    models: Models, shape: Shape, batch_size: int, rounds: int, training: bool = False
) -> dict[str, float]:
    """Measures the median latency of a batch of random images, or of a training step, by model."""
    images = np.random.default_rng(0).random((batch_size, *shape), dtype="float32")
    calls = {
        name: _training_step(model, images) if training else partial(model.predict_on_batch, images)
        for name, model in models.items()
    }
    return inspect.interleaved_timing(calls, rounds)


def _training_step(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    """Returns a step of SGD with momentum on the mean squared error.

    The learning rate is 0, so that weights and regions of interest do not change between steps.
    """
    model.compile(keras.optimizers.SGD(0.0, momentum=0.9), "mean_squared_error")
    targets = keras.tree.map_structure(np.zeros_like, model.predict_on_batch(images))
    return lambda: model.train_on_batch(images, targets)


def _result(models: Models, shape: Shape, times: dict[str, dict[str, float]]) -> CommandResult:
    baseline = list(models)[-1]
    values: dict[str, Any] = {
        "backend": backend.BACKEND,
        "devices": backend.accelerators() or ["cpu"],
        "input_shape": shape,
        "baseline": baseline,
        "models": [
            {
                "model": name,
                "parameters": inspect.trainable_parameters(model),
                "macs": inspect.count_macs(model, shape),
                "milliseconds": {what: 1e3 * found[name] for what, found in times.items()},
                "ratio": {what: found[name] / found[baseline] for what, found in times.items()},
            }
            for name, model in models.items()
        ],
    }
    columns = {
        f"{what}, ms": [
            _cell(found[name], None if name == baseline else found[baseline]) for name in models
        ]
        for what, found in times.items()
    }
    title = f"{' x '.join(map(str, shape))}, medians on {', '.join(values['devices'])}"
    if len(models) > 1:
        title += f"; x: ratio to {baseline}"
    return CommandResult(values, [inspect.summary_table(models, shape, columns, title=title)])


def _cell(seconds: float, baseline: float | None) -> str:
    ratio = "" if baseline is None else f", {seconds / baseline:.2f} x"
    return f"{1e3 * seconds:.3g}{ratio}"
