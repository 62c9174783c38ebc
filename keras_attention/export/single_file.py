"""Exports to one file, checked before they count."""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.export.checking import (
    compare,
    examples_for,
    expected_outputs,
    tolerance_of,
    with_float32_outputs,
)
from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import flag

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
Run = Callable[[Path, list[np.ndarray]], list[np.ndarray]]
Check = Callable[[str, list[np.ndarray], list[np.ndarray], float], None]
Tracing = Callable[[keras.Model], AbstractContextManager[None]]


def export_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    kind: str,
    run: Run,
    tracing: Tracing,
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    converter: Mapping[str, Any] | None = None,
    check: Check = compare,
) -> Path:
    """Writes a model under a temporary name, runs the file, compares the outputs, renames it.

    Args:
        model: A built Keras model.
        path: The file.
        kind: `"onnx"` or `"litert"`, as Keras calls the format.
        run: Reads a file and runs it on the model's inputs in order.
        tracing: Makes the context in which a model is traced for the format.
        inputs: See `export_saved_model`.
        tolerance: See `export_saved_model`.
        overwrite: Whether to replace a file at `path`.
        attention: See `export_saved_model`.
        converter: What Keras is to tell the converter.
        check: Raises RuntimeError where outputs differ.

    Returns:
        The path.
    """
    path = Path(path).resolve()
    model = with_attention(model) if flag("attention", attention) else model
    tolerance = tolerance_of(model, tolerance)
    if path.exists() and not (overwrite and path.is_file()):
        raise FileExistsError(
            "`path` must be new, or a file to replace with overwrite=True. "
            f"Received: path={str(path)!r}"
        )
    examples = examples_for(model, inputs)
    expected = expected_outputs(model, examples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        written = Path(folder) / f"model{SUFFIXES[kind]}"
        with tracing(model):
            served = with_float32_outputs(model, examples)
            _convert(served, written, kind, converter or {})
        try:
            outputs = run(written, keras.tree.flatten(examples))
        except Exception as error:
            raise RuntimeError(f"The {kind} file was written but does not run: {error}") from error
        check(f"{kind} file", expected, outputs, tolerance)
        written.replace(path)
    return path


def _convert(model: keras.Model, path: Path, kind: str, converter: Mapping[str, Any]) -> None:
    """Writes a file; raises RuntimeError with what a user can read of the converter's reasons."""
    try:
        model.export(str(path), format=kind, verbose=False, **converter)
    except Exception as error:  # converters have errors of their own, and pages of them
        lines = [line for line in str(error).splitlines() if line.strip()]
        hint = ""
        if any(getattr(layer, "quantization_mode", None) for layer in model._flatten_layers()):
            hint = " Keras has quantized it, which not every format takes."
        raise RuntimeError(
            f"{model.name!r} cannot be converted to {kind}; nothing was written.{hint} "
            f"Received: {type(error).__name__}: {' '.join(lines)[:400]}"
        ) from error
