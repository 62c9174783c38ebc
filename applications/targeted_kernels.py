"""Targeted Kernel Networks: train, compare with the paper's tables, plot, export, serve.

    python applications/targeted_kernels.py
    python applications/targeted_kernels.py --models CNN6 TKN6 --data digits --epochs 80
    python applications/targeted_kernels.py --table 3 --data top_left_digits
    python applications/targeted_kernels.py --figure 5 --data digits

Without `--data`, tables 2 to 6 and figure 5 take the paper's data and train as the paper does;
other data are trained in a small way (targeted_kernels_parts/protocols.py).

Reference: Chitta, Targeted Kernel Networks (2018), tables 2 to 6, figures 4 and 5.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from program_parts import files, markdown, run_options
from program_parts.arguments import positive, seed
from rich.console import Console
from targeted_kernels_parts import clock, demo, figure5, protocols, report, tables, training
from targeted_kernels_parts.protocols import Protocol
from targeted_kernels_parts.report import Summary
from targeted_kernels_parts.tables import Row, Table
from targeted_kernels_parts.training import Job, Training

import keras_attention as ka

DEMO_MODELS = ["DN10", "TDN10"]
OUTPUT = Path("runs/targeted_kernels")


@dataclass(frozen=True)
class Plan:
    """What to train, and the images to test with."""

    jobs: Sequence[Job]
    protocol: Protocol
    images: np.ndarray
    labels: np.ndarray


def main() -> int:
    """Trains each row with each seed and reports; returns the exit code: 2 for what cannot be."""
    options = read_options()
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    try:
        table = choose_table(options)
        plan = prepare(options, table.rows)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with files.logged(options.output / "log.txt"):
        models, trainings = run(options, plan)
        if options.table or options.figure:
            finish_table(options, table, plan, models, trainings)
        else:
            finish_demo(options, plan, models, trainings)
    return 0


def read_options() -> argparse.Namespace:
    """The command line; without a table, a small comparison in which the methods come apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--table", type=int, choices=list(tables.TABLES), help="the paper's")
    what.add_argument("--figure", type=int, choices=[5], help="sweep over L2 and beta")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help=f"networks ({', '.join(DEMO_MODELS)}, or all)"
    )
    parser.add_argument("--data", help="data set (top_left_digits, or that of the table)")
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2], metavar="SEED")
    add_protocol_options(parser)
    run_options.add(parser, f"{OUTPUT}, _table3", ": networks this small keep one core busy")
    options = parser.parse_args()
    check(parser, options)
    return options


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """What overrides the protocol and the table's rows."""
    small = protocols.SMALL
    for name, kind in (("size", "pixels"), ("train-size", "images"), ("epochs", "passes")):
        value = getattr(small, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=positive, help=f"{kind} ({value}, or the paper's)")
    parser.add_argument("--batch-size", type=positive, help=f"({small.batch_size}, or the paper's)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help=f"({small.learning_rate}, or {small.gentle_rate} where it must be, or the paper's)",
    )
    parser.add_argument("--window", help="cauchy or gaussian (cauchy, or the table's)")
    parser.add_argument("--roi", default="mask", help="slice, mask or full (%(default)s)")
    parser.add_argument(
        "--beta", nargs="+", type=float, help="(2, or the table's); several for a figure"
    )
    parser.add_argument(
        "--scale-l2",
        nargs="+",
        type=float,
        help="L2 weight of the scales, several for a figure; by default the paper's, in small "
        "trainings as much more as their steps are fewer",
    )


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Fills in what depends on other options, and refuses what does not go together."""
    for name in ("beta", "scale_l2"):
        values = getattr(options, name)
        if values and len(values) > 1 and not options.figure:
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} takes several values with --figure only. Received: {values}")
    if options.markdown and not (options.table or options.figure):
        parser.error(f"--markdown needs --table or --figure. Received: {options.markdown}")
    if options.data is None:
        default = "mnist" if options.figure else "top_left_digits"
        options.data = tables.TABLES[options.table].data if options.table else default
    options.output = run_options.output(options, OUTPUT)


def choose_table(options: argparse.Namespace) -> Table:
    """The rows to train: of a table, of figure 5, or the models that were asked for.

    Raises:
        ValueError: For models that are not there, or data that have no classes.
    """
    info = ka.datasets.find(options.data)
    if not (info.single_label or (info.regression and options.table)):
        raise ValueError(f"--data must have classes for labels. Received: --data={options.data}")
    if options.figure:
        return choose_sweep(options)
    if options.table:
        table = of_models(tables.TABLES[options.table], options.models)
    else:
        names = options.models or DEMO_MODELS
        rows = [Row(name, window="cauchy" if name in tables.BASELINES else None) for name in names]
        table = Table("", options.data, ("error %",), tuple(rows))
    changes = {"window": options.window}
    for name in ("beta", "scale_l2"):
        changes[name] = (getattr(options, name) or [None])[0]
    changes = {name: value for name, value in changes.items() if value is not None}
    return tables.changed(table, changes) if changes else table


def choose_sweep(options: argparse.Namespace) -> Table:
    """The rows of figure 5, for TKN6 as in the paper or another network."""
    models = options.models or ["TKN6"]
    if len(models) > 1 or models[0] not in tables.BASELINES:
        raise ValueError(
            f"--models must be one of {', '.join(tables.BASELINES)} with --figure. "
            f"Received: --models={' '.join(models)}"
        )
    return tables.sweep(models[0], options.window or "cauchy", options.scale_l2, options.beta)


def of_models(table: Table, models: Sequence[str] | None) -> Table:
    """The rows of some networks."""
    known = dict.fromkeys(row.model for row in table.rows)
    unknown = [name for name in models or () if name not in known]
    if unknown:
        raise ValueError(
            f"--models must be of {', '.join(known)} in {table.title}. "
            f"Received: --models={' '.join(unknown)}"
        )
    rows = tuple(row for row in table.rows if models is None or row.model in models)
    return replace(table, rows=rows)


def prepare(options: argparse.Namespace, rows: Sequence[Row]) -> Plan:
    """Reads the test images and checks that the data and the networks can be had.

    Raises:
        ValueError: For options that cannot be.
        ConnectionError: Where the data are neither here nor to be downloaded.
    """
    protocol = protocols.choose(options)
    jobs = [
        Job(row, seed, options.data, protocol, options.roi, scale_l2(options, protocol, row))
        for row in rows
        for seed in options.seeds
    ]
    test = jobs[0].load("test")
    for job in {job.row.model: job for job in jobs}.values():
        job.build(test.element_spec[0].shape[1:])
    images = np.concatenate([batch.numpy() for batch, _ in test])
    labels = np.concatenate([batch.numpy() for _, batch in test])
    return Plan(jobs, protocol, images, labels)


def scale_l2(options: argparse.Namespace, protocol: Protocol, row: Row) -> float:
    """The L2 weight that a row is trained with."""
    return protocol.scale_l2(row) if options.scale_l2 is None else row.scale_l2


def run(
    options: argparse.Namespace, plan: Plan
) -> tuple[dict[Row, tuple[Job, keras.Model]], list[Training]]:
    """Trains all; returns each row's last model that did not diverge, and what was measured."""
    models: dict[Row, tuple[Job, keras.Model]] = {}
    done: list[Training] = []
    for job, model, seconds in training.train_all(plan.jobs, options.processes):
        done.append(training.evaluate(job, model, seconds, plan.images, plan.labels))
        if not done[-1].diverged:
            models[job.row] = (job, model)
        name = job.row.label if options.table or options.figure else job.row.model
        print(report.line_of(done[-1], name), flush=True)
        files.write_csv(options.output / "results.csv", [report.record(one) for one in done])
    return models, done


def summarize(
    trainings: Sequence[Training], times: dict[Row, clock.Times] | None = None
) -> list[Summary]:
    """Puts the seeds of each row together."""
    rows = dict.fromkeys(one.job.row for one in trainings)
    return [
        Summary(row, tuple(one for one in trainings if one.job.row == row), (times or {}).get(row))
        for row in rows
    ]


def finish_demo(
    options: argparse.Namespace,
    plan: Plan,
    models: dict[Row, tuple[Job, keras.Model]],
    trainings: Sequence[Training],
) -> None:
    """Prints the comparison, then shows the attentive models."""
    by_name = {row.model: model for row, (_, model) in models.items()}
    if not by_name:
        return
    summaries = summarize(trainings)
    comparison = demo.table(by_name, summaries, options.data, plan.protocol, plan.images)
    Console(width=100).print(comparison)
    for name, model in by_name.items():
        if ka.inspect.has_attention(model):
            demo.finish(name, model, plan.images, plan.labels, options.output)


def finish_table(
    options: argparse.Namespace,
    table: Table,
    plan: Plan,
    models: dict[Row, tuple[Job, keras.Model]],
    trainings: Sequence[Training],
) -> None:
    """Prints our figures beside the paper's; writes pictures and the markdown."""
    summaries = summarize(trainings, clock.time_rows(models, plan.images))
    metrics = ("MSE", "MAE") if ka.datasets.find(options.data).regression else ("error %",)
    text = report.comparison(summaries, metrics, table.metrics)
    print(f"\n{text}\n")
    draw(options, table, plan, models, summaries)
    if options.markdown:
        command = markdown.command("targeted_kernels.py")
        title = f"Targeted Kernel Networks, {table.title} on {options.data}"
        details = report.every_training(trainings, metrics)
        files.write_text(
            options.markdown,
            markdown.page(title, command, notes(options, table, plan), text, details),
        )
        print(f"wrote {options.markdown}")


def notes(options: argparse.Namespace, table: Table, plan: Plan) -> list[str]:
    """What a reader of the table has to know."""
    side, seeds = plan.images.shape[1], ", ".join(map(str, options.seeds))
    return [
        f"{options.data}, {side} pixels, {len(plan.labels):,} test images; protocol "
        f"{plan.protocol.describe()}; seeds {seeds}.",
        "Errors and MACs: mean over the seeds (+- standard deviation) after the last epoch; the "
        f"paper's: {table.data}, best epoch. Milliseconds: medians of turns, of the last seed's "
        "network (target layers sliced) and of what `ka.surgery.compact` makes of it; in brackets "
        "over the same network without target layers. L2 in the names is as in the paper; "
        "`scale_l2` below is what the network was given.",
    ]


def draw(
    options: argparse.Namespace,
    table: Table,
    plan: Plan,
    models: dict[Row, tuple[Job, keras.Model]],
    summaries: Sequence[Summary],
) -> None:
    """Draws the attention of the last targeted row, and figure 5."""
    targeted = [(row, model) for row, (_, model) in models.items() if row.targeted]
    if targeted:
        row, model = targeted[-1]
        path = options.output / "attention.png"
        ka.inspect.plot_attention(model, plan.images[:1], path, title=row.label)
        print(f"wrote {path}")
    records = figure5.points(summaries, "error %") if options.figure else []
    if records:
        files.write_csv(options.output / "figure5.csv", records)
        path = options.output / "figure5.png"
        figure5.draw(records, "error %", f"{records[0]['network']} on {options.data}", path)
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
