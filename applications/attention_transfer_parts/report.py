"""What a run says: a line for each training, records of trainings and epochs, the table."""

import statistics
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from program_parts import markdown

import keras_attention as ka
from attention_transfer_parts import plan
from attention_transfer_parts.plan import Cell, Row
from attention_transfer_parts.tables import TABLES, TEACHER
from attention_transfer_parts.training import ERRORS, Job, Training

Done = Mapping[Job, Training]
DIVERGED = "diverged"


def line_of(label: str, training: Training) -> str:
    """What is printed when a training is done."""
    errors = ", ".join(f"{name} {value:.2f}" for name, value in training.scores.items())
    took = f"trained in {training.seconds:.0f} s"
    earlier = " by an earlier run" if training.kept else ""
    return f"{label}: {errors or DIVERGED}, {took}{earlier}"


def labels(cells: Iterable[Cell]) -> dict[Job, str]:
    """What trainings are called, those of teachers who have no column of their own included."""
    cells = list(cells)
    names: dict[Job, str] = {}
    for cell in cells:
        names.setdefault(cell.job, cell.label)
    for cell in cells:
        if cell.job.teacher:
            label = f"{cell.row.label}, {TEACHER}, seed {cell.job.seed}"
            names.setdefault(cell.job.teacher, label)
    return names


def records(cells: Sequence[Cell], done: Done) -> list[dict[str, Any]]:
    """The lines of results.csv: every cell that is done, and teachers without a column."""
    return [_record(row, column, done[job]) for row, column, job in _places(cells) if job in done]


def epochs(cells: Sequence[Cell], done: Done) -> list[dict[str, Any]]:
    """The lines of curves.csv: every epoch of every training."""
    return [
        {**_identity(row, column, job), **{_column(k): round(v, 5) for k, v in epoch.items()}}
        for row, column, job in _places(cells)
        if job in done
        for epoch in done[job].curve
    ]


def comparison(given: Namespace, cells: Sequence[Cell], done: Done) -> str:
    """Our medians beside the paper's errors, laid out as in the paper."""
    across = given.table == 1
    rows, columns = plan.rows(given), plan.columns(given)
    cell = {
        (row, column): text(given, row, column, of_cell(cells, done, row, column))
        for row in rows
        for column in columns
    }
    if across:
        headings = ["student/teacher", "data", *columns]
        lines = [[row.pair, row.data, *(cell[row, name] for name in columns)] for row in rows]
    else:
        headings = ["", *(row.label for row in rows)]
        lines = [[name, *(cell[row, name] for row in rows)] for name in columns]
    table = markdown.table(headings, lines)
    if not any("(" in text for text in cell.values()):
        return table
    data = ", ".join(TABLES[given.table].data)
    return f"{table}\n\nIn brackets the paper's errors, on {data}."


def text(given: Namespace, row: Row, column: str, found: Sequence[Training]) -> str:
    """Of a cell: our medians, and the paper's in brackets."""
    table = TABLES[given.table]
    printed = table.printed(row.pair, row.data, column)
    ours = " / ".join(median(found, ERRORS[top]) for top in table.tops)
    if printed is None:
        return ours
    theirs = printed if isinstance(printed, tuple) else (printed,)
    return f"{ours} ({' / '.join(f'{value:g}' for value in theirs)})"


def of_cell(cells: Iterable[Cell], done: Done, row: Row, column: str) -> list[Training]:
    """Its trainings, one a seed."""
    return [done[cell.job] for cell in cells if (cell.row, cell.column) == (row, column)]


def median(found: Sequence[Training], name: str) -> str:
    """The median error of those that did not diverge, and how many seeds it leaves out."""
    values = [one.scores[name] for one in found if not one.diverged]
    if not values:
        return DIVERGED
    lost = len(found) - len(values)
    note = f" [{lost} of {len(found)} diverged]" if lost else ""
    return f"{statistics.median(values):.2f}{note}"


def sizes(cells: Iterable[Cell], done: Done) -> str:
    """The networks and their sizes, as a markdown table."""
    known: dict[tuple[str, str], Training] = {}
    for cell in cells:
        for job in (cell.job, cell.job.teacher):
            if job:
                known.setdefault((job.network.label, job.source.data), done[job])
    lines = [
        [*names, f"{one.parameters:,}", ka.inspect.short_number(one.macs)]
        for names, one in known.items()
    ]
    return markdown.table(["network", "data", "parameters", "MACs"], lines)


def every_training(cells: Sequence[Cell], done: Done) -> str:
    """A line a training, as a markdown table."""
    lines = []
    names = [ERRORS[top] for top in cells[0].job.tops]
    for row, column, job in _places(cells):
        one = done[job]
        errors = [f"{one.scores[name]:.2f}" if one.scores else DIVERGED for name in names]
        taken = [str(one.steps), f"{one.seconds:.0f}"]
        lines.append([row.pair, row.data, column, str(job.seed), *errors, *taken])
    headings = ["student/teacher", "data", "column", "seed", *names, "steps", "s of training"]
    return markdown.table(headings, lines)


def notes(cells: Sequence[Cell]) -> list[str]:
    """What a reader of the table has to know."""
    seeds = ", ".join(dict.fromkeys(str(cell.job.seed) for cell in cells))
    lines: dict[str, None] = {}
    for _, column, job in _places(cells):
        who = "Teachers" if column == TEACHER else "Students"
        lines.setdefault(f"{who}: {job.source.describe()}; protocol {job.protocol.describe()}.")
    methods = {cell.column: cell.job.method.describe() for cell in cells}
    taught = "; ".join(f"{name}: {said}" for name, said in methods.items() if said)
    return [
        *lines,
        *([f"{taught}."] if taught else []),
        f"Errors in %, after the last epoch: the median over seeds {seeds}.",
    ]


def _places(cells: Sequence[Cell]) -> list[tuple[Row, str, Job]]:
    """Where each training belongs, teachers without a column of their own included."""
    places = dict.fromkeys((cell.row, cell.column, cell.job) for cell in cells)
    teachers = {(cell.row, TEACHER, cell.job.teacher): None for cell in cells if cell.job.teacher}
    return list(places | teachers)


def _identity(row: Row, column: str, job: Job) -> dict[str, Any]:
    return {"row": row.pair, "data": row.data, "column": column, "seed": job.seed}


def _record(row: Row, column: str, one: Training) -> dict[str, Any]:
    job = one.job
    protocol = asdict(job.protocol)
    # `steps` below is what was taken.
    del protocol["steps"], protocol["name"]
    protocol["drops"] = " ".join(f"{share:g}" for share in job.protocol.drops)
    errors = {ERRORS[top]: one.scores.get(ERRORS[top]) for top in job.tops}
    return {
        **_identity(row, column, job),
        "network": job.network.label,
        **{_column(name): None if v is None else round(v, 4) for name, v in errors.items()},
        "diverged": one.diverged,
        "seconds": round(one.seconds, 1),
        "steps": one.steps,
        "parameters": one.parameters,
        "macs": one.macs,
        "taught_by": job.method.describe(),
        "protocol": job.protocol.name,
        **protocol,
        "size": job.source.size,
        "train_size": job.source.train_size,
        "file": one.path.name,
    }


def _column(name: str) -> str:
    return name.replace("%", "percent").replace(" ", "_").replace("-", "")
