"""Attention Transfer: students that attend where their teachers do, beside the paper's tables.

    python applications/attention_transfer.py --table 1 --data cluttered_translated_digits
    python applications/attention_transfer.py --table 2 --data digits --seeds 0 1 2
    python applications/attention_transfer.py --table 3
    python applications/attention_transfer.py --table 4 --student-weights 18.keras
        --teacher-weights 34.keras
    python applications/attention_transfer.py --table 5

Without `--data` the tables take the paper's data and train as the paper does; other data are
trained in a small way (attention_transfer_parts/protocols.py). Teachers are trained first. What is
trained is kept, by default in the folder `networks` of the output, where another run finds it.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), tables 1 to 5,
figures 6 and 7.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import keras
import tensorflow as tf
from attention_transfer_parts import figures, options, plan, report
from attention_transfer_parts.plan import Cell
from attention_transfer_parts.report import Done
from attention_transfer_parts.tables import TABLES, TEACHER
from attention_transfer_parts.training import Job, Training, train
from program_parts import files, markdown
from program_parts.processes import in_processes

import keras_attention as ka


def main() -> int:
    """Trains teachers, then students, and reports; returns the exit code: 2 for what cannot be."""
    given = options.read(__doc__.splitlines()[0])
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    try:
        cells = plan.cells(given)
        check(cells)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with files.logged(given.output / "log.txt"):
        done = run(given, cells)
        text = report.comparison(given, cells, done)
        print(f"\n{text}\n")
        write_page(given, cells, done, text)
        for path in figures.draw(given, cells, done):
            print(f"wrote {path}")
        if given.export:
            export(given, cells, done)
    return 0


def check(cells: Sequence[Cell]) -> None:
    """Finds out whether the data are to be had and the networks can be built.

    Raises:
        ValueError: For options that cannot be.
        ConnectionError: Where the data are neither here nor to be downloaded.
    """
    jobs = {job: None for stage in plan.stages(cells) for job in stage}
    for source in dict.fromkeys(job.source for job in jobs):
        source.training(0)
        next(source.tests())
    kinds = {(job.network, job.source, job.protocol, job.weights): job for job in jobs}
    for job in kinds.values():
        job.protocol.steps_of_epoch(int(job.source.training(0).cardinality()))
        job.built(keras.Input(job.source.shape))


def run(given: argparse.Namespace, cells: Sequence[Cell]) -> Done:
    """Trains all, those first that others need; prints each."""
    done: dict[Job, Training] = {}
    names = report.labels(cells)
    work = partial(train, given.networks)
    for stage in filter(None, plan.stages(cells)):
        for training in in_processes(work, stage, given.processes):
            done[training.job] = training
            print(report.line_of(names[training.job], training), flush=True)
            files.write_csv(given.output / "results.csv", report.records(cells, done))
            files.write_csv(given.output / "curves.csv", report.epochs(cells, done))
    return done


def export(given: argparse.Namespace, cells: Sequence[Cell], done: Done) -> None:
    """Writes the first seed's students for serving; they return probabilities."""
    first = cells[0].job.seed
    for cell in cells:
        training = done[cell.job]
        if cell.job.seed != first or cell.column == TEACHER or training.diverged:
            continue
        student = keras.models.load_model(training.path, compile=False)
        served = keras.Model(student.input, keras.ops.softmax(student.output))
        path = given.output / "exported" / training.path.stem
        path.parent.mkdir(parents=True, exist_ok=True)
        ka.export.export_saved_model(served, path, overwrite=True)
        print(f"wrote {path}")


def write_page(given: argparse.Namespace, cells: Sequence[Cell], done: Done, text: str) -> None:
    """Writes the markdown, where it is asked for."""
    if not given.markdown:
        return
    data = ", ".join(dict.fromkeys(cell.row.data for cell in cells))
    title = f"Attention Transfer, {TABLES[given.table].title} on {data}"
    page = markdown.page(
        title,
        markdown.command("attention_transfer.py"),
        report.notes(cells),
        f"{text}\n\n{report.sizes(cells, done)}",
        report.every_training(cells, done),
    )
    files.write_text(given.markdown, page)
    print(f"wrote {given.markdown}")


if __name__ == "__main__":
    sys.exit(main())
