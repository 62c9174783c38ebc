"""Rows of table VIII (VGG-16, GTSDB), reports, and images with the detected boxes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from harness import reports
from harness.published import read_tables
from harness.training import Job
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import keras_attention as ka

if TYPE_CHECKING:  # needs the extra
    from scale_space_detection_experiment.training import DetectionResult

TABLE8 = read_tables(Path(__file__).with_name("tables.txt"))[8]
NONE = "none"
ATTENTIONS, PLACEMENTS = TABLE8.rows, TABLE8.headings("placement")
# In the order of COCOeval: IoU thresholds 0.5 to 0.95, 0.5, and 0.75.
METRICS = ("mAP", "AP50", "AP75")
COLORS = ("tab:red", "tab:blue", "tab:orange", "tab:purple")
MIN_CONFIDENCE = 0.5
IMAGES, COLUMNS = 8, 4
Boxes = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """A backbone."""

    attention: str  # One of `ATTENTIONS`
    placement: str = PLACEMENTS[0]  # One of `PLACEMENTS`; without effect if there is no attention

    @property
    def modules(self) -> str | None:
        """Value of the argument `attention` of `ka.applications.VGG16`."""
        return None if self.attention == NONE else self.attention

    @property
    def label(self) -> str:
        return NONE if self.modules is None else f"{self.attention}, {self.placement}"

    @property
    def identity(self) -> dict[str, str]:
        """First columns of CSV files."""
        return {"attention": self.attention, "placement": self.placement}

    @property
    def published(self) -> float:
        """Published accuracy."""
        return TABLE8.number(self.attention, placement=self.placement)


def rows_of(attentions: Sequence[str], placements: Sequence[str]) -> list[Row]:
    """Returns the rows to train; without attention there is one for all placements."""
    pairs = [
        Row(attention) if attention == NONE else Row(attention, placement)
        for attention in attentions
        for placement in placements
    ]
    return list(dict.fromkeys(pairs))


def comparison(results: Sequence["DetectionResult"]) -> str:
    """Returns our scores next to the paper's as a markdown table, over the seeds of each row."""
    lines = []
    for row, found in reports.grouped(results).items():
        step = statistics.median(one.step for one in found)
        scores = [reports.spread_of(found, name) for name in METRICS]
        parameters = f"{found[0].parameters:,}"
        lines.append([row.label, parameters, *scores, f"{step:.3f}", f"{row.published:.2f}"])
    headings = ["attention", "parameters", *(f"{name} %" for name in METRICS), "s/step"]
    return reports.table([*headings, "accuracy %, paper"], lines)


def all_trainings(results: Sequence["DetectionResult"]) -> str:
    """Returns a markdown table with a line per training."""
    lines = [
        [
            one.job.label,
            str(one.job.seed),
            *(reports.spread_of([one], name) for name in METRICS),
            f"{one.step:.3f}",
            f"{one.seconds:.0f}",
        ]
        for one in results
    ]
    headings = ["attention", "seed", *(f"{name} %" for name in METRICS), "s/step", "seconds"]
    return reports.table(headings, lines)


def notes(job: Job, truth: Sequence[Boxes]) -> list[str]:
    """Returns paragraphs that explain the table.

    Args:
        job: A training job; all have the same data and protocol.
        truth: Annotated boxes of the test images.
    """
    protocol, trained = job.protocol, len(job.protocol.annotations("train"))
    signs = sum(int((boxes["labels"] >= 0).sum()) for boxes in truth)
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras-hub", "pycocotools"))
    return [
        f"{job.data}: {protocol.size} pixels, {protocol.classes} classes, {trained} training "
        f"images, {len(truth)} test images with {signs} signs. KerasHub's RetinaNet on VGG16 with "
        f"random initial weights: {protocol.epochs} epochs, batch size {protocol.batch_size}, Adam "
        f"with learning rate {protocol.learning_rate:g}.",
        "mAP is that of COCO, the mean over IoU thresholds from 0.5 to 0.95; AP50 and AP75 are "
        "those at 0.5 and 0.75. The paper's column, table VIII, is the accuracy of another, "
        f"unspecified detector on GTSDB: compare rows, not columns. {versions}.",
    ]


def examples_of(images: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Returns batches of the first images with signs."""
    with_signs = images.unbatch().filter(lambda _, boxes: tf.reduce_any(boxes["labels"] >= 0))
    return with_signs.take(IMAGES).batch(batch_size)


def draw(images: tf.data.Dataset, detected: Sequence[Boxes], path: Path) -> None:
    """Draws images with annotated boxes (dashed) and detected boxes (solid).

    Args:
        images: Result of `examples_of`.
        detected: Detected boxes of each image.
        path: PNG file.
    """
    rows = -(-len(detected) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3 * rows), layout="tight")
    all_axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in all_axes:
        axes.axis("off")
    examples = images.unbatch().as_numpy_iterator()
    for axes, (image, annotated), boxes in zip(all_axes, examples, detected, strict=False):
        height, width = image.shape[:2]
        # Coordinates of boxes are those of pixel edges: 0 is the left edge of the first pixel.
        axes.imshow(image, extent=(0, width, height, 0))
        _draw_boxes(axes, annotated, dashed=True)
        _draw_boxes(axes, boxes, dashed=False)
    reports.save_figure(figure, path, dpi=100)


def _draw_boxes(axes: Axes, boxes: Boxes, dashed: bool) -> None:
    """Draws the boxes of an image, of detected ones those with a high confidence."""
    confidence = boxes.get("confidence", np.ones(len(boxes["labels"])))
    names = list(ka.datasets.GTSDB_CATEGORIES)
    for corners, label, score in zip(boxes["boxes"], boxes["labels"], confidence, strict=True):
        if label < 0 or score < MIN_CONFIDENCE:
            continue
        (left, top), (width, height) = corners[:2], corners[2:] - corners[:2]
        color, style = ("lime", "--") if dashed else (COLORS[label % len(COLORS)], "-")
        axes.add_patch(
            Rectangle((left, top), width, height, fill=False, ec=color, ls=style, lw=1.5)
        )
        if not dashed:
            # With 43 classes, a label is not that of a category.
            text = f"{names[label] if label < len(names) else label} {score:.2f}"
            style = {"color": "white", "fontsize": 6, "verticalalignment": "bottom"}
            axes.text(left, top, text, backgroundcolor=color, **style)
