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
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
from attention_transfer_experiment import images, networks, report, tables, training
from attention_transfer_experiment.report import Results
from attention_transfer_experiment.tables import TABLES, TEACHER, Cell
from attention_transfer_experiment.training import Job
from harness import options as cli
from harness import reports
from harness import training as harness_training
from harness.programs import export_model, run_program
from harness.training import TrainingResult

from keras_attention.distillation.gradient_attention import KINDS

OUTPUT = Path("runs/attention_transfer")
CIFAR = ("table 1", "table 2", "table 3")
DISTILLATION = ("table 1", "table 3", "table 4")
# Options that do not apply to all tables.
EXPERIMENTS = {
    **dict.fromkeys(("teacher_train_size", "distractors", "test_draws", "augmentation"), CIFAR),
    **dict.fromkeys(("alpha", "temperature"), DISTILLATION),
    **dict.fromkeys(("schedule", "hint_weight"), ("table 1",)),
    "gradient_weights": ("table 3",),
    **dict.fromkeys(("student_weights", "teacher_weights"), ("table 4",)),
    "start": ("table 5",),
}


def main() -> int:
    """Trains teachers, then students, and reports; returns the exit code."""
    options = read_options()
    return run_program(options.output, lambda: prepare(options), lambda cells: run(options, cells))


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
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


def prepare(options: argparse.Namespace) -> list[Cell]:
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


def run(options: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """Trains all networks, writes the report and the figures, and exports if requested."""
    results = train_all(options, cells)
    text = report.comparison(options, cells, results)
    print(f"\n{text}\n")
    data = ", ".join(dict.fromkeys(cell.row.data for cell in cells))
    reports.write_page(
        options.markdown,
        f"Attention Transfer, {TABLES[options.table].paper.title} on {data}",
        report.notes(cells),
        f"{text}\n\n{report.sizes(cells, results)}",
        report.all_trainings(cells, results),
    )
    report.draw(options, cells, results)
    if options.export:
        export(options, cells, results)


def train_all(options: argparse.Namespace, cells: Sequence[Cell]) -> Results:
    """Trains teachers, then students; prints each result and updates the CSV files."""
    labels = {cell.job: cell.label for cell in reversed(report.with_teachers(cells))}
    results: dict[Job, TrainingResult] = {}
    train = partial(training.train, options.checkpoint_dir)
    for stage in filter(None, tables.stages_of(cells)):
        for result in harness_training.run_in_processes(train, stage, options.processes):
            results[result.job] = result
            print(reports.line_of(labels[result.job], result), flush=True)
            reports.write_csv(options.output / "results.csv", report.records(cells, results))
            reports.write_csv(options.output / "curves.csv", report.curves(cells, results))
    return results


def export(options: argparse.Namespace, cells: Sequence[Cell], results: Results) -> None:
    """Exports the students of the first seed; the exported models return probabilities."""
    first = cells[0].job.seed
    for cell in cells:
        result = results[cell.job]
        if cell.job.seed == first and cell.column != TEACHER and not result.diverged:
            student = result.network()
            model = keras.Model(student.input, keras.ops.softmax(student.output))
            export_model(model, options.output, result.path.stem)


if __name__ == "__main__":
    sys.exit(main())
