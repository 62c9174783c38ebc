"""Figure 5: what L2 and beta do to the speed-up and to the error.

Reference: Chitta, Targeted Kernel Networks (2018), figure 5.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from program_parts.markdown import deviation

from keras_attention.utils.io import write_atomically
from targeted_kernels_parts.report import Summary


def points(summaries: Sequence[Summary], metric: str) -> list[dict[str, Any]]:
    """A record a point: L2, beta, error and speed-ups over the baseline, which comes first."""
    baseline = summaries[0]
    if baseline.macs is None:
        return []
    return [
        {
            "network": summary.row.model,
            "l2": summary.row.scale_l2,
            "beta": summary.row.beta,
            "scale_l2": summary.trainings[0].job.scale_l2,
            "error": statistics.mean(summary.errors(metric)),
            "deviation": deviation(summary.errors(metric)),
            "baseline_error": statistics.mean(baseline.errors(metric)),
            "speedup_macs": baseline.macs / summary.macs,
            "speedup_clock": summary.times.baseline / summary.times.compact,
        }
        for summary in summaries[1:]
        if summary.finished
    ]


def draw(records: Sequence[dict[str, Any]], metric: str, title: str, path: Path) -> None:
    """Draws the error over the speed-up, in MACs and by the clock, a line for each beta."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, records, "speedup_macs", "speed-up in MACs")
    _panel(right, records, "speedup_clock", "speed-up by the clock, compact model")
    left.set_ylabel(metric)
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _panel(axes: Axes, records: Sequence[dict[str, Any]], name: str, label: str) -> None:
    for beta in sorted({record["beta"] for record in records}):
        line = sorted((r for r in records if r["beta"] == beta), key=lambda r: r["l2"])
        x, y = [r[name] for r in line], [r["error"] for r in line]
        bars = [r["deviation"] for r in line]
        axes.errorbar(x, y, bars, marker="o", capsize=3, label=f"beta {beta:g}")
        for record in line:
            where = (record[name], record["error"])
            axes.annotate(f"{record['l2']:g}", where, (4, 4), textcoords="offset points")
    axes.axhline(records[0]["baseline_error"], color="gray", linestyle=":", label="baseline")
    axes.set_xlabel(label)
