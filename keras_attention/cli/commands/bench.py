"""The `bench` command: measures the latency of models on this machine."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
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
Models = Mapping[str, keras.Model]


def run(options: Namespace) -> CommandResult:
    """Measures inference and training steps of models in turns; reports medians and ratios."""
    for size in options.batch_size:
        positive_integer("--batch-size", size)
    positive_integer("--rounds", options.rounds)
    models, shape = load_models(options.models, options.data, options.size)
    # Compact models are for inference only.
    training = not (options.no_training or options.compact)
    if options.compact:
        models = {name: run_folder.compact_model(model) for name, model in models.items()}
    times = {
        f"batch of {size}": inference_seconds(models, shape, size, options.rounds)
        for size in sorted(set(options.batch_size))
    }
    if training:
        size = max(options.batch_size)
        seconds = training_seconds(models, shape, size, options.rounds)
        times[f"training step of {size}"] = seconds
    return _result(models, shape, times)


def load_models(
    names: Sequence[str], data: str | None, size: int | None
) -> tuple[dict[str, keras.Model], Shape]:
    """Builds or loads the models to compare, with one input shape.

    Args:
        names: Names of models, run folders and .keras files.
        data: Data set whose input shape to use; None for that of the first file, or of the models.
        size: Image side in pixels, or steps of a sequence.

    Returns:
        The models by name, and their input shape without the batch axis.

    Raises:
        ValueError: If a name is unknown, or a model does not accept the input shape.
    """
    shape = _shape_of_data(data, size)
    built = applications.list_models()
    loaded = {name: run_folder.load_model(_path(name)) for name in names if name not in built}
    for model in loaded.values():
        shape = shape or _if_known(model.input_shape[1:])
    arguments: dict[str, Any] = {} if shape is None else {"input_shape": shape}
    models = {
        name: loaded[name] if name in loaded else applications.build(name, **arguments)
        for name in names
    }
    for model in models.values():
        shape = shape or _if_known(model.input_shape[1:])
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
    shape = list(info.shape_of("train"))
    if size is not None:
        axes = {"images": 2, "sequences": 1}[info.kind]
        shape[:axes] = [size] * axes
    if None in shape:
        raise ValueError(
            "`--data` must have an input shape that is known without reading its files. "
            f"Received: --data={data}. Pass --size"
        )
    return _if_known(shape)


def _if_known(shape: Sequence[int | None]) -> Shape | None:
    sizes = tuple(side for side in shape if side is not None)
    return sizes if len(sizes) == len(shape) else None


def _path(text: str) -> Path:
    path = Path(text)
    if path.exists():
        return path
    names = applications.list_models()
    raise ValueError(
        f"MODEL must be a run folder, a .keras file, or one of {', '.join(names)}. "
        f"Received: {text!r}.{did_you_mean(text, names)}"
    )


def inference_seconds(
    models: Models, shape: Shape, batch_size: int, rounds: int
) -> dict[str, float]:
    """Measures the median latency of a batch, by model."""
    images = _random_images(shape, batch_size)
    return inspect.interleaved_timing(
        {name: _inference(model, images) for name, model in models.items()}, rounds
    )


def training_seconds(
    models: Models, shape: Shape, batch_size: int, rounds: int
) -> dict[str, float]:
    """Measures the median time of a training step, by model.

    The step is SGD with momentum on the mean squared error. The learning rate is 0, so that
    weights and regions of interest do not change between measurements.
    """
    images = _random_images(shape, batch_size)
    return inspect.interleaved_timing(
        {name: _training_step(model, images) for name, model in models.items()}, rounds
    )


def _random_images(shape: Shape, batch_size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch_size, *shape), dtype="float32")


def _inference(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    return lambda: model.predict_on_batch(images)


def _training_step(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    model.compile(keras.optimizers.SGD(0.0, momentum=0.9), "mean_squared_error")
    targets = keras.tree.map_structure(np.zeros_like, model.predict_on_batch(images))
    return lambda: model.train_on_batch(images, targets)


def _result(
    models: dict[str, keras.Model], shape: Shape, times: dict[str, dict[str, float]]
) -> CommandResult:
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
