"""Protocols, training jobs and records of networks with attention modules, sections 4.2 to 4.4."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import tensorflow as tf
from harness import reports, training
from harness.programs import Experiment
from harness.protocols import Protocol
from harness.training import TrainingResult

import keras_attention as ka

TEST_BATCH = 128


@dataclass(frozen=True)
class AttendProtocol(Protocol):
    """Settings of a training."""

    nesterov: bool = True
    drops: tuple[float, ...] = (0.3,)
    epoch_images: int | None = None  # Number of images per epoch; None for one pass over the data
    test_draws: int = 1  # Number of images generated from each test image
    # Number of epochs without a lower training loss after which training stops; None to train all
    # epochs.
    patience: int | None = None

    def describe(self) -> str:
        """Returns the settings as one line of a report."""
        text = super().describe()
        if self.epoch_images is not None:
            text += f", {self.epoch_images:,} images per epoch"
        if self.patience is not None:
            text += f", early stopping after {self.patience} epochs without a lower training loss"
        return text


# 100,000 test images: ten from each of the 10,000 digits.
CLUTTERED = AttendProtocol(
    "paper", batch_size=128, epochs=200, momentum=0.0, epoch_images=200_000, test_draws=10
)
CLUTTERED_SMALL = replace(
    CLUTTERED,
    name="small",
    batch_size=32,
    epochs=40,
    train_size=300,
    epoch_images=5120,
    test_draws=5,
)
WIDE = AttendProtocol("paper", batch_size=128, epochs=200, drops=(0.3, 0.6, 0.8), drop_factor=5.0)
WIDE_SMALL = replace(WIDE, name="small", batch_size=32, epochs=60, train_size=300)
FINE_TUNING = AttendProtocol(
    "paper", batch_size=64, epochs=100, learning_rate=1e-3, drops=(0.3, 0.6, 0.9), patience=10
)
FINE_TUNING_SMALL = replace(FINE_TUNING, name="small", batch_size=32, epochs=20, train_size=300)


@dataclass(frozen=True)
class Job(training.Job, ABC):
    """Settings of a training, with `has_attention` in its row; subclasses build the networks."""

    @abstractmethod
    def network(self, activation: str | None) -> keras.Model:
        """Builds the untrained network; without an activation it returns logits."""

    def model(self) -> keras.Model:
        """Builds the trained model: the network with its preprocessing."""
        return self.network(None)

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Returns SGD with the same learning rate for all layers, for `steps` steps."""
        return self.protocol.make_optimizer(steps)

    def validation_data(self) -> tf.data.Dataset | None:
        """Returns batches whose error is recorded after each epoch; None for none."""
        return self.load("test").batch(TEST_BATCH)

    def scores(self, model: keras.Model) -> dict[str, float]:
        """Returns the scores of the trained model on the test split, in percent."""
        return {"error %": training.error_percent(model, [self.load("test").batch(TEST_BATCH)])}


class AttendExperiment(Experiment):
    """A table or a figure of the paper."""

    paper = "Attend and Rectify"
    errors = (ValueError, OSError, ImportError)

    def check(self, jobs: Sequence[Job]) -> None:
        """Checks that the networks can be built and the data sets that are needed be loaded."""
        for job in {job.data: job for job in jobs}.values() if self.trains else ():
            for split in ("train", "test"):
                job.load(split)
        for job in {job.row: job for job in reversed(jobs)}.values():
            job.network("softmax")
            job.optimizer(steps=job.protocol.epochs)


def train(job: Job, threads: int) -> TrainingResult:
    """Trains a network and measures it."""
    training.prepare_process(job.seed, threads)
    batches, steps = training_batches(job)
    model, callbacks = compiled(job, steps), []
    if job.protocol.patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping("loss", patience=job.protocol.patience))
    history, seconds = training.fit(
        model, batches, job.protocol, steps, callbacks, validation_data=job.validation_data()
    )
    return TrainingResult(
        job=job,
        seconds=seconds,
        steps=steps * len(history["loss"]),
        **training.counts(job.network("softmax")),
        curve=curve_of(history),
        scores=measure(job, model),
    )


def training_batches(job: Job) -> tuple[tf.data.Dataset, int]:
    """Returns repeated batches of equal size, and the number of steps per epoch."""
    examples, protocol = job.load("train"), job.protocol
    images = protocol.epoch_images or int(examples.cardinality())
    batches = examples.repeat().batch(protocol.batch_size, drop_remainder=True)
    return batches, protocol.steps_per_epoch(images)


def compiled(job: Job, steps: int) -> keras.Model:
    """Builds and compiles the untrained model for `steps` steps per epoch."""
    protocol, model = job.protocol, job.model()
    if job.row.has_attention:
        loss: keras.losses.Loss = ka.losses.NegativeLogLikelihood()
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = job.optimizer(steps * protocol.epochs)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def curve_of(history: dict[str, Sequence[float]]) -> list[dict[str, float]]:
    """Returns loss and errors in percent after each epoch, from the history of Keras."""
    epochs = []
    for index, loss in enumerate(history["loss"]):
        line = {"epoch": index + 1, "loss": loss}
        for name, metric in (("training_error", "accuracy"), ("test_error", "val_accuracy")):
            if metric in history:
                line[name] = 100 * (1 - history[metric][index])
        epochs.append(line)
    return epochs


def measure(job: Job, model: keras.Model) -> dict[str, float]:
    """Returns the scores; none if weights are not finite."""
    return job.scores(model) if training.is_finite(model) else {}


def comparison(results: Sequence[TrainingResult], name: str, digits: int) -> str:
    """Returns a score of each row next to the paper's, as a markdown table.

    Args:
        results: Results of all jobs.
        name: Name of the score.
        digits: Number of decimals of the paper's scores.
    """
    lines = []
    for row, found in reports.grouped(results).items():
        cells = [row.name, row.data, *reports.size_cells(found[0]), reports.spread_of(found, name)]
        lines.append([*cells, reports.number(row.published(), digits)])
    headings = ["network", "data", "parameters", "MACs", name, f"{name}, paper"]
    return reports.table(headings, lines)
