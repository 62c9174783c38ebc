"""Table 2: parameters, multiply-accumulates and time of wide residual networks.

Reference: Rodriguez et al., Attend and Rectify (2018), table 2.
"""

import csv
import statistics
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from program_parts import files, markdown
from program_parts.markdown import NONE

import keras_attention as ka
from attend_rectify_parts import clock, report, table1, wide
from attend_rectify_parts.clock import Timing
from attend_rectify_parts.paper import TABLE2
from attend_rectify_parts.wide import WideJob

TITLE = "table 2 (sizes and times)"
IMAGES, ROUNDS = 256, 9


def jobs(given: Namespace) -> list[WideJob]:
    """The networks of table 1 on the first of the data sets, without dropout: it takes no time.

    Raises:
        ValueError: For data that are no images with classes, or a file that is not there.
    """
    if given.trained:
        read_errors(given.trained)
    found = [row for row in table1.rows(given) if not row.dropout]
    if not found:
        raise ValueError(f"--dropouts must have 0 with --table 2. Received: {given.dropouts}")
    return [
        WideJob(row, given.seeds[0], table1.protocol_of(row.data, given))
        for row in found
        if row.data == found[0].data
    ]


def run(given: Namespace, planned: Sequence[WideJob]) -> str:
    """Times the networks; returns the table."""
    timings = clock.time_forward(planned, given.forward_batch or IMAGES, given.rounds or ROUNDS)
    files.write_csv(given.output / "results.csv", [_record(one) for one in timings])
    errors = read_errors(given.trained) if given.trained else {}
    data = list(dict.fromkeys(row.data for row in table1.rows(given)))
    headings = ["network", "parameters", "MACs", "ms a batch", "over WRN"]
    headings += [f"error %, {name}" for name in data]
    headings += ["paper's parameters", "paper's GFlop", "paper's s for 10,000"]
    lines = [
        [
            one.job.row.name,
            *report.counts(one),
            f"{1e3 * one.seconds:.1f}",
            _ratio(one, timings),
            *(_error(errors.get((one.job.row.name, name))) for name in data),
            *_printed(one.job.row),
        ]
        for one in timings
    ]
    return markdown.table(headings, lines)


def notes(given: Namespace, planned: Sequence[WideJob]) -> list[str]:
    """What a reader of the table has to know."""
    return [
        f"Time to forward {given.forward_batch or IMAGES} images: medians of "
        f'{given.rounds or ROUNDS} turns, the networks taking turns in one process; "over WRN" '
        "is against the plain network of the same depth. The paper counts multiply-accumulates "
        "and timed a validation epoch of 10,000 images in batches of 256 on a GPU. Errors: means "
        "of the trainings of table 1, where --trained names its results.csv.",
    ]


def read_errors(path: Path) -> dict[tuple[str, str], float]:
    """The mean errors of a results.csv of table 1, by network and data set.

    Raises:
        ValueError: For another file, or none.
    """
    if not path.is_file():
        raise ValueError(f"--trained must be a file. Received: --trained={path}")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    column = "error_percent"
    if not lines or not {"network", "data", column} <= set(lines[0]):
        raise ValueError(f"--trained must be the results.csv of --table 1. Received: {path}")
    found: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        if line[column]:
            found.setdefault((line["network"], line["data"]), []).append(float(line[column]))
    return {key: statistics.mean(values) for key, values in found.items()}


def _error(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _ratio(timing: Timing, timings: Sequence[Timing]) -> str:
    """Its time over that of the plain network of its depth."""
    row = timing.job.row
    plain = [
        one.seconds
        for one in timings
        if one.job.row.network == "WRN" and one.job.row.depth == row.depth
    ]
    return f"{timing.seconds / plain[0]:.3f}"


def _printed(row: wide.Row) -> list[str]:
    line = TABLE2.get((row.network, row.depth)) if row.width == wide.PAPER_WIDTH else None
    if line is None:
        return [NONE] * 3
    counts = ka.inspect.short_number(line.parameters), f"{line.macs / 1e9:.1f}"
    return [*counts, f"{line.seconds:.2f}"]


def _record(timing: Timing) -> dict[str, Any]:
    return {
        **timing.job.row.identity(),
        "parameters": timing.parameters,
        "macs": timing.macs,
        "images": timing.images,
        "ms_a_batch": round(1e3 * timing.seconds, 3),
    }
