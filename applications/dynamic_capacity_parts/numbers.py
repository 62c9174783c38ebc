"""Whole numbers in pictures of any size: what is trained for table 2, and what is measured.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2.
"""

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from program_parts import files

import keras_attention as ka
from dynamic_capacity_parts import protocols
from dynamic_capacity_parts.training import Job, Training, settle

DATA = ("svhn_numbers", "number_photographs")
GENERATED = "number_photographs"
BUILDERS = {"coarse": "SVHNCoarse", "fine": "SVHNFine"}
CROP = (54, 110, 1)
SCALES = ((1.0,), (1.0, 0.75), (1.0, 0.75, 0.5))
# At each scale, by the number of scales.
PATCHES = {1: 6, 2: 3, 3: 3}
TEST_BATCH = 16
# Crops, as in training, whose errors are written down after each epoch.
WATCHED, WATCHED_SEED = 512, 1000


@dataclass(frozen=True)
class Row:
    """A line of table 2, of the two networks that are trained.

    Attributes:
        kind: `"coarse"`, `"fine"`, `"soft attention"` or `"DCN"`.
        scales: Factors of the picture's sides.
    """

    kind: str
    scales: tuple[float, ...]

    @property
    def patches(self) -> int:
        """At each scale."""
        return PATCHES[len(self.scales)]

    @property
    def label(self) -> str:
        """As the paper has it."""
        number = len(self.scales)
        looks = f", {self.patches * number} patches" if self.kind == "DCN" else ""
        return f"{self.kind}{looks}, {number} scale{'s' * (number > 1)}"

    def model(self, coarse: keras.Model, fine: keras.Model, width: float) -> keras.Model:
        """Joins what was trained apart, or puts it behind pictures at several scales."""
        options: dict[str, Any] = {"scales": self.scales, "width": width}
        if self.kind == "DCN":
            # Section 4.2.3: answers of patches are weighted by their entropy.
            parts = {"coarse": coarse, "fine": fine, "patches": self.patches}
            return ka.applications.SVHNDCN(weighting="entropy", **parts, **options)
        if self.kind == "soft attention":
            options["weighting"] = "entropy"
        trained = fine if self.kind == "fine" else coarse
        model = ka.applications.build(BUILDERS.get(self.kind, BUILDERS["coarse"]), **options)
        model.set_weights(trained.get_weights())
        return model


ROWS = tuple(
    Row(kind, scales) for kind in ("coarse", "fine", "soft attention", "DCN") for scales in SCALES
)


@dataclass(frozen=True)
class NumberJob(Job):
    """A training on crops around numbers.

    Attributes:
        width: Factor of the channels.
        train_size: Pictures for training; None for all.
        test_size: Pictures for testing, where they are generated; None for the data set's.
    """

    width: float = 1.0
    train_size: int | None = None
    test_size: int | None = None

    def model(self) -> keras.Model:
        """The untrained network, for pictures of any size."""
        decay = self.protocol.weight_decay
        return ka.applications.build(BUILDERS[self.label], width=self.width, weight_decay=decay)

    def training(self) -> tf.data.Dataset:
        """Crops, with a label for each of the answers."""
        crops = self._load("train", seed=self.seed)
        return crops.map(lambda image, label: (image, tuple(tf.unstack(label))))

    def watched(self) -> tf.data.Dataset:
        """Crops as in training."""
        crops = self._load("train", seed=WATCHED_SEED, shuffle=False, augment=False)
        return crops.take(WATCHED).batch(TEST_BATCH * 4)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """The same crops: whole pictures are for the lines of the table."""
        yield self.watched()

    def pictures(self) -> tf.data.Dataset:
        """Batches of whole pictures of one size each, the same for all seeds."""
        size = {"test_size": self.test_size} if self.test_size else {}
        return self._load("test", batch_size=TEST_BATCH, **size)

    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        """The share of crops whose number is not read whole, in percent."""
        return error_of(model, tests)

    @property
    def counted(self) -> tuple[int, ...]:
        """The shape of a crop."""
        return CROP

    def describe(self) -> str:
        """One line for a report."""
        trained = "all" if self.train_size is None else f"{self.train_size:,}"
        tested = f"{self.test_size:,} " if self.test_size else ""
        return (
            f"{self.data}, width {self.width:g}, trained on crops of {trained} pictures, tested on "
            f"{tested}whole ones"
        )

    def _load(self, split: str, **options: Any) -> tf.data.Dataset:
        return ka.datasets.load(self.data, split, train_size=self.train_size, **options)


@dataclass(frozen=True)
class Measure:
    """A line of the table with a seed.

    Attributes:
        row: What is measured.
        coarse: The trained coarse network.
        fine: The trained fine network.
    """

    row: Row
    coarse: Training
    fine: Training

    @property
    def path(self) -> Path:
        """Where an earlier run left what was measured."""
        name = self.row.label.replace(",", "").replace(" ", "-")
        return (
            self.coarse.path.parent / f"{name}_{self.coarse.path.stem}_{self.fine.path.stem}.json"
        )


def measure(one: Measure, threads: int) -> dict[str, Any]:
    """The error of a line on whole pictures, and how long it took, or what an earlier run left."""
    path = one.path
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    job = one.coarse.job
    settle(job.seed, threads)
    model = one.row.model(one.coarse.network(), one.fine.network(), job.width)
    start = time.perf_counter()
    error = error_of(model, [job.pictures()])
    record = {
        "row": one.row.label,
        "seed": job.seed,
        "error_percent": round(error, 5),
        "seconds": round(time.perf_counter() - start, 2),
    }
    files.write_text(path, json.dumps(record))
    return record


def error_of(model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
    """The share of pictures whose number is not read whole, in percent (equation 9)."""
    hits = [
        np.asarray(ka.ops.sequence_hits(model.predict_on_batch(images), labels))
        for batches in tests
        for images, labels in batches
    ]
    return 100 * (1 - float(np.mean(np.concatenate(hits))))


def jobs_of(given: Namespace) -> Iterator[NumberJob]:
    """The coarse and the fine network with each seed.

    Raises:
        ValueError: For other data.
    """
    data = given.data or DATA[0]
    if data not in DATA:
        raise ValueError(
            f"--data must be one of {', '.join(DATA)} with --table 2. Received: --data={data}"
        )
    if given.test_size and data != GENERATED:
        raise ValueError(f"--test-size needs --data {GENERATED}. Received: --data={data}")
    papers = data != GENERATED
    protocol = protocols.choose(protocols.NUMBERS, protocols.NUMBERS_SMALL, papers, given)
    sizes = (given.width or 1.0, given.train_size, given.test_size)
    for label in BUILDERS:
        for seed in given.seeds:
            yield NumberJob(label, data, seed, protocol, *sizes)
