"""What the program does without a table: compares, draws, exports, serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.table import Table

import keras_attention as ka
from targeted_kernels_parts.clock import time_per_batch
from targeted_kernels_parts.protocols import Protocol
from targeted_kernels_parts.report import Summary
from targeted_kernels_parts.tables import TABLES, row_of

# The paper's tables of the same task.
PAPER_TABLES = {"digits": 2, "mnist": 2, "top_left_digits": 3, "top_left_mnist": 3}


def table(
    models: Mapping[str, keras.Model],
    summaries: Sequence[Summary],
    data: str,
    protocol: Protocol,
    images: np.ndarray,
) -> Table:
    """Our figures beside the paper's; MACs are those of the last seed."""
    times = time_per_batch(models, images)
    first = next(iter(times.values()))
    paper = [_paper(data, name) for name in models]
    trained = "all" if protocol.train_size is None else protocol.train_size
    seeds = [training.job.seed for training in summaries[0].trainings]
    return ka.inspect.summary_table(
        models,
        columns={
            "error %": [
                summary.error_text("error %")
                for summary in summaries
                if summary.row.model in models
            ],
            "ms, batch 64": [
                f"{1e3 * value:.1f} ({value / first:.2f}x)" for value in times.values()
            ],
            "paper MACs": ["-" if one is None else f"{one.macs / 1e6:g}M" for one in paper],
            "paper error %": ["-" if one is None else f"{one.errors[0]:.2f}" for one in paper],
        },
        title=(
            f"{data}, {images.shape[1]} pixels, {trained} training images, seeds {seeds}; "
            "the paper's columns: MNIST at 28 or 56 pixels, 60,000 images"
        ),
    )


def finish(
    name: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, output: Path
) -> None:
    """Draws the attention, says where it went, exports, and classifies with the export."""
    picture = output / f"{name.lower()}_attention.png"
    ka.inspect.plot_attention(model, images[:1], picture)
    print(f"{name}: wrote {picture}")
    for layer in model.layers:
        if hasattr(layer, "rois"):
            row, column = keras.ops.convert_to_numpy(layer.center).mean(axis=1)
            print(f"{name} {layer.name}: mean center at ({row:.2f}, {column:.2f}) of the map")

    path = output / f"{name.lower()}_saved_model"
    ka.export.export_saved_model(
        model, path, inputs=images[:32], tolerance=1e-6, overwrite=path.exists()
    )
    served = tf.saved_model.load(path)
    probabilities = served.serve(tf.constant(images)).numpy()
    difference = np.abs(probabilities - model.predict(images, batch_size=256, verbose=0)).max()
    print(f"{name}: wrote {path}; its outputs differ from the model's by {difference:.1e} at most")
    print(f"{name}: it reads {probabilities[:10].argmax(axis=-1)}; the digits are {labels[:10]}")


def _paper(data: str, name: str) -> object:
    row = row_of(TABLES[PAPER_TABLES[data]], name) if data in PAPER_TABLES else None
    return row.paper if row else None
