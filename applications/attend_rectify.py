"""Attend and Rectify: ablations in clutter, wide residual networks, fine-tuning, beside the paper.

    python applications/attend_rectify.py --figure 4
    python applications/attend_rectify.py --figure 4 --part e --data cluttered_translated_mnist
    python applications/attend_rectify.py --table 1 --data cifar10 --depths 28
    python applications/attend_rectify.py --table 2 --forward-batch 32
    python applications/attend_rectify.py --table 3 --data stanford_dogs --backbone ResNet50

Without `--data` the tables take the paper's data and the figure the bundled digits. The paper's
data are trained as in the paper, others in a small way (attend_rectify_parts/protocols.py).

Reference: Rodriguez et al., Attend and Rectify (2018), figure 4 and tables 1 to 3.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import tensorflow as tf
from attend_rectify_parts import figure4, options, report, table1, table2, table3
from attend_rectify_parts.training import Job, Training, train
from program_parts import files, markdown
from program_parts.processes import in_processes

TABLES = {1: table1, 2: table2, 3: table3}


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code: 2 for what cannot be."""
    given = options.read(__doc__.splitlines()[0])
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    kind = figure4 if given.figure else TABLES[given.table]
    try:
        jobs = kind.jobs(given)
        check(jobs, loads=kind is not table2)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with files.logged(given.output / "log.txt"):
        if kind is table2:
            text, details = table2.run(given, jobs), ""
            print(f"{text}\n")
        else:
            text, details = run(given, kind, jobs)
        write_page(given, kind, jobs, text, details)
    return 0


def check(jobs: Sequence[Job], loads: bool) -> None:
    """Finds out whether the data are to be had and the networks can be built.

    Raises:
        ValueError: For options that cannot be.
        ConnectionError: Where data or weights are neither here nor to be downloaded.
        ImportError: Where layers are to learn at several rates, and Keras is too old.
    """
    first = {job.row: job for job in reversed(jobs)}
    if loads:
        for job in {job.data: job for job in jobs}.values():
            for split in ("train", "test"):
                job.load(split)
    for job in first.values():
        job.network("softmax")
        job.optimizer(job.protocol.learning_rate)


def run(given: argparse.Namespace, kind: ModuleType, jobs: Sequence[Job]) -> tuple[str, str]:
    """Trains all; prints our figures beside the paper's; returns the table and every training."""
    done: list[Training] = []
    for training in in_processes(train, jobs, given.processes):
        done.append(training)
        print(report.line_of(training), flush=True)
        files.write_csv(given.output / "results.csv", report.records(done))
        files.write_csv(given.output / "curves.csv", report.epochs(done))
    text = kind.finish(given, jobs, done)
    print(f"\n{text}\n")
    return text, report.every_training(done)


def write_page(
    given: argparse.Namespace, kind: ModuleType, jobs: Sequence[Job], text: str, details: str
) -> None:
    """Writes the markdown, where it is asked for."""
    if not given.markdown:
        return
    data = ", ".join(dict.fromkeys(job.data for job in jobs))
    title = f"Attend and Rectify, {kind.TITLE} on {data}"
    command = markdown.command("attend_rectify.py")
    page = markdown.page(title, command, kind.notes(given, jobs), text, details)
    files.write_text(given.markdown, page)
    print(f"wrote {given.markdown}")


if __name__ == "__main__":
    sys.exit(main())
