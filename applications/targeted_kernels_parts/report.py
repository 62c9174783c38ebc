"""What a run says: a line for each training, records, tables in markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from program_parts import markdown
from program_parts.markdown import NONE, over_seeds

import keras_attention as ka
from targeted_kernels_parts.clock import Times
from targeted_kernels_parts.tables import Row
from targeted_kernels_parts.training import Training


@dataclass(frozen=True)
class Summary:
    """All trainings of a row.

    Attributes:
        row: The network.
        trainings: One a seed.
        times: By the clock; None where all trainings diverged.
    """

    row: Row
    trainings: tuple[Training, ...]
    times: Times | None = None

    @property
    def finished(self) -> list[Training]:
        """Those that did not diverge."""
        return [training for training in self.trainings if not training.diverged]

    @property
    def macs(self) -> float | None:
        """The mean over the seeds."""
        counts = [training.macs for training in self.finished]
        return statistics.mean(counts) if counts else None

    def errors(self, metric: str) -> list[float]:
        """One a seed that did not diverge."""
        return [training.errors[metric] for training in self.finished]

    def error_text(self, metric: str) -> str:
        """Mean and deviation, and how many seeds they leave out."""
        return over_seeds(self.errors(metric), len(self.trainings))


def line_of(training: Training, name: str) -> str:
    """What is printed when a training is done."""
    took = f"trained in {training.seconds:.0f} s"
    if training.diverged:
        return f"{name} seed {training.job.seed}: diverged, {took}"
    errors = ", ".join(
        f"error {value:.2f} %" if metric == "error %" else f"{metric} {value:.3f}"
        for metric, value in training.errors.items()
    )
    macs = f"{training.macs / 1e6:.2f}M MACs"
    return f"{name} seed {training.job.seed}: {errors}, {macs}, {took}"


def comparison(summaries: Sequence[Summary], metrics: Sequence[str], paper: Sequence[str]) -> str:
    """Our figures beside the paper's, as a markdown table.

    Args:
        summaries: One a row.
        metrics: Headings of our errors.
        paper: Headings of the paper's errors.
    """
    headings = ["network", "parameters", "paper's", "MACs", "paper's", *metrics]
    headings += [f"paper's {metric}" for metric in paper]
    headings += ["ms, batch 64", "ms, compact"]
    return markdown.table(headings, [_cells(summary, metrics, paper) for summary in summaries])


def every_training(trainings: Iterable[Training], metrics: Sequence[str]) -> str:
    """A line a training, as a markdown table."""
    headings = ["network", "scale_l2", "rate", "seed", *metrics, "MACs", "seconds"]
    return markdown.table(headings, [_training_cells(one, metrics) for one in trainings])


def record(training: Training) -> dict[str, Any]:
    """A line of results.csv."""
    job, row = training.job, training.job.row
    protocol = asdict(job.protocol)
    protocol["protocol"] = protocol.pop("name")
    protocol["learning_rate"] = job.protocol.rate(row.model)
    for name in ("gentle_rate", "l2_times_steps", "augment"):
        del protocol[name]
    protocol["drops"] = " ".join(f"{share:g}" for share in job.protocol.drops)
    options = {"window": row.window, "scale_l2": job.scale_l2, "beta": row.beta, "roi": job.roi}
    options["roi_groups"] = row.roi_groups
    return {
        "network": row.label,
        "model": row.model,
        **{name: value if row.targeted else None for name, value in options.items()},
        "seed": job.seed,
        "data": job.data,
        **protocol,
        "error_percent": training.errors.get("error %"),
        "mse": training.errors.get("MSE"),
        "mae": training.errors.get("MAE"),
        "diverged": training.diverged,
        "macs": training.macs,
        "parameters": training.parameters,
        "seconds": round(training.seconds, 1),
    }


def _cells(summary: Summary, metrics: Sequence[str], paper: Sequence[str]) -> list[str]:
    row, number = summary.row, ka.inspect.short_number
    errors = row.paper.errors if row.paper else ()
    cells = [row.label, f"{summary.trainings[0].parameters:,}"]
    cells += [number(row.paper.parameters) if row.paper else NONE]
    cells += [NONE if summary.macs is None else number(summary.macs)]
    cells += [number(row.paper.macs) if row.paper else NONE]
    cells += [summary.error_text(metric) for metric in metrics]
    cells += [f"{error:.2f}" for error in errors] or [NONE] * len(paper)
    return [*cells, *_time_cells(summary.times)]


def _time_cells(times: Times | None) -> list[str]:
    if times is None:
        return [NONE, NONE]
    return [
        NONE if value is None else f"{value:.1f} ({value / times.baseline:.2f}x)"
        for value in (times.model, times.compact)
    ]


def _training_cells(training: Training, metrics: Sequence[str]) -> list[str]:
    job = training.job
    cells = [job.row.label, f"{job.scale_l2:.3g}" if job.row.targeted else NONE]
    cells += [f"{job.protocol.rate(job.row.model):g}", str(job.seed)]
    if training.diverged:
        cells += ["diverged"] * len(metrics) + [NONE]
    else:
        cells += [f"{training.errors[metric]:.3f}" for metric in metrics]
        cells += [ka.inspect.short_number(training.macs)]
    return [*cells, f"{training.seconds:.0f}"]
