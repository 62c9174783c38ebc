"""Digits in clutter: the rows of figure 4, how they are trained and tested.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.2 and figure 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

import keras_attention as ka
from attend_rectify_parts.training import TEST_BATCH, Job, error_of

DATA = ("cluttered_translated_digits", "cluttered_translated_mnist")
# In training, and in the tests of figure 4e.
DISTRACTORS, TESTED = 8, (4, 8, 16, 32, 64)
# At the rate of the others the localization moves the image out of sight, and nothing is learned.
SLOWER = {"transformer": 0.01}
# Draws of the test images have seeds from 0 on; those of the curves are others.
WATCHED_SEED = 1000


@dataclass(frozen=True)
class Row:
    """A network of the figure.

    Attributes:
        label: Its name there.
        options: Of `ka.applications.ClutteredCNN`.
    """

    label: str
    options: Mapping[str, Any] = field(hash=False)

    @property
    def attends(self) -> bool:
        """Whether it has attention modules."""
        return self.options["attention_depth"] > 0

    def identity(self) -> dict[str, Any]:
        """In the columns of a file."""
        return {"network": self.label}


def _attends(depth: int, width: int, label: str = "", **options: Any) -> Row:
    options = {"attention_depth": depth, "attention_width": width, **options}
    return Row(label or f"AD {depth}, AW {width}", options)


BASELINE = Row("baseline", {"attention_depth": 0})
TRANSFORMER = Row("STN", {"attention_depth": 0, "spatial_transformer": True})
BEST = _attends(4, 4)
PARTS = {
    "b": (BASELINE, *(_attends(depth, 1) for depth in (1, 2, 3, 4))),
    "c": (BASELINE, *(_attends(4, width) for width in (1, 2, 4))),
    "d": (
        BASELINE,
        BEST,
        _attends(4, 4, "unregularized", overlap_weight=0.0),
        _attends(4, 4, "sigmoid masks", mask="sigmoid"),
        _attends(4, 4, "without gates", gates="mean"),
    ),
    "e": (BASELINE, BEST, TRANSFORMER),
}


def rows_of(parts: Sequence[str]) -> list[Row]:
    """The rows of parts of the figure, those that parts share once."""
    return list(dict.fromkeys(row for part in parts for row in PARTS[part]))


def error_at(distractors: int) -> str:
    """What the error among so many distractors is called."""
    return f"error % at {distractors}"


@dataclass(frozen=True)
class ClutterJob(Job):
    """A training among distractors, tested among others.

    Attributes:
        data: The data set, by its name in `ka.datasets`.
        distractors: In training.
        tested: Numbers of distractors in tests.
    """

    data: str
    distractors: int
    tested: tuple[int, ...]

    def load(self, split: str) -> tf.data.Dataset:
        """Single images, in training drawn anew in every pass."""
        return self._images(split, self.distractors, self.seed)

    def watched(self) -> tf.data.Dataset:
        """The test digits, drawn once more, as they are in training."""
        return self._images("test", self.distractors, WATCHED_SEED).batch(TEST_BATCH).cache()

    def network(self, activation: str | None) -> keras.Model:
        """The five convolutions, with what the row adds."""
        side = self.protocol.size or ka.datasets.find(self.data).size
        return ka.applications.ClutteredCNN(
            input_shape=(side, side, 1), classifier_activation=activation, **self.row.options
        )

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """SGD, in which the localization of a spatial transformer learns slower."""
        plain = super().optimizer(rate)
        if not self.row.options.get("spatial_transformer"):
            return plain
        return ka.training.LayerwiseOptimizer(plain, SLOWER)

    def scores(self, model: keras.Model) -> dict[str, float]:
        """On the same images for every network: each test digit drawn several times."""
        return {error_at(number): self._error(model, number) for number in self.tested}

    def _error(self, model: keras.Model, distractors: int) -> float:
        draws = range(self.protocol.test_draws)
        batches = [self._images("test", distractors, draw).batch(TEST_BATCH) for draw in draws]
        return sum(error_of(model, images) for images in batches) / len(batches)

    def _images(self, split: str, distractors: int, seed: int) -> tf.data.Dataset:
        return ka.datasets.load(
            self.data,
            split,
            seed=seed,
            size=self.protocol.size,
            train_size=self.protocol.train_size,
            distractors=distractors,
        )
