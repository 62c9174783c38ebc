"""Figure 4, section 4.2: attention modules on digits in clutter."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import reports, training
from harness.options import choose_data
from harness.programs import Run
from harness.training import TrainingResult
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

import keras_attention as ka
from attend_rectify_experiment import training as base

DATA = ("cluttered_translated_digits", "cluttered_translated_mnist")
# Numbers of distractors in training and in the tests of figure 4e.
DISTRACTORS, TEST_DISTRACTORS = 8, (4, 8, 16, 32, 64)
# With the learning rate of the other layers, the localization moves the image out of the view.
RATE_FACTORS = {"transformer": 0.01}
# Test images have seeds from 0; those whose error is recorded after each epoch have another one.
CURVE_SEED = 1000
BEST_ACCURACY = 97.8


@dataclass(frozen=True)
class Row:
    """A network of figure 4."""

    label: str  # Name in the figure
    options: Mapping[str, Any] = field(hash=False)  # Arguments of `ka.applications.ClutteredCNN`

    @property
    def has_attention(self) -> bool:
        return self.options["attention_depth"] > 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": self.label}


def _attention(depth: int, width: int, label: str = "", **options: Any) -> Row:
    options = {"attention_depth": depth, "attention_width": width, **options}
    return Row(label or f"AD {depth}, AW {width}", options)


BASELINE = Row("baseline", {"attention_depth": 0})
TRANSFORMER = Row("STN", {"attention_depth": 0, "spatial_transformer": True})
BEST = _attention(4, 4)
PANELS = {
    "b": (BASELINE, *(_attention(depth, 1) for depth in (1, 2, 3, 4))),
    "c": (BASELINE, *(_attention(4, width) for width in (1, 2, 4))),
    "d": (
        BASELINE,
        BEST,
        _attention(4, 4, "unregularized", overlap_weight=0.0),
        _attention(4, 4, "sigmoid masks", mask="sigmoid"),
        _attention(4, 4, "without gates", gates="mean"),
    ),
    "e": (BASELINE, BEST, TRANSFORMER),
}
TITLES = {
    "b": "(b) attention depth, AW 1",
    "c": "(c) attention width, AD 4",
    "d": "(d) ablation of AD 4, AW 4",
    "e": "(e) number of distractors",
}


def rows_of(panels: Sequence[str]) -> list[Row]:
    """Returns the rows of panels of the figure, without duplicates."""
    return list(dict.fromkeys(row for panel in panels for row in PANELS[panel]))


def error_name(distractors: int) -> str:
    """Returns the name of the error with a number of distractors."""
    return f"error % at {distractors}"


@dataclass(frozen=True)
class ClutteredJob(base.Job):
    """A training on digits in clutter."""

    distractors: int  # Number of distractors in training
    test_distractors: tuple[int, ...]  # Numbers of distractors in the tests

    def load(self, split: str) -> tf.data.Dataset:
        """Loads single images; training images are generated again in every epoch."""
        return self._images(split, self.distractors, self.seed)

    def validation_data(self) -> tf.data.Dataset:
        """Returns another draw of the test digits, with the distractors of the training."""
        return self._images("test", self.distractors, CURVE_SEED).batch(base.TEST_BATCH).cache()

    def network(self, activation: str | None) -> keras.Model:
        side = self.protocol.size or self.info.size
        return ka.applications.ClutteredCNN(
            input_shape=(side, side, 1), classifier_activation=activation, **self.row.options
        )

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Returns SGD, with a lower learning rate for the localization of a transformer."""
        plain = super().optimizer(steps)
        if not self.row.options.get("spatial_transformer"):
            return plain
        return ka.training.LayerwiseOptimizer(plain, RATE_FACTORS)

    def scores(self, model: keras.Model) -> dict[str, float]:
        """Returns errors on the same images for every network, several per test digit."""
        errors, draws = {}, range(self.protocol.test_draws)
        for number in self.test_distractors:
            tests = [self._images("test", number, draw).batch(base.TEST_BATCH) for draw in draws]
            found = [training.error_percent(model, [images]) for images in tests]
            errors[error_name(number)] = sum(found) / len(found)
        return errors

    def _images(self, split: str, distractors: int, seed: int) -> tf.data.Dataset:
        return super().load(split, seed=seed, distractors=distractors)


def panels_of(options: Namespace) -> list[str]:
    """Returns the requested panels."""
    return list(PANELS) if options.part in (None, "all") else [options.part]


class Figure4(base.AttendExperiment):
    """Ablations, and tests with more distractors."""

    title = "figure 4 (Cluttered Translated MNIST)"

    def jobs(self, options: Namespace) -> list[ClutteredJob]:
        data = choose_data(options.data or (), DATA, "--figure 4")
        on_paper_data = ka.datasets.find(data).needs_network
        protocol = (base.CLUTTERED if on_paper_data else base.CLUTTERED_SMALL).override(options)
        trained = DISTRACTORS if options.distractors is None else options.distractors
        # The ablations are compared with the same number of distractors as in training.
        tested = tuple(sorted({trained, *(options.test_distractors or TEST_DISTRACTORS)}))
        return [
            ClutteredJob(row, seed, protocol, data, trained, tested)
            for row in rows_of(panels_of(options))
            for seed in options.seeds
        ]

    def finish(self, run: Run) -> str:
        """Draws the figure; returns the errors and the comparison with the baseline."""
        title, path = f"Figure 4 on {run.jobs[0].data}", run.options.output / "figure4.png"
        draw(panels_of(run.options), run.results, title, path)
        by_row, tested = reports.grouped(run.results), run.jobs[0].test_distractors
        headings = ["network", "panels", "parameters", "MACs"]
        headings += [f"error %, {number} distractors" for number in tested]
        lines = []
        for row, found in by_row.items():
            panels = " ".join(panel for panel, members in PANELS.items() if row in members)
            spreads = [reports.spread_of(found, error_name(number)) for number in tested]
            lines.append([row.label, panels, *reports.size_cells(found[0]), *spreads])
        tables = [reports.table(headings, lines)]
        if {BASELINE, BEST} <= set(by_row):
            tables.append(verdict(tested, run.results))
        return "\n\n".join(tables)

    def notes(self, run: Run) -> list[str]:
        job = run.jobs[0]
        return [
            *super().notes(run),
            f"{job.data}: trained with {job.distractors} distractors, generated again in every "
            f"epoch. From each test digit, {job.protocol.test_draws} images are generated for each "
            "number of distractors, the same images for all networks. All networks are trained in "
            "the same way, except that the localization of the STN has "
            f"{RATE_FACTORS['transformer']:g} times the learning rate. The paper's best accuracy "
            f"on Cluttered Translated MNIST with 8 distractors is {BEST_ACCURACY} %; its figure "
            "gives no other numbers.",
        ]


def verdict(tested: Sequence[int], results: Sequence[TrainingResult]) -> str:
    """Compares the best attention network with the baseline for each number of distractors."""
    by_row, lines = reports.grouped(results), []
    for number in tested:
        plain, attention = (
            reports.mean_of(by_row[row], error_name(number)) for row in (BASELINE, BEST)
        )
        if plain is None or attention is None:
            lines.append(f"- {number} distractors: no comparison, a network diverged.")
            continue
        word = "lowers" if attention < plain else "does not lower"
        lines.append(
            f"- {number} distractors: attention ({BEST.label}) {word} the error of the baseline, "
            f"{attention:.2f} % against {plain:.2f} %."
        )
    return "\n".join(lines)


def draw(panels: Sequence[str], results: Sequence[TrainingResult], title: str, path: Path) -> None:
    """Draws the panels of the figure."""
    trained = reports.grouped(one for one in results if not one.diverged)
    with reports.figure(path, len(panels), (5, 4), title) as all_axes:
        for panel, axes in zip(panels, all_axes, strict=True):
            draw_row = _draw_distractors if panel == "e" else _draw_curve
            for row in PANELS[panel]:
                if row in trained:
                    draw_row(axes, row.label, trained[row])
            axes.set(title=TITLES[panel], ylabel="test error %", yscale="log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.legend()


def _draw_curve(axes: Axes, label: str, found: Sequence[TrainingResult]) -> None:
    """Draws the mean error over the seeds after each epoch."""
    curves = np.array([[epoch["test_error"] for epoch in one.curve] for one in found])
    axes.plot(np.arange(1, curves.shape[1] + 1), curves.mean(axis=0), label=label)
    axes.set_xlabel("epoch")


def _draw_distractors(axes: Axes, label: str, found: Sequence[TrainingResult]) -> None:
    """Draws mean and deviation over the seeds for each number of distractors."""
    numbers = found[0].job.test_distractors
    values = [reports.values_of(found, error_name(number)) for number in numbers]
    reports.draw_spreads(axes, range(len(numbers)), values, label)
    axes.set_xticks(range(len(numbers)), numbers)
    axes.set_xlabel("distractors in the test")
