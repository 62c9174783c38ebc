"""Exports for serving that are checked before they count."""

import contextlib
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

from keras_attention import backend
from keras_attention.arguments import flag
from keras_attention.export.checking import (
    compare,
    examples_for,
    expected_outputs,
    tolerance_of,
    with_float32_outputs,
)
from keras_attention.inspect.with_attention import with_attention

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
    fused: bool = True,
    attention: bool = False,
) -> Path:
    """Writes a TensorFlow SavedModel, reloads it in a process of its own, compares the outputs.

    That process has TensorFlow alone, as a server. The export is written and checked beside
    `path` under a temporary name and renamed at the end: either a checked model stands at `path`,
    or nothing new. Outputs are float32 whatever the model's dtype policy. The endpoints are
    `serve` and `serving_default`, for any batch size and, where the model takes any, any image
    size.

    What the model returns is served. One that was trained to return logits, or logarithms of
    probabilities as `WARN(classifier_activation=None)`, serves probabilities with the activation
    put behind it: `keras.Model(model.input, keras.ops.softmax(model.output))`.

    Args:
        model: A built Keras model.
        path: The folder to make.
        inputs: Real data to compare on, with a batch axis, in the structure that the model takes.
            None draws two examples from a normal distribution; subclassed models need it.
        tolerance: Largest difference of an output, relative to the largest output or 1. None
            takes 1e-5, or what the half precision of the model's layers leaves.
        overwrite: Whether to replace a SavedModel that stands at `path`.
        fused: Whether chains of operations on maps are compiled by XLA where the model is served,
            as they are in training (`SANBlock`), and images that come one by one
            (`PatchRefiner(fused=True)`, as in `DCN`). TensorFlow Serving wants
            `--xla_cpu_compilation_enabled=true` for that; False exports plain operations, which
            every server has.
        attention: Whether the export returns a dictionary of the model's output and all attention
            maps and gates, under the names of `inspect.with_attention`; by default the output only.

    Returns:
        The path of the SavedModel.

    Raises:
        FileExistsError: When something stands at `path` that is not to be replaced.
        ValueError: When the model is not built, the inputs do not fit, or there is no attention to
            return.
        RuntimeError: When the reloaded outputs differ or the export does not load.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, f"{folder}/served")
    ...     sorted(item.name for item in path.iterdir() if item.is_file())
    ['fingerprint.pb', 'saved_model.pb']
    """
    path = Path(path).resolve()
    model = with_attention(model) if flag("attention", attention) else model
    tolerance = tolerance_of(model, tolerance)
    _check_target(path, overwrite)
    examples = examples_for(model, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        written = Path(folder) / "saved_model"
        with contextlib.nullcontext() if flag("fused", fused) else backend.without_fusion():
            served = with_float32_outputs(model, examples)
            served.export(written, format="tf_saved_model", verbose=False)
        outputs = _reload(written, examples, Path(folder))
        compare("SavedModel", expected_outputs(model, examples), outputs, tolerance)
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


def _replace(written: Path, path: Path) -> None:
    if path.exists():
        old = written.with_name("replaced")
        path.replace(old)
        written.replace(path)
        shutil.rmtree(old)
    else:
        written.replace(path)
