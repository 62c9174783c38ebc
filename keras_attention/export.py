"""Exports for serving that are checked before they count."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.arguments import non_negative_number

# Runs in a process of its own, with TensorFlow alone: what a server has.
_RELOAD = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
data = np.load(sys.argv[2])
inputs = [tf.constant(data[f"input_{i}"]) for i in range(len(data.files))]
served = model.serve(inputs[0] if sys.argv[4] == "single" else inputs)
assert "keras_attention" not in sys.modules
outputs = [np.asarray(tensor) for tensor in tf.nest.flatten(served)]
np.savez(sys.argv[3], **{f"output_{i}": value for i, value in enumerate(outputs)})
"""


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a TensorFlow SavedModel, reloads it in a process of its own, compares the outputs.

    That process has TensorFlow alone, as a server. The export is written and checked beside
    `path` under a temporary name and renamed at the end: either a checked model stands at `path`,
    or nothing new. Outputs are float32 whatever the model's dtype policy. The endpoints are
    `serve` and `serving_default`, for any batch size and, where the model takes any, any image
    size.

    Args:
        model: A built Keras model.
        path: The folder to make.
        inputs: Real data to compare on, with a batch axis; a list for several inputs. None draws
            two examples from a normal distribution.
        tolerance: Largest difference of an output, relative to the largest output or 1. None
            takes 1e-5, or what the half precision of the model's layers leaves.
        overwrite: Whether to replace a SavedModel that stands at `path`.

    Returns:
        The path of the SavedModel.

    Raises:
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built or the inputs do not fit.
        RuntimeError: When the reloaded outputs differ or the export does not load.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, f"{folder}/served")
    ...     sorted(item.name for item in path.iterdir() if item.is_file())
    ['fingerprint.pb', 'saved_model.pb']
    """
    path = Path(path).resolve()
    tolerance = _tolerance(model) if tolerance is None else tolerance
    non_negative_number("tolerance", tolerance)
    _check_target(path, overwrite)
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data first. Received: "
            f"model={model.name!r}, not built"
        )
    examples = _examples(model, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        written = Path(folder) / "saved_model"
        served = _with_float32_outputs(model, examples)
        served.export(written, format="tf_saved_model", verbose=False)
        _compare(_expected(model, examples), _reload(written, examples, Path(folder)), tolerance)
        _replace(written, path)
    return path


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not (path / "saved_model.pb").is_file():
        raise FileExistsError(
            f"`path` must be new, or a SavedModel to overwrite. Received: path={str(path)!r}"
        )
    if not overwrite:
        raise FileExistsError(
            "`path` must be new; pass overwrite=True to replace the SavedModel there. "
            f"Received: path={str(path)!r}"
        )


def _examples(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    if inputs is not None:
        return [np.asarray(array) for array in keras.tree.flatten(inputs)]
    generator = np.random.default_rng(0)
    tensors = keras.tree.flatten(model.inputs)
    if any(size is None for tensor in tensors for size in tensor.shape[1:]):
        shapes = [[2, *(32 if size is None else size for size in t.shape[1:])] for t in tensors]
    else:
        shapes = [[2, *tensor.shape[1:]] for tensor in tensors]
    return [
        generator.normal(size=shape).astype(keras.backend.standardize_dtype(tensor.dtype))
        for shape, tensor in zip(shapes, tensors, strict=True)
    ]


def _tolerance(model: keras.Model) -> float:
    precisions = {layer.compute_dtype for layer in model._flatten_layers()}
    if "bfloat16" in precisions:
        return 5e-2
    return 1e-2 if "float16" in precisions else 1e-5


def _with_float32_outputs(model: keras.Model, examples: list[np.ndarray]) -> keras.Model:
    """Returns the model, inside one that casts its outputs where they are in half precision."""
    inputs, outputs = getattr(model, "_inputs_struct", None), getattr(model, "output", None)
    if inputs is None:
        inputs = [keras.Input(array.shape[1:], dtype=str(array.dtype)) for array in examples]
        inputs = inputs[0] if len(inputs) == 1 else inputs
        outputs = model(inputs)
    halves = ("float16", "bfloat16")
    if all(tensor.dtype not in halves for tensor in keras.tree.flatten(outputs)):
        return keras.Model(inputs, outputs) if not hasattr(model, "_inputs_struct") else model
    cast = keras.tree.map_structure(
        lambda tensor: keras.ops.cast(tensor, "float32") if tensor.dtype in halves else tensor,
        outputs,
    )
    return keras.Model(inputs, cast, name=model.name)


def _expected(model: keras.Model, examples: list[np.ndarray]) -> list[np.ndarray]:
    single = len(examples) == 1
    # The reloaded model runs on the CPU too: other devices round in other ways.
    with keras.device("cpu:0"):
        outputs = model(examples[0] if single else examples, training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def _reload(path: Path, examples: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    sent, received = folder / "inputs.npz", folder / "outputs.npz"
    arrays: dict[str, Any] = {f"input_{index}": array for index, array in enumerate(examples)}
    np.savez(sent, **arrays)
    kind = "single" if len(examples) == 1 else "several"
    result = subprocess.run(
        [sys.executable, "-c", _RELOAD, str(path), str(sent), str(received), kind],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"The SavedModel was written but does not load: {reason[0]}")
    with np.load(received) as outputs:
        return [outputs[name] for name in outputs.files]


def _compare(expected: list[np.ndarray], served: list[np.ndarray], tolerance: float) -> None:
    for here, there in zip(expected, served, strict=True):
        difference = float(np.max(np.abs(here.astype("float32") - there.astype("float32"))))
        limit = tolerance * max(1.0, float(np.max(np.abs(here))))
        if not difference <= limit:
            raise RuntimeError(
                f"The SavedModel's outputs differ from the model's by {difference:.3g}, more than "
                f"the {limit:.3g} allowed; nothing was written."
            )


def _replace(written: Path, path: Path) -> None:
    if path.exists():
        old = written.with_name("replaced")
        path.replace(old)
        written.replace(path)
        shutil.rmtree(old)
    else:
        written.replace(path)
