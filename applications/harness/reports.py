"""Files of a run: logs, CSV files, figures, and reports in markdown."""

import contextlib
import csv
import io
import os
import platform
import shlex
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import keras_attention as ka
from keras_attention.utils.io import write_atomically

if TYPE_CHECKING:
    from harness.training import TrainingResult

NONE, DIVERGED = "-", "diverged"


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes records atomically; a column that a record does not have stays empty."""
    columns = dict.fromkeys(column for record in records for column in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())


@contextlib.contextmanager
def figure(
    path: Path, panels: int = 1, size: tuple[float, float] = (6, 4), title: str = "", **shared: Any
) -> Iterator[Sequence[Axes]]:
    """Yields the axes of panels side by side to draw on, then writes the figure.

    Args:
        path: PNG file.
        panels: Number of panels.
        size: Width and height of a panel.
        title: Title of the figure.
        **shared: Further arguments of `Figure.subplots`.
    """
    drawn = Figure(figsize=(size[0] * panels, size[1]), layout="constrained")
    if title:
        drawn.suptitle(title)
    yield drawn.subplots(1, panels, squeeze=False, **shared)[0]
    save_figure(drawn, path)


def draw_spreads(
    axes: Axes, positions: Sequence[float], values: Sequence[Sequence[float]], label: str = ""
) -> None:
    """Draws a line of the mean values at each position, with bars of the standard deviation."""
    means, bars = map(statistics.mean, values), map(deviation, values)
    axes.errorbar(positions, list(means), list(bars), marker="o", capsize=3, label=label)


def save_figure(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Writes a figure atomically and prints its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=dpi))
    print(f"wrote {path}")


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Copies everything that is printed to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(_Tee(file)):
        yield


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a markdown table whose columns are also aligned as plain text."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def write_page(
    path: Path | None, title: str, notes: Sequence[str], text: str, trainings: str = ""
) -> None:
    """Writes a report, with the command and the versions, if a path is given, and prints the path.

    Args:
        path: File of the report.
        title: Heading.
        notes: Paragraphs that explain the results.
        text: Results.
        trainings: Table with a line per training.
    """
    if path is None:
        return
    command = shlex.join(["python", f"applications/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow"))
    machine = f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores."
    parts = [f"# {title}", f"    {command}", *notes, machine, text]
    parts += ["## All trainings", trainings] if trainings else []
    write_text(path, "\n\n".join(parts) + "\n")
    print(f"wrote {path}")


def deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation over seeds; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def mean_and_deviation(values: Sequence[float], trainings: int, digits: int = 2) -> str:
    """Returns mean and standard deviation as text.

    Args:
        values: Scores of the trainings that did not diverge.
        trainings: Number of trainings. If it is larger, the text gives the number that diverged.
        digits: Number of decimals.
    """
    if not values:
        return DIVERGED
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" +- {deviation(values):.{digits}f}"
    lost = trainings - len(values)
    return f"{text} ({lost} of {trainings} diverged)" if lost else text


def grouped(
    results: Iterable["TrainingResult"], attribute: str = "row"
) -> dict[Any, list["TrainingResult"]]:
    """Groups results by an attribute of their jobs; without results, a group is empty."""
    groups: dict[Any, list[TrainingResult]] = defaultdict(list)
    for result in results:
        groups[getattr(result.job, attribute)].append(result)
    return groups


def values_of(results: Iterable["TrainingResult"], name: str) -> list[float]:
    """Returns a score of each result that did not diverge."""
    return [result.scores[name] for result in results if not result.diverged]


def mean_of(results: Iterable["TrainingResult"], name: str) -> float | None:
    """Returns the mean of a score over the seeds; None if all trainings diverged."""
    values = values_of(results, name)
    return statistics.mean(values) if values else None


def spread_of(results: Sequence["TrainingResult"], name: str, digits: int = 2) -> str:
    """Returns mean and standard deviation of a score as text."""
    return mean_and_deviation(values_of(results, name), len(results), digits)


def line_of(label: str, result: "TrainingResult") -> str:
    """Returns the line that is printed after a training."""
    scores = ", ".join(
        f"{name} {number(value, 4 if name in ('MAE', 'cosine') else 2)}"
        for name, value in result.scores.items()
    )
    source = " by an earlier run" if result.loaded else ""
    return f"{label}: {scores or DIVERGED}, trained in {result.seconds:.0f} s{source}"


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number as text; "-" for None."""
    return NONE if value is None else f"{value:.{digits}f}"


def size_cells(one: Any) -> list[str]:
    """Returns table cells of the parameters and multiply-accumulates of a result or timing."""
    return [f"{one.parameters:,}", short_number(one.macs)]


def short_number(value: float | None) -> str:
    """Returns a large number as text, such as "1.2M"; "-" for None."""
    return NONE if value is None else ka.inspect.short_number(value)


def column(name: str) -> str:
    """Returns the name of a score as a column of a CSV file."""
    name = name.lower().replace("%", "percent")
    return name.replace(" ", "_").replace("-", "_")


def score_record(result: "TrainingResult") -> dict[str, Any]:
    """Returns the measurements of a result as columns of `results.csv`."""
    return {
        **{column(name): round(value, 5) for name, value in result.scores.items()},
        "diverged": result.diverged,
        "parameters": result.parameters,
        "macs": result.macs,
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
    }


def curves(results: Iterable["TrainingResult"]) -> list[dict[str, Any]]:
    """Returns the lines of `curves.csv`: every epoch of every training."""
    return [line for one in results for line in curve_of(one.job.identity, one)]


def curve_of(identity: Mapping[str, Any], result: "TrainingResult") -> list[dict[str, Any]]:
    """Returns the lines of `curves.csv` of a training, one per epoch."""
    return [
        {**identity, **{column(name): round(value, 5) for name, value in epoch.items()}}
        for epoch in result.curve
    ]


def training_table(
    headings: Sequence[str], results: Iterable[tuple[Sequence[str], "TrainingResult"]]
) -> str:
    """Returns a table with a line per training: its label cells, scores, steps and seconds."""
    results = list(results)
    names = list(dict.fromkeys(name for _, result in results for name in result.scores))
    lines = [
        [
            *cells,
            *(number(result.scores.get(name)) for name in names),
            str(result.steps),
            f"{result.seconds:.0f}",
        ]
        for cells, result in results
    ]
    return table([*headings, *names, "steps", "training time (s)"], lines)


def all_trainings(results: Sequence["TrainingResult"]) -> str:
    """Returns a markdown table with a line per training."""
    cells = [([one.job.label, str(one.job.seed)], one) for one in results]
    return training_table(["network", "seed"], cells)


class _Tee(io.TextIOBase):
    """Writes to the standard output and to a file."""

    def __init__(self, file: TextIO):
        self.files = (sys.stdout, file)

    def write(self, text: str) -> int:
        for file in self.files:
            file.write(text)
            file.flush()
        return len(text)
