"""What a run says: a line for each training, records, tables in markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from program_parts import markdown
from program_parts.markdown import NONE, over_seeds

import keras_attention as ka
from scale_space_parts import scores
from scale_space_parts.clock import Timing
from scale_space_parts.rows import Row
from scale_space_parts.training import Job, Training

HEADINGS = ("network", "data", "attention", "placement")
# Decimals: accuracies are in percent.
DIGITS = {"cosine": 4, "MAE": 4}


@dataclass(frozen=True)
class Summary:
    """All trainings of a row.

    Attributes:
        row: The network.
        trainings: One a seed; none where the network cannot be.
    """

    row: Row
    trainings: tuple[Training, ...]

    def text(self, metric: str) -> str:
        """Mean and deviation of a score."""
        if not self.trainings or metric not in scores.metrics(ka.datasets.find(self.row.data)):
            return NONE
        values = [one.scores[metric] for one in self.trainings if not one.diverged]
        return over_seeds(values, len(self.trainings), DIGITS.get(metric, 2))


def summarize(rows: Iterable[Row], trainings: Sequence[Training]) -> list[Summary]:
    """Puts the seeds of each row together."""
    return [Summary(row, tuple(one for one in trainings if one.job.row == row)) for row in rows]


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """What is measured on the data of the rows."""
    found = (metric for row in rows for metric in scores.metrics(ka.datasets.find(row.data)))
    return list(dict.fromkeys(found))


def line_of(training: Training) -> str:
    """What is printed when a training is done."""
    figures = ", ".join(
        f"{metric} {value:.{DIGITS.get(metric, 2)}f}" for metric, value in training.scores.items()
    )
    job = training.job
    took = f"trained in {training.seconds:.0f} s"
    return f"{job.row.label}, seed {job.seed}: {figures or 'diverged'}, {took}"


def comparison(summaries: Sequence[Summary], metrics: Sequence[str], paper: Sequence[str]) -> str:
    """Our figures beside the paper's, as a markdown table.

    Args:
        summaries: One a row.
        metrics: Of ours.
        paper: Of the paper's.
    """
    headings = [*HEADINGS, "parameters", "MACs", *metrics, *(f"paper's {name}" for name in paper)]
    headings += ["ms a step", "s of training"]
    return markdown.table(headings, [_cells(one, metrics, paper) for one in summaries])


def every_training(trainings: Iterable[Training], metrics: Sequence[str]) -> str:
    """A line a training, as a markdown table."""
    headings = [*HEADINGS, "seed", *metrics, "ms a step", "s of training"]
    return markdown.table(headings, [_training_cells(one, metrics) for one in trainings])


def timings(found: Sequence[Timing]) -> str:
    """Training by the clock, as a markdown table."""
    headings = [*HEADINGS, "parameters", "MACs", "ms a step", "over none", "s of training"]
    return markdown.table(headings, [_timing_cells(one, found) for one in found])


def record(training: Training) -> dict[str, Any]:
    """A line of results.csv."""
    return {
        **_identity(training.job),
        **{_column(metric): value for metric, value in training.scores.items()},
        "diverged": training.diverged,
        "parameters": training.parameters,
        "macs": training.macs,
        "ms_a_step": round(1e3 * training.step_seconds, 2),
        "seconds": round(training.seconds, 1),
    }


def records(trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """All lines of results.csv, with the same columns."""
    lines = [record(training) for training in trainings]
    columns = dict.fromkeys(column for line in lines for column in line)
    return [{column: line.get(column) for column in columns} for line in lines]


def timing_record(timing: Timing) -> dict[str, Any]:
    """A line of a figure's CSV."""
    return {
        **_identity(timing.job),
        "parameters": timing.parameters,
        "macs": timing.macs,
        "ms_a_step": round(1e3 * timing.step_seconds, 2),
        "steps": timing.steps,
        "seconds": round(timing.seconds, 1),
    }


def _identity(job: Job) -> dict[str, Any]:
    row, protocol = job.row, asdict(job.protocol)
    protocol["protocol"] = protocol.pop("name")
    protocol["drops"] = " ".join(f"{share:g}" for share in job.protocol.drops)
    names = ("network", "data", "attention", "placement")
    return {**{name: getattr(row, name) for name in names}, "seed": job.seed, **protocol}


def _column(metric: str) -> str:
    return metric.lower().replace("-", "_").replace(" %", "_percent")


def _names(row: Row) -> list[str]:
    return [row.network, row.data, row.name, row.where]


def _counts(one: Training | Timing) -> list[str]:
    macs = NONE if one.macs is None else ka.inspect.short_number(one.macs)
    return [f"{one.parameters:,}", macs]


def _cells(summary: Summary, metrics: Sequence[str], paper: Sequence[str]) -> list[str]:
    row, trainings = summary.row, summary.trainings
    cells = _names(row) + (_counts(trainings[0]) if trainings else [NONE, NONE])
    cells += [summary.text(metric) for metric in metrics]
    cells += [_printed(row, metric) for metric in paper]
    if not trainings:
        return [*cells, NONE, NONE]
    step = statistics.mean(one.step_seconds for one in trainings)
    seconds = statistics.mean(one.seconds for one in trainings)
    return [*cells, f"{1e3 * step:.1f}", f"{seconds:.1f}"]


def _printed(row: Row, metric: str) -> str:
    if metric not in row.paper:
        return NONE
    return f"{row.paper[metric]:.{4 if row.paper[metric] < 1 else 2}f}"


def _training_cells(training: Training, metrics: Sequence[str]) -> list[str]:
    values = [training.scores.get(metric) for metric in metrics]
    cells = [*_names(training.job.row), str(training.job.seed)]
    cells += [NONE if value is None else f"{value:.4f}" for value in values]
    return [*cells, f"{1e3 * training.step_seconds:.1f}", f"{training.seconds:.1f}"]


def _timing_cells(timing: Timing, found: Sequence[Timing]) -> list[str]:
    row = timing.job.row
    plain = [
        one.step_seconds
        for one in found
        if (one.job.row.network, one.job.row.data, one.job.row.where)
        == (row.network, row.data, NONE)
    ]
    ratio = f"{timing.step_seconds / plain[0]:.2f}" if plain else NONE
    step = f"{1e3 * timing.step_seconds:.2f}"
    return [*_names(row), *_counts(timing), step, ratio, f"{timing.seconds:.1f}"]
