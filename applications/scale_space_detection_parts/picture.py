"""Draws what a detector finds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import keras_attention as ka
from keras_attention.utils.io import write_whole
from scale_space_detection_parts.average_precision import Boxes

COLORS = ("tab:red", "tab:blue", "tab:orange", "tab:purple")
LEAST_CONFIDENCE = 0.5
PICTURES = 8
COLUMNS = 4


def chosen(pictures: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """The first pictures with signs, in batches."""
    with_signs = pictures.unbatch().filter(lambda _, shown: tf.reduce_any(shown["labels"] >= 0))
    return with_signs.take(PICTURES).batch(batch_size)


def draw(pictures: tf.data.Dataset, found: Sequence[Boxes], path: Path) -> None:
    """Draws pictures: dashed where signs are, solid where they are found.

    Args:
        pictures: What `chosen` returns.
        found: What the detector finds in each.
        path: Of a PNG file.
    """
    figure = Figure(figsize=(3 * COLUMNS, 3 * -(-len(found) // COLUMNS)), layout="tight")
    axes = figure.subplots(-(-len(found) // COLUMNS), COLUMNS, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
    examples = pictures.unbatch().as_numpy_iterator()
    for ax, (image, shown), boxes in zip(axes, examples, found, strict=False):
        height, width = image.shape[:2]
        # Boxes are in edges of pixels: 0 is the left one of the first.
        ax.imshow(image, extent=(0, width, height, 0))
        draw_boxes(ax, shown, dashed=True)
        draw_boxes(ax, boxes, dashed=False)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=100))


def draw_boxes(ax: Axes, boxes: Boxes, dashed: bool) -> None:
    """Draws the boxes of a picture; of found ones those that the detector is sure of."""
    confidence = boxes.get("confidence", np.ones(len(boxes["labels"])))
    for corners, label, score in zip(boxes["boxes"], boxes["labels"], confidence, strict=True):
        if label < 0 or score < LEAST_CONFIDENCE:
            continue
        (left, top), (width, height) = corners[:2], corners[2:] - corners[:2]
        color, style = ("lime", "--") if dashed else (COLORS[label % len(COLORS)], "-")
        ax.add_patch(Rectangle((left, top), width, height, fill=False, ec=color, ls=style, lw=1.5))
        if not dashed:
            text = f"{name_of(label)} {score:.2f}"
            style = {"color": "white", "fontsize": 6, "verticalalignment": "bottom"}
            ax.text(left, top, text, backgroundcolor=color, **style)


def name_of(label: int) -> str:
    """A category's name; a class's number where it cannot be one."""
    names = list(ka.datasets.GTSDB_CATEGORIES)
    return names[label] if label < len(names) else str(label)
