"""Reports of scale-space attention networks: comparisons with the paper and training times."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import reports
from harness.reports import NONE, number

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
    by_row, lines = reports.grouped(results), []
    for row in rows:
        found = by_row[row]
        cells = row.cells + (reports.size_cells(found[0]) if found else [NONE, NONE])
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


def _score(row: Row, results: Sequence[TimedResult], metric: str) -> str:
    if not results or metric not in metrics_of(ka.datasets.find(row.data)):
        return NONE
    return reports.spread_of(results, metric, DIGITS.get(metric, 2))


def _published(row: Row, metric: str) -> str:
    value = row.paper.get(metric)
    return NONE if value is None else number(value, 4 if value < 1 else 2)


def all_trainings(results: Sequence[TimedResult]) -> str:
    """Returns a markdown table with a line per training."""
    metrics = metrics_of_rows(one.job.row for one in results)
    lines = [
        [
            *one.job.row.cells,
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
    # Without attention, by network and data set.
    plain = {
        one.job.row.pair: one.step_seconds
        for one in timings
        if one.job.row.variant.attention is None
    }
    lines = []
    for one in timings:
        row, step = one.job.row, one.step_seconds
        ratio = f"{step / plain[row.pair]:.2f}" if row.pair in plain else NONE
        cells = [*row.cells, *reports.size_cells(one), f"{1e3 * step:.2f}", ratio]
        lines.append([*cells, f"{one.seconds:.1f}"])
    headings = [*HEADINGS, "parameters", "MACs", "ms per step", "ratio to none"]
    return reports.table([*headings, "training time (s)"], lines)


def timing_record(timing: TimedResult) -> dict[str, Any]:
    """Returns a line of `results.csv` of a figure."""
    record = timing.record()
    del record["diverged"]
    return record


def draw_timings(timings: Sequence[TimedResult], title: str, path: Path) -> None:
    """Draws figures 9 and 10: training times, a panel for each network and data set."""
    panels = dict.fromkeys(one.job.row.pair for one in timings)
    with reports.figure(path, len(panels), (5, 4), title) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            shown = [one for one in timings if one.job.row.pair == panel]
            names = [f"{one.job.row.attention}\n{one.job.row.placement_text}" for one in shown]
            axes.barh(names, [one.seconds for one in shown])
            axes.invert_yaxis()
            axes.set(title=" on ".join(panel), xlabel="training time in seconds")
