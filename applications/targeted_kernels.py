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
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness import reports
from harness.options import add_protocol_options, add_run_options, parse
from harness.programs import Experiment, Run
from harness.training import TrainingResult
from targeted_kernels_experiment import report, tables, training
from targeted_kernels_experiment.tables import Row, Table
from targeted_kernels_experiment.training import Job

import keras_attention as ka

DEMO_MODELS = ["DN10", "TDN10"]
OUTPUT = Path("runs/targeted_kernels")


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
            report.demonstrate(models, run.results, run.options.output)
            return ""
        times, options = training.time_rows(models, images), run.options
        targeted = [(row, model) for row, (_, model) in models.items() if row.targeted]
        if targeted:
            row, model = targeted[-1]
            path = options.output / "attention.png"
            ka.inspect.plot_attention(model, images[:1], path, title=row.label)
            print(f"wrote {path}")
        records = report.figure5_points(run.results, times) if options.figure else []
        if records:
            reports.write_csv(options.output / "figure5.csv", records)
            title = f"{records[0]['network']} on {options.data}"
            report.draw_figure5(records, title, options.output / "figure5.png")
        return report.comparison(run.results, times, choose_table(options).metrics)

    def trainings(self, results: Sequence[TrainingResult]) -> str:
        return report.all_trainings(results)

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


if __name__ == "__main__":
    sys.exit(main())
