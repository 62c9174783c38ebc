"""ONNX files."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.export.conversion import for_onnx
from keras_attention.export.single_file import export_file

NEEDED = ("tf2onnx", "onnx", "onnxruntime")


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
) -> Path:
    """Writes an ONNX file, runs it with ONNX Runtime, compares the outputs.

    The file is written and checked beside `path` under a temporary name and renamed at the end.
    Outputs are float32 whatever the model's dtype policy; chains of operations that run fused in
    training are written as they are. ONNX Runtime knows no shapes that follow from weights: target
    layers with `roi="slice"` compute whole maps there, to the same values; `surgery.compact` before
    the export keeps what they save.

    Args:
        model: A built Keras model.
        path: The file to make, by habit `.onnx`.
        inputs: See `export_saved_model`.
        tolerance: See `export_saved_model`.
        overwrite: Whether to replace a file at `path`.
        attention: See `export_saved_model`.

    Returns:
        The path of the file.

    Raises:
        ImportError: Without the extra `export`, which brings ONNX.
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built, the inputs do not fit, or there is no attention to
            return.
        RuntimeError: When the file does not run, or to other outputs.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(model, f"{folder}/model.onnx").name
    'model.onnx'
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'`export_onnx` needs {", ".join(missing)}: pip install "keras-cnn-attention[export]"'
        )
    options: dict[str, Any] = {"inputs": inputs, "tolerance": tolerance, "overwrite": overwrite}
    options["attention"] = attention
    return export_file(model, path, "onnx", _run, lambda model: for_onnx(), **options)


def _run(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [tensor.name for tensor in session.get_inputs()]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))
