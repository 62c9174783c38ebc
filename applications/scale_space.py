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
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness import reports
from harness.options import add_protocol_options, add_run_options, parse, positive_int
from harness.programs import Experiment
from harness.published import Table
from scale_space_experiment import report, tables, training
from scale_space_experiment.training import Job

OUTPUT = Path("runs/scale_space")
DETECTION = 8


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code."""
    options = read_options()
    if options.table == DETECTION:
        print("python applications/scale_space_detection.py")
        return 0
    table = tables.TABLES[options.table] if options.table else tables.FIGURES[options.figure]
    experiment = Experiment(
        table.title,
        partial(jobs_of, table),
        partial(finish_table if options.table else finish_figure, table),
        notes,
        trains=options.table is not None,
        trainings=report.all_trainings,
    )
    return experiment.main(options, "Scale-Space Attention", training.train)


def read_options() -> argparse.Namespace:
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


def jobs_of(table: Table, options: argparse.Namespace) -> list[Job]:
    """Returns the training jobs of all rows that can be built; checks data sets and networks."""
    jobs, tests = [], {}
    for row in tables.choose_rows(table, options):
        protocol = training.choose_protocol(row.network, row.data, options)
        found = [Job(row, seed, protocol, row.data) for seed in options.seeds]
        key = (row.data, protocol.size, protocol.train_size)
        if key not in tests:
            tests[key] = found[0].load("test")
        if row.possible(*found[0].shapes(tests[key])):
            jobs += found
    return jobs


def finish_table(
    table: Table,
    options: argparse.Namespace,
    jobs: Sequence[Job],
    results: Sequence[training.TimedResult],
) -> str:
    """Returns our results next to the paper's."""
    rows = tables.choose_rows(table, options)
    metrics = report.metrics_of_rows(rows)
    return report.comparison(rows, results, metrics, table.headings("metric"))


def finish_figure(
    table: Table, options: argparse.Namespace, jobs: Sequence[Job], results: Sequence[Any]
) -> str:
    """Times a training step of each row with the first seed; draws and returns the times."""
    first = [job for job in jobs if job.seed == options.seeds[0]]
    timings = []
    # One network at a time: all variants of VGG-16 with their optimizers need much memory.
    for pair in dict.fromkeys(job.row.pair for job in first):
        compared = [job for job in first if job.row.pair == pair]
        timings += training.time_steps(compared, options.rounds)
    records = [report.timing_record(one) for one in timings]
    reports.write_csv(options.output / "results.csv", records)
    report.draw_timings(timings, table.title, options.output / "training_time.png")
    return report.timing_table(timings)


def notes(options: argparse.Namespace, jobs: Sequence[Job]) -> list[str]:
    """Returns paragraphs that explain the results."""
    described = dict.fromkeys(
        f"{job.row.network} on {job.row.data}: protocol {job.protocol.describe()}." for job in jobs
    )
    if options.figure:
        return [
            *described,
            f"The time of a step is the median of {options.rounds} training steps, interleaved in "
            "one process. The training time is that times the steps of the protocol. The bars of "
            "the paper's figure have no numbers.",
        ]
    papers = dict.fromkeys(job.row.paper_data for job in jobs if job.row.paper_data)
    seeds = ", ".join(map(str, options.seeds))
    return [
        *described,
        f"Seeds {seeds}; mean (+- standard deviation) after the last epoch. The paper's numbers "
        f'are those of {", ".join(papers) or "no data set"}, without deviations. "-": not in the '
        "paper, cannot be built (different numbers of channels without channel alignment), or not "
        f"counted (MACs of recurrent layers). {options.processes} trainings ran at the same time, "
        "so their times are rough: figures 9 and 10 compare times.",
    ]


if __name__ == "__main__":
    sys.exit(main())
