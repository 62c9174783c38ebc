"""Trains a row with a seed and measures it, in a process of its own."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts.trainings import settle

import keras_attention as ka
from attend_rectify_parts.protocols import Protocol

TEST_BATCH = 128


@dataclass(frozen=True)
class Job(ABC):
    """One training; the figure and the tables have classes of their own made of this one.

    Those also say of which `data` they are.

    Attributes:
        row: What to train: with a `label`, an `identity` for files, and whether it `attends`.
        seed: Of everything that is drawn.
        protocol: How to train.
    """

    row: Any
    seed: int
    protocol: Protocol

    @abstractmethod
    def load(self, split: str) -> tf.data.Dataset:
        """Single examples; the test part is the same for all seeds."""

    @abstractmethod
    def network(self, activation: str | None) -> keras.Model:
        """The untrained network; without an activation it returns logits, or their like."""

    def model(self) -> keras.Model:
        """What is trained: the network, and what goes before it."""
        return self.network(None)

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """SGD, the same for all layers."""
        momentum = self.protocol.momentum
        return keras.optimizers.SGD(rate, momentum, nesterov=momentum > 0)

    def watched(self) -> tf.data.Dataset | None:
        """Batches whose error is measured after each epoch; None for none."""
        return self.load("test").batch(TEST_BATCH)

    def scores(self, model: keras.Model) -> dict[str, float]:
        """Of the trained network on the test part, in percent."""
        return {"error %": error_of(model, self.load("test").batch(TEST_BATCH))}


@dataclass(frozen=True)
class Training:
    """What came of a job.

    Attributes:
        job: What was trained.
        seconds: How long it took, with the measurements after the epochs.
        steps: Of the whole training.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an image.
        curve: The loss and the errors in percent by epoch.
        scores: By what was measured, in percent; empty if diverged.
    """

    job: Job
    seconds: float
    steps: int
    parameters: int
    macs: int
    curve: Sequence[dict[str, float]]
    scores: dict[str, float]

    @property
    def diverged(self) -> bool:
        """Whether the training ended in numbers that are none."""
        return not self.scores


def train(job: Job, threads: int) -> Training:
    """Trains one network and measures it."""
    settle(job.seed, threads)
    data, steps = endless(job)
    model, stops = compiled(job, steps), []
    if job.protocol.patience is not None:
        stops.append(keras.callbacks.EarlyStopping("loss", patience=job.protocol.patience))
    start = time.perf_counter()
    history = model.fit(
        data,
        epochs=job.protocol.epochs,
        steps_per_epoch=steps,
        validation_data=job.watched(),
        callbacks=stops,
        shuffle=False,
        verbose=0,
    ).history
    seconds = time.perf_counter() - start
    taken = steps * len(history["loss"])
    return Training(job, seconds, taken, *counts(job), curve(history), measured(job, model))


def endless(job: Job) -> tuple[tf.data.Dataset, int]:
    """Batches without an end, all of one size, and the steps of an epoch."""
    examples, protocol = job.load("train"), job.protocol
    images = protocol.epoch_images or int(examples.cardinality())
    batches = examples.repeat().batch(protocol.batch_size, drop_remainder=True)
    return batches.prefetch(tf.data.AUTOTUNE), max(1, images // protocol.batch_size)


def compiled(job: Job, steps: int) -> keras.Model:
    """The untrained model, ready for epochs of so many steps."""
    protocol, model = job.protocol, job.model()
    drops = [int(share * steps * protocol.epochs) for share in protocol.drops]
    rates = [protocol.learning_rate / protocol.factor**power for power in range(len(drops) + 1)]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates)
    if job.row.attends:
        loss: keras.losses.Loss = ka.losses.NegativeLogLikelihood()
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(job.optimizer(rate), loss, metrics=["accuracy"], jit_compile=False)
    return model


def counts(job: Job) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a row's network."""
    network = job.network("softmax")
    return ka.inspect.trainable_parameters(network), ka.inspect.count_macs(network)


def curve(history: dict[str, Sequence[float]]) -> list[dict[str, float]]:
    """Keras's history with errors in percent."""
    epochs = []
    for index, loss in enumerate(history["loss"]):
        line = {"epoch": index + 1, "loss": loss}
        line["training_error"] = 100 * (1 - history["accuracy"][index])
        if "val_accuracy" in history:
            line["test_error"] = 100 * (1 - history["val_accuracy"][index])
        epochs.append(line)
    return epochs


def measured(job: Job, model: keras.Model) -> dict[str, float]:
    """The scores; none if numbers are none."""
    if not all(np.isfinite(values).all() for values in model.get_weights()):
        return {}
    return job.scores(model)


def error_of(model: keras.Model, batches: tf.data.Dataset) -> float:
    """The share of images for which another class is the likeliest, in percent."""
    right = [
        model.predict_on_batch(images).argmax(axis=-1) == labels.numpy()
        for images, labels in batches
    ]
    return 100 * (1 - float(np.mean(np.concatenate(right))))
