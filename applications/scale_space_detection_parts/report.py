"""The table of a run, beside the paper's, and its lines of results.csv."""

import statistics
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from program_parts import markdown

from scale_space_detection_parts.average_precision import METRICS, Boxes
from scale_space_detection_parts.training import Protocol, Training, signs_of


def line_of(training: Training) -> str:
    """What is printed when a training is done."""
    scores = "diverged"
    if training.scores is not None:
        scores = ", ".join(f"{name} {value:.2f} %" for name, value in training.scores.items())
    times = f"{training.step:.3f} s/step, trained in {training.seconds:.0f} s"
    return f"{training.row.label} seed {training.seed}: {scores}, {times}"


def comparison(trainings: Sequence[Training]) -> str:
    """Our figures beside the paper's, as a markdown table: a line a row, over the seeds."""
    headings = ["attention", "parameters", *(f"{name} %" for name in METRICS), "s/step"]
    headings += ["paper's accuracy %"]
    rows = dict.fromkeys(training.row for training in trainings)
    seeds = [[one for one in trainings if one.row == row] for row in rows]
    return markdown.table(headings, map(cells, seeds))


def cells(trainings: Sequence[Training]) -> list[str]:
    """A line of the table, of one row's trainings."""
    first = trainings[0]
    step = statistics.median(training.step for training in trainings)
    scores = [score_text(trainings, name) for name in METRICS]
    return [
        first.row.label,
        f"{first.parameters:,}",
        *scores,
        f"{step:.3f}",
        f"{first.row.paper:.2f}",
    ]


def score_text(trainings: Sequence[Training], name: str) -> str:
    """Mean and deviation over the seeds, and how many they leave out."""
    values = [training.scores[name] for training in trainings if training.scores is not None]
    return markdown.over_seeds(values, len(trainings))


def every_training(trainings: Sequence[Training]) -> str:
    """A line a training, as a markdown table."""
    headings = ["attention", "seed", *(f"{name} %" for name in METRICS), "s/step", "seconds"]
    return markdown.table(headings, map(training_cells, trainings))


def training_cells(one: Training) -> list[str]:
    """A line of the table of trainings."""
    scores = (score_text([one], name) for name in METRICS)
    return [one.row.label, str(one.seed), *scores, f"{one.step:.3f}", f"{one.seconds:.0f}"]


def notes(data: str, protocol: Protocol, truth: Sequence[Boxes]) -> list[str]:
    """What a reader of the table has to know; `truth` is what the test pictures show."""
    trained, signs = len(protocol.shown("train")), len(signs_of(truth))
    hub = ", ".join(f"{name} {version(name)}" for name in ("keras-hub", "pycocotools"))
    return [
        f"{data}: {protocol.size} pixels, {protocol.classes} classes, {trained} training pictures, "
        f"{len(truth)} test pictures with {signs} signs. KerasHub's RetinaNet over VGG16 from "
        f"random weights: {protocol.epochs} epochs, batch {protocol.batch_size}, Adam at "
        f"{protocol.learning_rate:g}.",
        "mAP: COCO's, the mean over overlaps from 0.5 to 0.95; AP50 and AP75 at 0.5 and 0.75. The "
        "paper's column, table VIII, is the accuracy of another detector on GTSDB itself, which it "
        f"does not describe: compare rows, not columns. {hub}.",
    ]


def record(training: Training, data: str, protocol: Protocol) -> dict[str, Any]:
    """A line of results.csv."""
    scores = training.scores or dict.fromkeys(METRICS)
    return {
        "attention": training.row.attention,
        "placement": training.row.placement,
        "seed": training.seed,
        "data": data,
        "size": protocol.size,
        "classes": protocol.classes,
        "train_size": protocol.train_size,
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "learning_rate": protocol.learning_rate,
        **{f"{name}_percent": scores[name] for name in METRICS},
        "parameters": training.parameters,
        "seconds_per_step": round(training.step, 4),
        "seconds": round(training.seconds, 1),
    }
