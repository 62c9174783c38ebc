"""Training of a detector."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness.reports import DIVERGED
from harness.training import EpochTimer, Job, TrainingResult

import keras_attention as ka
from scale_space_detection_experiment import detector as detectors
from scale_space_detection_experiment.average_precision import average_precision
from scale_space_detection_experiment.report import METRICS, Boxes

MAX_GRADIENT_NORM = 10.0
DETECTED = ("boxes", "labels", "confidence")


@dataclass(frozen=True)
class DetectionProtocol:
    """Settings of a training."""

    # Folder of GTSDB or in its format; None for that of the environment variable.
    folder: Path | None
    size: int  # Side of the images in pixels
    classes: int  # 4 for the categories of the benchmark, or 43
    train_size: int | None  # Number of training images; None for all
    epochs: int  # Number of epochs
    batch_size: int  # Batch size
    learning_rate: float  # Learning rate of Adam

    @property
    def superclasses(self) -> bool:
        """True if the classes are the categories."""
        return self.classes == len(ka.datasets.GTSDB_CATEGORIES)

    def load(self, split: str, seed: int = 0) -> tf.data.Dataset:
        """Loads a split in batches; the test split is the same for all seeds."""
        return ka.datasets.load(
            "gtsdb",
            split,
            self.batch_size,
            seed,
            self.size,
            self.train_size,
            data_dir=self.folder,
            superclasses=self.superclasses,
        )

    def annotations(self, split: str) -> list[Boxes]:
        """Returns the annotated boxes of each image, in the order of the files."""
        _, labels = ka.datasets.read_gtsdb(
            split, self.size, self.train_size, self.folder, superclasses=self.superclasses
        )
        images = zip(labels["boxes"], labels["labels"], strict=True)
        return [{"boxes": boxes, "labels": classes} for boxes, classes in images]


@dataclass(frozen=True, kw_only=True)
class DetectionResult(TrainingResult):
    """Measurements of a trained detector."""

    step: float  # Median time of a step over the epochs, in seconds

    @property
    def line(self) -> str:
        scores = ", ".join(f"{name} {value:.2f} %" for name, value in self.scores.items())
        times = f"{self.step:.3f} s/step, trained in {self.seconds:.0f} s"
        return f"{self.job.label} seed {self.job.seed}: {scores or DIVERGED}, {times}"

    def record(self) -> dict[str, Any]:
        """Returns the columns of `results.csv`."""
        settings = asdict(self.job.protocol)
        del settings["folder"]
        return {
            **self.job.identity,
            "data": self.job.data,
            **settings,
            **{f"{name}_percent": self.scores.get(name) for name in METRICS},
            "parameters": self.parameters,
            "seconds_per_step": round(self.step, 4),
            "seconds": round(self.seconds, 1),
        }


def train(job: Job, truth: Sequence[Boxes]) -> tuple[DetectionResult, keras.Model]:
    """Trains and measures a detector; `truth` are the annotated boxes of the test images."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(job.seed)
    protocol, timer = job.protocol, EpochTimer()
    images, detector = protocol.load("train", job.seed), build(job)
    optimizer = keras.optimizers.Adam(protocol.learning_rate, global_clipnorm=MAX_GRADIENT_NORM)
    detector.compile(optimizer, jit_compile=False)
    callbacks = [timer, keras.callbacks.TerminateOnNaN()]
    history = detector.fit(
        images, epochs=protocol.epochs, callbacks=callbacks, verbose=2, shuffle=False
    )
    scores = {}
    if math.isfinite(history.history["loss"][-1]):
        detected = detect(detector, protocol.load("test"), protocol.batch_size)
        scores = average_precision(truth, detected)
    result = DetectionResult(
        job=job,
        parameters=ka.inspect.trainable_parameters(detector),
        macs=None,
        scores=scores,
        step=timer.step_seconds(int(images.cardinality())),
        seconds=timer.seconds,
    )
    return result, detector


def build(job: Job) -> keras.Model:
    """Builds the untrained detector of a job, with anchors for the sizes of the training signs."""
    row, protocol = job.row, job.protocol
    size = detectors.anchor_size(signs_of(protocol.annotations("train")))
    return detectors.build(row.modules, row.placement, protocol.size, protocol.classes, size)


def detect(detector: keras.Model, images: tf.data.Dataset, batch_size: int) -> list[Boxes]:
    """Returns the detected boxes of each image.

    KerasHub's non-maximum suppression needs batches of equal size, so a smaller batch is padded by
    repeating its images.
    """
    detected: list[Boxes] = []
    for batch, _ in images.as_numpy_iterator():
        padded = np.resize(batch, (batch_size, *batch.shape[1:]))
        boxes = detector.predict(padded, batch_size, verbose=0)
        detected += [{name: boxes[name][row] for name in DETECTED} for row in range(len(batch))]
    return detected


def signs_of(annotations: Sequence[Boxes]) -> np.ndarray:
    """Returns the boxes of all signs, `(n, 4)`."""
    boxes = np.concatenate([one["boxes"][one["labels"] >= 0] for one in annotations])
    if not len(boxes):
        raise ValueError("--data must have signs in both splits. Received: a split without signs")
    return boxes
