"""Attention Transfer: train students with the attention of their teachers, compare with the paper.

    python applications/attention_transfer.py --table 1 --data cluttered_translated_digits
    python applications/attention_transfer.py --table 2 --data digits --seeds 0 1 2
    python applications/attention_transfer.py --table 3
    python applications/attention_transfer.py --table 4 --student-weights 18.keras
        --teacher-weights 34.keras
    python applications/attention_transfer.py --table 5

Without `--data`, the tables use the paper's data sets and training protocols. Other data sets use a
short protocol (attention_transfer_experiment/training.py). Teachers are trained first. Trained
networks are stored, by default in the folder `checkpoints` of the output, and loaded by later runs.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), tables 1 to 5,
figures 6 and 7.
"""

import argparse
import itertools
import statistics
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from attention_transfer_experiment import images, networks, tables, training
from attention_transfer_experiment.tables import TABLES, TEACHER, Cell, Row
from attention_transfer_experiment.training import ERRORS, Job
from harness import options as cli
from harness import reports
from harness import training as harness_training
from harness.programs import export_model, run_program
from harness.reports import DIVERGED
from harness.training import TrainingResult
from matplotlib.axes import Axes

import keras_attention as ka
from keras_attention.distillation.gradient_attention import KINDS

OUTPUT = Path("runs/attention_transfer")
SHOWN_IMAGES = 4
# Options that do not apply to all tables.
EXPERIMENTS = {
    ("table 1", "table 2", "table 3"): (
        *("teacher_train_size", "distractors", "test_draws", "augmentation"),
    ),
    ("table 1", "table 3", "table 4"): ("alpha", "temperature"),
    ("table 1",): ("schedule", "hint_weight"),
    ("table 3",): ("gradient_weights",),
    ("table 4",): ("student_weights", "teacher_weights"),
    ("table 5",): ("start",),
}
Results = Mapping[Job, TrainingResult]


def main() -> int:
    """Trains teachers, then students, and reports; returns the exit code."""
    options = read_options()
    return run_program(options.output, lambda: prepare(options), lambda cells: run(options, cells))


def read_options(arguments: Sequence[str] | None = None) -> Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=int, choices=list(TABLES), required=True)
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="STUDENT/TEACHER",
        help=f"pairs (the paper's), networks among {networks.ALLOWED}",
    )
    parser.add_argument("--columns", nargs="+", metavar="NAME", help="columns of the table (all)")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (the paper's)")
    _add_image_options(parser)
    _add_method_options(parser)
    cli.add_protocol_options(
        parser,
        *("epochs", "steps", "batch_size", "learning_rate", "momentum", "weight_decay"),
        "steps_per_execution",
        note="otherwise those of a short training; with --table 3, learning rate and weight decay "
        "are only those of the students",
    )
    cli.add_checkpoint_options(parser)
    cli.add_run_options(parser, f"{OUTPUT}_table1", None, "; all teachers are trained first")
    options = cli.parse(parser, OUTPUT, arguments, EXPERIMENTS)
    if options.table == 4 and None in (options.student_weights, options.teacher_weights):
        parser.error(
            "--table 4 needs --student-weights and --teacher-weights: files of networks trained "
            f"on ImageNet, such as --table 5 writes, or {tables.NO_FILE}"
        )
    return options


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    cli.add_options(
        parser.add_argument_group("images", "in brackets: on other data than the paper's"),
        size=(cli.positive_int, f"side of the images in pixels ({tables.SMALL_SIZE})"),
        train_size=(
            cli.positive_int,
            f"number of training images of a student ({tables.SMALL_TRAIN_SIZE})",
        ),
        teacher_train_size=(
            cli.positive_int,
            "number of training images of a teacher, which contain those of the student "
            f"({tables.SMALL_TEACHER_TRAIN_SIZE})",
        ),
        test_draws=(cli.positive_int, "number of images generated from each test image (1)"),
        distractors=(
            cli.non_negative_int,
            f"number of distractors of cluttered images ({images.DISTRACTORS})",
        ),
        augmentation=(
            images.AUGMENTATIONS,
            "(photographs: crop, with --table 3 flip; grayscale images: none)",
        ),
    )


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    pairs = {"nargs": "+", "type": _gradient_weight, "metavar": "KIND=NUMBER"}
    number, file = cli.positive_float, {"metavar": "FILE"}
    weights = f"weights trained on ImageNet, or {tables.NO_FILE} (table 4)"
    start = f"fraction of the training before attention transfer starts, table 5 ({tables.START})"
    cli.add_options(
        parser.add_argument_group("methods"),
        beta=(number, f"weight of attention transfer ({tables.BETA:g})"),
        temperature=(number, f"temperature of knowledge distillation ({tables.TEMPERATURE:g})"),
        hint_weight=(
            number,
            f"weight of full-activation transfer, F-ActT ({tables.HINT_WEIGHT:g})",
        ),
        alpha=(_alpha, f"weight of knowledge distillation ({tables.ALPHA})"),
        schedule=(
            training.SCHEDULES,
            "decay of the weights of F-ActT and of attention in AT+KD (linear)",
        ),
        gradient_weights=(
            pairs,
            f"weights of the losses of table 3, KIND among {', '.join(KINDS)} (1 each)",
        ),
        start=(cli.fraction, start),
        student_weights=(file, weights),
        teacher_weights=(file, weights),
    )


def _alpha(text: str) -> float:
    number = cli.positive_float(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"must be at most 1. Received: {text!r}")
    return number


def _gradient_weight(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(
            f"must be KIND=NUMBER, KIND among {', '.join(KINDS)}. Received: {text!r}"
        )
    return kind, cli.positive_float(number)


def prepare(options: Namespace) -> list[Cell]:
    """Returns the cells; checks that the data sets can be loaded and the networks built."""
    cells = tables.cells_of(options)
    jobs = {job: None for stage in tables.stages_of(cells) for job in stage}
    for source in dict.fromkeys(job.source for job in jobs):
        source.training_data(0)
        next(source.tests())
    kinds = {(job.network, job.source, job.protocol, job.weights): job for job in jobs}
    for job in kinds.values():
        job.protocol.steps_per_epoch(int(job.source.training_data(0).cardinality()))
        job.build(keras.Input(job.source.shape))
    return cells


def run(options: Namespace, cells: Sequence[Cell]) -> None:
    """Trains all networks, writes the report and the figures, and exports if requested."""
    results = train_all(options, cells)
    text = comparison(options, cells, results)
    print(f"\n{text}\n")
    data = ", ".join(dict.fromkeys(cell.row.data for cell in cells))
    reports.write_page(
        options.markdown,
        f"Attention Transfer, {TABLES[options.table].paper.title} on {data}",
        notes(cells),
        f"{text}\n\n{sizes(cells, results)}",
        all_trainings(cells, results),
    )
    draw(options, cells, results)
    if options.export:
        export(options, cells, results)


def train_all(options: Namespace, cells: Sequence[Cell]) -> Results:
    """Trains teachers, then students; prints each result and updates the CSV files."""
    all_cells = with_teachers(cells)
    labels = {cell.job: cell.label for cell in reversed(all_cells)}
    results: dict[Job, TrainingResult] = {}
    train = partial(training.train, options.checkpoint_dir)
    for stage in filter(None, tables.stages_of(cells)):
        for result in harness_training.run_in_processes(train, stage, options.processes):
            results[result.job] = result
            print(reports.line_of(labels[result.job], result), flush=True)
            done = [(cell, results[cell.job]) for cell in all_cells if cell.job in results]
            reports.write_csv(options.output / "results.csv", [record(*pair) for pair in done])
            lines = [line for cell, one in done for line in reports.curve_of(cell.identity, one)]
            reports.write_csv(options.output / "curves.csv", lines)
    return results


def export(options: Namespace, cells: Sequence[Cell], results: Results) -> None:
    """Exports the students of the first seed; the exported models return probabilities."""
    first = cells[0].job.seed
    for cell in cells:
        result = results[cell.job]
        if cell.job.seed == first and cell.column != TEACHER and not result.diverged:
            student = result.network()
            model = keras.Model(student.input, keras.ops.softmax(student.output))
            export_model(model, options.output, result.path.stem)


def with_teachers(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells, and further ones for teachers without a column."""
    teachers = [Cell(cell.row, TEACHER, cell.job.teacher) for cell in cells if cell.job.teacher]
    return list(dict.fromkeys([*cells, *teachers]))


def record(cell: Cell, one: TrainingResult) -> dict[str, Any]:
    """Returns a line of `results.csv`."""
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


def comparison(options: Namespace, cells: Sequence[Cell], results: Results) -> str:
    """Returns our medians next to the paper's errors, arranged as in the paper."""
    rows, columns = tables.rows_of(options), tables.columns_of(options)
    table, text = TABLES[options.table], {}
    for row, column in itertools.product(rows, columns):
        found = of_cell(cells, results, row, column)
        ours = " / ".join(median(found, ERRORS[top]) for top in table.tops)
        errors = " / ".join(f"{e:g}" for e in table.published(row.pair, row.data, column))
        text[row, column] = f"{ours} ({errors})" if errors else ours
    if options.table == 1:
        headings = ["student/teacher", "data", *columns]
        lines = [[row.pair, row.data, *(text[row, name] for name in columns)] for row in rows]
    else:
        headings = ["", *(row.label for row in rows)]
        lines = [[name, *(text[row, name] for row in rows)] for name in columns]
    shown = reports.table(headings, lines)
    if not any("(" in one for one in text.values()):
        return shown
    return f"{shown}\n\nIn brackets: the paper's errors on {', '.join(table.data)}."


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
        draw_maps(options, row, cells, results)


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


def draw_maps(options: Namespace, row: Row, cells: Sequence[Cell], results: Results) -> None:
    """Draws attention maps of students without and with transfer and of the teacher, if trained."""
    baseline, seed = TABLES[options.table].columns[0], cells[0].job.seed
    of_row = {
        cell.column: results[cell.job]
        for cell in cells
        if cell.row == row and cell.job.seed == seed and not results[cell.job].diverged
    }
    transferred = [one for one in of_row.values() if one.job.method.attention.value]
    if not transferred or baseline not in of_row:
        return
    one, job = transferred[0], transferred[0].job
    before, student, teacher = (
        result.network() for result in (of_row[baseline], one, results[job.teacher])
    )
    distiller = job.method.distiller(student, teacher, job.network.layers, one.steps)
    images, _ = next(iter(next(job.source.tests())))
    path = options.output / f"figure6_{row.pair.replace('/', '_')}_{row.data}.png"
    ka.inspect.plot_attention(distiller, images[:SHOWN_IMAGES].numpy(), path, before=before)
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
