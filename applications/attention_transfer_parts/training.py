"""Trains a network with a seed, keeps it and what was measured, in a process of its own."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts.trainings import keep, kept, settle

import keras_attention as ka
from attention_transfer_parts import networks
from attention_transfer_parts.methods import ALONE, Method
from attention_transfer_parts.networks import Network
from attention_transfer_parts.protocols import Protocol
from attention_transfer_parts.sources import Source

# What is called which error.
ERRORS = {1: "error %", 5: "top-5 error %"}


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        network: What to train.
        source: The images.
        protocol: How to train.
        seed: Of everything that is drawn.
        method: What the network is taught by.
        teacher: The training of its teacher; None where it has none.
        weights: File of weights to start from; None for random ones.
        fine_tunes: Whether the first layers and all normalization are frozen.
        tops: Among how many of the likeliest classes the label must be.
    """

    network: Network
    source: Source
    protocol: Protocol
    seed: int
    method: Method = ALONE
    teacher: "Job | None" = None
    weights: str | None = None
    fine_tunes: bool = False
    tops: tuple[int, ...] = (1,)

    @property
    def name(self) -> str:
        """Of its files: other settings have other names."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        what = (self.network.label, self.source.data, self.method.name, f"seed{self.seed}", digest)
        return "_".join(what)

    def model(self) -> keras.Model:
        """The untrained network; it takes images in `[0, 1]` and returns logits."""
        images = keras.Input(self.source.shape, name="images")
        mean, variance = self.source.moments(self.seed)
        layer = keras.layers.Normalization(mean=mean, variance=variance, name=networks.STANDARDIZED)
        built = self.built(layer(images))
        # One input, not a list of one, as builders make of tensors.
        return keras.Model(images, built.output, name=built.name)

    def built(self, images: Any) -> keras.Model:
        """The network behind a Keras tensor, with the weights that it starts from."""
        model = self.network.build(images, self.source.info.classes, self.protocol.weight_decay)
        if self.weights:
            networks.take_over(model, self.weights, self.network)
        return model

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """SGD whose rate falls, for a training of so many steps."""
        protocol = self.protocol
        drops = [int(share * steps) for share in protocol.drops]
        rates = [protocol.learning_rate / protocol.factor**power for power in range(len(drops) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates)
        return keras.optimizers.SGD(rate, protocol.momentum)


@dataclass(frozen=True)
class Training:
    """What came of a job.

    Attributes:
        job: What was trained.
        path: Of the trained network.
        seconds: How long it took, with the measurements after the epochs.
        steps: Of the whole training.
        parameters: Numbers that training changes where nothing is frozen.
        macs: Multiply-accumulates of an image.
        curve: The loss and the errors in percent by epoch.
        scores: By what was measured, in percent; empty if diverged.
        kept: Whether an earlier run left it.
    """

    job: Job
    path: Path
    seconds: float
    steps: int
    parameters: int
    macs: int
    curve: Sequence[dict[str, float]]
    scores: dict[str, float]
    kept: bool = False

    @property
    def diverged(self) -> bool:
        """Whether the training ended in numbers that are none."""
        return not self.scores


def path_of(folder: Path, job: Job) -> Path:
    """Where a job's network is kept; what was measured is beside it."""
    return folder / f"{job.name}.keras"


def train(folder: Path, job: Job, threads: int) -> Training:
    """Trains one network and measures it, or reads what an earlier run left."""
    path = path_of(folder, job)
    measured = kept(path)
    if measured is not None:
        return Training(job, path, **measured, kept=True)
    settle(job.seed, threads)
    # Before all else that draws: every method starts from the same weights.
    student = job.model()
    counts = ka.inspect.trainable_parameters(student), ka.inspect.count_macs(student)
    if job.fine_tunes:
        networks.freeze_first(student)
    trainee, steps = compiled(folder, job, student)
    curve, seconds = fit(job, trainee, steps)
    finite = all(np.isfinite(values).all() for values in student.get_weights())
    scores = errors_of(trainee, list(job.source.tests()), job.tops) if finite else {}
    training = Training(
        job, path, seconds, steps * job.protocol.epochs, *counts, curve=curve, scores=scores
    )
    keep(training, student)
    return training


def compiled(folder: Path, job: Job, student: keras.Model) -> tuple[keras.Model, int]:
    """What is fitted, ready, and the steps of an epoch."""
    protocol, teacher = job.protocol, None
    steps = protocol.steps_of_epoch(int(job.source.training(job.seed).cardinality()))
    whole = steps * protocol.epochs
    if job.teacher and job.method.needs_teacher:
        teacher = keras.models.load_model(path_of(folder, job.teacher), compile=False)
    trainee = job.method.trainee(student, teacher, job.network.taps, whole)
    top = [_top(number) for number in job.tops]
    trainee.compile(
        job.optimizer(whole),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=top,
        jit_compile=False,
        steps_per_execution=protocol.steps_per_execution,
    )
    return trainee, steps


def fit(job: Job, trainee: keras.Model, steps: int) -> tuple[list[dict[str, float]], float]:
    """Trains; returns the curve and the seconds."""
    watch = Watch(next(job.source.tests()), job.tops)
    batches = job.source.batches(job.seed, job.protocol.batch_size)
    start = time.perf_counter()
    trainee.fit(
        batches,
        epochs=job.protocol.epochs,
        steps_per_epoch=steps,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )
    return watch.curve, time.perf_counter() - start


class Watch(keras.callbacks.Callback):
    """Measures errors after each epoch, without the teacher, who would take most of the time.

    Args:
        tests: Batches.
        tops: Which errors.
    """

    def __init__(self, tests: tf.data.Dataset, tops: Sequence[int]):
        super().__init__()
        self.tests, self.tops = tests, tops
        self.curve: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        errors = errors_of(self.model, [self.tests], self.tops)
        line = {"epoch": epoch + 1, "loss": float(logs["loss"])}
        for top in self.tops:
            line[f"training {ERRORS[top]}"] = 100 * (1 - float(logs[f"top{top}"]))
            line[f"test {ERRORS[top]}"] = errors[ERRORS[top]]
        self.curve.append(line)


def errors_of(
    model: keras.Model, tests: Sequence[tf.data.Dataset], tops: Sequence[int]
) -> dict[str, float]:
    """The shares of images whose label is not among the likeliest classes, in percent."""
    ranks = np.concatenate(
        [
            _ranks(model.predict_on_batch(images), labels.numpy())
            for batches in tests
            for images, labels in batches
        ]
    )
    return {ERRORS[top]: 100 * float(np.mean(ranks >= top)) for top in tops}


def _top(number: int) -> keras.metrics.Metric:
    name = f"top{number}"
    if number == 1:
        return keras.metrics.SparseCategoricalAccuracy(name)
    return keras.metrics.SparseTopKCategoricalAccuracy(number, name)


def _ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes are likelier than the label; all where numbers are none.

    Of classes that are as likely the first counts, as for `argmax`.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    ranks = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    return np.where(np.isfinite(logits).all(axis=1), ranks, logits.shape[1])
