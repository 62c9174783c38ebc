"""Protocols, training jobs, scores and step times of scale-space attention networks.

The paper gives no training settings. Learning rates and epochs of the short protocols were chosen
with LeNet-5 and LSTM-4 without attention on held-out training examples; the others are the usual
ones (section IV-E, figures 9 and 10).
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import training
from harness.protocols import Protocol
from harness.training import TrainingResult

import keras_attention as ka
from keras_attention.datasets import DatasetInfo

TEST_BATCH = 64
# VGG has no batch normalization and does not learn at the learning rate of ResNets.
VGG_RATE_FACTOR = 0.1
# After the five pooling layers of VGG, smaller images have no pixel left.
VGG_SIZE = 32

_GRAY = Protocol(
    "usual",
    batch_size=128,
    epochs=20,
    learning_rate=1e-3,
    optimizer="adam",
    nesterov=True,
    weight_decay=0.0,
)
_COLOR = replace(
    _GRAY, epochs=100, learning_rate=0.1, drops=(0.5, 0.75), optimizer="sgd", weight_decay=5e-4
)
USUAL = {
    "mnist": _GRAY,
    "fashion_mnist": _GRAY,
    **dict.fromkeys(("cifar10", "cifar20", "cifar100", "gtsrb"), _COLOR),
    "imagenet2012": replace(
        _COLOR, batch_size=256, epochs=90, drops=(1 / 3, 2 / 3), weight_decay=1e-4
    ),
    "mocap": replace(_GRAY, batch_size=16, epochs=100),
    "flights": replace(_GRAY, batch_size=256),
}
# After this many epochs, LeNet-5 and LSTM-4 without attention fit all of 300 digits.
SMALL = replace(_GRAY, name="small", batch_size=32, epochs=60, train_size=300)
SMALL_LSTM = replace(SMALL, epochs=100)


def choose_protocol(network: str, data: str, options: Namespace) -> Protocol:
    """Returns the protocol for a network and a data set, with the options of the command line."""
    protocol = USUAL.get(data, SMALL_LSTM if network == "LSTM4" else SMALL)
    if network.startswith("VGG"):
        protocol = replace(
            protocol,
            learning_rate=VGG_RATE_FACTOR * protocol.learning_rate,
            size=None if protocol.name == "usual" else VGG_SIZE,
        )
    return protocol.override(options)


@dataclass(frozen=True)
class Job(training.Job):
    """Settings of a training."""

    def load(self, split: str) -> tf.data.Dataset:
        """Loads a split in batches."""
        batch_size = self.protocol.batch_size if split == "train" else TEST_BATCH
        return super().load(split, batch_size=batch_size)

    def shapes(self, data: tf.data.Dataset) -> tuple[tuple[int, ...], int]:
        """Returns the shape of an example and the number of outputs."""
        examples, labels = data.element_spec
        outputs = labels.shape[-1] if self.info.regression else self.info.classes
        return tuple(examples.shape[1:]), outputs

    def compiled(self, data: tf.data.Dataset) -> keras.Model:
        """Builds and compiles the untrained network for the data."""
        decay = {"weight_decay": self.protocol.weight_decay}
        model = self.row.build(*self.shapes(data), **decay)
        # The paper uses the absolute error as loss of forecasts.
        loss = "mean_absolute_error" if self.info.regression else "sparse_categorical_crossentropy"
        steps = self.protocol.epochs * int(data.cardinality())
        model.compile(self.protocol.make_optimizer(steps), loss, jit_compile=False)
        return model


@dataclass(frozen=True, kw_only=True)
class TimedResult(TrainingResult):
    """Measurements of a trained network."""

    step_seconds: float  # Median time of a step, without the first epoch if there are more

    def record(self) -> dict[str, Any]:
        """Returns the columns of `results.csv`."""
        return {**super().record(), "ms_per_step": round(1e3 * self.step_seconds, 2)}


def train(job: Job, threads: int) -> TimedResult:
    """Trains a network and measures it."""
    training.prepare_process(job.seed, threads)
    data = job.load("train")
    model, timer = job.compiled(data), training.EpochTimer()
    training.fit(model, data, job.protocol, None, [timer])
    steps = int(data.cardinality())
    return TimedResult(
        job=job,
        seconds=timer.seconds,
        steps=job.protocol.epochs * steps,
        step_seconds=timer.step_seconds(steps),
        **training.counts(model),
        scores=evaluate(job, model),
    )


def evaluate(job: Job, model: keras.Model) -> dict[str, float]:
    """Returns the scores on the test split; none if weights or predictions are not finite."""
    batches = [(model.predict_on_batch(x), y.numpy()) for x, y in job.load("test")]
    predicted, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if not (np.isfinite(predicted).all() and training.is_finite(model)):
        return {}
    return scores_of(job.info, predicted, labels)


def metrics_of(info: DatasetInfo) -> tuple[str, ...]:
    """Returns the names of the scores on a data set, as in the paper."""
    if info.regression:
        return ("cosine", "MAE")
    return ("top-1 %", "top-5 %") if info.kind == "images" else ("accuracy %", "MAE")


def scores_of(info: DatasetInfo, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Computes the scores of predictions.

    Top-k is the percentage of examples whose class is among the k most probable ones. For classes,
    MAE is the mean of `|p - y|` over examples and classes, where y is one-hot. For forecasts, it is
    in the original unit, and cosine is the cosine of the angle between the vectors of all forecasts
    and all targets.

    Args:
        info: Description of the data set.
        predicted: Probabilities `(N, classes)`, or forecasts `(N, values)`.
        labels: Classes `(N,)`, or targets `(N, values)`.

    Returns:
        Scores by metric.
    """
    if info.regression:
        predicted, labels = (in_original_unit(info, values) for values in (predicted, labels))
        lengths = np.linalg.norm(predicted) * np.linalg.norm(labels)
        cosine = float(np.sum(predicted * labels) / lengths) if lengths else 0.0
        return {"cosine": cosine, "MAE": float(np.abs(predicted - labels).mean())}
    top_1, top_5 = (100 * _top_accuracy(predicted, labels, count) for count in (1, 5))
    if info.kind == "images":
        return {"top-1 %": top_1, "top-5 %": top_5}
    error = np.abs(predicted - np.eye(predicted.shape[1])[labels]).mean()
    return {"accuracy %": top_1, "MAE": float(error)}


def in_original_unit(info: DatasetInfo, values: np.ndarray) -> np.ndarray:
    """Reverts the standardization of the targets of a data set."""
    values = values.astype("float64")
    if info.name != "flights":
        return values
    scaling = ka.datasets.flight_scaling()
    mean, deviation = scaling.mean_and_deviation(info.options["target"])
    return values * deviation + mean


def _top_accuracy(predicted: np.ndarray, labels: np.ndarray, count: int) -> float:
    most_probable = np.argsort(-predicted, axis=1, kind="stable")[:, :count]
    return float(np.mean((most_probable == labels[:, None]).any(axis=1)))


def time_steps(jobs: Sequence[Job], rounds: int, warm_up: int = 3) -> list[TimedResult]:
    """Times a training step of each job, interleaved.

    The results have no scores, and their `seconds` are those of the whole training.
    """
    calls, counts = {}, {}
    for job in jobs:
        data = job.load("train")
        model = job.compiled(data)
        calls[job] = training.training_step_call(model, next(iter(data)))
        steps = job.protocol.epochs * int(data.cardinality())
        counts[job] = {"steps": steps, **training.counts(model)}
    times = ka.inspect.interleaved_timing(calls, rounds, warm_up)
    return [
        TimedResult(
            job=job,
            seconds=times[job] * counts[job]["steps"],
            step_seconds=times[job],
            scores={},
            **counts[job],
        )
        for job in jobs
    ]
