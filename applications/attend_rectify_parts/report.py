"""What a run says: a line for each training, records of trainings and epochs, tables."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from program_parts import markdown
from program_parts.markdown import NONE, over_seeds

import keras_attention as ka
from attend_rectify_parts.training import Job, Training


def line_of(training: Training) -> str:
    """What is printed when a training is done."""
    errors = ", ".join(f"{name} {value:.2f}" for name, value in training.scores.items())
    job, took = training.job, f"trained in {training.seconds:.0f} s"
    return f"{job.row.label}, seed {job.seed}: {errors or 'diverged'}, {took}"


def records(trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """The lines of results.csv, with the same columns."""
    lines = [_record(training) for training in trainings]
    columns = dict.fromkeys(column for line in lines for column in line)
    return [{column: line.get(column) for column in columns} for line in lines]


def epochs(trainings: Iterable[Training]) -> list[dict[str, Any]]:
    """The lines of curves.csv: every epoch of every training."""
    return [
        {**training.job.row.identity(), "seed": training.job.seed, **_rounded(epoch)}
        for training in trainings
        for epoch in training.curve
    ]


def beside_paper(jobs: Sequence[Job], trainings: Sequence[Training], name: str, digits: int) -> str:
    """A score of each row beside the paper's, as a markdown table."""
    headings = ["network", "data", "parameters", "MACs", name, f"paper's {name}"]
    lines = []
    for row in dict.fromkeys(job.row for job in jobs):
        found, printed = of_row(row, trainings), row.printed()
        paper = NONE if printed is None else f"{printed:.{digits}f}"
        lines.append([row.name, row.data, *counts(found[0]), spread(found, name), paper])
    return markdown.table(headings, lines)


def of_row(row: Any, trainings: Iterable[Training]) -> list[Training]:
    """Its trainings, one a seed."""
    return [training for training in trainings if training.job.row == row]


def mean(trainings: Iterable[Training], name: str) -> float | None:
    """The mean error over the seeds that did not diverge; None if all did."""
    values = values_of(trainings, name)
    return statistics.mean(values) if values else None


def values_of(trainings: Iterable[Training], name: str) -> list[float]:
    """An error by seeds, without those that diverged."""
    return [training.scores[name] for training in trainings if not training.diverged]


def spread(trainings: Sequence[Training], name: str) -> str:
    """Mean and deviation of an error."""
    return over_seeds(values_of(trainings, name), len(trainings))


def counts(one: Any) -> list[str]:
    """Cells of parameters and MACs, of a training or a timing."""
    return [f"{one.parameters:,}", ka.inspect.short_number(one.macs)]


def every_training(trainings: Sequence[Training]) -> str:
    """A line a training, as a markdown table."""
    names = list(dict.fromkeys(name for one in trainings for name in one.scores))
    headings = ["network", "seed", *names, "steps", "s of training"]
    return markdown.table(headings, [_cells(one, names) for one in trainings])


def protocol_notes(jobs: Sequence[Job]) -> list[str]:
    """How was trained, and with which seeds."""
    described = dict.fromkeys(f"Protocol {job.protocol.describe()}." for job in jobs)
    seeds = ", ".join(dict.fromkeys(str(job.seed) for job in jobs))
    return [*described, f"Seeds {seeds}; mean (+- standard deviation) after the last epoch."]


def _record(training: Training) -> dict[str, Any]:
    job, protocol = training.job, asdict(training.job.protocol)
    protocol["protocol"] = protocol.pop("name")
    protocol["drops"] = " ".join(f"{share:g}" for share in job.protocol.drops)
    return {
        **job.row.identity(),
        "seed": job.seed,
        **protocol,
        **{_column(name): round(v, 4) for name, v in training.scores.items()},
        "diverged": training.diverged,
        "parameters": training.parameters,
        "macs": training.macs,
        "steps": training.steps,
        "seconds": round(training.seconds, 1),
    }


def _column(name: str) -> str:
    return name.replace("%", "percent").replace(" ", "_")


def _rounded(epoch: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in epoch.items()}


def _cells(training: Training, names: Sequence[str]) -> list[str]:
    values = [training.scores.get(name) for name in names]
    cells = [NONE if value is None else f"{value:.2f}" for value in values]
    taken = [str(training.steps), f"{training.seconds:.0f}"]
    return [training.job.row.label, str(training.job.seed), *cells, *taken]
