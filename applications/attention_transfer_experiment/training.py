"""Protocols, methods and training jobs of sections 3 and 4 and of the authors' code."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import training
from harness.protocols import Protocol
from harness.training import CurveRecorder, TrainingResult

import keras_attention as ka
from attention_transfer_experiment import networks
from attention_transfer_experiment.images import ImageSource
from attention_transfer_experiment.networks import Network

# Names of the errors among the top k classes.
ERRORS = {1: "error %", 5: "top-5 error %"}
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class TransferProtocol(Protocol):
    """Settings of a training with SGD."""

    drops: tuple[float, ...] = (0.3, 0.6, 0.8)
    drop_factor: float = 5.0
    weight_decay: float | None = 5e-4
    steps_per_execution: int = 1  # Argument of Keras's `compile`

    def steps_per_epoch(self, examples: int) -> int:
        """Returns the number of steps between two measurements."""
        steps = super().steps_per_epoch(examples)
        if steps % self.steps_per_execution:
            raise ValueError(
                f"--steps-per-execution must divide the {steps} steps of an epoch. "
                f"Received: --steps-per-execution={self.steps_per_execution}"
            )
        return steps


CIFAR = TransferProtocol("paper", batch_size=128, epochs=200)
CIFAR_SMALL = replace(CIFAR, name="small", batch_size=32, epochs=5, steps=800)
# Section 4.1.3: students without batch normalization have no weight decay. Their learning rate is
# not published; at 0.1, that of the other networks, they do not learn.
WITHOUT_NORMALIZATION = replace(CIFAR, learning_rate=0.01, weight_decay=0.0)
WITHOUT_NORMALIZATION_SMALL = replace(CIFAR_SMALL, learning_rate=0.01, weight_decay=0.0)
# For fine-tuning, the paper only gives the layers that are frozen.
FINE_TUNING = TransferProtocol(
    "ours", batch_size=64, epochs=60, learning_rate=0.01, drops=(0.5, 0.75), drop_factor=10.0
)
FINE_TUNING_SMALL = replace(FINE_TUNING, name="small", batch_size=32, epochs=10)
IMAGENET = TransferProtocol(
    "paper", batch_size=256, epochs=100, drops=(0.3, 0.6, 0.9), drop_factor=10.0, weight_decay=1e-4
)
IMAGENET_SMALL = replace(IMAGENET, name="small", batch_size=50, epochs=20, steps=400)


@dataclass(frozen=True)
class LossWeight:
    """Weight of a part of the loss."""

    value: float = 0.0  # Initial weight; 0 if the loss does not have this part
    # `"constant"`, or `"linear"` or `"cosine"` for a decay to 0 during training.
    schedule: str = "constant"
    start: float = 0.0  # Fraction of the training during which the weight is 0

    def over(self, steps: int) -> Any:
        """Returns the argument of `AttentionDistiller` for a training of `steps` steps."""
        schedules = keras.optimizers.schedules
        if self.start:
            # The step of the boundary itself has the first value.
            boundary = max(0, round(self.start * steps) - 1)
            return schedules.PiecewiseConstantDecay([boundary], [0.0, self.value])
        if self.schedule == "linear":
            return schedules.PolynomialDecay(self.value, steps, 0.0)
        if self.schedule == "cosine":
            return schedules.CosineDecay(self.value, steps)
        return self.value

    def describe(self) -> str:
        """Returns the weight as text."""
        text = f"{self.value:g}"
        if self.schedule != "constant":
            text += f" with a {self.schedule} decay to 0"
        return text + (f" after {self.start:.0%} of the training" if self.start else "")


@dataclass(frozen=True)
class Method:
    """Losses that a student is trained with in addition to that of the labels; none by default."""

    attention: LossWeight = LossWeight()  # Weight of the losses of attention maps
    power: int = 2  # Exponent of the activations in an attention map
    reduce: str = "mean"  # Reduction over the channels
    distillation: float = 0.0  # Weight alpha of knowledge distillation
    temperature: float = 4.0  # Temperature of knowledge distillation
    hints: LossWeight = LossWeight()  # Weight of the losses of full activations
    gradient: str | None = None  # Kind of `GradientAttention`, or None
    gradient_weight: float = 1.0  # Weight of that loss

    @property
    def name(self) -> str:
        """Name in file names."""
        parts = {
            "attention": self.attention.value,
            "hints": self.hints.value,
            "distillation": self.distillation,
            f"{self.gradient}": self.gradient,
        }
        return "+".join(name for name, weight in parts.items() if weight) or "labels"

    @property
    def needs_teacher(self) -> bool:
        """True if one of the losses needs a teacher."""
        parts = (self.attention.value, self.distillation, self.hints.value)
        return any(parts) or self.gradient == "transfer"

    def distiller(
        self, student: keras.Model, teacher: keras.Model | None, layers: Sequence[str], steps: int
    ) -> keras.Model:
        """Returns the model that is compiled and trained for `steps` steps to train the student."""
        if self == LABELS_ONLY:
            # The student itself is saved and therefore stays without an optimizer.
            return keras.Model(student.input, student.output)
        gradient = None
        if self.gradient:
            gradient = ka.training.GradientAttention(self.gradient, self.gradient_weight)
        return ka.training.AttentionDistiller(
            student,
            teacher,
            layers if self.attention.value else (),
            ka.losses.AttentionTransferLoss(self.power, self.reduce),
            self.attention.over(steps),
            self.distillation,
            self.temperature,
            layers if self.hints.value else None,
            gradient,
            hint_weight=self.hints.over(steps),
        )

    def describe(self) -> str:
        """Returns the losses as text."""
        parts = {
            "beta": self.attention.value and self.attention.describe(),
            "alpha": self.distillation and f"{self.distillation:g}, T {self.temperature:g}",
            "hints": self.hints.value and self.hints.describe(),
            "gradient": self.gradient and f"{self.gradient}, weight {self.gradient_weight:g}",
        }
        return ", ".join(f"{name} {text}" for name, text in parts.items() if text)


LABELS_ONLY = Method()


@dataclass(frozen=True)
class Job:
    """Settings of a training."""

    network: Network  # Network
    source: ImageSource  # Images
    protocol: TransferProtocol  # Training protocol
    seed: int  # Random seed
    method: Method = LABELS_ONLY  # Losses in addition to that of the labels
    teacher: "Job | None" = None  # Training of the teacher; None if there is none
    weights: str | None = None  # File of initial weights; None for random ones
    fine_tuning: bool = False  # If True, the first layers and all batch normalization are frozen
    tops: tuple[int, ...] = (1,)  # Numbers k of the measured top-k errors

    @property
    def name(self) -> str:
        """File name of the checkpoint; different settings have different names."""
        parts = (self.network.label, self.source.data, self.method.name, f"seed{self.seed}")
        return "_".join((*parts, training.digest(self)))

    def model(self) -> keras.Model:
        """Builds the untrained network; it maps images in `[0, 1]` to logits."""
        images = keras.Input(self.source.shape, name="images")
        mean, variance = self.source.moments(self.seed)
        layer = keras.layers.Normalization(
            mean=mean, variance=variance, name=networks.STANDARDIZATION
        )
        built = self.build(layer(images))
        # A single input, not a list with one input as builders create from tensors.
        return keras.Model(images, built.output, name=built.name)

    def build(self, images: Any) -> keras.Model:
        """Builds the network on a Keras tensor, with its initial weights."""
        model = self.network.build(images, self.source.info.classes, self.protocol.weight_decay)
        if self.weights:
            networks.load_pretrained(model, self.weights, self.network)
        return model


def path_of(folder: Path, job: Job) -> Path:
    """Returns the checkpoint of a job; its measurements are stored next to it."""
    return folder / f"{job.name}.keras"


def train(folder: Path, job: Job, threads: int) -> TrainingResult:
    """Trains a network, measures it and stores it in a folder, or loads an earlier result."""
    path = path_of(folder, job)
    measured = training.load_result(path)
    if measured is not None:
        return TrainingResult(job=job, path=path, **measured, loaded=True)
    training.prepare_process(job.seed, threads)
    # Built first: for all methods, a seed gives the same initial weights.
    student = job.model()
    counts = training.counts(student)
    if job.fine_tuning:
        networks.freeze_first_layers(student)
    distiller, steps = compiled(folder, job, student)
    first_test = next(job.source.tests())

    def measure(model: keras.Model, logs: dict[str, Any]) -> dict[str, float]:
        # Inference needs no teacher, which would take most of the time.
        errors, line = errors_of(model, [first_test], job.tops), {}
        for top in job.tops:
            line[f"training {ERRORS[top]}"] = 100 * (1 - float(logs[f"top{top}"]))
            line[f"test {ERRORS[top]}"] = errors[ERRORS[top]]
        return line

    recorder = CurveRecorder(measure)
    batches = job.source.batches(job.seed, job.protocol.batch_size)
    _, seconds = training.fit(distiller, batches, job.protocol, steps, [recorder])
    tests = list(job.source.tests())
    result = TrainingResult(
        job=job,
        path=path,
        seconds=seconds,
        steps=steps * job.protocol.epochs,
        **counts,
        curve=recorder.curve,
        scores=errors_of(distiller, tests, job.tops) if training.is_finite(student) else {},
    )
    training.save_result(result, student)
    return result


def compiled(folder: Path, job: Job, student: keras.Model) -> tuple[keras.Model, int]:
    """Returns the compiled model to train and the number of steps per epoch."""
    protocol, teacher = job.protocol, None
    steps = protocol.steps_per_epoch(int(job.source.training_data(job.seed).cardinality()))
    total = steps * protocol.epochs
    if job.teacher and job.method.needs_teacher:
        teacher = keras.models.load_model(path_of(folder, job.teacher), compile=False)
    distiller = job.method.distiller(student, teacher, job.network.layers, total)
    distiller.compile(
        protocol.make_optimizer(total),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy("top1")
            if top == 1
            else keras.metrics.SparseTopKCategoricalAccuracy(top, f"top{top}")
            for top in job.tops
        ],
        jit_compile=False,
        steps_per_execution=protocol.steps_per_execution,
    )
    return distiller, steps


def errors_of(
    model: keras.Model, tests: Sequence[tf.data.Dataset], tops: Sequence[int]
) -> dict[str, float]:
    """Returns the top-k errors over all batches of all data sets, in percent."""
    ranks = np.concatenate(
        [
            _ranks(model.predict_on_batch(images), labels.numpy())
            for batches in tests
            for images, labels in batches
        ]
    )
    return {ERRORS[top]: 100 * float(np.mean(ranks >= top)) for top in tops}


def _ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the number of classes that rank before the label; all if logits are not finite.

    Among equal logits the first class ranks first, as for `argmax`.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    ranks = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    return np.where(np.isfinite(logits).all(axis=1), ranks, logits.shape[1])
