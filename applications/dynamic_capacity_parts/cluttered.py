"""Digits in clutter: the networks of table 1, their images and errors.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 4.1.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from dynamic_capacity_parts import protocols
from dynamic_capacity_parts.training import Job, Training

DATA = ("cluttered_mnist", "cluttered_digits")
PREFIX = "cluttered_"
HINT_WEIGHT = 0.01
# How often each test digit is drawn, on the paper's data and on others.
TEST_DRAWS = {True: 1, False: 5}
# Draws of the test images have seeds from 0 on; those of the curves are others.
WATCHED_SEED = 1000
TEST_BATCH = 128
# For validation every fifth digit is left out, in an order that is always the same.
HELD_OUT, HELD_OUT_SEED = 5, 0
# Pixels of an image and of a digit in it.
WHOLE, DIGIT, PIECE = 100, 28, 8


@dataclass(frozen=True)
class Row:
    """A network of table 1.

    Attributes:
        label: As the paper has it.
        builder: Its name in `ka.applications`.
        options: Of the builder.
    """

    label: str
    builder: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def refines(self) -> bool:
        """Whether it looks at patches."""
        return self.builder == "DCN"


def _refining(label: str, hint_weight: float) -> Row:
    return Row(label, "DCN", (("hint_weight", hint_weight),))


WITH_HINTS = _refining("DCN with hints", HINT_WEIGHT)
COARSE, FINE = Row("coarse", "DCNCoarse"), Row("fine", "DCNFine")
WITHOUT_HINTS = _refining("DCN w/o hints", 0.0)
ROWS = (COARSE, FINE, WITHOUT_HINTS, WITH_HINTS)


@dataclass(frozen=True)
class Clutter:
    """Digits among pieces of others.

    Attributes:
        data: The data set, by its name in `ka.datasets`.
        size: Pixels along the sides; None for the data set's.
        train_size: Digits for training; None for all.
        test_draws: How often every test digit is drawn.
        validation: Whether a fifth of the training digits takes the place of the test digits.
    """

    data: str
    size: int | None = None
    train_size: int | None = None
    test_draws: int = 1
    validation: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image."""
        side = self.size or ka.datasets.find(self.data).size
        return side, side, 1

    def training(self, seed: int) -> tf.data.Dataset:
        """Single images, drawn anew in every pass."""
        if self.validation:
            return self._scattered(seed, False, shuffle=True, augment=True)
        return self._load("train", seed)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Batches for testing, the same for all networks and seeds, as often as they are drawn."""
        return (self.test(seed) for seed in range(self.test_draws))

    def test(self, seed: int) -> tf.data.Dataset:
        """Batches of one draw."""
        images = self._scattered(seed, True) if self.validation else self._load("test", seed)
        return images.batch(TEST_BATCH)

    def _load(self, split: str, seed: int) -> tf.data.Dataset:
        return ka.datasets.load(
            self.data, split, seed=seed, size=self.size, train_size=self.train_size
        )

    def _scattered(self, seed: int, held_out: bool, **order: bool) -> tf.data.Dataset:
        """Training digits, those that are left out or the others, in clutter."""
        side = self.shape[0]
        digits = ka.datasets.load(
            self.data.removeprefix(PREFIX),
            "train",
            1024,
            size=round(side * DIGIT / WHOLE),
            train_size=self.train_size,
            shuffle=False,
        )
        images, labels = map(np.concatenate, zip(*digits.as_numpy_iterator(), strict=True))
        places = np.random.default_rng(HELD_OUT_SEED).permutation(len(labels))
        left_out = len(labels) // HELD_OUT
        chosen = places[:left_out] if held_out else places[left_out:]
        sides = {"size": side, "patch_size": round(side * PIECE / WHOLE)}
        return ka.datasets.cluttered(images[chosen], labels[chosen], seed=seed, **sides, **order)


@dataclass(frozen=True)
class ClutteredJob(Job):
    """A training among distractors.

    Attributes:
        row: What to train.
        images: Of which.
    """

    row: Row
    images: Clutter

    def model(self, **changed: Any) -> keras.Model:
        """The untrained network, with other options of the builder where given."""
        return ka.applications.build(
            self.row.builder,
            input_shape=self.images.shape,
            weight_decay=self.protocol.weight_decay,
            **dict(self.row.options) | changed,
        )

    def training(self) -> tf.data.Dataset:
        """Single images, drawn anew in every pass."""
        return self.images.training(self.seed)

    def watched(self) -> tf.data.Dataset:
        """One more draw of the test digits."""
        return self.images.test(WATCHED_SEED)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """All draws of the test digits."""
        return self.images.tests()

    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        """The share of images for which another class is the likeliest, in percent."""
        return error_of(model, tests)

    @property
    def counted(self) -> tuple[int, ...]:
        """The shape of an image."""
        return self.images.shape

    def describe(self) -> str:
        """One line for a report."""
        images = self.images
        trained = "all" if images.train_size is None else f"{images.train_size:,}"
        tested = "a fifth of these, left out" if images.validation else "the test digits"
        return (
            f"{self.data}, {images.shape[0]} pixels, {trained} training digits, drawn anew in "
            f"every pass; tested on {tested}, {images.test_draws} draws of each"
        )


def error_of(model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
    """The share of images for which another class is the likeliest, in percent."""
    wrong = [
        model.predict_on_batch(images).argmax(axis=-1) != labels.numpy()
        for batches in tests
        for images, labels in batches
    ]
    return 100 * float(np.mean(np.concatenate(wrong)))


def jobs_of(given: Namespace, rows: Sequence[Row]) -> list[ClutteredJob]:
    """The trainings of some rows.

    Raises:
        ValueError: For other data.
    """
    data = given.data or DATA[0]
    if data not in DATA:
        raise ValueError(
            f"--data must be one of {', '.join(DATA)} with this table or figure. "
            f"Received: --data={data}"
        )
    papers = ka.datasets.find(data).needs_network
    protocol = protocols.choose(protocols.CLUTTERED, protocols.CLUTTERED_SMALL, papers, given)
    images = Clutter(
        data, given.size, given.train_size, given.test_draws or TEST_DRAWS[papers], given.validation
    )
    return [
        ClutteredJob(row.label, data, seed, protocol, row, images)
        for row in rows
        for seed in given.seeds
    ]


def served(done: Sequence[Training]) -> Iterator[tuple[str, keras.Model]]:
    """What is exported: all that was trained."""
    return ((one.path.stem, one.network()) for one in done)
