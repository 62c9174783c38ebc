"""What a run says: a line for each training, records of trainings and epochs, notes."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from program_parts import markdown
from program_parts.markdown import NONE, over_seeds

from dynamic_capacity_parts.training import ERROR, Job, Training

DIVERGED = "diverged"


def line_of(training: Training) -> str:
    """What is printed when a training is done."""
    errors = ", ".join(f"{name} {value:.2f}" for name, value in training.scores.items())
    job, earlier = training.job, " by an earlier run" if training.kept else ""
    took = f"trained in {training.seconds:.0f} s{earlier}"
    return f"{job.label}, seed {job.seed}: {errors or DIVERGED}, {took}"


def records(trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """The lines of results.csv."""
    return [_record(training) for training in trainings]


def epochs(trainings: Iterable[Training]) -> list[dict[str, Any]]:
    """The lines of curves.csv: every epoch of every training."""
    trainings = list(trainings)
    columns = dict.fromkeys(name for one in trainings for line in one.curve for name in line)
    return [
        {**_identity(one.job), **{column(name): _rounded(line.get(name)) for name in columns}}
        for one in trainings
        for line in one.curve
    ]


def of_label(label: str, trainings: Iterable[Training]) -> list[Training]:
    """The trainings of a network, one a seed."""
    return [training for training in trainings if training.job.label == label]


def labels(jobs: Iterable[Job]) -> list[str]:
    """The networks of some jobs, in their order."""
    return list(dict.fromkeys(job.label for job in jobs))


def values_of(trainings: Iterable[Training], name: str = ERROR) -> list[float]:
    """An error by seeds, without those that diverged."""
    return [training.scores[name] for training in trainings if not training.diverged]


def mean(trainings: Iterable[Training], name: str = ERROR) -> float | None:
    """The mean error over the seeds that did not diverge; None if all did."""
    values = values_of(trainings, name)
    return statistics.mean(values) if values else None


def spread(trainings: Sequence[Training], name: str = ERROR) -> str:
    """Mean and deviation of an error."""
    return over_seeds(values_of(trainings, name), len(trainings))


def every_training(trainings: Sequence[Training]) -> str:
    """A line a training, as a markdown table."""
    names = list(dict.fromkeys(name for one in trainings for name in one.scores))
    headings = ["network", "seed", *names, "steps", "s of training"]
    return markdown.table(headings, [_cells(one, names) for one in trainings])


def notes(jobs: Sequence[Job]) -> list[str]:
    """How was trained, on what, and with which seeds."""
    images = dict.fromkeys(f"{job.describe()}." for job in jobs)
    described = dict.fromkeys(f"Protocol {job.protocol.describe()}." for job in jobs)
    seeds = ", ".join(dict.fromkeys(str(job.seed) for job in jobs))
    return [
        *images,
        *described,
        f"Seeds {seeds}; mean (+- standard deviation) after the last epoch.",
    ]


def column(name: str) -> str:
    """The name of a column in a file."""
    return name.replace("%", "percent").replace(" ", "_")


def _identity(job: Job) -> dict[str, Any]:
    return {"network": job.label, "data": job.data, "seed": job.seed}


def _record(training: Training) -> dict[str, Any]:
    protocol = asdict(training.job.protocol)
    # `steps` below is what was taken.
    del protocol["steps"]
    protocol["protocol"] = protocol.pop("name")
    return {
        **_identity(training.job),
        column(ERROR): _rounded(training.scores.get(ERROR)),
        "diverged": training.diverged,
        "parameters": training.parameters,
        "macs": training.macs,
        "macs_executed": training.executed,
        "steps": training.steps,
        "seconds": round(training.seconds, 1),
        **protocol,
        "file": training.path.name,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _cells(training: Training, names: Sequence[str]) -> list[str]:
    values = [training.scores.get(name) for name in names]
    cells = [NONE if value is None else f"{value:.2f}" for value in values]
    taken = [str(training.steps), f"{training.seconds:.0f}"]
    return [training.job.label, str(training.job.seed), *cells, *taken]
