"""Protocols and training jobs of section 4.2, and the wall-clock times of the networks."""

import functools
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import reports, training
from harness.protocols import Protocol
from harness.training import TrainingResult

import keras_attention as ka
from targeted_kernels_experiment.tables import PAPER_L2, Row

TEST_BATCH = TIMED_BATCH = 64
# Networks without batch normalization and with large kernels: with 300 images and a learning rate
# of 0.1 they diverge.
SENSITIVE = {"CNN6", "TKN6", "STN", "TSTN"}
# Protocol fields that results.csv does not repeat.
INTERNAL = ("low_learning_rate", "l2_times_steps", "augment")


@dataclass(frozen=True)
class TargetedProtocol(Protocol):
    """Settings of a training."""

    weight_decay: float | None = 1e-4
    nesterov: bool = True
    # Learning rate of the networks in `SENSITIVE`; None for no difference.
    low_learning_rate: float | None = None
    # If True, every epoch generates new images; None for the default of the data set.
    augment: bool | None = None
    # Product of the L2 weight of the scales and the number of steps at a learning rate of 0.1, for
    # a row with L2 1e-4. None to use the L2 weight of the row itself.
    l2_times_steps: float | None = None

    def rate(self, model: str) -> float:
        """Returns the initial learning rate of a network."""
        low = model in SENSITIVE and self.low_learning_rate is not None
        return self.low_learning_rate if low else self.learning_rate

    def scale_l2(self, row: Row) -> float:
        """Returns the L2 weight with which the scales shrink about as much as in the paper.

        The effect of the weight is proportional to learning rate times number of steps.
        """
        if self.l2_times_steps is None or self.train_size is None:
            return row.scale_l2
        steps = self.epochs * math.ceil(self.train_size / self.batch_size)
        weight = self.l2_times_steps * (0.1 / self.rate(row.model)) / steps
        return max(row.scale_l2, row.scale_l2 / PAPER_L2 * weight)

    def describe(self) -> str:
        """Returns the settings as one line of a report."""
        if self.low_learning_rate is None:
            return super().describe()
        names = ", ".join(sorted(SENSITIVE))
        return f"{super().describe()}; learning rate {self.low_learning_rate:g} for {names}"


_MNIST = TargetedProtocol("paper", batch_size=128, epochs=20, drops=(0.5, 0.75))
_ADAM = TargetedProtocol("paper", batch_size=64, epochs=100, learning_rate=1e-3, optimizer="adam")
# By the paper's data sets. The distractors of its top-left digits are the same in every epoch.
PAPER = {
    "mnist": _MNIST,
    "top_left_mnist": replace(_MNIST, augment=False),
    "svhn_cropped": TargetedProtocol("paper", batch_size=64, epochs=40, drops=(0.5,)),
    "gtsrb": replace(_ADAM, weight_decay=0.05),
    "pain_archive": _ADAM,
}
# About a minute per training. The paper's L2 of 1e-4 with 9,375 steps shrinks the ROIs about as
# much as 2e-3 with 240 steps, which is half of the value in proportion to the steps.
SMALL = TargetedProtocol(
    "small",
    batch_size=50,
    epochs=40,
    low_learning_rate=0.02,
    drops=(0.6, 0.8),
    size=28,
    train_size=300,
    l2_times_steps=0.48,
)


def choose_protocol(options: Namespace) -> TargetedProtocol:
    """Returns the protocol for the data set, with the options of the command line."""
    protocol = PAPER.get(options.data, SMALL)
    if options.learning_rate is not None and protocol.low_learning_rate is not None:
        protocol = replace(protocol, low_learning_rate=options.learning_rate)
    return protocol.override(options)


@dataclass(frozen=True)
class Job(training.Job):
    """Settings of a training."""

    roi: str  # Computation of the target layers, see `TargetLayer`
    scale_l2: float  # L2 weight of the scales in the first block

    @property
    def identity(self) -> dict[str, Any]:
        row = self.row
        options = {"window": row.window, "scale_l2": self.scale_l2, "beta": row.beta}
        options |= {"roi": self.roi, "roi_groups": row.roi_groups}
        return {
            "network": row.label,
            "model": row.model,
            **{name: value if row.targeted else None for name, value in options.items()},
            "seed": self.seed,
            "data": self.data,
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the errors."""
        return ("MSE", "MAE") if self.info.regression else ("error %",)

    def load(self, split: str) -> tf.data.Dataset:
        """Loads a split in batches."""
        if split == "test":
            return super().load(split, batch_size=TEST_BATCH)
        options = {"batch_size": self.protocol.batch_size, "augment": self.protocol.augment}
        return super().load(split, **options)

    def build(self, input_shape: Sequence[int], **changes: Any) -> keras.Model:
        """Builds the untrained network; `changes` override options of its builder."""
        options: dict[str, Any] = {"weight_decay": self.protocol.weight_decay}
        if self.info.regression:
            options["classifier_activation"] = None
        if self.row.targeted:
            options |= {name: getattr(self.row, name) for name in ("window", "beta", "roi_groups")}
            options |= {"roi": self.roi, "scale_l2": self.scale_l2}
        return ka.applications.build(
            self.row.model, input_shape=input_shape, classes=self.info.classes, **options | changes
        )


@dataclass(frozen=True, kw_only=True)
class TargetedResult(TrainingResult):
    """Measurements of a trained network."""

    @property
    def line(self) -> str:
        return super().line + ("" if self.diverged else f", {self.macs / 1e6:.2f}M MACs")

    def record(self) -> dict[str, Any]:
        """Returns the columns of `results.csv`."""
        protocol = self.job.protocol.record()
        protocol["learning_rate"] = self.job.protocol.rate(self.job.row.model)
        protocol = {name: value for name, value in protocol.items() if name not in INTERNAL}
        return {**self.job.identity, **protocol, **reports.score_record(self)}


def train(folder: Path, job: Job, threads: int) -> TargetedResult:
    """Trains a network, measures it and saves it to a folder."""
    training.prepare_process(job.seed, threads)
    data = job.load("train")
    model = job.build(data.element_spec[0].shape[1:])
    steps = int(data.cardinality())
    model.compile(
        job.protocol.make_optimizer(job.protocol.epochs * steps, job.protocol.rate(job.row.model)),
        "mean_squared_error" if job.info.regression else "sparse_categorical_crossentropy",
    )
    callbacks = []
    if job.row.targeted and job.roi == "slice":
        callbacks.append(ka.training.RegroupROIs(batch_size=job.protocol.batch_size))
    _, seconds = training.fit(model, data, job.protocol, None, callbacks)
    path = folder / f"{training.digest(job)}.keras"
    model.save(path)
    model = keras.saving.load_model(path, compile=False)
    scores = evaluate(job, model)
    return TargetedResult(
        job=job,
        path=path,
        seconds=seconds,
        parameters=ka.inspect.trainable_parameters(model),
        macs=ka.inspect.count_macs(model) if scores else None,
        scores=scores,
    )


def evaluate(job: Job, model: keras.Model) -> dict[str, float]:
    """Returns the errors on the test images; none if weights or outputs are not finite."""
    images, labels = test_set(job)
    predicted = model.predict(images, batch_size=TEST_BATCH, verbose=0)
    if not (np.isfinite(predicted).all() and training.is_finite(model)):
        return {}
    if not job.info.regression:
        return {"error %": 100 * float(np.mean(predicted.argmax(axis=-1) != labels))}
    difference = predicted[:, 0] - labels
    squared, absolute = np.mean(difference**2), np.mean(np.abs(difference))
    return {"MSE": float(squared), "MAE": float(absolute)}


@functools.lru_cache(maxsize=1)
def test_set(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Returns all test images and their labels."""
    images, labels = zip(*job.load("test").as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@dataclass(frozen=True)
class Times:
    """Wall-clock time per batch, in milliseconds."""

    model: float  # The network, with sliced target layers if it has any
    # Result of `ka.surgery.compact`; None if the network has no target layers.
    compact: float | None
    baseline: float  # The same network without target layers


Models = dict[Row, tuple[Job, keras.Model]]


def models_of(results: Sequence[TrainingResult]) -> Models:
    """Loads the network of each row, that of the last seed that did not diverge."""
    last = {one.job.row: one for one in results if not one.diverged}
    return {row: (one.job, one.network()) for row, one in last.items()}


def time_rows(models: Models, images: np.ndarray) -> dict[Row, Times]:
    """Times the network of each row, its compacted form and its baseline, interleaved."""
    forms: dict[tuple[str, str], keras.Model] = {}
    for row, (job, model) in models.items():
        forms[row.label, "model"] = model
        if row.targeted:
            forms[row.label, "compact"] = ka.surgery.compact(model)
            if job.roi == "mask":
                # The outputs of sliced layers equal those of masked ones.
                sliced = forms[row.label, "model"] = job.build(model.input_shape[1:], roi="slice")
                sliced.set_weights(model.get_weights())
    for row, (_, model) in models.items():
        if (row.baseline, "model") not in forms:
            forms[row.baseline, "model"] = ka.applications.build(
                row.baseline, input_shape=model.input_shape[1:], classes=model.output_shape[-1]
            )
    times = {key: 1e3 * seconds for key, seconds in time_models(forms, images).items()}
    return {
        row: Times(
            times[row.label, "model"],
            times.get((row.label, "compact")),
            times[row.baseline, "model"],
        )
        for row in models
    }


def time_models(models: Mapping[Any, keras.Model], images: np.ndarray) -> dict[Any, float]:
    """Returns the median seconds of inference on a batch, the models interleaved."""
    batch = tf.constant(images[:TIMED_BATCH])
    calls = {name: training.inference_call(model, batch) for name, model in models.items()}
    return ka.inspect.interleaved_timing(calls, rounds=22)
