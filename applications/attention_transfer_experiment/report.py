"""Reports of attention transfer: records, tables, and figures 6 and 7.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figures 6 and 7.
"""

import statistics
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import reports
from harness.reports import DIVERGED
from harness.training import TrainingResult
from matplotlib.axes import Axes

import keras_attention as ka
from attention_transfer_experiment import tables
from attention_transfer_experiment.tables import TABLES, TEACHER, Cell, Row, Table
from attention_transfer_experiment.training import ERRORS, Job

Results = Mapping[Job, TrainingResult]
SHOWN_IMAGES = 4


def with_teachers(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells, and further ones for teachers without a column."""
    teachers = [Cell(cell.row, TEACHER, cell.job.teacher) for cell in cells if cell.job.teacher]
    return list(dict.fromkeys([*cells, *teachers]))


def records(cells: Sequence[Cell], results: Results) -> list[dict[str, Any]]:
    """Returns the lines of `results.csv`: all finished cells, and teachers without a column."""
    return [
        _record(cell, results[cell.job]) for cell in with_teachers(cells) if cell.job in results
    ]


def _record(cell: Cell, one: TrainingResult) -> dict[str, Any]:
    job = one.job
    return {
        **cell.identity,
        "network": job.network.label,
        **{reports.column(ERRORS[top]): None for top in job.tops},
        **reports.score_record(one),
        "method": job.method.describe(),
        **job.protocol.record(),
        "size": job.source.size,
        "train_size": job.source.train_size,
        "file": one.path.name,
    }


def curves(cells: Sequence[Cell], results: Results) -> list[dict[str, Any]]:
    """Returns the lines of `curves.csv`: every epoch of every training."""
    return [
        line
        for cell in with_teachers(cells)
        if cell.job in results
        for line in reports.curve_of(cell.identity, results[cell.job])
    ]


def comparison(options: Namespace, cells: Sequence[Cell], results: Results) -> str:
    """Returns our medians next to the paper's errors, arranged as in the paper."""
    rows, columns = tables.rows_of(options), tables.columns_of(options)
    text = {
        (row, column): _cell_text(
            TABLES[options.table], row, column, of_cell(cells, results, row, column)
        )
        for row in rows
        for column in columns
    }
    if options.table == 1:
        headings = ["student/teacher", "data", *columns]
        lines = [[row.pair, row.data, *(text[row, name] for name in columns)] for row in rows]
    else:
        headings = ["", *(row.label for row in rows)]
        lines = [[name, *(text[row, name] for row in rows)] for name in columns]
    table = reports.table(headings, lines)
    if not any("(" in one for one in text.values()):
        return table
    data = ", ".join(TABLES[options.table].data)
    return f"{table}\n\nIn brackets: the paper's errors on {data}."


def _cell_text(table: Table, row: Row, column: str, found: Sequence[TrainingResult]) -> str:
    """Returns our medians and, in brackets, the paper's errors."""
    ours = " / ".join(median(found, ERRORS[top]) for top in table.tops)
    errors = table.published(row.pair, row.data, column)
    return f"{ours} ({' / '.join(f'{error:g}' for error in errors)})" if errors else ours


def of_cell(cells: Iterable[Cell], results: Results, row: Row, column: str) -> list[TrainingResult]:
    """Returns the results of a cell, one per seed."""
    return [results[cell.job] for cell in cells if (cell.row, cell.column) == (row, column)]


def median(found: Sequence[TrainingResult], name: str) -> str:
    """Returns the median error as text, with the number of trainings that diverged."""
    values = reports.values_of(found, name)
    if not values:
        return DIVERGED
    lost = len(found) - len(values)
    note = f" [{lost} of {len(found)} diverged]" if lost else ""
    return f"{statistics.median(values):.2f}{note}"


def sizes(cells: Sequence[Cell], results: Results) -> str:
    """Returns the sizes of the networks as a markdown table."""
    jobs = [job for cell in cells for job in (cell.job, cell.job.teacher) if job]
    known: dict[tuple[str, str], TrainingResult] = {}
    for job in jobs:
        known.setdefault((job.network.label, job.source.data), results[job])
    lines = [[*names, *reports.size_cells(one)] for names, one in known.items()]
    return reports.table(["network", "data", "parameters", "MACs"], lines)


def all_trainings(cells: Sequence[Cell], results: Results) -> str:
    """Returns a markdown table with a line per training."""
    lines = [
        ([str(text) for text in cell.identity.values()], results[cell.job])
        for cell in with_teachers(cells)
    ]
    return reports.training_table(["student/teacher", "data", "column", "seed"], lines)


def notes(cells: Sequence[Cell]) -> list[str]:
    """Returns paragraphs that explain the results."""
    seeds = ", ".join(dict.fromkeys(str(cell.job.seed) for cell in cells))
    lines: dict[str, None] = {}
    for cell in with_teachers(cells):
        who, job = "Teachers" if cell.column == TEACHER else "Students", cell.job
        lines.setdefault(f"{who}: {job.source.describe()}; protocol {job.protocol.describe()}.")
    methods = {cell.column: cell.job.method.describe() for cell in cells}
    described = "; ".join(f"{name}: {text}" for name, text in methods.items() if text)
    return [
        *lines,
        *([f"{described}."] if described else []),
        f"Errors in % after the last epoch: the median over seeds {seeds}.",
    ]


def draw(options: Namespace, cells: Sequence[Cell], results: Results) -> None:
    """Draws figure 7, and figure 6 for each row that has the networks for it."""
    draw_curves(options, cells, results)
    for row in tables.rows_of(options):
        path = options.output / f"figure6_{row.pair.replace('/', '_')}_{row.data}.png"
        if draw_maps(options, row, cells, results, path):
            print(f"wrote {path}")


def draw_curves(options: Namespace, cells: Sequence[Cell], results: Results) -> None:
    """Draws median errors over the seeds after each epoch, a panel for each row."""
    rows, path = tables.rows_of(options), options.output / "figure7.png"
    name = ERRORS[TABLES[options.table].tops[-1]]
    students = [column for column in tables.columns_of(options) if column != TEACHER]
    title = "solid: test, dashed: training"
    with reports.figure(path, len(rows), (6, 4.5), title) as all_axes:
        for axes, row in zip(all_axes, rows, strict=True):
            for index, column in enumerate(students):
                found = [one for one in of_cell(cells, results, row, column) if not one.diverged]
                if found:
                    _draw_curve(axes, column, found, name, f"C{index}")
            axes.set(title=row.label, xlabel="epoch", ylabel=name)
            axes.legend()


def _draw_curve(
    axes: Axes, column: str, found: Sequence[TrainingResult], name: str, color: str
) -> None:
    for part, style in (("test", "-"), ("training", "--")):
        lines = [[epoch[f"{part} {name}"] for epoch in one.curve] for one in found]
        middle = np.median(lines, axis=0)
        label = column if part == "test" else None
        epochs = np.arange(1, len(middle) + 1)
        axes.plot(epochs, middle, style, color=color, label=label, linewidth=2 - (style != "-"))


def draw_maps(
    options: Namespace, row: Row, cells: Sequence[Cell], results: Results, path: Path
) -> bool:
    """Draws attention maps of a student without and with transfer and of its teacher.

    Returns:
        False if the row does not have these networks.
    """
    baseline, seed = TABLES[options.table].columns[0], cells[0].job.seed
    of_row = {
        cell.column: results[cell.job]
        for cell in cells
        if cell.row == row and cell.job.seed == seed and not results[cell.job].diverged
    }
    transferred = [one for one in of_row.values() if one.job.method.attention.value]
    if not transferred or baseline not in of_row:
        return False
    one, job = transferred[0], transferred[0].job
    before, student, teacher = (
        result.network() for result in (of_row[baseline], one, results[job.teacher])
    )
    distiller = job.method.distiller(student, teacher, job.network.layers, one.steps)
    images, _ = next(iter(next(job.source.tests())))
    ka.inspect.plot_attention(distiller, images[:SHOWN_IMAGES].numpy(), path, before=before)
    return True
