"""Tables 1 and 2, section 4.3: wide residual networks with and without attention modules."""

import csv
import statistics
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from harness import reports, training
from harness.options import check_image_data
from harness.programs import Run
from harness.published import read_tables
from harness.training import TrainingResult

import keras_attention as ka
from attend_rectify_experiment import training as base

BUILDERS = {"WRN": "WideResNet", "WARN": "WARN"}
DATA = ("cifar10", "cifar100")
PAPER_WIDTH = 10
DEPTHS, DROPOUTS = (28, 40), (0.0, 0.3)
FORWARD_BATCH, ROUNDS = 256, 9
TABLE2 = read_tables(Path(__file__).with_name("tables.txt"))[2]


@dataclass(frozen=True)
class Row:
    """A network on a data set."""

    network: str  # `"WRN"` or `"WARN"`
    depth: int  # Number of layers with weights
    width: float  # Factor of the channels
    dropout: float  # Dropout rate between the convolutions of a block
    data: str  # Data set, by its name in `ka.datasets`

    @property
    def label(self) -> str:
        return f"{self.name} on {self.data}"

    @property
    def name(self) -> str:
        """Network with its options."""
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"{self.network}-{self.depth}-{self.width:g}{dropout}"

    @property
    def has_attention(self) -> bool:
        return self.network == "WARN"

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": self.name, "data": self.data}

    def published(self, column: str | None = None) -> float | None:
        """Returns a number of the paper's table 2, if it has the network: by default, the error."""
        if self.width != PAPER_WIDTH or self.dropout:
            return None
        return TABLE2.number(f"{self.network}-{self.depth}", column=column or self.data)


@dataclass(frozen=True)
class WideJob(base.Job):
    """A training on whole images; photographs are shifted and flipped."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        side = self.protocol.size or self.info.size
        return side, side, self.info.channels

    def network(self, activation: str | None) -> keras.Model:
        row = self.row
        return ka.applications.build(
            BUILDERS[row.network],
            depth=row.depth,
            width=row.width,
            input_shape=self.shape,
            classes=self.info.classes,
            classifier_activation=activation,
            dropout=row.dropout,
        )

    def model(self) -> keras.Model:
        """Builds the network after augmentation and standardization of the images."""
        images = x = keras.Input(self.shape, name="images")
        # Flipped digits would not be digits.
        if self.shape[-1] == 3:
            x = ka.datasets.cifar_augmentation(self.shape[0], seed=self.seed)(x)
        mean, variance = training.moments(self.load("train"))
        x = keras.layers.Normalization(mean=mean, variance=variance, name="standardized")(x)
        return keras.Model(images, self.network(None)(x))


def rows_of(options: Namespace) -> list[Row]:
    """Returns the rows of table 1, in which options replace its headings."""
    check_image_data(options.data or ())
    return [
        Row(network, depth, options.width or PAPER_WIDTH, dropout, data)
        for data in options.data or DATA
        for network in BUILDERS
        for depth in options.depths or DEPTHS
        for dropout in options.dropouts or DROPOUTS
    ]


def protocol_of(data: str, options: Namespace) -> base.AttendProtocol:
    """Returns the paper's protocol on CIFAR, otherwise the short one."""
    return (base.WIDE if data in DATA else base.WIDE_SMALL).override(options)


def jobs_of(options: Namespace, rows: Sequence[Row], seeds: Sequence[int]) -> list[WideJob]:
    """Returns the training jobs of rows with each seed."""
    return [
        WideJob(row, seed, protocol_of(row.data, options), row.data)
        for row in rows
        for seed in seeds
    ]


class Table1(base.AttendExperiment):
    """Errors of wide residual networks without and with attention modules."""

    title = "table 1 (CIFAR-10 and CIFAR-100)"

    def jobs(self, options: Namespace) -> list[WideJob]:
        return jobs_of(options, rows_of(options), options.seeds)

    def finish(self, run: Run) -> str:
        return base.comparison(run.results, "error %", digits=2)

    def notes(self, run: Run) -> list[str]:
        return [
            *super().notes(run),
            "Images are standardized with mean and deviation of the training images; photographs "
            "are padded by 4 pixels of their reflection, cropped and flipped. The weight decay is "
            "5e-4. The paper's errors are those of its table 2, which does not state if the "
            "networks have dropout, and gives no deviations.",
        ]


class Table2(base.AttendExperiment):
    """Sizes and times of the networks of table 1 on the first data set, without dropout."""

    title = TABLE2.title
    trains = False

    def jobs(self, options: Namespace) -> list[WideJob]:
        if options.errors:
            read_errors(options.errors)
        rows = [row for row in rows_of(options) if not row.dropout]
        if not rows:
            raise ValueError(f"--dropouts must have 0 with --table 2. Received: {options.dropouts}")
        rows = [row for row in rows if row.data == rows[0].data]
        return jobs_of(options, rows, options.seeds[:1])

    def finish(self, run: Run) -> str:
        """Times the networks; returns sizes, times and errors next to the paper's."""
        options, timings = run.options, time_networks(run.options, run.jobs)
        records = [
            {
                **one.job.row.identity,
                "parameters": one.parameters,
                "macs": one.macs,
                "images": options.forward_batch or FORWARD_BATCH,
                "ms_per_batch": round(1e3 * one.seconds, 3),
            }
            for one in timings
        ]
        reports.write_csv(options.output / "results.csv", records)
        errors = read_errors(options.errors) if options.errors else {}
        data = list(dict.fromkeys(row.data for row in rows_of(options)))
        plain = {one.job.row.depth: one.seconds for one in timings if one.job.row.network == "WRN"}
        lines = []
        for one in timings:
            row = one.job.row
            cells = [row.name, *reports.size_cells(one), f"{1e3 * one.seconds:.1f}"]
            cells.append(f"{one.seconds / plain[row.depth]:.3f}")
            cells += [reports.number(errors.get((row.name, name))) for name in data]
            macs, seconds = row.published("macs"), row.published("seconds")
            cells += [reports.short_number(row.published("parameters"))]
            cells += [reports.number(macs and macs / 1e9, 1), reports.number(seconds)]
            lines.append(cells)
        headings = ["network", "parameters", "MACs", "ms per batch", "ratio to WRN"]
        headings += [f"error %, {name}" for name in data]
        headings += ["parameters, paper", "GFlop, paper", "s for 10,000 images, paper"]
        return reports.table(headings, lines)

    def notes(self, run: Run) -> list[str]:
        return [
            f"Time to forward {run.options.forward_batch or FORWARD_BATCH} images: median of "
            f"{run.options.rounds or ROUNDS} calls, interleaved in one process. The ratio is "
            "relative to the WRN of the same depth. The paper counts multiply-accumulates, and its "
            "time is that of 10,000 images in batches of 256 on a GPU. Errors are means of the "
            "trainings of table 1, if --errors names its results.csv.",
        ]


def time_networks(options: Namespace, jobs: Sequence[WideJob]) -> list[TrainingResult]:
    """Times untrained networks on random images, interleaved; `seconds` are those of a batch."""
    images, generator = options.forward_batch or FORWARD_BATCH, np.random.default_rng(0)
    models = {job: job.network("softmax") for job in jobs}
    calls = {}
    for job, model in models.items():
        batch = generator.random((images, *model.input_shape[1:]), "float32")
        calls[job] = lambda model=model, batch=batch: model.predict_on_batch(batch)
    times = ka.inspect.interleaved_timing(calls, options.rounds or ROUNDS, warm_up=2)
    return [
        TrainingResult(job=job, seconds=times[job], scores={}, **training.counts(model))
        for job, model in models.items()
    ]


def read_errors(path: Path) -> dict[tuple[str, str], float]:
    """Reads the mean errors by network and data set from `results.csv` of table 1."""
    if not path.is_file():
        raise ValueError(f"--errors must be a file. Received: --errors={path}")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    column = "error_percent"
    if not lines or not {"network", "data", column} <= set(lines[0]):
        raise ValueError(f"--errors must be the results.csv of --table 1. Received: {path}")
    found: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        if line[column]:
            found.setdefault((line["network"], line["data"]), []).append(float(line[column]))
    return {key: statistics.mean(values) for key, values in found.items()}
