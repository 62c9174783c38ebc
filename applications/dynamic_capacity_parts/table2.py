"""Table 2: whole numbers, read by coarse and fine networks that were trained apart, and joined.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), table 2.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from program_parts import files, markdown
from program_parts.processes import in_processes

from dynamic_capacity_parts import numbers, paper, report
from dynamic_capacity_parts.numbers import Measure, NumberJob
from dynamic_capacity_parts.training import ERROR, Training

TITLE = "table 2"


def jobs(given: Namespace) -> list[NumberJob]:
    """The two networks that all lines are made of, with each seed."""
    return list(numbers.jobs_of(given))


def finish(given: Namespace, planned: Sequence[NumberJob], done: Sequence[Training]) -> str:
    """Measures every line on whole pictures; returns our errors beside the paper's."""
    measures = [
        Measure(row, coarse, fine)
        for row in numbers.ROWS
        for coarse, fine in pairs(done)
        if not (coarse.diverged or fine.diverged)
    ]
    measured: list[dict[str, Any]] = []
    if measures:
        for record in in_processes(numbers.measure, measures, given.processes):
            measured.append(record)
            print(f"{record['row']}, seed {record['seed']}: {record['error_percent']:.2f}")
            files.write_csv(given.output / "table2.csv", measured)
    return comparison(measured, len(given.seeds))


def pairs(done: Sequence[Training]) -> Iterator[tuple[Training, Training]]:
    """The coarse and the fine network of each seed."""
    fine = {one.job.seed: one for one in report.of_label("fine", done)}
    for coarse in report.of_label("coarse", done):
        yield coarse, fine[coarse.job.seed]


def comparison(measured: Sequence[dict[str, Any]], seeds: int) -> str:
    """Our errors beside the paper's, as a markdown table."""
    lines = []
    for row in numbers.ROWS:
        found = [record for record in measured if record["row"] == row.label]
        errors = [record["error_percent"] for record in found]
        seconds = f"{found[0]['seconds']:.0f}" if found else markdown.NONE
        printed = f"{paper.TABLE2[row.label]:.1f}"
        lines.append([row.label, markdown.over_seeds(errors, seeds), printed, seconds])
    return markdown.table(["network", ERROR, "paper's", "s for all pictures"], lines)


def notes(given: Namespace, planned: Sequence[NumberJob]) -> list[str]:
    """What a reader of the table has to know."""
    return [
        *report.notes(planned),
        "Errors are of numbers that are not read whole: length and all digits. Coarse and fine "
        "networks are trained apart and joined for the test; all lines of a seed are of the same "
        "two. Scales are 1, 0.75 and 0.5. The errors of every training are of crops. The paper's "
        "are of SVHN.",
    ]


def served(done: Sequence[Training]) -> Iterator[tuple[str, keras.Model]]:
    """What is exported: what was trained, and both joined, with 6 patches at one scale."""
    yield from ((one.path.stem, one.network()) for one in done)
    if len(done) == 2:
        coarse, fine = done
        row = next(row for row in numbers.ROWS if row.kind == "DCN")
        model = row.model(coarse.network(), fine.network(), coarse.job.width)
        yield coarse.path.stem.replace("coarse", "DCN", 1), model
