"""Times answers and training steps of several models, which take turns."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_attention.cli.subjects import Shape
from keras_attention.inspect import alternated

Models = Mapping[str, keras.Model]


def of_answers(models: Models, shape: Shape, batch_size: int, rounds: int) -> dict[str, float]:
    """Median seconds of an answer to a batch, by model."""
    images = _images(shape, batch_size)
    return alternated({name: _answer(model, images) for name, model in models.items()}, rounds)


def of_steps(models: Models, shape: Shape, batch_size: int, rounds: int) -> dict[str, float]:
    """Median seconds of a training step, by model.

    A step of SGD with momentum on the mean squared error of any answer. The rate is 0, so that
    weights, and regions with them, stay as they are.
    """
    images = _images(shape, batch_size)
    return alternated({name: _step(model, images) for name, model in models.items()}, rounds)


def _images(shape: Shape, batch_size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch_size, *shape), dtype="float32")


def _answer(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    return lambda: model.predict_on_batch(images)


def _step(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    model.compile(keras.optimizers.SGD(0.0, momentum=0.9), "mean_squared_error")
    wanted = keras.tree.map_structure(np.zeros_like, model.predict_on_batch(images))
    return lambda: model.train_on_batch(images, wanted)
