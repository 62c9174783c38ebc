"""Trains a network with a seed, keeps it and what was measured, in a process of its own."""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts.trainings import keep, kept, settle

import keras_attention as ka
from dynamic_capacity_parts.protocols import Protocol

ERROR = "error %"


@dataclass(frozen=True)
class Job(ABC):
    """One training; digits in clutter and numbers have classes of their own made of this one.

    Attributes:
        label: Of the network, as in the tables.
        data: The data set, by its name in `ka.datasets`.
        seed: Of everything that is drawn.
        protocol: How to train.
    """

    label: str
    data: str
    seed: int
    protocol: Protocol

    @property
    def name(self) -> str:
        """Of its files: other settings have other names."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        label = self.label.replace("/", "").replace(" ", "-")
        return f"{label}_{self.data}_seed{self.seed}_{digest}"

    @abstractmethod
    def model(self) -> keras.Model:
        """The untrained network."""

    @abstractmethod
    def training(self) -> tf.data.Dataset:
        """Single examples, for the networks as they are."""

    @abstractmethod
    def watched(self) -> tf.data.Dataset:
        """Batches whose error is measured after each epoch; it chooses nothing."""

    @abstractmethod
    def tests(self) -> Iterable[tf.data.Dataset]:
        """Batches whose error is measured at last."""

    @abstractmethod
    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        """Of all these batches together, in percent."""

    @property
    @abstractmethod
    def counted(self) -> tuple[int, ...]:
        """The shape of an image whose multiply-accumulates are counted."""

    @abstractmethod
    def describe(self) -> str:
        """The images, in one line for a report."""


@dataclass(frozen=True)
class Training:
    """What came of a job.

    Attributes:
        job: What was trained.
        path: Of the trained network.
        seconds: How long it took, with the measurements after the epochs.
        steps: Of the whole training.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an image.
        executed: Those that this program computes.
        curve: The loss and the errors in percent by epoch, and the squared distance of coarse from
            fine vectors where there are both.
        scores: By what was measured, in percent; empty if diverged.
        kept: Whether an earlier run left it.
    """

    job: Job
    path: Path
    seconds: float
    steps: int
    parameters: int
    macs: int
    executed: int
    curve: Sequence[dict[str, float]]
    scores: dict[str, float]
    kept: bool = False

    @property
    def diverged(self) -> bool:
        """Whether the training ended in numbers that are none."""
        return not self.scores

    def network(self) -> keras.Model:
        """What was trained."""
        return keras.models.load_model(self.path, compile=False)


def train(folder: Path, job: Job, threads: int) -> Training:
    """Trains one network and measures it, or reads what an earlier run left."""
    path = folder / f"{job.name}.keras"
    measured = kept(path)
    if measured is not None:
        return Training(job, path, **measured, kept=True)
    settle(job.seed, threads)
    examples = job.training()
    model, steps = compiled(job, examples)
    curve, seconds = fit(job, model, examples, steps)
    finite = all(np.isfinite(values).all() for values in model.get_weights())
    scores = {ERROR: job.error(model, job.tests())} if finite else {}
    taken = steps * job.protocol.epochs
    training = Training(job, path, seconds, taken, *counts(job, model), curve, scores)
    # Without the optimizer's moments, which are twice the weights.
    plain = keras.Model(model.input, model.output, name=model.name)
    keep(training, plain)
    return training


def compiled(job: Job, examples: tf.data.Dataset) -> tuple[keras.Model, int]:
    """The untrained network, ready, and the steps of an epoch."""
    protocol, model = job.protocol, job.model()
    steps = protocol.steps_of_epoch(int(examples.cardinality()))
    model.compile(
        protocol.optimizer(steps * protocol.epochs),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    return model, steps


def fit(
    job: Job, model: keras.Model, examples: tf.data.Dataset, steps: int
) -> tuple[list[dict[str, float]], float]:
    """Trains; returns the curve and the seconds."""
    batches = examples.repeat().batch(job.protocol.batch_size, drop_remainder=True)
    watch = Watch(job)
    start = time.perf_counter()
    model.fit(
        batches.prefetch(tf.data.AUTOTUNE),
        epochs=job.protocol.epochs,
        steps_per_epoch=steps,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )
    return watch.curve, time.perf_counter() - start


class Watch(keras.callbacks.Callback):
    """Writes down the loss, the hint's distance and the error after each epoch.

    Args:
        job: Measures the error.
    """

    def __init__(self, job: Job):
        super().__init__()
        self.job, self.tests = job, [job.watched().cache()]
        self.curve: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        line = {"epoch": epoch + 1, "loss": float(logs["loss"])}
        if "hint" in logs:
            line["distance"] = float(logs["hint"])
        self.curve.append({**line, f"test {ERROR}": self.job.error(self.model, self.tests)})


def counts(job: Job, model: keras.Model) -> tuple[int, int, int]:
    """Parameters, multiply-accumulates of an image, and those that are computed."""
    return (
        ka.inspect.trainable_parameters(model),
        ka.inspect.count_macs(model, job.counted),
        ka.inspect.count_macs(model, job.counted, executed=True),
    )
