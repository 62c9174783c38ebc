"""Reports of targeted kernel networks: tables, figure 5, and the demo without a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.table
import tensorflow as tf
from harness import reports
from harness.reports import DIVERGED, NONE, number
from harness.training import TrainingResult
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import keras_attention as ka
from targeted_kernels_experiment.tables import TABLES, Published, Row, published_row
from targeted_kernels_experiment.training import TargetedProtocol, Times, time_models

# The paper's tables of the same task.
PAPER_TABLES = {"digits": 2, "mnist": 2, "top_left_digits": 3, "top_left_mnist": 3}
# Protocol fields that results.csv does not repeat.
INTERNAL = ("low_learning_rate", "l2_times_steps", "augment")


@dataclass(frozen=True)
class Summary:
    """Results of a row over all seeds."""

    row: Row  # Network
    results: tuple[TrainingResult, ...]  # One result per seed
    times: Times | None = None  # Wall-clock times; None if all trainings diverged

    @property
    def finished(self) -> list[TrainingResult]:
        """Results that did not diverge."""
        return [result for result in self.results if not result.diverged]

    @property
    def macs(self) -> float | None:
        """Mean multiply-accumulates over the seeds."""
        counts = [result.macs for result in self.finished]
        return statistics.mean(counts) if counts else None


def summarize(
    results: Sequence[TrainingResult], times: Mapping[Row, Times] | None = None
) -> list[Summary]:
    """Groups the results by row."""
    rows = dict.fromkeys(one.job.row for one in results)
    return [
        Summary(row, tuple(one for one in results if one.job.row == row), (times or {}).get(row))
        for row in rows
    ]


def line_of(result: TrainingResult, name: str) -> str:
    """Returns the line that is printed after a training."""
    line = reports.line_of(f"{name} seed {result.job.seed}", result)
    return line if result.diverged else f"{line}, {result.macs / 1e6:.2f}M MACs"


def comparison(summaries: Sequence[Summary], metrics: Sequence[str], paper: Sequence[str]) -> str:
    """Returns our results next to the paper's, as a markdown table.

    Args:
        summaries: One per row.
        metrics: Headings of our errors.
        paper: Headings of the paper's errors.
    """
    headings = ["network", "parameters", "paper", "MACs", "paper", *metrics]
    headings += [f"{metric}, paper" for metric in paper]
    headings += ["ms, batch 64", "ms, compact"]
    return reports.table(headings, [_cells(summary, metrics, paper) for summary in summaries])


def _cells(summary: Summary, metrics: Sequence[str], paper: Sequence[str]) -> list[str]:
    row, short = summary.row, ka.inspect.short_number
    errors = row.paper.errors if row.paper else ()
    cells = [row.label, f"{summary.results[0].parameters:,}"]
    cells += [short(row.paper.parameters) if row.paper else NONE]
    cells += [NONE if summary.macs is None else short(summary.macs)]
    cells += [short(row.paper.macs) if row.paper else NONE]
    cells += [reports.spread_of(summary.results, metric) for metric in metrics]
    cells += [f"{error:.2f}" for error in errors] or [NONE] * len(paper)
    times = summary.times
    for value in (times.model, times.compact) if times else (None, None):
        cells.append(NONE if value is None else f"{value:.1f} ({value / times.baseline:.2f}x)")
    return cells


def all_trainings(results: Sequence[TrainingResult], metrics: Sequence[str]) -> str:
    """Returns a markdown table with a line per training."""
    lines = []
    for result in results:
        job = result.job
        cells = [job.row.label, f"{job.scale_l2:.3g}" if job.row.targeted else NONE]
        cells += [f"{job.protocol.rate(job.row.model):g}", str(job.seed)]
        if result.diverged:
            cells += [DIVERGED] * len(metrics) + [NONE]
        else:
            cells += [number(result.scores[metric], 3) for metric in metrics]
            cells += [ka.inspect.short_number(result.macs)]
        lines.append([*cells, f"{result.seconds:.0f}"])
    headings = ["network", "scale_l2", "learning rate", "seed", *metrics, "MACs", "seconds"]
    return reports.table(headings, lines)


def record(result: TrainingResult) -> dict[str, Any]:
    """Returns a line of `results.csv`."""
    job, row = result.job, result.job.row
    protocol = {name: v for name, v in job.protocol.record().items() if name not in INTERNAL}
    protocol["learning_rate"] = job.protocol.rate(row.model)
    options = {"window": row.window, "scale_l2": job.scale_l2, "beta": row.beta, "roi": job.roi}
    options["roi_groups"] = row.roi_groups
    return {
        "network": row.label,
        "model": row.model,
        **{name: value if row.targeted else None for name, value in options.items()},
        "seed": job.seed,
        "data": job.data,
        **protocol,
        **reports.score_record(result),
    }


def figure5_points(summaries: Sequence[Summary], metric: str) -> list[dict[str, Any]]:
    """Returns L2, beta, error and speed-ups of each point; the first summary is the baseline."""
    baseline = summaries[0]
    if baseline.macs is None:
        return []
    points = []
    for summary in summaries[1:]:
        if summary.finished:
            errors = reports.values_of(summary.results, metric)
            points.append(
                {
                    "network": summary.row.model,
                    "l2": summary.row.scale_l2,
                    "beta": summary.row.beta,
                    "scale_l2": summary.results[0].job.scale_l2,
                    "error": statistics.mean(errors),
                    "deviation": reports.deviation(errors),
                    "baseline_error": reports.mean_of(baseline.results, metric),
                    "speedup_macs": baseline.macs / summary.macs,
                    "speedup_time": summary.times.baseline / summary.times.compact,
                }
            )
    return points


def draw_figure5(records: Sequence[dict[str, Any]], metric: str, title: str, path: Path) -> None:
    """Draws the error over the speed-up in MACs and in wall-clock time, a line for each beta."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, records, "speedup_macs", "speed-up in MACs")
    _panel(right, records, "speedup_time", "speed-up in wall-clock time, compact model")
    left.set_ylabel(metric)
    left.legend()
    reports.save_figure(figure, path)


def _panel(axes: Axes, records: Sequence[dict[str, Any]], name: str, label: str) -> None:
    for beta in sorted({record["beta"] for record in records}):
        line = sorted((r for r in records if r["beta"] == beta), key=lambda r: r["l2"])
        x, y = [r[name] for r in line], [r["error"] for r in line]
        bars = [r["deviation"] for r in line]
        axes.errorbar(x, y, bars, marker="o", capsize=3, label=f"beta {beta:g}")
        for record in line:
            where = (record[name], record["error"])
            axes.annotate(f"{record['l2']:g}", where, (4, 4), textcoords="offset points")
    axes.axhline(records[0]["baseline_error"], color="gray", linestyle=":", label="baseline")
    axes.set_xlabel(label)


def demo_table(
    models: Mapping[str, keras.Model],
    summaries: Sequence[Summary],
    data: str,
    protocol: TargetedProtocol,
    images: np.ndarray,
) -> rich.table.Table:
    """Returns our results next to the paper's; the MACs are those of the last seed."""
    times = time_models(models, images)
    first = next(iter(times.values()))
    paper = [_published(data, name) for name in models]
    trained = "all" if protocol.train_size is None else protocol.train_size
    seeds = [result.job.seed for result in summaries[0].results]
    return ka.inspect.summary_table(
        models,
        columns={
            "error %": [
                reports.spread_of(summary.results, "error %")
                for summary in summaries
                if summary.row.model in models
            ],
            "ms, batch 64": [
                f"{1e3 * value:.1f} ({value / first:.2f}x)" for value in times.values()
            ],
            "paper MACs": [NONE if one is None else f"{one.macs / 1e6:g}M" for one in paper],
            "paper error %": [NONE if one is None else f"{one.errors[0]:.2f}" for one in paper],
        },
        title=(
            f"{data}, {images.shape[1]} pixels, {trained} training images, seeds {seeds}; "
            "the paper's columns: MNIST at 28 or 56 pixels, 60,000 images"
        ),
    )


def _published(data: str, name: str) -> Published | None:
    row = published_row(TABLES[PAPER_TABLES[data]], name) if data in PAPER_TABLES else None
    return row.paper if row else None


def demonstrate(
    name: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, output: Path
) -> None:
    """Plots the attention, prints the mean ROI centers, exports, and classifies with the export."""
    path = output / f"{name.lower()}_attention.png"
    ka.inspect.plot_attention(model, images[:1], path)
    print(f"{name}: wrote {path}")
    for layer in model.layers:
        if hasattr(layer, "rois"):
            row, column = keras.ops.convert_to_numpy(layer.center).mean(axis=1)
            print(f"{name} {layer.name}: mean center at ({row:.2f}, {column:.2f}) of the map")

    path = output / f"{name.lower()}_saved_model"
    ka.export.export_saved_model(
        model, path, inputs=images[:32], tolerance=1e-6, overwrite=path.exists()
    )
    served = tf.saved_model.load(path)
    probabilities = served.serve(tf.constant(images)).numpy()
    difference = np.abs(probabilities - model.predict(images, batch_size=256, verbose=0)).max()
    print(f"{name}: wrote {path}; its outputs differ from the model's by at most {difference:.1e}")
    print(f"{name}: predicted classes {probabilities[:10].argmax(axis=-1)}, labels {labels[:10]}")
