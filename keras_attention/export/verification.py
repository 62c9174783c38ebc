"""Verification of exports: example inputs, and the comparison of outputs with the model's.

`export_file` is the common part of the exports to a single file.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.inspect.with_attention import with_attention
from keras_attention.utils.validation import boolean, keras_model, non_negative_number

# Side of the example images for models that accept any size.
EXAMPLE_SIDE = 32
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
Comparison = Callable[[str, list[np.ndarray], list[np.ndarray], float], None]


def export_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    kind: str,
    run: Callable[[Path, list[np.ndarray]], list[np.ndarray]],
    conversion: Callable[[keras.Model], AbstractContextManager[None]],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    converter: Mapping[str, Any] | None = None,
    compare: Comparison | None = None,
) -> Path:
    """Exports a model to a temporary file, verifies its outputs and renames it to `path`.

    Args:
        model: A built Keras model.
        path: The file to write.
        kind: `"onnx"` or `"litert"`, Keras's name of the format.
        run: A function that runs a file on the flat list of inputs.
        conversion: Creates the context in which the model is converted.
        inputs: See `export_saved_model`.
        tolerance: See `export_saved_model`.
        overwrite: If True, an existing file is replaced.
        attention: See `export_saved_model`.
        converter: Arguments that Keras passes to the converter.
        compare: Raises a RuntimeError if outputs differ, None for `compare_outputs`.

    Returns:
        The path.
    """
    path = Path(path).resolve()
    model = with_attention(model) if boolean("attention", attention) else model
    tolerance = resolve_tolerance(model, tolerance)
    if path.exists() and not (overwrite and path.is_file()):
        raise FileExistsError(
            "`path` must be new, or an existing file with overwrite=True. "
            f"Received: path={str(path)!r}"
        )
    examples = example_inputs(model, inputs)
    expected = expected_outputs(model, examples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / f"model{SUFFIXES[kind]}"
        with conversion(model):
            exported = with_float32_outputs(model, examples)
            _convert(exported, temporary, kind, converter or {})
        try:
            outputs = run(temporary, keras.tree.flatten(examples))
        except Exception as error:
            raise RuntimeError(f"The {kind} file was written but does not run: {error}") from error
        (compare or compare_outputs)(f"{kind} file", expected, outputs, tolerance)
        temporary.replace(path)
    return path


def _convert(model: keras.Model, path: Path, kind: str, converter: Mapping[str, Any]) -> None:
    """Writes a file; shortens the errors of converters, which can be pages long."""
    try:
        model.export(str(path), format=kind, verbose=False, **converter)
    except Exception as error:  # converters define their own errors
        lines = [line for line in str(error).splitlines() if line.strip()]
        hint = ""
        if any(getattr(layer, "quantization_mode", None) for layer in model._flatten_layers()):
            hint = " Keras has quantized the model, which not every format supports."
        raise RuntimeError(
            f"{model.name!r} cannot be converted to {kind}; nothing was written.{hint} "
            f"Received: {type(error).__name__}: {' '.join(lines)[:400]}"
        ) from error


def example_inputs(model: keras.Model, inputs: Any) -> Any:
    """Returns `inputs` as arrays, or random examples in the structure of the model's inputs."""
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model={model.name!r}, which is not. "
            "Call it on data first"
        )
    if inputs is not None:
        return keras.tree.map_structure(np.asarray, inputs)
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`inputs` must be given for subclassed models, whose input shape is unknown. "
            f"Received: inputs=None, model={model.name!r}"
        )
    generator = np.random.default_rng(0)
    known = {None: EXAMPLE_SIDE}

    def random_array(tensor: Any) -> np.ndarray:
        shape = (2, *(known.get(size, size) for size in tensor.shape[1:]))
        return generator.normal(size=shape).astype(keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(random_array, symbolic_inputs_and_outputs(model, None)[0])


def resolve_tolerance(model: keras.Model, tolerance: float | None) -> float:
    """Returns the tolerance, by default one for the lowest precision of the model's layers."""
    keras_model("model", model)
    if tolerance is not None:
        return non_negative_number("tolerance", tolerance)
    precisions = {layer.compute_dtype for layer in model._flatten_layers()}
    if "bfloat16" in precisions:
        return 5e-2
    return 1e-2 if "float16" in precisions else 1e-5


def with_float32_outputs(model: keras.Model, examples: Any) -> keras.Model:
    """Returns a functional model that casts half precision outputs to float32.

    The model itself is returned if it is functional and its outputs are not in half precision.
    """
    inputs, outputs = symbolic_inputs_and_outputs(model, examples)
    half = ("float16", "bfloat16")
    is_exact = all(tensor.dtype not in half for tensor in keras.tree.flatten(outputs))
    if is_exact and getattr(model, "inputs", None):
        return model
    cast = keras.tree.map_structure(
        lambda tensor: keras.ops.cast(tensor, "float32") if tensor.dtype in half else tensor,
        outputs,
    )
    return keras.Model(inputs, cast, name=model.name)


def symbolic_inputs_and_outputs(model: keras.Model, examples: Any) -> tuple[Any, Any]:
    """Returns a model's inputs and outputs as Keras tensors, in their original structure."""
    if not getattr(model, "inputs", None):
        inputs = keras.tree.map_structure(
            lambda array: keras.Input(array.shape[1:], dtype=str(array.dtype)), examples
        )
        return inputs, model(inputs)
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def expected_outputs(model: keras.Model, examples: Any) -> list[np.ndarray]:
    """Computes the model's outputs as a flat list of arrays."""
    # The export runs on the CPU too; other devices round differently.
    with keras.device("cpu:0"):
        outputs = model(examples, training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def compare_outputs(
    kind: str, expected: list[np.ndarray], received: list[np.ndarray], tolerance: float
) -> None:
    """Raises a RuntimeError if the outputs of an export differ from the model's."""
    for ours, theirs in zip(expected, received, strict=True):
        difference = float(np.max(np.abs(ours.astype("float32") - theirs.astype("float32"))))
        limit = tolerance * max(1.0, float(np.max(np.abs(ours))))
        if not difference <= limit:
            raise RuntimeError(
                f"The {kind}'s outputs differ from the model's by {difference:.3g}, more than "
                f"the allowed {limit:.3g}; nothing was written."
            )


def compare_quantized_outputs(
    kind: str, expected: list[np.ndarray], received: list[np.ndarray], tolerance: float
) -> None:
    """Raises a RuntimeError if the outputs of a quantized export are far from the model's.

    The root mean square of the difference is compared with that of the output. Single values can
    change a lot where quantization selects another maximum or patch, but a wrong scale changes
    all values.
    """
    for ours, theirs in zip(expected, received, strict=True):
        size = float(np.sqrt(np.mean(np.square(ours.astype("float64")))))
        difference = float(np.sqrt(np.mean(np.square(ours.astype("float64") - theirs))))
        if not difference <= tolerance * size:
            raise RuntimeError(
                f"The {kind}'s outputs differ from the model's by {difference:.3g} in root mean "
                f"square, more than {tolerance:.3g} times their {size:.3g}; nothing was written."
            )


# Run by a new process, which has TensorFlow but not this package, like a server.
_SERVING_PROGRAM = """
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


def outputs_in_new_process(
    path: Path, calls: dict[str, Any], folder: Path
) -> dict[str, list[np.ndarray]]:
    """Loads a SavedModel in a new process and calls its endpoints.

    Args:
        path: The SavedModel.
        calls: The inputs of each endpoint as arrays, in their structure.
        folder: A folder for the files of inputs and outputs.

    Returns:
        The flat outputs of each endpoint.

    Raises:
        RuntimeError: If the process fails.
    """
    for endpoint, inputs in calls.items():
        flat = keras.tree.flatten(inputs)
        arrays: dict[str, Any] = {f"input_{index}": array for index, array in enumerate(flat)}
        np.savez(folder / f"{endpoint}-inputs.npz", **arrays)
    names = {
        endpoint: sorted(inputs) if isinstance(inputs, dict) else []
        for endpoint, inputs in calls.items()
    }
    result = subprocess.run(
        [sys.executable, "-c", _SERVING_PROGRAM, str(path), str(folder), json.dumps(names)],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"The SavedModel was written but does not load: {reason[0]}")
    return {endpoint: _read_arrays(folder / f"{endpoint}-outputs.npz") for endpoint in calls}


def _read_arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


@contextmanager
def replaced_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of an object for the duration of a context."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
