"""Exports for serving that are checked before they count."""

import json
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

# Pixels along a side that the model leaves open, for the examples to compare on.
UNKNOWN_SIDE = 32

# Runs in a process of its own, with TensorFlow alone: what a server has.
_RELOAD = """
import json, sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
data = np.load(sys.argv[2])
inputs = [tf.constant(data[f"input_{i}"]) for i in range(len(data.files))]
names = json.loads(sys.argv[4])
single = inputs[0] if len(inputs) == 1 else inputs
served = model.serve(dict(zip(names, inputs)) if names else single)
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
        inputs: Real data to compare on, with a batch axis, in the structure that the model takes.
            None draws two examples from a normal distribution; subclassed models need it.
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


def _examples(model: keras.Model, inputs: Any) -> Any:
    """Arrays in the structure that the model takes."""
    if inputs is not None:
        return keras.tree.map_structure(np.asarray, inputs)
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"`inputs` must be given: {model.name!r} is a subclassed model, which does not say "
            "what it takes. Received: inputs=None"
        )
    generator = np.random.default_rng(0)
    sides = {None: UNKNOWN_SIDE}

    def draw(tensor: Any) -> np.ndarray:
        shape = (2, *(sides.get(size, size) for size in tensor.shape[1:]))
        return generator.normal(size=shape).astype(keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(draw, _symbolic(model, None)[0])


def _tolerance(model: keras.Model) -> float:
    precisions = {layer.compute_dtype for layer in model._flatten_layers()}
    if "bfloat16" in precisions:
        return 5e-2
    return 1e-2 if "float16" in precisions else 1e-5


def _with_float32_outputs(model: keras.Model, examples: Any) -> keras.Model:
    """Returns the model, or one around it that has inputs and casts its outputs."""
    inputs, outputs = _symbolic(model, examples)
    halves = ("float16", "bfloat16")
    exact = all(tensor.dtype not in halves for tensor in keras.tree.flatten(outputs))
    if exact and getattr(model, "inputs", None):
        return model
    cast = keras.tree.map_structure(
        lambda tensor: keras.ops.cast(tensor, "float32") if tensor.dtype in halves else tensor,
        outputs,
    )
    return keras.Model(inputs, cast, name=model.name)


def _symbolic(model: keras.Model, examples: Any) -> tuple[Any, Any]:
    """Inputs and outputs of a model as Keras tensors, in the structure that it takes."""
    if not getattr(model, "inputs", None):
        inputs = keras.tree.map_structure(
            lambda array: keras.Input(array.shape[1:], dtype=str(array.dtype)), examples
        )
        return inputs, model(inputs)
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def _expected(model: keras.Model, examples: Any) -> list[np.ndarray]:
    # The reloaded model runs on the CPU too: other devices round in other ways.
    with keras.device("cpu:0"):
        outputs = model(examples, training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def _reload(path: Path, examples: Any, folder: Path) -> list[np.ndarray]:
    sent, received = folder / "inputs.npz", folder / "outputs.npz"
    flat = keras.tree.flatten(examples)
    arrays: dict[str, Any] = {f"input_{index}": array for index, array in enumerate(flat)}
    np.savez(sent, **arrays)
    names = sorted(examples) if isinstance(examples, dict) else []
    result = subprocess.run(
        [sys.executable, "-c", _RELOAD, str(path), str(sent), str(received), json.dumps(names)],
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
