"""Writes a model for serving, runs what was written and compares."""

from argparse import Namespace
from pathlib import Path

from keras_attention import export as exports
from keras_attention.cli import run_folder
from keras_attention.cli.answer import Answer
from keras_attention.cli.compacting import compacted

WRITERS = {
    "saved_model": exports.export_saved_model,
    "onnx": exports.export_onnx,
    "litert": exports.export_litert,
}
FILES = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}


def run(options: Namespace) -> Answer:
    """Exports a run's model, or that of a .keras file."""
    model = run_folder.load_model(options.model)
    if options.compact:
        model = compacted(model)
    path: Path = options.output or run_folder.folder_of(options.model) / FILES[options.format]
    given = {"overwrite": options.overwrite, "attention": options.attention}
    try:
        written = WRITERS[options.format](model, path, **given)
    except (ImportError, RuntimeError, FileExistsError) as error:
        # No package, a format that cannot hold the model, a file in the way: said in full there.
        raise ValueError(str(error).replace("overwrite=True", "--overwrite")) from error
    facts = {"export": written, "format": options.format, "attention": options.attention}
    return Answer({**facts, "compact": options.compact}, [f"wrote {written}"])
