"""LiteRT files, for phones and small devices."""

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.export.single_file import export_file


def export_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
) -> Path:
    """Writes a LiteRT (TensorFlow Lite) file, runs it, compares the outputs.

    The file is written and checked beside `path` under a temporary name and renamed at the end.
    Outputs are float32 whatever the model's dtype policy; chains of operations that run fused in
    training are written as they are.

    Args:
        model: A built Keras model, on the TensorFlow backend.
        path: The file to make, by habit `.tflite`.
        inputs: See `export_saved_model`.
        tolerance: See `export_saved_model`.
        overwrite: Whether to replace a file at `path`.
        attention: See `export_saved_model`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built, the inputs do not fit, or there is no attention to
            return.
        RuntimeError: When the file does not run, or to other outputs.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_litert(model, f"{folder}/model.tflite").name
    'model.tflite'
    """
    options: dict[str, Any] = {"inputs": inputs, "tolerance": tolerance, "overwrite": overwrite}
    options["attention"] = attention
    return export_file(model, path, "litert", _run, **options)


def _run(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # its successor is a package of its own
        interpreter = tf.lite.Interpreter(str(path))
    places = [detail["index"] for detail in interpreter.get_input_details()]
    for place, array in zip(places, inputs, strict=True):
        interpreter.resize_tensor_input(place, array.shape)
    interpreter.allocate_tensors()
    for place, array in zip(places, inputs, strict=True):
        interpreter.set_tensor(place, array)
    interpreter.invoke()
    outputs = sorted(interpreter.get_output_details(), key=_number)
    return [interpreter.get_tensor(detail["index"]) for detail in outputs]


def _number(output: dict[str, Any]) -> int:
    """The output's place among what the model returns; the file has them in any order."""
    number = output["name"].rpartition(":")[2]
    return int(number) if number.isdigit() else 0
