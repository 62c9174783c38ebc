"""A SavedModel loaded and called by a process that has TensorFlow alone, as a server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

PROGRAM = """
import json, sys
import numpy as np
import tensorflow as tf

path, folder, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = tf.saved_model.load(path)
for endpoint, names in calls.items():
    data = np.load(f"{folder}/{endpoint}-inputs.npz")
    inputs = [tf.constant(data[f"input_{i}"]) for i in range(len(data.files))]
    single = inputs[0] if len(inputs) == 1 else inputs
    served = getattr(model, endpoint)(dict(zip(names, inputs)) if names else single)
    outputs = {f"output_{i}": np.asarray(x) for i, x in enumerate(tf.nest.flatten(served))}
    np.savez(f"{folder}/{endpoint}-outputs.npz", **outputs)
assert "keras_attention" not in sys.modules
"""


def outputs_elsewhere(
    path: Path, calls: dict[str, Any], folder: Path
) -> dict[str, list[np.ndarray]]:
    """What the endpoints of a SavedModel return in a new process.

    Args:
        path: The SavedModel.
        calls: Arrays for each endpoint, in the structure that it takes.
        folder: For what is sent and received.

    Returns:
        The outputs of each endpoint, flat.

    Raises:
        RuntimeError: When the process fails.
    """
    for endpoint, examples in calls.items():
        flat = keras.tree.flatten(examples)
        arrays: dict[str, Any] = {f"input_{index}": array for index, array in enumerate(flat)}
        np.savez(folder / f"{endpoint}-inputs.npz", **arrays)
    names = {
        endpoint: sorted(examples) if isinstance(examples, dict) else []
        for endpoint, examples in calls.items()
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(folder), json.dumps(names)],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"The SavedModel was written but does not load: {reason[0]}")
    return {endpoint: _read(folder / f"{endpoint}-outputs.npz") for endpoint in calls}


def _read(path: Path) -> list[np.ndarray]:
    with np.load(path) as outputs:
        return [outputs[name] for name in outputs.files]
