"""The course of a program: prepare, train every job, report."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

import keras_attention as ka
from harness import reports, training
from harness.training import TrainingResult

Plan = TypeVar("Plan")


def trained_networks(
    results: Sequence[TrainingResult],
) -> Iterator[tuple[str, keras.Model]]:
    """Yields names and networks of results with checkpoints."""
    return ((one.path.stem, one.network()) for one in results)


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        title: Title in the report.
        jobs: Function of the options that returns the training jobs.
        finish: Function of the options, jobs and results that draws the figures and returns the
            text of the report.
        notes: Function of the options and jobs that returns paragraphs explaining the results.
        trains: If False, the jobs are not trained.
        exported: Function of the results of the first seed that returns names and models to export;
            by default, the trained networks.
        trainings: Function of the results that returns a table with a line per training.
    """

    title: str
    jobs: Callable[[Namespace], list[Any]]
    finish: Callable[[Namespace, Sequence[Any], Sequence[TrainingResult]], str]
    notes: Callable[[Namespace, Sequence[Any]], list[str]]
    trains: bool = True
    exported: Callable[[Sequence[TrainingResult]], Any] = trained_networks
    trainings: Callable[[Sequence[TrainingResult]], str] = reports.all_trainings

    def main(
        self,
        options: Namespace,
        paper: str,
        train: Callable[[Any, int], TrainingResult],
        check: Callable[[Sequence[Any]], None] = lambda jobs: None,
        errors: tuple[type[Exception], ...] = (ValueError, OSError),
    ) -> int:
        """Runs the experiment as a program; returns the exit code.

        Args:
            options: Options of the command line.
            paper: Title of the paper.
            train: Function of a job and a number of threads that returns a result.
            check: Function of the jobs that raises one of `errors` if they cannot be trained.
            errors: Exceptions that are printed as one line.
        """

        def prepare() -> list[Any]:
            jobs = self.jobs(options)
            check(jobs)
            return jobs

        return run_program(
            options.output, prepare, lambda jobs: self.run(options, paper, train, jobs), errors
        )

    def run(self, options: Namespace, paper: str, train: Callable, jobs: Sequence[Any]) -> None:
        """Trains the jobs, prints and writes the report, and exports the networks if requested.

        Args:
            options: Options of the command line.
            paper: Title of the paper.
            train: Function of a job and a number of threads that returns a result.
            jobs: Training jobs.
        """
        results = train_jobs(train, jobs if self.trains else [], options)
        text = self.finish(options, jobs, results)
        if text:
            print(f"\n{text}\n")
        data = ", ".join(dict.fromkeys(job.data for job in jobs))
        reports.write_page(
            options.markdown,
            f"{paper}, {self.title}{f' on {data}' if data else ''}",
            self.notes(options, jobs),
            text,
            self.trainings(results) if results else "",
        )
        if getattr(options, "export", None):
            first = [one for one in results if one.job.seed == results[0].job.seed]
            for name, model in self.exported([one for one in first if not one.diverged]):
                export_model(model, options.output, name)


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
    train: Callable[[Any, int], TrainingResult], jobs: Sequence[Any], options: Namespace
) -> list[TrainingResult]:
    """Trains all jobs in parallel; prints each result and updates `results.csv` and `curves.csv`.

    Args:
        train: Function of a job and a number of threads, called in a process of its own.
        jobs: Training jobs with `label`, `seed`, `identity` and `protocol`.
        options: Options with `output` and `processes`.
    """
    results: list[TrainingResult] = []
    for result in training.run_in_processes(train, jobs, options.processes) if jobs else ():
        results.append(result)
        print(result.line, flush=True)
        reports.write_csv(options.output / "results.csv", [one.record() for one in results])
        if result.curve:
            reports.write_csv(options.output / "curves.csv", reports.curves(results))
    return results


def export_model(model: keras.Model, output: Path, name: str) -> None:
    """Writes a model as a SavedModel to the folder `exported` of the output folder."""
    path = output / "exported" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    ka.export.export_saved_model(model, path, overwrite=True)
    print(f"wrote {path}")
