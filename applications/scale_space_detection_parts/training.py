"""Trains a detector on one row of the table and measures it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from scale_space_detection_parts import detector as detectors
from scale_space_detection_parts.average_precision import Boxes, average_precision
from scale_space_detection_parts.table8 import Row

MOST_NORM = 10.0
FOUND = ("boxes", "labels", "confidence")


@dataclass(frozen=True)
class Protocol:
    """How to train.

    Attributes:
        folder: GTSDB's, or one in its format; None for that of the environment variable.
        size: Pixels along the sides of the images.
        classes: 4 for the benchmark's categories, or 43.
        train_size: Pictures for training; None for all.
        epochs: Passes over them.
        batch_size: Of a step.
        learning_rate: Of Adam.
    """

    folder: Path | None
    size: int
    classes: int
    train_size: int | None
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def superclasses(self) -> bool:
        """Whether the classes are the categories."""
        return self.classes == len(ka.datasets.GTSDB_CATEGORIES)

    def load(self, split: str, seed: int = 0) -> tf.data.Dataset:
        """One part of the pictures in batches; the test part is the same for all seeds."""
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

    def shown(self, split: str) -> list[Boxes]:
        """What each picture truly shows, in the order of the files."""
        _, labels = ka.datasets.read_gtsdb(
            split, self.size, self.train_size, self.folder, superclasses=self.superclasses
        )
        pictures = zip(labels["boxes"], labels["labels"], strict=True)
        return [{"boxes": boxes, "labels": classes} for boxes, classes in pictures]


@dataclass(frozen=True)
class Training:
    """What came of a training.

    Attributes:
        row: What was trained.
        seed: Of the weights and the order.
        parameters: Numbers that training changes.
        scores: Average precisions in percent by name; None where the loss became no number.
        step: Seconds of a step, the median over the epochs.
        seconds: Of the whole training.
    """

    row: Row
    seed: int
    parameters: int
    scores: dict[str, float] | None
    step: float
    seconds: float


class Clock(keras.callbacks.Callback):
    """Notes when the epochs end."""

    def on_train_begin(self, logs=None):
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())

    def step(self, steps: int) -> float:
        """Seconds of a step; the first epoch, which traces, counts where it is the only one."""
        epochs = np.diff(self.ends)
        return float(np.median(epochs[1:] if len(epochs) > 1 else epochs)) / steps


def train(
    row: Row, seed: int, protocol: Protocol, truth: Sequence[Boxes]
) -> tuple[Training, keras.Model]:
    """Trains and measures one detector; `truth` is what the test pictures show."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    pictures, clock = protocol.load("train", seed), Clock()
    detector = build(row, protocol)
    detector.compile(
        keras.optimizers.Adam(protocol.learning_rate, global_clipnorm=MOST_NORM), jit_compile=False
    )
    callbacks = [clock, keras.callbacks.TerminateOnNaN()]
    history = detector.fit(
        pictures, epochs=protocol.epochs, callbacks=callbacks, verbose=2, shuffle=False
    )
    scores = None
    if math.isfinite(history.history["loss"][-1]):
        scores = average_precision(
            truth, find(detector, protocol.load("test"), protocol.batch_size)
        )
    step = clock.step(int(pictures.cardinality()))
    parameters = ka.inspect.trainable_parameters(detector)
    seconds = clock.ends[-1] - clock.ends[0]
    return Training(row, seed, parameters, scores, step, seconds), detector


def build(row: Row, protocol: Protocol) -> keras.Model:
    """The untrained detector of a row, its anchors from the size of the training signs on."""
    size = detectors.anchor_size(signs_of(protocol.shown("train")))
    return detectors.build(row.modules, row.placement, protocol.size, protocol.classes, size)


def find(detector: keras.Model, pictures: tf.data.Dataset, batch_size: int) -> list[Boxes]:
    """What a detector finds in each picture.

    KerasHub's suppression takes one size of batches: a smaller one is filled with its own pictures.
    """
    found: list[Boxes] = []
    for images, _ in pictures.as_numpy_iterator():
        filled = np.resize(images, (batch_size, *images.shape[1:]))
        boxes = detector.predict(filled, batch_size, verbose=0)
        found += [{name: boxes[name][row] for name in FOUND} for row in range(len(images))]
    return found


def signs_of(pictures: Sequence[Boxes]) -> np.ndarray:
    """The boxes of all signs, `(n, 4)`.

    Raises:
        ValueError: Where there is none.
    """
    boxes = np.concatenate([shown["boxes"][shown["labels"] >= 0] for shown in pictures])
    if not len(boxes):
        raise ValueError("--data must have a sign in either part. Received: a part without signs")
    return boxes
