"""Trains a row with a seed and measures it, in a process of its own."""

import statistics
import time
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts.trainings import settle

import keras_attention as ka
from keras_attention.datasets import DatasetInfo
from scale_space_parts import scores
from scale_space_parts.protocols import Protocol
from scale_space_parts.rows import Row

TEST_BATCH = 64


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        row: The network on its data.
        seed: Of everything that is drawn.
        protocol: How to train.
    """

    row: Row
    seed: int
    protocol: Protocol

    @property
    def info(self) -> DatasetInfo:
        """What is known of the data."""
        return ka.datasets.find(self.row.data)

    def load(self, split: str) -> tf.data.Dataset:
        """One part of the data in batches; the test part is the same for all seeds."""
        training = split == "train"
        return ka.datasets.load(
            self.row.data,
            split,
            self.protocol.batch_size if training else TEST_BATCH,
            seed=self.seed if training else 0,
            size=self.protocol.size,
            train_size=self.protocol.train_size,
        )

    def shapes(self, data: tf.data.Dataset) -> tuple[tuple[int, ...], int]:
        """Of an example, and how many values the network has to return for it."""
        examples, labels = data.element_spec
        outputs = labels.shape[-1] if self.info.regression else self.info.classes
        return tuple(examples.shape[1:]), outputs

    def compiled(self, data: tf.data.Dataset) -> keras.Model:
        """The untrained network, ready to be trained on the data."""
        decay = {"weight_decay": self.protocol.weight_decay}
        model = self.row.build(*self.shapes(data), **decay)
        # Of forecasts the paper's loss is the absolute error.
        loss = "mean_absolute_error" if self.info.regression else "sparse_categorical_crossentropy"
        steps = self.protocol.epochs * int(data.cardinality())
        model.compile(_optimizer(self.protocol, steps), loss, jit_compile=False)
        return model


@dataclass(frozen=True)
class Training:
    """What came of a job.

    Attributes:
        job: What was trained.
        seconds: How long it took.
        step_seconds: The same for a step, without the first epoch where there are more.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an example; None where no rule counts them.
        scores: By metric; empty if diverged.
    """

    job: Job
    seconds: float
    step_seconds: float
    parameters: int
    macs: int | None
    scores: dict[str, float]

    @property
    def diverged(self) -> bool:
        """Whether the training ended in numbers that are none."""
        return not self.scores


class Epochs(keras.callbacks.Callback):
    """Takes the time of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.start)


def train(job: Job, threads: int) -> Training:
    """Trains one network and measures it."""
    settle(job.seed, threads)
    data = job.load("train")
    model, epochs = job.compiled(data), Epochs()
    model.fit(data, epochs=job.protocol.epochs, callbacks=[epochs], verbose=0, shuffle=False)
    step = statistics.median(epochs.seconds[1:] or epochs.seconds) / int(data.cardinality())
    parameters = ka.inspect.trainable_parameters(model)
    return Training(
        job, sum(epochs.seconds), step, parameters, macs_of(model), evaluate(job, model)
    )


def evaluate(job: Job, model: keras.Model) -> dict[str, float]:
    """The scores on the test part; none if numbers are none."""
    batches = [(model.predict_on_batch(x), y.numpy()) for x, y in job.load("test")]
    predicted, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if not all(np.isfinite(values).all() for values in (predicted, *model.get_weights())):
        return {}
    return scores.measure(job.info, predicted, labels)


def macs_of(model: keras.Model) -> int | None:
    """Multiply-accumulates of an example; None where a layer has no rule, as recurrent ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return ka.inspect.count_macs(model)
        except UserWarning:
            return None


def _optimizer(protocol: Protocol, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = protocol.learning_rate
    if protocol.drops:
        drops = [int(share * steps) for share in protocol.drops]
        rates = [rate / 10**power for power in range(len(drops) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates)
    if protocol.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
