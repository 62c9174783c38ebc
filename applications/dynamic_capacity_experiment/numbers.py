"""Table 2, section 4.2: numbers in images of any size."""

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import reports, training
from harness.options import choose_data
from harness.programs import Run

import keras_attention as ka
from dynamic_capacity_experiment import training as base

DATA = ("svhn_numbers", "number_photographs")
GENERATED = "number_photographs"
BUILDERS = {"coarse": "SVHNCoarse", "fine": "SVHNFine"}
CROP = (54, 110, 1)
SCALES = ((1.0,), (1.0, 0.75), (1.0, 0.75, 0.5))
# Number of patches at each scale, by the number of scales.
PATCHES = {1: 6, 2: 3, 3: 3}
TEST_BATCH = 16
# Number and seed of the training crops whose error is recorded after each epoch.
CURVE_IMAGES, CURVE_SEED = 512, 1000
TABLE2 = base.PAPER[2]


@dataclass(frozen=True)
class Row:
    """A row of table 2, made of a trained coarse and a trained fine network."""

    kind: str  # `"coarse"`, `"fine"`, `"soft attention"` or `"DCN"`
    scales: tuple[float, ...]  # Factors of the sides of the image

    @property
    def patches(self) -> int:
        """Number of patches at each scale."""
        return PATCHES[len(self.scales)]

    @property
    def label(self) -> str:
        count = len(self.scales)
        patches = f", {self.patches * count} patches" if self.kind == "DCN" else ""
        return f"{self.kind}{patches}, {count} scale{'s' * (count > 1)}"

    def model(self, coarse: keras.Model, fine: keras.Model, width: float) -> keras.Model:
        """Builds the model of the row from the trained networks."""
        options: dict[str, Any] = {"scales": self.scales, "width": width}
        if self.kind == "DCN":
            # Section 4.2.3: the predictions for patches are weighted by their entropy.
            networks = {"coarse": coarse, "fine": fine, "patches": self.patches}
            return ka.applications.SVHNDCN(weighting="entropy", **networks, **options)
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
class NumberJob(base.Job):
    """A training on crops around numbers."""

    width: float = 1.0  # Factor of the channels
    train_size: int | None = None  # Number of training images; None for all
    # Number of generated test images; None for the default of the data set.
    test_size: int | None = None

    def model(self) -> keras.Model:
        decay = self.protocol.weight_decay
        return ka.applications.build(BUILDERS[self.label], width=self.width, weight_decay=decay)

    def training_data(self) -> tf.data.Dataset:
        """Returns crops with a label for each of the outputs."""
        crops = self._load("train", seed=self.seed)
        return crops.map(lambda image, label: (image, tuple(tf.unstack(label))))

    def curve_data(self) -> tf.data.Dataset:
        crops = self._load("train", seed=CURVE_SEED, shuffle=False, augment=False)
        return crops.take(CURVE_IMAGES).batch(TEST_BATCH * 4)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Yields the same crops; the rows of the table are measured on whole images."""
        yield self.curve_data()

    def whole_images(self) -> tf.data.Dataset:
        """Returns batches of whole test images of equal size, the same for all seeds."""
        size = {"test_size": self.test_size} if self.test_size else {}
        return self._load("test", batch_size=TEST_BATCH, **size)

    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        return number_error(model, tests)

    @property
    def macs_shape(self) -> tuple[int, ...]:
        return CROP

    def describe(self) -> str:
        trained = "all" if self.train_size is None else f"{self.train_size:,}"
        tested = f"{self.test_size:,} " if self.test_size else ""
        return (
            f"{self.data}, width {self.width:g}, trained on crops of {trained} images, tested on "
            f"{tested}whole images"
        )

    def _load(self, split: str, **options: Any) -> tf.data.Dataset:
        return ka.datasets.load(self.data, split, train_size=self.train_size, **options)


@dataclass(frozen=True)
class Measurement:
    """Measurement of a row with a seed."""

    row: Row  # Row of the table
    coarse: base.DCNResult  # Result of the coarse network
    fine: base.DCNResult  # Result of the fine network

    @property
    def path(self) -> Path:
        """File in which the measurement is stored."""
        folder, name = self.coarse.path.parent, self.row.label.replace(",", "").replace(" ", "-")
        return folder / f"{name}_{self.coarse.path.stem}_{self.fine.path.stem}.json"


def measure(one: Measurement, threads: int) -> dict[str, Any]:
    """Returns error and time of a row on whole images, or loads an earlier measurement."""
    path = one.path
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    job = one.coarse.job
    training.prepare_process(job.seed, threads)
    model = one.row.model(one.coarse.network(), one.fine.network(), job.width)
    start = time.perf_counter()
    error = number_error(model, [job.whole_images()])
    record = {
        "row": one.row.label,
        "seed": job.seed,
        "error_percent": round(error, 5),
        "seconds": round(time.perf_counter() - start, 2),
    }
    reports.write_text(path, json.dumps(record))
    return record


def number_error(model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
    """Returns the percentage of images whose number is not read completely (equation 9)."""
    hits = [
        np.asarray(ka.ops.sequence_hits(model.predict_on_batch(images), labels))
        for batches in tests
        for images, labels in batches
    ]
    return 100 * (1 - float(np.mean(np.concatenate(hits))))


class Table2(base.DCNExperiment):
    """Errors and times on whole images; every row combines the two trained networks."""

    title = TABLE2.title

    def jobs(self, options: Namespace) -> list[NumberJob]:
        """Returns the training jobs of the coarse and the fine network with each seed."""
        data = choose_data([options.data or DATA[0]], DATA, "--table 2")
        if options.test_size and data != GENERATED:
            raise ValueError(f"--test-size needs --data {GENERATED}. Received: --data={data}")
        protocol = base.NUMBERS_SMALL if data == GENERATED else base.NUMBERS
        protocol = protocol.override(options, "size", "train_size")
        sizes = (options.width or 1.0, options.train_size, options.test_size)
        return [
            NumberJob(label, data, seed, protocol, *sizes)
            for label in BUILDERS
            for seed in options.seeds
        ]

    def finish(self, run: Run) -> str:
        """Measures every row on whole images; returns our errors next to the paper's."""
        measurements = [
            Measurement(row, coarse, fine)
            for row in ROWS
            for coarse, fine in pairs(run.results)
            if not (coarse.diverged or fine.diverged)
        ]
        records: list[dict[str, Any]] = []
        for record in training.run_in_processes(measure, measurements, run.options.processes):
            records.append(record)
            print(f"{record['row']}, seed {record['seed']}: {record['error_percent']:.2f}")
            reports.write_csv(run.options.output / "table2.csv", records)
        lines = []
        for row in ROWS:
            found = [record for record in records if record["row"] == row.label]
            errors = [record["error_percent"] for record in found]
            spread = reports.mean_and_deviation(errors, len(run.options.seeds))
            published = reports.number(TABLE2.number(row.label, column="error"), 1)
            seconds = f"{found[0]['seconds']:.0f}" if found else reports.NONE
            lines.append([row.label, spread, published, seconds])
        return reports.table(["network", base.ERROR, "paper", "s for all images"], lines)

    def notes(self, run: Run) -> list[str]:
        return [
            *super().notes(run),
            "A number counts as an error unless its length and all its digits are right. The "
            "coarse and the fine network are trained separately and combined for the test; all "
            "rows of a seed use the same two networks. The scales are 1, 0.75 and 0.5. The errors "
            "in the list of trainings are those on crops. The paper's errors are those on SVHN.",
        ]

    def exported(self, results: Sequence[base.DCNResult]) -> Iterator[tuple[str, keras.Model]]:
        yield from super().exported(results)
        if len(results) == 2:
            coarse, fine = results
            row = next(row for row in ROWS if row.kind == "DCN")
            model = row.model(coarse.network(), fine.network(), coarse.job.width)
            yield coarse.path.stem.replace("coarse", "DCN", 1), model


def pairs(results: Sequence[base.DCNResult]) -> Iterator[tuple[base.DCNResult, base.DCNResult]]:
    """Returns the coarse and the fine network of each seed."""
    by_label = reports.grouped(results, "label")
    return zip(by_label["coarse"], by_label["fine"], strict=True)
