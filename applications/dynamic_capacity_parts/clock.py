"""Training steps and answers by the clock: networks take turns, medians."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from dynamic_capacity_parts.training import Job, compiled

ROUNDS, WARM_UP = 9, 2


@dataclass(frozen=True)
class Times:
    """Seconds for a batch.

    Attributes:
        step: Of a training step.
        forward: Of an answer.
    """

    step: float
    forward: float


def time_jobs(jobs: Sequence[Job], rounds: int) -> dict[str, Times]:
    """Times the networks of some jobs on a batch of the first one, by their labels."""
    examples = jobs[0].training()
    batch = next(iter(examples.batch(jobs[0].protocol.batch_size)))
    steps, forwards = {}, {}
    for job in jobs:
        model, _ = compiled(job, examples)
        steps[job.label] = _step(model, batch)
        forwards[job.label] = _forward(model, batch[0])
    step, forward = (_medians(calls, rounds) for calls in (steps, forwards))
    return {label: Times(step[label], forward[label]) for label in step}


def _step(model: Any, batch: Any) -> Callable[[], Any]:
    return lambda: model.train_on_batch(*batch)


def _forward(model: Any, images: tf.Tensor) -> Callable[[], Any]:
    # Concrete at once: TensorFlow takes many networks through one function for a mistake.
    call = tf.function(lambda x: model(x, training=False)).get_concrete_function(images)
    return lambda: call(images).numpy()


def _medians(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(WARM_UP + rounds):
        for label, call in calls.items():
            start = time.perf_counter()
            call()
            times[label].append(time.perf_counter() - start)
    return {label: statistics.median(values[WARM_UP:]) for label, values in times.items()}
