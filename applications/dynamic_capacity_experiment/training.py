"""Protocols, training jobs and records of dynamic capacity networks, appendix 6."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from harness import training
from harness.programs import Experiment, Run
from harness.protocols import Protocol
from harness.published import read_tables
from harness.training import CurveRecorder, TrainingResult

import keras_attention as ka

ERROR = "error %"
# The paper gives neither the number of epochs nor, for SVHN, the learning rate and its decay.
CLUTTERED = Protocol(
    "paper", batch_size=64, epochs=100, optimizer="adam", learning_rate=1e-3, weight_decay=5e-4
)
CLUTTERED_SMALL = replace(CLUTTERED, name="small", epochs=20, steps=2000, drops=(0.8,))
NUMBERS = Protocol(
    "paper", batch_size=64, epochs=20, learning_rate=0.01, decay=0.01, weight_decay=0.0
)
NUMBERS_SMALL = replace(NUMBERS, name="small", epochs=10, steps=4000)
PAPER = read_tables(Path(__file__).with_name("tables.txt"))


@dataclass(frozen=True)
class Job(ABC):
    """Settings of a training; subclasses exist for digits in clutter and for numbers."""

    label: str  # Name of the network in the tables
    data: str  # Data set, by its name in `ka.datasets`
    seed: int  # Random seed
    protocol: Protocol  # Training protocol

    @property
    def name(self) -> str:
        """File name of the checkpoint; different settings have different names."""
        label = self.label.replace("/", "").replace(" ", "-")
        return f"{label}_{self.data}_seed{self.seed}_{training.digest(self)}"

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": self.label, "data": self.data, "seed": self.seed}

    @abstractmethod
    def model(self) -> keras.Model:
        """Builds the untrained network."""

    @abstractmethod
    def training_data(self) -> tf.data.Dataset:
        """Returns single training examples."""

    @abstractmethod
    def curve_data(self) -> tf.data.Dataset:
        """Returns batches whose error is recorded after each epoch; it selects nothing."""

    @abstractmethod
    def tests(self) -> Iterable[tf.data.Dataset]:
        """Returns data sets of test batches."""

    @abstractmethod
    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        """Returns the error over all these batches, in percent."""

    @property
    @abstractmethod
    def macs_shape(self) -> tuple[int, ...]:
        """Shape of the image whose multiply-accumulates are counted."""

    @abstractmethod
    def describe(self) -> str:
        """Describes the images in one line of a report."""


@dataclass(frozen=True, kw_only=True)
class DCNResult(TrainingResult):
    """Measurements of a trained network."""

    executed_macs: int  # Multiply-accumulates that the implementation executes

    def record(self) -> dict[str, Any]:
        """Returns the columns of `results.csv`."""
        return {**super().record(), "executed_macs": self.executed_macs}


class DCNExperiment(Experiment):
    """A table or a figure of the paper."""

    paper = "Dynamic Capacity Networks"

    def check(self, jobs: Sequence[Job]) -> None:
        """Checks that the data sets can be loaded and the networks built."""
        for job in {job.label: job for job in jobs}.values():
            job.protocol.steps_per_epoch(int(job.training_data().cardinality()))
            job.model()

    def notes(self, run: Run) -> list[str]:
        images = dict.fromkeys(f"{job.describe()}." for job in run.jobs)
        return [*images, *super().notes(run)]


def train(folder: Path, job: Job, threads: int) -> DCNResult:
    """Trains a network, measures it and stores it in a folder, or loads an earlier result."""
    path = folder / f"{job.name}.keras"
    measured = training.load_result(path)
    if measured is not None:
        return DCNResult(job=job, path=path, **measured, loaded=True)
    training.prepare_process(job.seed, threads)
    examples = job.training_data()
    model, steps = compiled(job, examples)
    curve_data = [job.curve_data().cache()]

    def measure(model: keras.Model, logs: dict[str, Any]) -> dict[str, float]:
        distance = {"distance": float(logs["hint"])} if "hint" in logs else {}
        return {**distance, f"test {ERROR}": job.error(model, curve_data)}

    recorder = CurveRecorder(measure)
    batches = examples.repeat().batch(job.protocol.batch_size, drop_remainder=True)
    _, seconds = training.fit(model, batches, job.protocol, steps, [recorder])
    finite = training.is_finite(model)
    result = DCNResult(
        job=job,
        path=path,
        seconds=seconds,
        steps=steps * job.protocol.epochs,
        **training.counts(model, job.macs_shape),
        executed_macs=ka.inspect.count_macs(model, job.macs_shape, executed=True),
        curve=recorder.curve,
        scores={ERROR: job.error(model, job.tests())} if finite else {},
    )
    # Without the state of the optimizer, which is twice as large as the weights.
    training.save_result(result, keras.Model(model.input, model.output, name=model.name))
    return result


def compiled(job: Job, examples: tf.data.Dataset) -> tuple[keras.Model, int]:
    """Returns the untrained, compiled network and the number of steps per epoch."""
    protocol, model = job.protocol, job.model()
    steps = protocol.steps_per_epoch(int(examples.cardinality()))
    model.compile(
        protocol.make_optimizer(steps * protocol.epochs),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    return model, steps
