"""Errors while networks learn (figure 7) and maps before and after transfer (figure 6).

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), figures 6 and 7.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import keras_attention as ka
from attention_transfer_parts import plan, report
from attention_transfer_parts.plan import Cell, Row
from attention_transfer_parts.report import Done
from attention_transfer_parts.tables import TABLES, TEACHER
from attention_transfer_parts.training import ERRORS, Training
from keras_attention.utils.io import write_whole

IMAGES = 4


def draw(given: Namespace, cells: Sequence[Cell], done: Done) -> Iterator[Path]:
    """Draws what can be drawn of a run; yields the files."""
    path = given.output / "figure7.png"
    curves(given, cells, done, path)
    yield path
    for row in plan.rows(given):
        path = given.output / f"figure6_{row.pair.replace('/', '_')}_{row.data}.png"
        if maps(given, row, cells, done, path):
            yield path


def curves(given: Namespace, cells: Sequence[Cell], done: Done, path: Path) -> None:
    """A panel for each row: medians over the seeds by epoch, dashed in training."""
    rows = plan.rows(given)
    figure = Figure(figsize=(6 * len(rows), 4.5), layout="constrained")
    name = ERRORS[TABLES[given.table].tops[-1]]
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        for index, column in enumerate(_drawn(given)):
            found = [one for one in report.of_cell(cells, done, row, column) if not one.diverged]
            if found:
                _panel(axes, column, found, name, f"C{index}")
        axes.set(title=row.label, xlabel="epoch", ylabel=name)
        axes.legend()
    figure.suptitle("solid: test, dashed: training")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def maps(given: Namespace, row: Row, cells: Sequence[Cell], done: Done, path: Path) -> bool:
    """Maps of a student alone, the same with attention transfer, and the teacher."""
    table = TABLES[given.table]
    seed = cells[0].job.seed
    of_row = {
        cell.column: done[cell.job]
        for cell in cells
        if cell.row == row and cell.job.seed == seed and not done[cell.job].diverged
    }
    taught = [one for one in of_row.values() if one.job.method.attention.value]
    if not taught or table.baseline not in of_row:
        return False
    transfer, job = taught[0], taught[0].job
    alone, student = (_load(one) for one in (of_row[table.baseline], transfer))
    teacher = _load(done[job.teacher])
    distiller = job.method.trainee(student, teacher, job.network.taps, transfer.steps)
    images, _ = next(iter(next(job.source.tests())))
    ka.inspect.plot_attention(distiller, images[:IMAGES].numpy(), path, before=alone)
    return True


def _drawn(given: Namespace) -> list[str]:
    return [column for column in plan.columns(given) if column != TEACHER]


def _panel(axes: Axes, column: str, found: Sequence[Training], name: str, color: str) -> None:
    for part, style in (("test", "-"), ("training", "--")):
        lines = [[epoch[f"{part} {name}"] for epoch in one.curve] for one in found]
        middle = np.median(lines, axis=0)
        label = column if part == "test" else None
        epochs = np.arange(1, len(middle) + 1)
        axes.plot(epochs, middle, style, color=color, label=label, linewidth=2 - (style != "-"))


def _load(training: Training) -> keras.Model:
    return keras.models.load_model(training.path, compile=False)
