"""LiteRT files, for phones and small devices."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.export.checking import compare_integers
from keras_attention.export.conversion import for_litert
from keras_attention.export.litert_file import run_litert
from keras_attention.export.single_file import export_file
from keras_attention.utils.validation import one_of

# Root mean square difference of an output of int8, relative to that of the output: a scale that is
# wrong gives about 1.
INT8_TOLERANCE = 0.25


def export_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    quantize: str | None = None,
) -> Path:
    """Writes a LiteRT (TensorFlow Lite) file, runs it, compares the outputs.

    The file is written and checked beside `path` under a temporary name and renamed at the end.
    Outputs are float32 whatever the model's dtype policy; chains of operations that run fused in
    training are written as they are. Recurrent layers are unrolled.

    With `quantize="int8"` weights and activations become bytes: convolutions and products run on
    integers, scaled by what `inputs` need, and the file is about a quarter as large. Inputs and
    outputs stay float32, and so do operations that LiteRT has no integers for. Measure what that
    costs on data of your own: `keras-attention export --quantize int8` prints the error before and
    after.

    Args:
        model: A built Keras model, on the TensorFlow backend.
        path: The file to make, by habit `.tflite`.
        inputs: See `export_saved_model`. For int8 they are needed, and are what the ranges are
            taken from: a hundred examples of the training data or more, as the model takes them.
        tolerance: See `export_saved_model`. For int8 the largest root mean square difference of an
            output, relative to that of the output; None takes 0.25.
        overwrite: Whether to replace a file at `path`.
        attention: See `export_saved_model`.
        quantize: None, or `"int8"`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built, the inputs do not fit, there is no attention to
            return, sequences have an open length, or `quantize` comes without inputs.
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
    if one_of("quantize", quantize, (None, "int8")):
        options |= _to_integers(inputs, tolerance)
    return export_file(model, path, "litert", run_litert, for_litert, **options)


def _to_integers(inputs: Any, tolerance: float | None) -> dict[str, Any]:
    """What is told to the exporter, so that the converter writes integers."""
    import tensorflow as tf

    if inputs is None:
        raise ValueError(
            '`quantize="int8"` needs `inputs`, examples of the data from which the ranges of the '
            "activations are taken. Received: inputs=None"
        )
    arrays = [np.asarray(array) for array in keras.tree.flatten(inputs)]
    converter = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: (
            [array[index : index + 1] for array in arrays] for index in range(len(arrays[0]))
        ),
        "target_spec": {
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        },
    }
    return {
        "converter": converter,
        "check": compare_integers,
        "tolerance": INT8_TOLERANCE if tolerance is None else tolerance,
    }
