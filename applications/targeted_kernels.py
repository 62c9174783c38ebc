"""Targeted Kernel Networks: train, compare with the paper's tables, plot, export, serve.

    python applications/targeted_kernels.py
    python applications/targeted_kernels.py --models CNN6 TKN6 --data digits --epochs 80
    python applications/targeted_kernels.py --table 3 --data top_left_digits
    python applications/targeted_kernels.py --figure 5 --data digits

Without `--data`, tables 2 to 6 and figure 5 use the paper's data sets and training protocols. Other
data sets use a short protocol (targeted_kernels_experiment/training.py).

Reference: Chitta, Targeted Kernel Networks (2018), tables 2 to 6, figures 4 and 5.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.table
import tensorflow as tf
from harness import reports
from harness.options import add_options, add_protocol_options, add_run_options, parse
from harness.programs import Experiment, Run
from harness.reports import DIVERGED, NONE, number, short_number
from harness.training import TrainingResult
from matplotlib.axes import Axes
from rich.console import Console
from targeted_kernels_experiment import tables, training
from targeted_kernels_experiment.tables import Published, Row, Table
from targeted_kernels_experiment.training import Job, Models, Times

import keras_attention as ka

DEMO_MODELS = ["DN10", "TDN10"]
OUTPUT = Path("runs/targeted_kernels")
# The paper's tables of the same task.
PAPER_TABLES = {"digits": 2, "mnist": 2, "top_left_digits": 3, "top_left_mnist": 3}
Results = Sequence[TrainingResult]


def main() -> int:
    """Trains each row with each seed and reports; returns the exit code."""
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        return Comparison(options).main(options, partial(training.train, Path(folder)))


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--table", type=int, choices=list(tables.TABLES), help="table of the paper")
    kinds.add_argument("--figure", type=int, choices=[5], help="figure 5, a sweep over L2 and beta")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help=f"networks ({', '.join(DEMO_MODELS)}, or all)"
    )
    parser.add_argument("--data", help="data set (top_left_digits, or that of the table)")
    small = training.SMALL
    note = f"otherwise {small.train_size} images, {small.epochs} epochs"
    names = ("size", "train_size", "epochs", "batch_size", "learning_rate")
    add_protocol_options(parser, *names, note=note)
    numbers = {"nargs": "+", "type": float}
    add_options(
        parser,
        window=(str, "cauchy or gaussian (cauchy, or that of the table)"),
        roi=(
            {"default": "mask"},
            "computation of target layers: slice, mask or full (%(default)s)",
        ),
        beta=(numbers, "(2, or that of the table); several with --figure"),
        scale_l2=(
            numbers,
            "L2 weight of the scales; several with --figure (the paper's; in short trainings, "
            "larger in proportion to the smaller number of steps)",
        ),
    )
    add_run_options(parser, f"{OUTPUT}, _table3", note=": networks this small use about one core")
    options = parse(parser, OUTPUT)
    for name in ("beta", "scale_l2"):
        values = getattr(options, name)
        if values and len(values) > 1 and not options.figure:
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} accepts several values only with --figure. Received: {values}")
    if options.markdown and not (options.table or options.figure):
        parser.error(f"--markdown needs --table or --figure. Received: {options.markdown}")
    if options.data is None:
        default = "mnist" if options.figure else "top_left_digits"
        options.data = tables.TABLES[options.table].data if options.table else default
    return options


class Comparison(Experiment):
    """A table or figure 5; without these, a demo that plots and exports networks."""

    paper = "Targeted Kernel Networks"

    def __init__(self, options: argparse.Namespace):
        self.is_demo = not (options.table or options.figure)
        self.title = tables.TABLES[options.table].title if options.table else tables.FIGURE_5

    def jobs(self, options: argparse.Namespace) -> list[Job]:
        protocol = training.choose_protocol(options)
        return [
            Job(
                row,
                seed,
                protocol,
                options.data,
                options.roi,
                protocol.scale_l2(row) if options.scale_l2 is None else row.scale_l2,
            )
            for row in choose_table(options).rows
            for seed in options.seeds
        ]

    def check(self, jobs: Sequence[Job]) -> None:
        """Checks that the test images can be loaded and the networks built."""
        images, _ = jobs[0].load("test").element_spec
        for job in {job.row.model: job for job in jobs}.values():
            job.build(images.shape[1:])

    def finish(self, run: Run) -> str:
        """Times the networks and draws the figures; returns our results next to the paper's."""
        models, (images, _) = training.models_of(run.results), training.test_set(run.jobs[0])
        if self.is_demo:
            demonstrate(models, run.results, run.options.output)
            return ""
        times, options = training.time_rows(models, images), run.options
        targeted = [(row, model) for row, (_, model) in models.items() if row.targeted]
        if targeted:
            row, model = targeted[-1]
            path = options.output / "attention.png"
            ka.inspect.plot_attention(model, images[:1], path, title=row.label)
            print(f"wrote {path}")
        records = figure5_points(run.results, times) if options.figure else []
        if records:
            reports.write_csv(options.output / "figure5.csv", records)
            title = f"{records[0]['network']} on {options.data}"
            draw_figure5(records, title, options.output / "figure5.png")
        return comparison(run.results, times, choose_table(options).metrics)

    def trainings(self, results: Results) -> str:
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

    def notes(self, run: Run) -> list[str]:
        images, _ = training.test_set(run.jobs[0])
        data, seeds = run.options.data, ", ".join(map(str, run.options.seeds))
        return [
            f"{data}, {images.shape[1]} pixels, {len(images):,} test images. Protocol "
            f"{run.jobs[0].protocol.describe()}. Seeds {seeds}.",
            "Errors and MACs are means over the seeds (+- standard deviation) after the last "
            "epoch. The paper's errors are those of the best epoch on "
            f"{choose_table(run.options).data}.",
            "Times in milliseconds are medians of interleaved calls: of the network of the last "
            "seed with sliced target layers, and of the model that `ka.surgery.compact` makes of "
            "it; in brackets, relative to the same network without target layers. The L2 weight in "
            "the names is that of the paper; `scale_l2` below is the weight that was used.",
        ]


def choose_table(options: argparse.Namespace) -> Table:
    """Returns the rows to train: of a table, of figure 5, or the requested models."""
    info = ka.datasets.find(options.data)
    if not (info.single_label or (info.regression and options.table)):
        raise ValueError(f"--data must have class labels. Received: --data={options.data}")
    if options.figure:
        models = options.models or ["TKN6"]
        if len(models) > 1 or models[0] not in tables.BASELINES:
            raise ValueError(
                f"--models must be one of {', '.join(tables.BASELINES)} with --figure. "
                f"Received: --models={' '.join(models)}"
            )
        return tables.sweep(models[0], options.window or "cauchy", options.scale_l2, options.beta)
    if options.table:
        table = tables.of_models(tables.TABLES[options.table], options.models)
    else:
        names = options.models or DEMO_MODELS
        rows = [Row(name, window="cauchy" if name in tables.BASELINES else None) for name in names]
        table = Table("", options.data, ("error %",), tuple(rows))
    changes = {"window": options.window}
    for name in ("beta", "scale_l2"):
        changes[name] = (getattr(options, name) or [None])[0]
    changes = {name: value for name, value in changes.items() if value is not None}
    return tables.with_options(table, changes) if changes else table


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
    images, _ = training.test_set(job)
    times = training.time_models(models, images)
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
    """Returns the first published numbers of a network, with Cauchy windows if it has windows."""
    rows = tables.TABLES[PAPER_TABLES[data]].rows if data in PAPER_TABLES else ()
    found = (row.paper for row in rows if row.model == name and row.window in (None, "cauchy"))
    return next(found, None)


def _demonstrate(model: keras.Model, job: Job, output: Path) -> None:
    """Plots the attention, prints the mean ROI centers, exports, and classifies with the export."""
    name, (images, labels) = job.row.model, training.test_set(job)
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


if __name__ == "__main__":
    sys.exit(main())
