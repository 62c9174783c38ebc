"""The course of a program: prepare, train every job, report."""

import sys
from abc import ABC, abstractmethod
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


@dataclass(frozen=True)
class Run:
    """Options of the command line, training jobs and, unless nothing is trained, results."""

    options: Namespace
    jobs: Sequence[Any]
    results: Sequence[TrainingResult]


class Experiment(ABC):
    """A table or a figure of a paper.

    Attributes:
        paper: Title of the paper.
        title: Title in the report.
        trains: If False, the jobs are not trained.
        errors: Exceptions of `jobs` and `check` that are printed as one line.
    """

    paper: str
    title: str
    trains = True
    errors: tuple[type[Exception], ...] = (ValueError, OSError)

    @abstractmethod
    def jobs(self, options: Namespace) -> list[Any]:
        """Returns the training jobs; checks the options."""

    def check(self, jobs: Sequence[Any]) -> None:  # noqa: B027, not every experiment has one
        """Checks that the jobs can be trained."""

    @abstractmethod
    def finish(self, run: Run) -> str:
        """Draws the figures and returns the text of the report."""

    def notes(self, run: Run) -> list[str]:
        """Returns paragraphs that explain the results: by default, protocols and seeds."""
        described = dict.fromkeys(f"Protocol {job.protocol.describe()}." for job in run.jobs)
        seeds = ", ".join(dict.fromkeys(str(job.seed) for job in run.jobs))
        return [
            *described,
            f"Seeds {seeds}; mean (+- standard deviation) of the error after the last epoch.",
        ]

    def trainings(self, results: Sequence[TrainingResult]) -> str:
        """Returns a table with a line per training."""
        return reports.all_trainings(results)

    def exported(self, results: Sequence[TrainingResult]) -> Iterator[tuple[str, keras.Model]]:
        """Yields names and models to export: by default, the networks of the first seed."""
        return ((one.path.stem, one.network()) for one in results)

    def main(self, options: Namespace, train: Callable[[Any, int], TrainingResult]) -> int:
        """Trains the jobs, prints and writes the report, and exports the networks if requested.

        Args:
            options: Options of the command line.
            train: Function of a job and a number of threads that returns a result.

        Returns:
            Exit code.
        """

        def prepare() -> list[Any]:
            jobs = self.jobs(options)
            self.check(jobs)
            return jobs

        def execute(jobs: Sequence[Any]) -> None:
            results = train_jobs(train, jobs if self.trains else [], options)
            self._report(Run(options, jobs, results))

        return run_program(options.output, prepare, execute, self.errors)

    def _report(self, run: Run) -> None:
        text, results = self.finish(run), run.results
        if text:
            print(f"\n{text}\n")
        data = ", ".join(dict.fromkeys(job.data for job in run.jobs))
        reports.write_page(
            run.options.markdown,
            f"{self.paper}, {self.title}{f' on {data}' if data else ''}",
            self.notes(run),
            text,
            self.trainings(results) if results else "",
        )
        if getattr(run.options, "export", None):
            first = [one for one in results if one.job.seed == results[0].job.seed]
            for name, model in self.exported([one for one in first if not one.diverged]):
                export_model(model, run.options.output, name)


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
