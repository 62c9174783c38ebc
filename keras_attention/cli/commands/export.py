"""Writes a model for serving, runs what was written and compares."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras

from keras_attention import export as exports
from keras_attention.cli import quantizing, run_folder
from keras_attention.cli.answer import Answer
from keras_attention.cli.compacting import compacted
from keras_attention.cli.run_config import DataConfig

WRITERS = {
    "saved_model": exports.export_saved_model,
    "onnx": exports.export_onnx,
    "litert": exports.export_litert,
}
FILES = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}


def run(options: Namespace) -> Answer:
    """Exports a run's model, or that of a .keras file."""
    data = quantizing.data_of(options)
    model = run_folder.load_model(options.model)
    if options.compact:
        model = compacted(model)
    path: Path = options.output or run_folder.folder_of(options.model) / FILES[options.format]
    given = _arguments(options, model, data)
    try:
        written = WRITERS[options.format](model, path, **given)
    except (ImportError, RuntimeError, FileExistsError) as error:
        # No package, a format that cannot hold the model, a file in the way: said in full there.
        raise ValueError(str(error).replace("overwrite=True", "--overwrite")) from error
    facts = {"export": written, "format": options.format, "attention": options.attention}
    facts |= {"compact": options.compact}
    lines = [f"wrote {written}"]
    if data is not None:
        costs = quantizing.costs(model, written, data)
        facts |= {"quantize": options.quantize, **costs}
        lines += quantizing.said(costs)
    return Answer(facts, lines)


def _arguments(options: Namespace, model: keras.Model, data: DataConfig | None) -> dict[str, Any]:
    given = {"overwrite": options.overwrite, "attention": options.attention}
    if data is not None:
        given |= {"quantize": options.quantize, "inputs": quantizing.ranges(model, data)}
    if options.no_image_bytes:
        if options.format != "saved_model":
            raise ValueError(
                "`--no-image-bytes` is for --format saved_model, which alone has that endpoint. "
                f"Received: --format={options.format}"
            )
        given |= {"image_bytes": False}
    return given
