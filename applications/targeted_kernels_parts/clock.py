"""Inference by the clock: networks that take turns in one process, medians."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from targeted_kernels_parts.tables import Row
from targeted_kernels_parts.training import Job

BATCH = 64

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Times:
    """Milliseconds for a batch of images.

    Attributes:
        model: Of the network, sliced where it has target layers.
        compact: Of `ka.surgery.compact(model)`; None where it has none.
        baseline: Of the network without target layers.
    """

    model: float
    compact: float | None
    baseline: float


def time_per_batch(
    models: Mapping[Key, keras.Model], images: np.ndarray, rounds: int = 22, warm_up: int = 3
) -> dict[Key, float]:
    """Median seconds of inference on a batch; the models take turns."""
    batch = tf.constant(images[:BATCH])
    calls = {name: _compiled(model, batch) for name, model in models.items()}
    times: dict[Key, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(batch).numpy()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[warm_up:]) for name, values in times.items()}


def time_rows(
    models: Mapping[Row, tuple[Job, keras.Model]], images: np.ndarray
) -> dict[Row, Times]:
    """Times each row's network, what `compact` makes of it, and the baselines, all in turn."""
    forms: dict[tuple[str, str], keras.Model] = {}
    for row, (job, model) in models.items():
        forms[row.label, "model"] = inference_form(job, model)
        if row.targeted:
            forms[row.label, "compact"] = ka.surgery.compact(model)
    for row, (_, model) in models.items():
        if (row.baseline, "model") not in forms:
            forms[row.baseline, "model"] = ka.applications.build(
                row.baseline, input_shape=model.input_shape[1:], classes=model.output_shape[-1]
            )
    times = {key: 1e3 * seconds for key, seconds in time_per_batch(forms, images).items()}
    return {
        row: Times(
            times[row.label, "model"],
            times.get((row.label, "compact")),
            times[row.baseline, "model"],
        )
        for row in models
    }


def inference_form(job: Job, model: keras.Model) -> keras.Model:
    """The same network with sliced target layers: of the same values as masked ones."""
    if not job.row.targeted or job.roi != "mask":
        return model
    sliced = job.build(model.input_shape[1:], roi="slice")
    sliced.set_weights(model.get_weights())
    return sliced


def _compiled(model: keras.Model, batch: tf.Tensor) -> Callable[[tf.Tensor], Any]:
    # Concrete at once: TensorFlow takes many networks through one function for a mistake.
    return tf.function(lambda x: model(x, training=False)).get_concrete_function(batch)
