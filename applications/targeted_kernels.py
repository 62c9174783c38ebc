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
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from harness import reports
from harness.options import add_protocol_options, add_run_options, output_folder
from harness.programs import run_program
from harness.training import TrainingResult
from rich.console import Console
from targeted_kernels_experiment import report, tables, training
from targeted_kernels_experiment.tables import Row, Table
from targeted_kernels_experiment.training import Job, TargetedProtocol

import keras_attention as ka

DEMO_MODELS = ["DN10", "TDN10"]
OUTPUT = Path("runs/targeted_kernels")
Models = dict[Row, tuple[Job, keras.Model]]


@dataclass(frozen=True)
class Plan:
    """Rows and jobs of a run, and its test images."""

    table: Table
    jobs: Sequence[Job]
    protocol: TargetedProtocol
    images: np.ndarray
    labels: np.ndarray


def main() -> int:
    """Trains each row with each seed and reports; returns the exit code."""
    options = read_options()
    return run_program(
        options.output, lambda: prepare(options), lambda plan: run_and_report(options, plan)
    )


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
    parser.add_argument("--window", help="cauchy or gaussian (cauchy, or that of the table)")
    parser.add_argument(
        "--roi",
        default="mask",
        help="computation of target layers: slice, mask or full (%(default)s)",
    )
    parser.add_argument(
        "--beta", nargs="+", type=float, help="(2, or that of the table); several with --figure"
    )
    parser.add_argument(
        "--scale-l2",
        nargs="+",
        type=float,
        help="L2 weight of the scales; several with --figure (the paper's; in short trainings, "
        "larger in proportion to the smaller number of steps)",
    )
    add_run_options(parser, f"{OUTPUT}, _table3", note=": networks this small use about one core")
    options = parser.parse_args()
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
    options.output = output_folder(options, OUTPUT)
    return options


def prepare(options: argparse.Namespace) -> Plan:
    """Chooses the rows, loads the test images and builds each network once."""
    table = choose_table(options)
    protocol = training.choose_protocol(options)
    jobs = [
        Job(
            row,
            seed,
            options.data,
            protocol,
            options.roi,
            protocol.scale_l2(row) if options.scale_l2 is None else row.scale_l2,
        )
        for row in table.rows
        for seed in options.seeds
    ]
    test = jobs[0].load("test")
    for job in {job.row.model: job for job in jobs}.values():
        job.build(test.element_spec[0].shape[1:])
    images = np.concatenate([batch.numpy() for batch, _ in test])
    labels = np.concatenate([batch.numpy() for _, batch in test])
    return Plan(table, jobs, protocol, images, labels)


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


def run_and_report(options: argparse.Namespace, plan: Plan) -> None:
    """Trains all jobs, then writes the table or runs the demo."""
    models: Models = {}
    results: list[TrainingResult] = []
    for job, model, seconds in training.train_all(plan.jobs, options.processes):
        results.append(training.evaluate(job, model, seconds, plan.images, plan.labels))
        if not results[-1].diverged:
            models[job.row] = (job, model)
        name = job.row.label if options.table or options.figure else job.row.model
        print(report.line_of(results[-1], name), flush=True)
        reports.write_csv(options.output / "results.csv", [report.record(one) for one in results])
    if options.table or options.figure:
        finish_table(options, plan, models, results)
    elif models:
        finish_demo(options, plan, models, results)


def finish_demo(
    options: argparse.Namespace, plan: Plan, models: Models, results: Sequence[TrainingResult]
) -> None:
    """Prints the comparison, then plots and exports the models with attention."""
    by_name = {row.model: model for row, (_, model) in models.items()}
    summaries = report.summarize(results)
    Console(width=100).print(
        report.demo_table(by_name, summaries, options.data, plan.protocol, plan.images)
    )
    for name, model in by_name.items():
        if ka.inspect.has_attention(model):
            report.demonstrate(name, model, plan.images, plan.labels, options.output)


def finish_table(
    options: argparse.Namespace, plan: Plan, models: Models, results: Sequence[TrainingResult]
) -> None:
    """Prints our results next to the paper's; writes the figures and the markdown."""
    summaries = report.summarize(results, training.time_rows(models, plan.images))
    metrics = ("MSE", "MAE") if ka.datasets.find(options.data).regression else ("error %",)
    text = report.comparison(summaries, metrics, plan.table.metrics)
    print(f"\n{text}\n")
    targeted = [(row, model) for row, (_, model) in models.items() if row.targeted]
    if targeted:
        row, model = targeted[-1]
        path = options.output / "attention.png"
        ka.inspect.plot_attention(model, plan.images[:1], path, title=row.label)
        print(f"wrote {path}")
    records = report.figure5_points(summaries, "error %") if options.figure else []
    if records:
        reports.write_csv(options.output / "figure5.csv", records)
        title = f"{records[0]['network']} on {options.data}"
        report.draw_figure5(records, "error %", title, options.output / "figure5.png")
    reports.write_page(
        options.markdown,
        f"Targeted Kernel Networks, {plan.table.title} on {options.data}",
        "targeted_kernels.py",
        notes(options, plan),
        text,
        report.all_trainings(results, metrics),
    )


def notes(options: argparse.Namespace, plan: Plan) -> list[str]:
    """Returns paragraphs that explain the results."""
    side, seeds = plan.images.shape[1], ", ".join(map(str, options.seeds))
    return [
        f"{options.data}, {side} pixels, {len(plan.labels):,} test images. Protocol "
        f"{plan.protocol.describe()}. Seeds {seeds}.",
        "Errors and MACs are means over the seeds (+- standard deviation) after the last epoch. "
        f"The paper's errors are those of the best epoch on {plan.table.data}.",
        "Times in milliseconds are medians of interleaved calls: of the network of the last seed "
        "with sliced target layers, and of the model that `ka.surgery.compact` makes of it; in "
        "brackets, relative to the same network without target layers. The L2 weight in the names "
        "is that of the paper; `scale_l2` below is the weight that was used.",
    ]


if __name__ == "__main__":
    sys.exit(main())
