"""Digits in clutter: networks, images and training jobs of table 1 and figures 2 and 3; table 1.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 4.1 and table 1.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import reports, training
from harness.options import choose_data
from harness.programs import Run

import keras_attention as ka
from dynamic_capacity_experiment import training as base

DATA = ("cluttered_mnist", "cluttered_digits")
PREFIX = "cluttered_"
HINT_WEIGHT = 0.01
# Number of images generated from each test digit, on the paper's data and on others.
TEST_DRAWS = {True: 1, False: 5}
# Test images have seeds from 0; those whose error is recorded after each epoch have another one.
CURVE_SEED = 1000
TEST_BATCH = 128
# For validation, every fifth digit in a fixed random order is held out.
HELD_OUT, HELD_OUT_SEED = 5, 0
# Sides of an image, of its digit and of a distractor, in pixels.
IMAGE, DIGIT, DISTRACTOR = 100, 28, 8
TABLE1 = base.PAPER[1]
# Margin in percent up to which an error counts as equal to that of the fine model.
MARGIN = 0.5
ROUNDS = 9


@dataclass(frozen=True)
class Row:
    """A network of table 1."""

    label: str  # Name in the paper
    builder: str  # Name in `ka.applications`
    options: tuple[tuple[str, Any], ...] = ()  # Arguments of the builder


WITH_HINTS = Row("DCN with hints", "DCN", (("hint_weight", HINT_WEIGHT),))
WITHOUT_HINTS = Row("DCN w/o hints", "DCN", (("hint_weight", 0.0),))
COARSE, FINE = Row("coarse", "DCNCoarse"), Row("fine", "DCNFine")
ROWS = (COARSE, FINE, WITHOUT_HINTS, WITH_HINTS)


@dataclass(frozen=True)
class ClutteredImages:
    """Digits among patches of other digits."""

    data: str  # Data set, by its name in `ka.datasets`
    size: int | None = None  # Side of the images in pixels; None for that of the data set
    train_size: int | None = None  # Number of training digits; None for all
    test_draws: int = 1  # Number of images generated from each test digit
    validation: bool = False  # If True, a fifth of the training digits replaces the test digits

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        side = self.size or ka.datasets.find(self.data).size
        return side, side, 1

    def training_data(self, seed: int) -> tf.data.Dataset:
        """Returns single images, which are generated again in every epoch."""
        if self.validation:
            return self._from_training_digits(seed, False, shuffle=True, augment=True)
        return self._load("train", seed)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Yields test batches of each draw, the same for all networks and seeds."""
        return (self.test(seed) for seed in range(self.test_draws))

    def test(self, seed: int) -> tf.data.Dataset:
        """Returns test batches of one draw."""
        if self.validation:
            return self._from_training_digits(seed, True).batch(TEST_BATCH)
        return self._load("test", seed).batch(TEST_BATCH)

    def _load(self, split: str, seed: int) -> tf.data.Dataset:
        return ka.datasets.load(
            self.data, split, seed=seed, size=self.size, train_size=self.train_size
        )

    def _from_training_digits(self, seed: int, held_out: bool, **order: bool) -> tf.data.Dataset:
        """Returns cluttered images of the held-out training digits or of the others."""
        side = self.shape[0]
        digits = ka.datasets.load(
            self.data.removeprefix(PREFIX),
            "train",
            1024,
            size=round(side * DIGIT / IMAGE),
            train_size=self.train_size,
            shuffle=False,
        )
        images, labels = map(np.concatenate, zip(*digits.as_numpy_iterator(), strict=True))
        indices = np.random.default_rng(HELD_OUT_SEED).permutation(len(labels))
        count = len(labels) // HELD_OUT
        chosen = indices[:count] if held_out else indices[count:]
        sides = {"size": side, "patch_size": round(side * DISTRACTOR / IMAGE)}
        return ka.datasets.cluttered(images[chosen], labels[chosen], seed=seed, **sides, **order)


@dataclass(frozen=True)
class ClutteredJob(base.Job):
    """A training on digits in clutter."""

    row: Row  # Network
    images: ClutteredImages  # Images

    def model(self, **changes: Any) -> keras.Model:
        """Builds the untrained network; `changes` override options of its builder."""
        return ka.applications.build(
            self.row.builder,
            input_shape=self.images.shape,
            weight_decay=self.protocol.weight_decay,
            **dict(self.row.options) | changes,
        )

    def training_data(self) -> tf.data.Dataset:
        return self.images.training_data(self.seed)

    def curve_data(self) -> tf.data.Dataset:
        return self.images.test(CURVE_SEED)

    def tests(self) -> Iterator[tf.data.Dataset]:
        return self.images.tests()

    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        return training.error_percent(model, tests)

    @property
    def macs_shape(self) -> tuple[int, ...]:
        return self.images.shape

    def describe(self) -> str:
        images = self.images
        trained = "all" if images.train_size is None else f"{images.train_size:,}"
        tested = "a held-out fifth of these" if images.validation else "the test digits"
        return (
            f"{self.data}, {images.shape[0]} pixels, {trained} training digits, with clutter that "
            f"is generated again in every epoch; tested on {tested}, {images.test_draws} images "
            "per digit"
        )


def jobs_of(options: Namespace, rows: Sequence[Row]) -> list[ClutteredJob]:
    """Returns the training jobs of some rows with each seed."""
    data = choose_data([options.data or DATA[0]], DATA, "this table or figure")
    on_paper_data = ka.datasets.find(data).needs_network
    protocol = base.CLUTTERED if on_paper_data else base.CLUTTERED_SMALL
    protocol = protocol.override(options, "size", "train_size")
    draws = options.test_draws or TEST_DRAWS[on_paper_data]
    images = ClutteredImages(data, options.size, options.train_size, draws, options.validation)
    return [
        ClutteredJob(row.label, data, seed, protocol, row, images)
        for row in rows
        for seed in options.seeds
    ]


class Table1(base.DCNExperiment):
    """Errors, sizes and times of all networks."""

    title = TABLE1.title

    def jobs(self, options: Namespace) -> list[ClutteredJob]:
        return jobs_of(options, ROWS)

    def finish(self, run: Run) -> str:
        """Times the networks; returns our results next to the paper's."""
        first = [job for job in run.jobs if job.seed == run.jobs[0].seed]
        times = time_jobs(first, run.options.rounds or ROUNDS)
        records = [
            {"network": label, **{name: round(seconds, 5) for name, seconds in one.items()}}
            for label, one in times.items()
        ]
        reports.write_csv(run.options.output / "times.csv", records)
        headings = ["network", base.ERROR, "paper", "parameters", "MACs", "multiplications, paper"]
        headings += ["executed MACs", "ms per training step", "ms per inference batch"]
        lines = []
        for label, found in reports.grouped(run.results, "label").items():
            published = TABLE1.number(label, column="multiplications")
            cells = [label, reports.spread_of(found, base.ERROR)]
            cells += [reports.number(TABLE1.number(label, column="error"))]
            cells += reports.size_cells(found[0])
            cells += [reports.NONE if published is None else f"{published:g}M"]
            cells += [reports.short_number(found[0].executed_macs)]
            lines.append(cells + [f"{1e3 * seconds:.0f}" for seconds in times[label].values()])
        return f"{reports.table(headings, lines)}\n\n{verdict(run.results)}"

    def notes(self, run: Run) -> list[str]:
        return [
            *super().notes(run),
            "All networks are trained in the same way. The paper's errors are those on Cluttered "
            "MNIST. MACs are the multiply-accumulates per image that the method needs; executed "
            "MACs are those of this implementation. Times are medians of interleaved calls with "
            f"batches of {run.jobs[0].protocol.batch_size}, without folded batch normalization.",
        ]


def time_jobs(jobs: Sequence[base.Job], rounds: int) -> dict[str, dict[str, float]]:
    """Times training steps and inference of jobs on a batch of the first one.

    Returns:
        The median seconds `"training_step_seconds"` and `"forward_seconds"`, by label.
    """
    examples = jobs[0].training_data()
    batch = next(iter(examples.batch(jobs[0].protocol.batch_size)))
    models = {job.label: base.compiled(job, examples)[0] for job in jobs}
    steps = {label: training.training_step_call(model, batch) for label, model in models.items()}
    forward = {label: training.inference_call(model, batch[0]) for label, model in models.items()}
    times = {"training_step_seconds": steps, "forward_seconds": forward}
    times = {
        name: ka.inspect.interleaved_timing(calls, rounds, warm_up=2)
        for name, calls in times.items()
    }
    return {label: {name: times[name][label] for name in times} for label in models}


def verdict(results: Sequence[base.DCNResult]) -> str:
    """Compares the error of the DCN with hints with the others as the paper does."""
    by_label = reports.grouped(results, "label")
    means = {row.label: reports.mean_of(by_label[row.label], base.ERROR) for row in ROWS}
    ours = means[WITH_HINTS.label]
    lines = []
    for row, margin, claim in (
        (COARSE, 0.0, "at most the error of the coarse model"),
        (FINE, MARGIN, f"at most {MARGIN:g} above the error of the fine model"),
        (WITHOUT_HINTS, 0.0, "at most the error without hints"),
    ):
        other = means[row.label]
        if ours is None or other is None:
            lines.append(f"- DCN with hints, {claim}: no comparison, a network diverged.")
            continue
        word = "yes" if ours <= other + margin else "no"
        lines.append(f"- DCN with hints, {claim}: {word}, {ours:.2f} % and {other:.2f} %.")
    return "\n".join(lines)
