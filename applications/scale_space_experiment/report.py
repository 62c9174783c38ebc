"""Reports of scale-space attention networks: comparisons with the paper and training times."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import reports
from harness.reports import NONE, number
from matplotlib.figure import Figure

import keras_attention as ka
from scale_space_experiment.tables import Row
from scale_space_experiment.training import TimedResult, metrics_of

HEADINGS = ("network", "data", "attention", "placement")
# Number of decimals; accuracies are in percent and have two.
DIGITS = {"cosine": 4, "MAE": 4}


def metrics_of_rows(rows: Iterable[Row]) -> list[str]:
    """Returns all metrics on the data sets of the rows."""
    found = (metric for row in rows for metric in metrics_of(ka.datasets.find(row.data)))
    return list(dict.fromkeys(found))


def comparison(
    rows: Iterable[Row],
    results: Sequence[TimedResult],
    metrics: Sequence[str],
    paper: Sequence[str],
) -> str:
    """Returns our results next to the paper's, as a markdown table.

    Args:
        rows: Rows of the table, including those that cannot be built.
        results: Results of all trainings.
        metrics: Our metrics.
        paper: The paper's metrics.
    """
    headings = [*HEADINGS, "parameters", "MACs", *metrics, *(f"{name}, paper" for name in paper)]
    headings += ["ms per step", "training time (s)"]
    lines = []
    for row in rows:
        found = [one for one in results if one.job.row == row]
        cells = _names(row) + (reports.size_cells(found[0]) if found else [NONE, NONE])
        cells += [_score(row, found, metric) for metric in metrics]
        cells += [_published(row, metric) for metric in paper]
        if found:
            step = statistics.mean(one.step_seconds for one in found)
            seconds = statistics.mean(one.seconds for one in found)
            cells += [f"{1e3 * step:.1f}", f"{seconds:.1f}"]
        else:
            cells += [NONE, NONE]
        lines.append(cells)
    return reports.table(headings, lines)


def _names(row: Row) -> list[str]:
    return [row.network, row.data, row.name, row.placement_text]


def _score(row: Row, results: Sequence[TimedResult], metric: str) -> str:
    if not results or metric not in metrics_of(ka.datasets.find(row.data)):
        return NONE
    return reports.spread_of(results, metric, DIGITS.get(metric, 2))


def _published(row: Row, metric: str) -> str:
    value = row.paper.get(metric)
    return NONE if value is None else number(value, 4 if value < 1 else 2)


def all_trainings(results: Iterable[TimedResult], metrics: Sequence[str]) -> str:
    """Returns a markdown table with a line per training."""
    lines = [
        [
            *_names(one.job.row),
            str(one.job.seed),
            *(number(one.scores.get(metric), 4) for metric in metrics),
            f"{1e3 * one.step_seconds:.1f}",
            f"{one.seconds:.1f}",
        ]
        for one in results
    ]
    return reports.table([*HEADINGS, "seed", *metrics, "ms per step", "training time (s)"], lines)


def timing_table(timings: Sequence[TimedResult]) -> str:
    """Returns the training times as a markdown table."""
    lines = []
    for one in timings:
        row = one.job.row
        key = (row.network, row.data, NONE)
        plain = [
            other.step_seconds
            for other in timings
            if (other.job.row.network, other.job.row.data, other.job.row.placement_text) == key
        ]
        ratio = f"{one.step_seconds / plain[0]:.2f}" if plain else NONE
        step = f"{1e3 * one.step_seconds:.2f}"
        lines.append([*_names(row), *reports.size_cells(one), step, ratio, f"{one.seconds:.1f}"])
    headings = [*HEADINGS, "parameters", "MACs", "ms per step", "ratio to none"]
    return reports.table([*headings, "training time (s)"], lines)


def timing_record(timing: TimedResult) -> dict[str, Any]:
    """Returns a line of `results.csv` of a figure."""
    record = timing.record()
    del record["diverged"]
    return record


def draw_timings(timings: Sequence[TimedResult], title: str, path: Path) -> None:
    """Draws figures 9 and 10: training times, a panel for each network and data set."""
    panels = list(dict.fromkeys((one.job.row.network, one.job.row.data) for one in timings))
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    figure.suptitle(title)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        shown = [one for one in timings if (one.job.row.network, one.job.row.data) == panel]
        names = [f"{one.job.row.attention}\n{one.job.row.placement_text}" for one in shown]
        axes.barh(names, [one.seconds for one in shown])
        axes.invert_yaxis()
        axes.set_title(" on ".join(panel))
        axes.set_xlabel("training time in seconds")
    reports.save_figure(figure, path)
