"""Scale-Space Attention: train beside CBAM, BAM and RAN, compare with the paper's tables, time.

    python applications/scale_space.py --table 4 --data digits
    python applications/scale_space.py --table 9 --data digits --networks LeNet5
    python applications/scale_space.py --table 6 --data digit_sequences
    python applications/scale_space.py --figure 10 --data digits

Without `--data`, tables I to VII and IX and figures 9 and 10 take the paper's data, with usual
training; other data are trained in a small way (scale_space_parts/protocols.py).

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), tables I to IX, figures 9, 10.
"""

import argparse
import sys
from collections.abc import Sequence

import tensorflow as tf
from program_parts import files, markdown
from program_parts.processes import in_processes
from scale_space_parts import clock, figure, options, paper, protocols, report, rows
from scale_space_parts.paper import Table
from scale_space_parts.rows import Row
from scale_space_parts.training import Job, Training, train


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code: 2 for what cannot be."""
    given = options.read(__doc__.splitlines()[0])
    if given.table == options.DETECTION:
        print("python applications/scale_space_detection.py")
        return 0
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    table = paper.TABLES[given.table] if given.table else paper.FIGURES[given.figure]
    try:
        chosen = rows.choose(table, given)
        jobs = prepare(given, chosen)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with files.logged(given.output / "log.txt"):
        if given.figure:
            run_figure(given, table, jobs)
        else:
            run_table(given, table, chosen, jobs)
    return 0


def prepare(given: argparse.Namespace, chosen: Sequence[Row]) -> list[Job]:
    """The trainings of the rows that can be; checks that data and networks are to be had.

    Raises:
        ValueError: For options that cannot be.
        ConnectionError: Where the data are neither here nor to be downloaded.
    """
    jobs, parts = [], {}
    for row in chosen:
        protocol = protocols.choose(row.network, row.data, given)
        found = [Job(row, seed, protocol) for seed in given.seeds]
        key = (row.data, protocol.size, protocol.train_size)
        if key not in parts:
            parts[key] = found[0].load("test")
        if row.possible(*found[0].shapes(parts[key])):
            jobs += found
    return jobs


def run_table(
    given: argparse.Namespace, table: Table, chosen: Sequence[Row], jobs: Sequence[Job]
) -> None:
    """Trains all; prints our figures beside the paper's."""
    done: list[Training] = []
    for training in in_processes(train, jobs, given.processes):
        done.append(training)
        print(report.line_of(training), flush=True)
        files.write_csv(given.output / "results.csv", report.records(done))
    metrics = report.metrics_of(chosen)
    text = report.comparison(report.summarize(chosen, done), metrics, table.metrics)
    print(f"\n{text}\n")
    write_page(given, table, jobs, text, report.every_training(done, metrics))


def run_figure(given: argparse.Namespace, table: Table, jobs: Sequence[Job]) -> None:
    """Times a step of each row's first seed; prints and draws."""
    first = [job for job in jobs if job.seed == given.seeds[0]]
    found = []
    # One network at a time, as each variant of VGG-16 holds its weights and moments.
    for pair in dict.fromkeys((job.row.network, job.row.data) for job in first):
        turns = [job for job in first if (job.row.network, job.row.data) == pair]
        found += clock.time_steps(turns, given.rounds)
    files.write_csv(given.output / "results.csv", [report.timing_record(one) for one in found])
    text = report.timings(found)
    print(f"{text}\n")
    path = given.output / "training_time.png"
    figure.draw(found, table.title, path)
    print(f"wrote {path}")
    write_page(given, table, jobs, text)


def write_page(
    given: argparse.Namespace, table: Table, jobs: Sequence[Job], text: str, details: str = ""
) -> None:
    """Writes the markdown, where it is asked for."""
    if not given.markdown:
        return
    data = ", ".join(dict.fromkeys(job.row.data for job in jobs))
    title = f"Scale-Space Attention, {table.title} on {data}"
    command = markdown.command("scale_space.py")
    page = markdown.page(title, command, notes(given, jobs), text, details)
    files.write_text(given.markdown, page)
    print(f"wrote {given.markdown}")


def notes(given: argparse.Namespace, jobs: Sequence[Job]) -> list[str]:
    """What a reader of the table has to know."""
    described = dict.fromkeys(
        f"{job.row.network} on {job.row.data}: protocol {job.protocol.describe()}." for job in jobs
    )
    if given.figure:
        return [
            *described,
            f"Medians of {given.rounds} steps of training, taking turns in one process; "
            "seconds of training are that times the steps of the protocol. The paper's figure has "
            "bars without numbers.",
        ]
    shown = ", ".join(dict.fromkeys(job.row.paper_data for job in jobs if job.row.paper_data))
    seeds = ", ".join(map(str, given.seeds))
    return [
        *described,
        f"Seeds {seeds}; the mean (+- standard deviation) after the last epoch. The paper's: "
        f'{shown or "none"}; it gives no deviations. "-": not in the paper, cannot be built (no '
        "channel alignment between unlike channels), or not counted (MACs of recurrent layers). "
        f"Times are of {given.processes} trainings at a time, with whatever else the machine did: "
        "figures 9 and 10 compare times.",
    ]


if __name__ == "__main__":
    sys.exit(main())
