"""Trains rows with seeds, several at a time, each in one process with a thread or more."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts.processes import in_processes

import keras_attention as ka
from targeted_kernels_parts.protocols import Protocol
from targeted_kernels_parts.tables import Row

TEST_BATCH = 64


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        row: The network.
        seed: Of everything that is drawn.
        data: Name of the data set.
        protocol: How to train.
        roi: How target layers compute, see `TargetLayer`.
        scale_l2: L2 weight of the scales in the first block.
    """

    row: Row
    seed: int
    data: str
    protocol: Protocol
    roi: str
    scale_l2: float

    def load(self, split: str) -> tf.data.Dataset:
        """One part of the data in batches; the test part is the same for all seeds."""
        training = split == "train"
        return ka.datasets.load(
            self.data,
            split,
            self.protocol.batch_size if training else TEST_BATCH,
            seed=self.seed if training else 0,
            size=self.protocol.size,
            train_size=self.protocol.train_size,
            augment=self.protocol.augment if training else None,
        )

    def build(self, input_shape: Sequence[int], **changes: Any) -> keras.Model:
        """The untrained network, with other options where `changes` has them."""
        info = ka.datasets.find(self.data)
        options: dict[str, Any] = {"weight_decay": self.protocol.weight_decay}
        if info.regression:
            options["classifier_activation"] = None
        if self.row.targeted:
            options |= {name: getattr(self.row, name) for name in ("window", "beta", "roi_groups")}
            options |= {"roi": self.roi, "scale_l2": self.scale_l2}
        return ka.applications.build(
            self.row.model, input_shape=input_shape, classes=info.classes, **options | changes
        )


@dataclass(frozen=True)
class Training:
    """What came of a job.

    Attributes:
        job: What was trained.
        seconds: How long it took.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an image, with the regions as trained; None if diverged.
        errors: By heading: percent, or squared and absolute error; empty if diverged.
    """

    job: Job
    seconds: float
    parameters: int
    macs: int | None
    errors: dict[str, float]

    @property
    def diverged(self) -> bool:
        """Whether the training ended in numbers that are none."""
        return self.macs is None


def train_all(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, keras.Model, float]]:
    """Trains all, some at a time; yields each in order with its model and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [(job, Path(folder) / f"{number}.keras") for number, job in enumerate(jobs)]
        took = in_processes(train, tasks, processes)
        for (job, path), seconds in zip(tasks, took, strict=True):
            yield job, keras.saving.load_model(path, compile=False), seconds
            path.unlink()


def train(task: tuple[Job, Path], threads: int) -> float:
    """Trains one network in a process of its own and writes it; returns the seconds it took."""
    job, path = task
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(job.seed)
    tf.config.experimental.enable_op_determinism()
    data = job.load("train")
    model = job.build(data.element_spec[0].shape[1:])
    regression = ka.datasets.find(job.data).regression
    model.compile(
        optimizer(job.protocol, job.row.model, job.protocol.epochs * int(data.cardinality())),
        "mean_squared_error" if regression else "sparse_categorical_crossentropy",
    )
    sliced = job.row.targeted and job.roi == "slice"
    regroup = ka.training.RegroupROIs(batch_size=job.protocol.batch_size)
    callbacks = [regroup] if sliced else []
    start = time.perf_counter()
    model.fit(data, epochs=job.protocol.epochs, callbacks=callbacks, verbose=0, shuffle=False)
    seconds = time.perf_counter() - start
    model.save(path)
    return seconds


def optimizer(protocol: Protocol, model: str, steps: int) -> keras.optimizers.Optimizer:
    """The protocol's optimizer with its drops of the rate."""
    rate = protocol.rate(model)
    if protocol.drops:
        drops = [int(share * steps) for share in protocol.drops]
        rates = [rate / 10**power for power in range(len(drops) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates)
    if protocol.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def evaluate(
    job: Job, model: keras.Model, seconds: float, images: np.ndarray, labels: np.ndarray
) -> Training:
    """Measures a trained network on the test images."""
    parameters = ka.inspect.trainable_parameters(model)
    predicted = model.predict(images, batch_size=TEST_BATCH, verbose=0)
    if not all(np.isfinite(values).all() for values in (predicted, *model.get_weights())):
        return Training(job, seconds, parameters, None, {})
    if ka.datasets.find(job.data).regression:
        difference = predicted[:, 0] - labels
        squared, absolute = np.mean(difference**2), np.mean(np.abs(difference))
        errors = {"MSE": float(squared), "MAE": float(absolute)}
    else:
        errors = {"error %": 100 * float(np.mean(predicted.argmax(axis=-1) != labels))}
    return Training(job, seconds, parameters, ka.inspect.count_macs(model), errors)
