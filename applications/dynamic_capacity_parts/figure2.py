"""Figure 2: what hints do to the distance of coarse from fine vectors.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), figure 2.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from program_parts import files, markdown

from dynamic_capacity_parts import cluttered, report
from dynamic_capacity_parts.cluttered import ClutteredJob
from dynamic_capacity_parts.training import ERROR, Training
from keras_attention.utils.io import write_atomically

served = cluttered.served
TITLE = "figure 2"
ROWS = (cluttered.WITHOUT_HINTS, cluttered.WITH_HINTS)


def jobs(given: Namespace) -> list[ClutteredJob]:
    """The network with hints and without, with each seed."""
    return cluttered.jobs_of(given, ROWS)


def finish(given: Namespace, planned: Sequence[ClutteredJob], done: Sequence[Training]) -> str:
    """Draws; returns the distances at first and at last."""
    found = points(done)
    if found:
        files.write_csv(given.output / "figure2.csv", found)
    path = given.output / "figure2.png"
    draw(found, planned[0].data, path)
    print(f"wrote {path}")
    headings = ["network", "distance after the first epoch", "after the last", ERROR]
    lines = []
    for row in ROWS:
        of_row = [point for point in found if point["network"] == row.label]
        ends = [f"{of_row[place]['distance']:.2f}" for place in (0, -1)] if of_row else ["-"] * 2
        lines.append([row.label, *ends, report.spread(report.of_label(row.label, done))])
    return markdown.table(headings, lines)


def points(done: Sequence[Training]) -> list[dict[str, Any]]:
    """Mean and deviation of the distance over the seeds, for each network and epoch."""
    records = []
    for row in ROWS:
        found = [one for one in report.of_label(row.label, done) if not one.diverged]
        distances = np.array([[line["distance"] for line in one.curve] for one in found])
        for epoch in range(distances.shape[1] if found else 0):
            values = distances[:, epoch].tolist()
            records.append(
                {
                    "network": row.label,
                    "epoch": epoch + 1,
                    "distance": round(float(np.mean(values)), 5),
                    "deviation": round(markdown.deviation(values), 5),
                }
            )
    return records


def draw(records: Sequence[dict[str, Any]], data: str, path: Path) -> None:
    """A line a network, with a band of the deviation."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for row in ROWS:
        line = [record for record in records if record["network"] == row.label]
        epochs, middle, spread = (
            np.array([record[name] for record in line], "float64")
            for name in ("epoch", "distance", "deviation")
        )
        axes.plot(epochs, middle, label=row.label)
        axes.fill_between(epochs, middle - spread, middle + spread, alpha=0.2)
    axes.set(title=f"Figure 2 on {data}", xlabel="epoch", ylabel="squared distance, in training")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))


def notes(given: Namespace, planned: Sequence[ClutteredJob]) -> list[str]:
    """What a reader of the figure has to know."""
    return [
        *report.notes(planned),
        "The squared distance of coarse from fine vectors at the patches that were chosen, the "
        "mean over the steps of an epoch, in training.",
    ]
