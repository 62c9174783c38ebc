"""Scale-Space Attention: train next to CBAM, BAM and RAN, compare with the paper, measure times.

    python applications/scale_space.py --table 4 --data digits
    python applications/scale_space.py --table 9 --data digits --networks LeNet5
    python applications/scale_space.py --table 6 --data digit_sequences
    python applications/scale_space.py --figure 10 --data digits

Without `--data`, tables I to VII and IX and figures 9 and 10 use the paper's data sets and usual
training settings. Other data sets use a short protocol (scale_space_experiment/training.py).

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), tables I to IX, figures 9, 10.
"""

import argparse
import statistics
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import reports
from harness.options import add_protocol_options, add_run_options, parse, positive_int
from harness.programs import Experiment, Run
from harness.published import Table
from harness.reports import NONE, number
from scale_space_experiment import tables, training
from scale_space_experiment.tables import Row
from scale_space_experiment.training import Job, TimedResult, metrics_of

import keras_attention as ka

OUTPUT = Path("runs/scale_space")
DETECTION = 8
HEADINGS = ("network", "data", "attention", "placement")
TIMES = ("ms per step", "training time (s)")
# Number of decimals; accuracies are in percent and have two.
DIGITS = {"cosine": 4, "MAE": 4}


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code."""
    options = read_options()
    if options.table == DETECTION:
        print("python applications/scale_space_detection.py")
        return 0
    if options.table:
        experiment = TableExperiment(tables.TABLES[options.table])
    else:
        experiment = FigureExperiment(tables.FIGURES[options.figure])
    return experiment.main(options, training.train)


def read_options() -> Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_mutually_exclusive_group(required=True)
    numbers = sorted([*tables.TABLES, DETECTION])
    kinds.add_argument("--table", type=int, choices=numbers, help="table of the paper, I to IX")
    kinds.add_argument("--figure", type=int, choices=list(tables.FIGURES), help="training times")
    group = parser.add_argument_group("rows", "by default, those of the table or figure")
    group.add_argument("--networks", nargs="+", metavar="NAME", help="names in ka.applications")
    group.add_argument("--data", nargs="+", metavar="NAME", help="data sets")
    attentions = ", ".join(tables.VARIANTS)
    group.add_argument("--attentions", nargs="+", metavar="NAME", help=f"among {attentions}")
    group.add_argument("--placements", nargs="+", choices=tables.PLACEMENTS)
    small = training.SMALL
    note = f"otherwise {small.train_size} examples, {small.epochs} epochs, Adam"
    names = ("size", "train_size", "epochs", "batch_size", "learning_rate")
    add_protocol_options(parser, *names, note=note)
    parser.add_argument(
        "--rounds", type=positive_int, default=15, help="timed steps of a figure (%(default)s)"
    )
    add_run_options(parser, f"{OUTPUT}_table4")
    return parse(parser, OUTPUT)


class TableExperiment(Experiment):
    """A table of the paper.

    Args:
        table: Rows with the published numbers.
    """

    paper = "Scale-Space Attention"

    def __init__(self, table: Table):
        self.table, self.title = table, table.title

    def jobs(self, options: Namespace) -> list[Job]:
        """Returns the training jobs of all rows that can be built; checks data and networks."""
        jobs, tests = [], {}
        for row in tables.choose_rows(self.table, options):
            protocol = training.choose_protocol(row.network, row.data, options)
            found = [Job(row, seed, protocol, row.data) for seed in options.seeds]
            key = (row.data, protocol.size, protocol.train_size)
            if key not in tests:
                tests[key] = found[0].load("test")
            if row.possible(*found[0].shapes(tests[key])):
                jobs += found
        return jobs

    def finish(self, run: Run) -> str:
        rows = tables.choose_rows(self.table, run.options)
        return comparison(rows, run.results, self.table.headings("metric"))

    def trainings(self, results: Sequence[TimedResult]) -> str:
        metrics = metrics_of_rows(one.job.row for one in results)
        lines = [
            [
                *one.job.row.cells,
                str(one.job.seed),
                *(number(one.scores.get(metric), 4) for metric in metrics),
                f"{1e3 * one.step_seconds:.1f}",
                f"{one.seconds:.1f}",
            ]
            for one in results
        ]
        return reports.table([*HEADINGS, "seed", *metrics, *TIMES], lines)

    def notes(self, run: Run) -> list[str]:
        papers = dict.fromkeys(job.row.paper_data for job in run.jobs if job.row.paper_data)
        seeds = ", ".join(map(str, run.options.seeds))
        return [
            *_protocols(run),
            f"Seeds {seeds}; mean (+- standard deviation) after the last epoch. The paper's "
            f"numbers are those of {', '.join(papers) or 'no data set'}, without deviations. "
            '"-": not in the paper, cannot be built (different numbers of channels without channel '
            "alignment), or not counted (MACs of recurrent layers). "
            f"{run.options.processes} trainings ran at the same time, so their times are rough: "
            "figures 9 and 10 compare times.",
        ]


class FigureExperiment(TableExperiment):
    """A figure of the paper: training times of untrained networks."""

    trains = False

    def finish(self, run: Run) -> str:
        """Times a training step of each row with the first seed; draws and returns the times."""
        first = [job for job in run.jobs if job.seed == run.options.seeds[0]]
        timings = []
        # One network at a time: all variants of VGG-16 with their optimizers need much memory.
        for pair in dict.fromkeys(job.row.pair for job in first):
            compared = [job for job in first if job.row.pair == pair]
            timings += training.time_steps(compared, run.options.rounds)
        records = [one.record() for one in timings]
        for record in records:
            del record["diverged"]
        reports.write_csv(run.options.output / "results.csv", records)
        draw_timings(timings, self.title, run.options.output / "training_time.png")
        return timing_table(timings)

    def notes(self, run: Run) -> list[str]:
        return [
            *_protocols(run),
            f"The time of a step is the median of {run.options.rounds} training steps, interleaved "
            "in one process. The training time is that times the steps of the protocol. The bars "
            "of the paper's figure have no numbers.",
        ]


def _protocols(run: Run) -> list[str]:
    described = (f"{job.row.pair}: protocol {job.protocol.describe()}." for job in run.jobs)
    return list(dict.fromkeys(described))


def metrics_of_rows(rows: Iterable[Row]) -> list[str]:
    """Returns all metrics on the data sets of the rows."""
    found = (metric for row in rows for metric in metrics_of(ka.datasets.find(row.data)))
    return list(dict.fromkeys(found))


def comparison(rows: Sequence[Row], results: Sequence[TimedResult], paper: Sequence[str]) -> str:
    """Returns our results next to the paper's, as a markdown table.

    Args:
        rows: Rows of the table, including those that cannot be built.
        results: Results of all trainings.
        paper: The paper's metrics.
    """
    metrics, by_row, lines = metrics_of_rows(rows), reports.grouped(results), []
    for row in rows:
        found = by_row[row]
        cells = row.cells + (reports.size_cells(found[0]) if found else [NONE, NONE])
        measured = metrics_of(ka.datasets.find(row.data)) if found else ()
        for metric in metrics:
            digits = DIGITS.get(metric, 2)
            cells.append(reports.spread_of(found, metric, digits) if metric in measured else NONE)
        for value in map(row.paper.get, paper):
            cells.append(number(value, 4 if value and value < 1 else 2))
        if found:
            step = statistics.mean(one.step_seconds for one in found)
            seconds = statistics.mean(one.seconds for one in found)
            cells += [f"{1e3 * step:.1f}", f"{seconds:.1f}"]
        else:
            cells += [NONE, NONE]
        lines.append(cells)
    headings = [*HEADINGS, "parameters", "MACs", *metrics, *(f"{name}, paper" for name in paper)]
    return reports.table([*headings, *TIMES], lines)


def timing_table(timings: Sequence[TimedResult]) -> str:
    """Returns the training times as a markdown table."""
    # Without attention, by network and data set.
    plain = {one.job.row.pair: one.step_seconds for one in timings if not one.job.row.has_attention}
    lines = []
    for one in timings:
        row, step = one.job.row, one.step_seconds
        ratio = f"{step / plain[row.pair]:.2f}" if row.pair in plain else NONE
        cells = [*row.cells, *reports.size_cells(one), f"{1e3 * step:.2f}", ratio]
        lines.append([*cells, f"{one.seconds:.1f}"])
    headings = [*HEADINGS, "parameters", "MACs", "ms per step", "ratio to none"]
    return reports.table([*headings, "training time (s)"], lines)


def draw_timings(timings: Sequence[TimedResult], title: str, path: Path) -> None:
    """Draws figures 9 and 10: training times, a panel for each network and data set."""
    panels = dict.fromkeys(one.job.row.pair for one in timings)
    with reports.figure(path, len(panels), (5, 4), title) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            shown = [one for one in timings if one.job.row.pair == panel]
            names = [f"{one.job.row.attention}\n{one.job.row.placement_text}" for one in shown]
            axes.barh(names, [one.seconds for one in shown])
            axes.invert_yaxis()
            axes.set(title=panel, xlabel="training time in seconds")


if __name__ == "__main__":
    sys.exit(main())
