"""Reports of targeted kernel networks: tables, figure 5, and the demo without a table."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.table
import tensorflow as tf
from harness import reports
from harness.reports import DIVERGED, NONE, number, short_number
from harness.training import TrainingResult
from matplotlib.axes import Axes
from rich.console import Console

import keras_attention as ka
from targeted_kernels_experiment.tables import TABLES, Published, Row, published_row
from targeted_kernels_experiment.training import Job, Models, Times, test_set, time_models

# The paper's tables of the same task.
PAPER_TABLES = {"digits": 2, "mnist": 2, "top_left_digits": 3, "top_left_mnist": 3}
Results = Sequence[TrainingResult]


def mean_macs(results: Results) -> float | None:
    """Returns the mean multiply-accumulates over the seeds; None if all trainings diverged."""
    counts = [result.macs for result in results if not result.diverged]
    return statistics.mean(counts) if counts else None


def comparison(results: Results, times: Mapping[Row, Times], paper: Sequence[str]) -> str:
    """Returns our results next to the paper's, as a markdown table.

    Args:
        results: Results of all jobs.
        times: Wall-clock times of the rows with a training that did not diverge.
        paper: Headings of the paper's errors.
    """
    metrics = results[0].job.metrics
    headings = ["network", "parameters", "paper", "MACs", "paper", *metrics]
    headings += [f"{metric}, paper" for metric in paper]
    headings += ["ms, batch 64", "ms, compact"]
    lines = []
    for row, found in reports.grouped(results).items():
        published = row.paper or Published(None, None, (None,) * len(paper))
        cells = [row.label, f"{found[0].parameters:,}", short_number(published.parameters)]
        cells += [short_number(mean_macs(found)), short_number(published.macs)]
        cells += [reports.spread_of(found, metric) for metric in metrics]
        cells += [number(error) for error in published.errors]
        measured = times.get(row)
        for value in (measured.model, measured.compact) if measured else (None, None):
            ratio = "" if value is None else f" ({value / measured.baseline:.2f}x)"
            cells.append(number(value, 1) + ratio)
        lines.append(cells)
    return reports.table(headings, lines)


def all_trainings(results: Results) -> str:
    """Returns a markdown table with a line per training."""
    metrics = results[0].job.metrics
    lines = []
    for result in results:
        job = result.job
        cells = [job.row.label, f"{job.scale_l2:.3g}" if job.row.targeted else NONE]
        cells += [f"{job.protocol.rate(job.row.model):g}", str(job.seed)]
        cells += [DIVERGED if result.diverged else number(result.scores[m], 3) for m in metrics]
        lines.append([*cells, short_number(result.macs), f"{result.seconds:.0f}"])
    headings = ["network", "scale_l2", "learning rate", "seed", *metrics, "MACs", "seconds"]
    return reports.table(headings, lines)


def figure5_points(results: Results, times: Mapping[Row, Times]) -> list[dict[str, Any]]:
    """Returns L2, beta, error and speed-ups of each point; the first row is the baseline."""
    baseline, *points = reports.grouped(results).items()
    if baseline[0] not in times:
        return []
    return [
        {
            "network": row.model,
            "l2": row.scale_l2,
            "beta": row.beta,
            "scale_l2": found[0].job.scale_l2,
            "error": reports.mean_of(found, "error %"),
            "deviation": reports.deviation(reports.values_of(found, "error %")),
            "baseline_error": reports.mean_of(baseline[1], "error %"),
            "speedup_macs": mean_macs(baseline[1]) / mean_macs(found),
            "speedup_time": times[row].baseline / times[row].compact,
        }
        for row, found in points
        if row in times
    ]


def draw_figure5(records: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Draws the error over the speed-up in MACs and in wall-clock time, a line for each beta."""
    with reports.figure(path, 2, (5, 4), title, sharey=True) as (left, right):
        _panel(left, records, "speedup_macs", "speed-up in MACs")
        _panel(right, records, "speedup_time", "speed-up in wall-clock time, compact model")
        left.set_ylabel("error %")
        left.legend()


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


def demonstrate(models: Models, results: Results, output: Path) -> None:
    """Prints the comparison, then plots and exports the networks with attention."""
    if models:
        by_name = {row.model: model for row, (_, model) in models.items()}
        Console(width=100).print(demo_table(by_name, results))
    for job, model in models.values():
        if ka.inspect.has_attention(model):
            _demonstrate(model, job, output)


def demo_table(models: Mapping[str, keras.Model], results: Results) -> rich.table.Table:
    """Returns our results next to the paper's; the MACs are those of the last seed.

    Args:
        models: Trained networks by name.
        results: Results of all jobs.
    """
    job, by_row = results[0].job, reports.grouped(results)
    images, _ = test_set(job)
    times = time_models(models, images)
    first = next(iter(times.values()))
    paper = [_published(job.data, name) for name in models]
    trained = "all" if job.protocol.train_size is None else job.protocol.train_size
    seeds = [result.job.seed for result in by_row[job.row]]
    return ka.inspect.summary_table(
        models,
        columns={
            "error %": [
                reports.spread_of(found, "error %")
                for row, found in by_row.items()
                if row.model in models
            ],
            "ms, batch 64": [
                f"{1e3 * value:.1f} ({value / first:.2f}x)" for value in times.values()
            ],
            "paper MACs": [NONE if one is None else f"{one.macs / 1e6:g}M" for one in paper],
            "paper error %": [NONE if one is None else f"{one.errors[0]:.2f}" for one in paper],
        },
        title=(
            f"{job.data}, {images.shape[1]} pixels, {trained} training images, seeds {seeds}; "
            "the paper's columns: MNIST at 28 or 56 pixels, 60,000 images"
        ),
    )


def _published(data: str, name: str) -> Published | None:
    row = published_row(TABLES[PAPER_TABLES[data]], name) if data in PAPER_TABLES else None
    return row.paper if row else None


def _demonstrate(model: keras.Model, job: Job, output: Path) -> None:
    """Plots the attention, prints the mean ROI centers, exports, and classifies with the export."""
    name, (images, labels) = job.row.model, test_set(job)
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
