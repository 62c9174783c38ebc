"""The course of a program: prepare, train every job, report."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

import keras_attention as ka
from harness import reports, training
from harness.training import TrainingResult

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        title: Title in the report.
        jobs: Function of the options that returns the training jobs.
        finish: Function of the options, jobs and results that draws the figures and returns the
            text of the report.
        notes: Function of the options and jobs that returns paragraphs explaining the results.
        trainings: Function of the results that returns a table with a line per training.
        exported: Function of the results of the first seed that returns names and models to export.
    """

    title: str
    jobs: Callable[[Namespace], list[Any]]
    finish: Callable[[Namespace, Sequence[Any], Sequence[TrainingResult]], str]
    notes: Callable[[Namespace, Sequence[Any]], list[str]]
    trainings: Callable[[Sequence[TrainingResult]], str]
    exported: Callable[[Sequence[TrainingResult]], Any] | None = None


def run_program(
    output: Path,
    prepare: Callable[[], Plan],
    execute: Callable[[Plan], None],
    errors: tuple[type[Exception], ...] = (ValueError, OSError),
) -> int:
    """Runs a program and writes what it prints to `log.txt`.

    Args:
        output: Output folder.
        prepare: Checks the options and the data.
        execute: Runs the program with the result of `prepare`.
        errors: Exceptions of `prepare` that are printed as one line.

    Returns:
        Exit code: 0, or 2 if `prepare` raised one of the exceptions.
    """
    tf.get_logger().setLevel("ERROR")
    try:
        plan = prepare()
    except errors as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with reports.logged(output / "log.txt"):
        execute(plan)
    return 0


def train_jobs(
    train: Callable[[Any, int], TrainingResult],
    jobs: Sequence[Any],
    options: Namespace,
    line: Callable[[TrainingResult], str],
    records: Callable[[Sequence[TrainingResult]], list[dict[str, Any]]],
    curves: Callable[[Sequence[TrainingResult]], list[dict[str, Any]]] | None = None,
    done: Sequence[TrainingResult] = (),
) -> list[TrainingResult]:
    """Trains all jobs in parallel; prints each result and updates the CSV files.

    Args:
        train: Function of a job and a number of threads, called in a process of its own.
        jobs: Training jobs.
        options: Options with `output` and `processes`.
        line: Returns the line to print for a result.
        records: Returns the lines of `results.csv`.
        curves: Returns the lines of `curves.csv`; None to write no such file.
        done: Earlier results of the same run.

    Returns:
        All results, the earlier ones first.
    """
    results = list(done)
    for result in training.run_in_processes(train, jobs, options.processes) if jobs else ():
        results.append(result)
        print(line(result), flush=True)
        reports.write_csv(options.output / "results.csv", records(results))
        if curves is not None:
            reports.write_csv(options.output / "curves.csv", curves(results))
    return results


def export_model(model: keras.Model, output: Path, name: str) -> None:
    """Writes a model as a SavedModel to the folder `exported` of the output folder."""
    path = output / "exported" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    ka.export.export_saved_model(model, path, overwrite=True)
    print(f"wrote {path}")
